"""One exposure: pixels, variance, mask, PSF, and what the header says of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.image.variance import choose_variance
from probcat.psf.arrays import why_no_psf
from probcat.psf.psf import PSF

if TYPE_CHECKING:
    from os import PathLike


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels of one exposure or band, and all that is needed to model them.

    Build one with `Image.read` or `Image.from_arrays`; they check what they are given.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Pixel values in ``unit``, sky included or subtracted.
    variance : ndarray, shape (ny, nx)
        Variance of every pixel, in ``unit`` squared.
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel must not be used.
    psf : PSF
        The effective (pixel-integrated) point-spread function.
    wcs : astropy.wcs.WCS, optional
        Celestial coordinates of the pixels (0-based, centres at integers).
    band : str
        Name of the filter, as it will stand in column names such as ``flux_r``.
    zero_point : float, optional
        AB magnitude of a source of one ``unit``.
    unit : str
        Unit of the pixels.
    name : str
        Where the image came from.
    notes : tuple of str
        What was found, counted, estimated or assumed while it was read, a line each.
    photon_gain : float, optional
        Electrons per unit of the light of sources. Where it is given, `variance` is that of
        pixels without sources, and the light of the model adds its own photon noise,
        light / photon_gain.
    saturated : ndarray of bool, shape (ny, nx), optional
        True where the pixel is known to be saturated; such pixels are masked too.
    """

    data: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    psf: PSF
    wcs: Any = None
    band: str = ""
    zero_point: float | None = None
    unit: str = ""
    name: str = ""
    notes: tuple[str, ...] = ()
    photon_gain: float | None = None
    saturated: np.ndarray | None = None

    def __post_init__(self) -> None:
        where = self.name or "image"
        if self.data.ndim != 2:
            raise InputError(
                f"{where}: the pixels have shape {self.data.shape}; give a two-dimensional image"
            )
        for what, array in (("variance", self.variance), ("mask", self.mask)):
            _check_shape(array, self.data, what, where)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (ny, nx)."""
        return self.data.shape

    @property
    def photon_variance(self) -> float:
        """Variance that one unit of light of the model adds; 0 where `variance` has it all."""
        return 0.0 if self.photon_gain is None else 1.0 / self.photon_gain

    @cached_property
    def weight(self) -> np.ndarray:
        """Inverse variance, float32 (ny, nx); 0 where the pixel cannot be used."""
        return _inverse_variance(self.data, self.variance, self.mask)

    @cached_property
    def clean_data(self) -> np.ndarray:
        """Pixel values, float32 (ny, nx); 0 where the weight is 0."""
        return np.where(self.weight > 0, self.data, 0.0).astype(np.float32)

    @classmethod
    def from_arrays(
        cls,
        data: Any,
        variance: Any = None,
        mask: Any = None,
        psf: Any = None,
        *,
        psf_oversampling: int = 1,
        psf_origin: tuple[float, float] = (0.0, 0.0),
        psf_radius: int | None = None,
        gain: float | None = None,
        read_noise: float | None = None,
        wcs: Any = None,
        band: str = "",
        zero_point: float | None = None,
        unit: str = "",
        name: str = "",
        notes: tuple[str, ...] = (),
        model_variance: bool = False,
        saturated: Any = None,
    ) -> Image:
        """Make an image from arrays, or from an astropy ``NDData`` or ``CCDData``.

        Pixels that are NaN or infinite, or whose variance is not positive, weigh nothing;
        `notes` says how many there are.

        Parameters
        ----------
        data : array_like, shape (ny, nx), or astropy.nddata.NDData
            Pixel values. An ``NDData`` also brings its own uncertainty, mask, unit, WCS,
            PSF and header, unless they are given here.
        variance : array_like, shape (ny, nx), optional
            Variance of each pixel. Without it the variance is built from ``gain`` and
            ``read_noise``, or else estimated from the pixels; `notes` says which.
        mask : array_like of bool, shape (ny, nx), optional
            True where a pixel must not be used.
        psf : PSF or array_like, or photutils.psf.GriddedPSFModel or ImagePSF
            The PSF, or its samples (`PSF.from_pixels`).
        psf_oversampling : int
            Samples of ``psf`` per image pixel along an axis.
        psf_origin : tuple of float
            Pixel (x, y) of the frame over which a PSF varies that is the image's pixel (0, 0).
        psf_radius : int, optional
            Half side in pixels that the PSF is cut to (`PSF.cut`); sampling takes longer with
            wider ones.
        gain : float, optional
            Electrons per unit of ``data``.
        read_noise : float, optional
            Read noise in electrons.
        wcs, band, zero_point, unit, name, notes
            As in `Image`.
        model_variance : bool
            Let the sources' photon noise follow the model, see `Image.photon_gain`; needs a
            ``gain``. A ``variance`` that is given is then that of pixels without sources.
        saturated : array_like of bool, shape (ny, nx), optional
            True where the pixel is known to be saturated. This is for the record: mask such
            pixels too, or they are used.

        Returns
        -------
        Image

        Raises
        ------
        InputError
            If shapes differ, there is no usable PSF, or no pixel is left to use.
        """
        if hasattr(data, "uncertainty"):
            from probcat.image.nddata import unpack_nddata

            found = unpack_nddata(data, variance, gain, read_noise, model_variance, name)
            given = {"mask": mask, "psf": psf, "wcs": wcs, "zero_point": zero_point}
            given |= {"band": band or None, "unit": unit or None}
            found |= {key: value for key, value in given.items() if value is not None}
            found |= {"psf_oversampling": psf_oversampling, "psf_origin": psf_origin}
            found |= {"psf_radius": psf_radius, "notes": found["notes"] + notes}
            return cls.from_arrays(**found)
        where = name or "image"
        pixels = _as_float(data, where, "image")
        bad = np.zeros(pixels.shape, bool) if mask is None else np.asarray(mask).astype(bool)
        if isinstance(data, np.ma.MaskedArray):
            bad = bad | np.ma.getmaskarray(data)
        lines = [*notes]
        if model_variance and gain is None:
            raise InputError(f"{where}: a variance from the model needs a gain; give --gain")
        if variance is None:
            var, note = choose_variance(
                pixels, bad, gain=gain, read_noise=read_noise, of_model=model_variance, where=where
            )
            lines.append(note)
        else:
            var = _as_float(variance, where, "variance")
        point_spread = _as_psf(psf, psf_oversampling, pixels, where)
        if psf_radius is not None:
            point_spread = point_spread.cut(psf_radius)
        point_spread = point_spread.in_frame(psf_origin, pixels.shape)
        lines += [f"PSF: {line}" for line in getattr(point_spread, "notes", ())]
        for what, array in (("variance", var), ("mask", bad)):
            _check_shape(array, pixels, what, where)
        lines += _count_unusable(pixels, var, bad, where)
        if saturated is not None:
            saturated = np.asarray(saturated).astype(bool)
            _check_shape(saturated, pixels, "saturated", where)
            saturated = saturated & (_inverse_variance(pixels, var, bad) <= 0)
        return cls(
            data=pixels,
            variance=var,
            mask=bad,
            psf=point_spread,
            wcs=wcs,
            band=band,
            zero_point=zero_point,
            unit=unit,
            name=name,
            notes=tuple(lines),
            photon_gain=gain if model_variance else None,
            saturated=saturated,
        )

    @classmethod
    def from_ccddata(cls, ccd: Any, psf: Any = None, **options: Any) -> Image:
        """Make an image from an astropy ``CCDData`` or ``NDData``.

        Parameters
        ----------
        ccd : astropy.nddata.NDData
            Its data, uncertainty (of any type), mask, unit, WCS, PSF and header are used.
        psf : PSF or array_like, optional
            The PSF, where ``ccd`` holds none.
        **options
            As in `Image.from_arrays`, in place of what ``ccd`` says.

        Returns
        -------
        Image

        Raises
        ------
        InputError
            As `Image.from_arrays`.
        """
        return cls.from_arrays(ccd, psf=psf, **options)

    @classmethod
    def read(cls, path: str | PathLike[str], band: str | None = None, **options: Any) -> Image:
        """Read an image from a FITS file.

        Extensions are found by name: ``SCI``, one of ``VAR``, ``ERR`` and ``IVAR``, ``MASK``
        and ``PSF``, or, in a file of several bands, ``SCI_I``, ``VAR_I``, ... by ``band="i"``.
        A file with one image and no such names is read as it is.

        Parameters
        ----------
        path : path_like
            The file.
        band : str, optional
            Picks a family of extensions, in upper or lower case.
        **options
            Keyword options of `probcat.image.fits_input.image_arguments`.

        Returns
        -------
        Image

        Raises
        ------
        InputError
            If the file, an extension or the PSF is missing or cannot be used.
        """
        from probcat.image.fits_input import image_arguments

        return cls.from_arrays(**image_arguments(path, band, **options))


def _as_float(values: Any, where: str, what: str) -> np.ndarray:
    """Make a native floating-point array; single precision only if it is that already."""
    array = np.asarray(np.ma.getdata(getattr(values, "value", values)))
    if array.dtype.kind not in "fiub":
        raise InputError(f"{where}: the {what} is not an array of real numbers ({array.dtype})")
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    return array.astype(np.float32 if single else np.float64)


def _as_psf(psf: Any, oversampling: int, pixels: np.ndarray, where: str) -> PSF:
    """Check the PSF and make it one if it came as samples."""
    if psf is None:
        raise InputError(f"{where}: no PSF; give a PSF extension, --psf FILE or the psf argument")
    if isinstance(psf, PSF):
        return psf
    if type(psf).__module__.startswith("photutils"):
        from probcat.psf.readers.photutils_models import psf_from_photutils

        return psf_from_photutils(psf)
    samples = _as_float(psf, where, "PSF")
    if np.array_equal(samples, pixels):
        raise InputError(f"{where}: the PSF is the image itself; give a PSF with --psf FILE")
    try:
        point_spread = PSF.from_pixels(samples, oversampling=oversampling)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if any(p > s * oversampling for p, s in zip(samples.shape, pixels.shape, strict=False)):
        hint = "; if it is oversampled, say by how much" if oversampling == 1 else ""
        raise InputError(
            f"{where}: the PSF, {samples.shape} at {oversampling} samples a pixel, is larger than "
            f"the image, {pixels.shape}{hint}"
        )
    reason = why_no_psf(samples)
    if reason:
        raise InputError(f"{where}: the PSF, {samples.shape}, does not look like one: {reason}")
    return point_spread


def _check_shape(array: np.ndarray, pixels: np.ndarray, what: str, where: str) -> None:
    """Refuse an array that does not cover the image's pixels."""
    if array.shape != pixels.shape:
        raise InputError(
            f"{where}: the {what} has shape {array.shape}, the image {pixels.shape}; "
            "they must be the same"
        )


def _inverse_variance(pixels: np.ndarray, variance: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Inverse variance, float32; 0 where the pixel cannot be used."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        weight = 1.0 / np.asarray(variance, dtype=np.float64)
        good = ~mask & np.isfinite(pixels) & (variance > 0) & np.isfinite(weight)
        return np.where(good, weight, 0.0).astype(np.float32)


def _count_unusable(
    pixels: np.ndarray, variance: np.ndarray, mask: np.ndarray, where: str
) -> list[str]:
    """Say how many pixels have zero weight and why; refuse an image without any left."""
    bad_data = ~np.isfinite(pixels)
    bad_variance = ~(variance > 0) | ~np.isfinite(variance)
    lines = []
    for what, bad in (
        ("masked", mask),
        ("NaN or infinite", bad_data & ~mask),
        ("without a positive, finite variance", bad_variance & ~bad_data & ~mask),
    ):
        if bad.any():
            share = 100 * bad.mean()
            lines.append(f"{int(bad.sum())} pixels ({share:.1f} %) {what}: given zero weight")
    weight = _inverse_variance(pixels, variance, mask)
    if np.isinf(weight).any():
        raise InputError(
            f"{where}: the variance, about {np.nanmedian(variance):.3g}, is too small for "
            "single precision; multiply the image by a power of ten"
        )
    if not (weight > 0).any():
        raise InputError(f"{where}: no pixel can be used: {'; '.join(lines)}")
    return lines
