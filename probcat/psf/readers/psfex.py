"""Reading PSF models of PSFEx (Bertin 2011, ADASS XX, ASP Conf. Ser. 442, 435)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.psf.position_weights import polynomial
from probcat.psf.varying import VaryingPSF

if TYPE_CHECKING:
    from probcat.psf.psf import PSF

_LANCZOS = 3
"""Order of the Lanczos interpolant with which PSFEx (and GalSim's DES_PSFEx) fits samples."""


def psfex_tables(hdus: Any) -> list[Any]:
    """Return the extensions of a file that hold a model of PSFEx."""
    return [
        hdu for hdu in hdus if "PSF_MASK" in getattr(getattr(hdu, "columns", None), "names", ())
    ]


def read_psfex(hdu: Any, where: str) -> PSF:
    """Make a PSF from a table ``PSF_DATA``.

    Its samples, ``PSF_SAMP`` pixels apart and pixel-integrated, are resampled to a whole number
    of samples per pixel with the interpolant of PSFEx. Coordinates are pixels of the image that
    PSFEx worked on, counted from 0 instead of 1. Beyond the stars that PSFEx used the PSF is that
    of the nearest position among them.

    Parameters
    ----------
    hdu : astropy.io.fits.BinTableHDU
        The extension with the table.
    where : str
        Name of the file, for messages.

    Returns
    -------
    PSF
        A `probcat.VaryingPSF` if the model varies over the image.

    Raises
    ------
    InputError
        If the model depends on anything but the position, or a keyword or column is missing.
    """
    header = hdu.header
    if not len(hdu.data):
        raise InputError(f"{where}: the table of PSFEx is empty")
    samples = np.asarray(hdu.data["PSF_MASK"][0], float)
    samples = samples[None] if samples.ndim == 2 else samples
    step = _number(header, "PSF_SAMP", where)
    if not step > 0.0 or samples.ndim != 3:
        raise InputError(f"{where}: PSF_SAMP = {step}, PSF_MASK of shape {samples.shape}; no PSF")
    centre, scale, degree = _polynomial(header, where)
    if len(samples) != (degree + 1) * (degree + 2) // 2:
        raise InputError(
            f"{where}: {len(samples)} components of PSFEx, but polynomials of degree {degree} "
            f"have {(degree + 1) * (degree + 2) // 2}"
        )
    coefficients = np.zeros((degree + 1, degree + 1, len(samples)))
    terms = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    for number, (i, j) in enumerate(terms):
        coefficients[i, j, number] = 1.0
    # The scale of PSFEx is the whole range of the positions of its stars.
    low, high = centre - 0.5 * scale, centre + 0.5 * scale
    variation = polynomial(coefficients, centre, scale, low, high)
    oversampling = max(1, math.ceil(2.0 / step))
    rows, cols = (_resampling(n, step, oversampling) for n in samples.shape[1:])
    try:
        return VaryingPSF.from_components(rows @ samples @ cols.T, variation, oversampling)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _polynomial(header: Any, where: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Return centre and scale (x, y) of the polynomials in 0-based pixels, and their degree."""
    axes = int(_number(header, "POLNAXIS", where))
    if axes == 0:
        return np.zeros(2), np.ones(2), 0
    names = [str(header.get(f"POLNAME{i}", "")).strip() for i in range(1, axes + 1)]
    usual = axes == 2 and all(
        name.startswith(letter) and name.endswith("IMAGE")
        for name, letter in zip(names, "XY", strict=True)
    )
    if not usual or int(header.get("POLNGRP", 1)) != 1:
        raise InputError(
            f"{where}: its PSF depends on {', '.join(names)} in {header.get('POLNGRP', 1)} "
            "group(s); only X and Y of the image, in one group, are understood"
        )
    centre, scale = (
        np.array([_number(header, f"{key}{i}", where) for i in (1, 2)])
        for key in ("POLZERO", "POLSCAL")
    )
    degree = int(_number(header, "POLDEG1", where))
    if degree < 0 or not np.all(scale > 0.0):
        raise InputError(f"{where}: POLDEG1 = {degree}, POLSCAL = {scale.tolist()}; no polynomial")
    return centre - 1.0, scale, degree


def _number(header: Any, key: str, where: str) -> float:
    """Return the number that a keyword holds; refuse anything else."""
    value = header.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where}: no PSFEx keyword {key} with a number (found {value!r})")
    return float(value)


def _resampling(number: int, step: float, oversampling: int) -> np.ndarray:
    """Return the resampling matrix (new samples, old samples), central samples at ``n // 2``."""
    half = math.ceil(number // 2 * step * oversampling)
    where = np.arange(-half, half + 1) / (oversampling * step)
    # Beyond the array the samples are zero, but their weights count in the normalisation.
    index = np.arange(-_LANCZOS - 1, number + _LANCZOS + 1)
    distance = np.subtract.outer(where, index - number // 2)
    kernel = np.sinc(distance) * np.sinc(distance / _LANCZOS) * (np.abs(distance) < _LANCZOS)
    kernel /= np.maximum(kernel.sum(axis=1, keepdims=True), 0.5)
    inside = (index >= 0) & (index < number)
    return kernel[:, inside]
