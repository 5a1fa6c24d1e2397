"""Reading the arguments of `probcat.Image.from_arrays` from a FITS file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.files.fits import find_extensions, image_hdus, open_fits, pixels
from probcat.files.headers import (
    find_band,
    find_gain,
    find_origin,
    find_oversampling,
    find_unit,
    find_wcs,
    find_zero_point,
)
from probcat.image.masks import bad_pixels, saturated_pixels, saturated_plane
from probcat.image.star_list import StarPSF
from probcat.image.variance import choose_variance
from probcat.psf.readers.fits import read_psf


def image_arguments(
    path: str | os.PathLike[str],
    band: str | None = None,
    *,
    sci: str | int | None = None,
    var: str | int | None = None,
    err: str | int | None = None,
    ivar: str | int | None = None,
    mask: str | int | None = None,
    psf: Any = None,
    psf_oversampling: int | None = None,
    estimate_psf: bool = False,
    psf_stars: str | os.PathLike[str] | None = None,
    psf_origin: Sequence[float] | None = None,
    psf_radius: int | None = None,
    mask_planes: Sequence[int | str] | None = None,
    saturation: float | None = None,
    gain: float | None = None,
    read_noise: float | None = None,
    model_variance: bool = False,
    zero_point: float | None = None,
    plane: int | None = None,
) -> dict[str, Any]:
    """Read the pixels, variance, mask and PSF of an image from a FITS file.

    Parameters
    ----------
    path : path_like
        The file.
    band : str, optional
        Band to read from a file of several bands, with the extensions ``SCI_<band>``,
        ``VAR_<band>``, ... in upper or lower case; otherwise the name of the band if the header
        has none.
    sci, var, err, ivar, mask : str or int, optional
        Names or numbers of the extensions with the pixels, the variance, the standard deviation,
        the inverse variance and the mask; by default they are found by their usual names.
    psf : PSF, array_like, path_like or str, optional
        A PSF, its samples, a FITS file for `probcat.psf.readers.fits.read_psf`, or the name of
        an extension; by default the extension ``PSF``.
    psf_oversampling : int, optional
        Samples of the PSF per pixel along each axis; by default ``OVERSAMP`` of its header, or 1.
    estimate_psf : bool
        Whether to build the PSF from stars of the image, even if the file has one; see
        `probcat.psf.from_stars.estimate.estimate_psf`.
    psf_stars : path_like, optional
        Table of the stars to build the PSF from, as in `probcat.image.star_list.read_stars`; by
        default stars are selected. A table alone implies `estimate_psf`.
    psf_origin : sequence of float, optional
        Pixel (x, y) of the frame of a varying PSF that is the pixel (0, 0) of the image, for an
        image that was cut out of the frame. By default the values of ``LTV1`` and ``LTV2`` of
        the header with opposite signs, or (0, 0).
    psf_radius : int, optional
        Half side in pixels that the PSF is cut to, as in `PSF.cut`.
    mask_planes : sequence of int or str, optional
        Bits or planes of the mask that mark bad pixels, as in `probcat.image.masks.bad_pixels`.
    saturation : float, optional
        Level from which on pixels are saturated and not used, in the unit of the pixels; by
        default ``SATURATE`` of the header.
    gain : float, optional
        Electrons per unit of the pixels, from which `probcat.image.variance.build_variance`
        builds the variance if the file has none.
    read_noise : float, optional
        Read noise in electrons.
    model_variance : bool
        Whether the photon noise of sources follows the model. The noise of the sky is then built
        from the gain and the read noise by `probcat.image.variance.sky_variance`, even if the
        file has a variance.
    zero_point : float, optional
        AB magnitude of one unit; by default that of the header.
    plane : int, optional
        Plane to take of arrays with three axes, counted from 0.

    Returns
    -------
    dict
        Arguments of `probcat.Image.from_arrays`.

    Raises
    ------
    InputError
        If the file, an extension or the PSF is missing or cannot be used.
    """
    name = Path(path).name
    psf = StarPSF.asked(estimate_psf, psf_stars, psf, name)
    explicit = {"sci": sci, "var": var, "err": err, "ivar": ivar, "mask": mask}
    with open_fits(path) as hdus:
        found = find_extensions(hdus, band, explicit, name)
        parts = {part: image_hdus(hdus)[extension] for part, extension in found.items()}
        arrays = {
            part: pixels(hdu, plane, f"{name}[{found[part]}]")
            for part, hdu in parts.items()
            if part != "psf"
        }
        head = parts["sci"].header
        wcs, note = find_wcs(head, hdus)
        own_band = find_band(head) or (band or "").strip()
        samples, oversampling = _find_psf(psf, parts, found, path, band or own_band, plane)
    notes = [note] if note else []
    origin, note = _find_origin(psf_origin, head, name)
    notes += [note] if note and getattr(samples, "variation", None) is not None else []
    variance = _find_variance(arrays)
    _check_shapes(arrays, found, name)
    bad, lines = _find_bad(arrays, parts, found, mask_planes, name)
    saturated, note = saturated_pixels(arrays["sci"], head, saturation, name)
    bad = bad | saturated
    if "mask" in arrays:
        saturated = saturated | saturated_plane(arrays["mask"], parts["mask"].header)
    notes += [*lines, note] if note else lines
    header_gain = find_gain(head)
    gain = header_gain if gain is None and model_variance else gain
    if variance is None or model_variance:
        variance, built = choose_variance(
            arrays["sci"],
            bad,
            gain=gain,
            read_noise=read_noise,
            header_gain=header_gain,
            of_model=model_variance,
            where=name,
        )
        notes.append(built)
    if isinstance(samples, StarPSF):
        samples = samples.build(arrays["sci"], variance, bad, wcs, psf_oversampling, name)
    unit = find_unit(head)
    return {
        "data": arrays["sci"],
        "variance": variance,
        "mask": bad,
        "psf": samples,
        "psf_oversampling": psf_oversampling or oversampling or 1,
        "psf_origin": origin,
        "psf_radius": psf_radius,
        "wcs": wcs,
        "band": own_band,
        "zero_point": find_zero_point(head, unit) if zero_point is None else float(zero_point),
        "unit": unit,
        "name": name,
        "notes": tuple(notes),
        "gain": gain,
        "model_variance": model_variance,
        "saturated": saturated,
    }


def _find_bad(
    arrays: Mapping[str, np.ndarray],
    parts: Mapping[str, Any],
    found: Mapping[str, str],
    mask_planes: Sequence[int | str] | None,
    name: str,
) -> tuple[np.ndarray, list[str]]:
    """Return the pixels that the mask marks as bad, and a line on the planes that were used."""
    if "mask" in arrays:
        where = f"{name}[{found['mask']}]"
        bad, note = bad_pixels(arrays["mask"], parts["mask"].header, mask_planes, where)
        return bad, [note]
    if mask_planes:
        raise InputError(f"{name}: mask bits {list(mask_planes)} asked for, but it has no MASK")
    return np.zeros(arrays["sci"].shape, bool), []


def _find_variance(arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return the variance, from the measure of the noise that the file has, or None."""
    if "var" in arrays:
        return arrays["var"]
    if "err" in arrays:
        error = arrays["err"].astype(np.float64)
        return np.where(error > 0, error, np.nan) ** 2
    if "ivar" in arrays:
        inverse = arrays["ivar"].astype(np.float64)
        return np.where(inverse > 0, 1.0 / np.where(inverse > 0, inverse, 1.0), np.nan)
    return None


def _find_psf(
    psf: Any,
    parts: Mapping[str, Any],
    found: Mapping[str, str],
    path: str | os.PathLike[str],
    band: str | None,
    plane: int | None,
) -> tuple[Any, int | None]:
    """Return the PSF or its samples, and the oversampling if a header states it."""
    name = Path(path).name
    if isinstance(psf, str | os.PathLike):
        return _named_psf(psf, path, band, plane)
    if psf is not None:
        return psf, None
    if "psf" not in parts:
        raise InputError(f"{name}: no PSF extension; give a FITS file of the PSF with --psf FILE")
    hdu = parts["psf"]
    return pixels(hdu, plane, f"{name}[{found['psf']}]"), find_oversampling(hdu.header)


def _named_psf(
    psf: str | os.PathLike[str],
    path: str | os.PathLike[str],
    band: str | None,
    plane: int | None,
) -> tuple[Any, int | None]:
    """Read a PSF from an extension of the file of the image, or from another file."""
    with open_fits(path) as hdus:
        images = image_hdus(hdus)
        key = str(psf).strip().upper()
        if key in images:
            where = f"{Path(path).name}[{key}]"
            return pixels(images[key], plane, where), find_oversampling(images[key].header)
    return read_psf(psf, band, plane)


def _find_origin(
    given: Sequence[float] | None, header: Any, name: str
) -> tuple[tuple[float, float], str]:
    """Return the origin (x, y) of the image in the frame of its PSF, and a note on the header."""
    if given is None:
        found = find_origin(header)
        if found is None or found == (0.0, 0.0):
            return (0.0, 0.0), ""
        return found, f"at pixel ({found[0]:g}, {found[1]:g}) of its frame, by LTV1 and LTV2"
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    if len(values) != 2 or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for v in values
    ):
        raise InputError(f"{name}: psf_origin = {given!r}; it must be two numbers, [x, y]")
    return (float(values[0]), float(values[1])), ""


def _check_shapes(arrays: Mapping[str, np.ndarray], found: Mapping[str, str], name: str) -> None:
    """Refuse extensions with other shapes than the pixels."""
    shape = arrays["sci"].shape
    for part, array in arrays.items():
        if array.shape != shape:
            raise InputError(
                f"{name}: {found[part]} has shape {array.shape}, {found['sci']} {shape}; "
                "they must be the same"
            )
