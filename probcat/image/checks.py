"""Checks and conversions of the arrays that an image is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.psf.arrays import why_no_psf
from probcat.psf.psf import PSF


def as_float(values: Any, where: str, what: str) -> np.ndarray:
    """Return values as native floating-point numbers, single precision only if they are that.

    Parameters
    ----------
    values : array_like or astropy.units.Quantity
        Numbers; the unit of a quantity and the mask of a masked array are dropped.
    where : str
        Name of the image, for messages.
    what : str
        Name of the array, for messages.

    Returns
    -------
    ndarray
        The values in float32 or float64.

    Raises
    ------
    InputError
        If the values are not real numbers.
    """
    array = np.asarray(np.ma.getdata(getattr(values, "value", values)))
    if array.dtype.kind not in "fiub":
        raise InputError(f"{where}: the {what} is not an array of real numbers ({array.dtype})")
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    return array.astype(np.float32 if single else np.float64)


def as_psf(psf: Any, oversampling: int, pixels: np.ndarray, where: str) -> PSF:
    """Return the PSF of an image, from samples or from a model of photutils.

    The array of the PSF may be larger than the image: cutouts are often smaller than the stamp of
    a star. A note then reminds of the oversampling, which such an array may lack.

    Parameters
    ----------
    psf : PSF or array_like, or photutils.psf.GriddedPSFModel or ImagePSF, or None
        What was given as the PSF.
    oversampling : int
        Samples per image pixel along each axis, where `psf` is an array.
    pixels : ndarray, shape (ny, nx)
        Pixels of the image.
    where : str
        Name of the image, for messages.

    Returns
    -------
    PSF
        The PSF, which is not yet cut to the image.

    Raises
    ------
    InputError
        If there is no PSF, its FWHM exceeds the shorter side of the image, or the samples do not
        look like those of a PSF.
    """
    if psf is None:
        raise InputError(f"{where}: no PSF; give a PSF extension, --psf FILE or the psf argument")
    if isinstance(psf, PSF):
        return psf
    if type(psf).__module__.startswith("photutils"):
        from probcat.psf.readers.photutils_models import psf_from_photutils

        return psf_from_photutils(psf)
    samples = as_float(psf, where, "PSF")
    if np.array_equal(samples, pixels):
        raise InputError(f"{where}: the PSF is the image itself; give a PSF with --psf FILE")
    try:
        point_spread = PSF.from_pixels(samples, oversampling=oversampling)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    hint = "if it is oversampled, give psf_oversampling"
    if point_spread.fwhm > min(pixels.shape):
        raise InputError(
            f"{where}: the PSF has a FWHM of {point_spread.fwhm:.1f} px, more than the image, "
            f"{pixels.shape}, is wide; {hint}"
        )
    reason = why_no_psf(samples)
    if reason:
        raise InputError(f"{where}: the PSF, {samples.shape}, does not look like one: {reason}")
    if oversampling == 1 and np.any(np.array(samples.shape) > pixels.shape):
        note = f"its array, {samples.shape}, is larger than the image; {hint}"
        return replace(point_spread, notes=(*point_spread.notes, note))
    return point_spread


def check_shape(array: np.ndarray, pixels: np.ndarray, what: str, where: str) -> None:
    """Refuse an array that has another shape than the pixels of the image."""
    if array.shape != pixels.shape:
        raise InputError(
            f"{where}: the {what} has shape {array.shape}, the image {pixels.shape}; "
            "they must be the same"
        )


def inverse_variance(pixels: np.ndarray, variance: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the inverse variance, float32 (ny, nx); 0 where a pixel cannot be used."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        weight = 1.0 / np.asarray(variance, dtype=np.float64)
        good = ~mask & np.isfinite(pixels) & (variance > 0) & np.isfinite(weight)
        return np.where(good, weight, 0.0).astype(np.float32)


def count_unusable(
    pixels: np.ndarray, variance: np.ndarray, mask: np.ndarray, where: str
) -> list[str]:
    """Count the pixels that are given zero weight, by reason.

    Parameters
    ----------
    pixels, variance : ndarray, shape (ny, nx)
        Pixel values and their variance.
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel must not be used.
    where : str
        Name of the image, for messages.

    Returns
    -------
    list of str
        A line for every reason that applies to a pixel.

    Raises
    ------
    InputError
        If no pixel can be used, or the variance is too small for single precision.
    """
    bad_data = ~np.isfinite(pixels)
    bad_variance = ~(variance > 0) | ~np.isfinite(variance)
    lines = []
    for what, bad in (
        ("masked", mask),
        ("NaN or infinite", bad_data & ~mask),
        ("without a positive, finite variance", bad_variance & ~bad_data & ~mask),
    ):
        if bad.any():
            percent = 100 * bad.mean()
            lines.append(f"{int(bad.sum())} pixels ({percent:.1f} %) {what}: given zero weight")
    weight = inverse_variance(pixels, variance, mask)
    if np.isinf(weight).any():
        raise InputError(
            f"{where}: the variance, about {np.nanmedian(variance):.3g}, is too small for "
            "single precision; multiply the image by a power of ten"
        )
    if not (weight > 0).any():
        raise InputError(f"{where}: no pixel can be used: {'; '.join(lines)}")
    return lines
