"""Peaks of an image and the widths of the largest ones, which set sizes of arrays and of priors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, label, maximum_filter

from probcat.numerics.robust import ROUNDED_FWHM_PER_SIGMA, sky_level

if TYPE_CHECKING:
    from probcat.image.image import Image

MIN_SIGNIFICANCE = 3.0
"""Least height of a peak in units of the noise."""
CROWDED = 0.08
"""Number of peaks in a square as wide as the FWHM of the PSF above which a field is crowded by
stars. The globular cluster M2 in SDSS has 0.12, and blends of galaxies in HSC have at most 0.06."""
CROWD = 30
"""Smallest number of peaks of a crowded field; a small cutout of few sources is none."""
ISOPHOTE = 0.3
"""Brightness, in units of that of a peak, at which its width is measured."""
BRIGHT = 30.0
"""Least height, in units of the noise, of a peak whose width is measured."""
NUM_BRIGHT = 20
"""Number of peaks whose width is measured, the highest ones."""
EXPONENTIAL = 0.718
"""Radius at which an exponential profile has `ISOPHOTE` of its central brightness, in half-light
radii: ln(1 / 0.3) / 1.678."""


def count_peaks(image: Image) -> int:
    """Count peaks on the scale of the PSF that stand out of the noise and of their surroundings.

    The peaks are local maxima of the image filtered with the difference of two Gaussians, as wide
    as the PSF and twice as wide (an approximate matched filter after Marr & Hildreth 1980, Proc.
    R. Soc. B 207, 187). Noise on the light of a large galaxy thus does not count as stars.

    Parameters
    ----------
    image : Image
        The image.

    Returns
    -------
    int
        Number of peaks.
    """
    good = image.weight > 0
    variance = np.where(good, 1.0 / np.where(good, image.weight, 1.0), 0.0)
    width = float(image.psf.fwhm) / ROUNDED_FWHM_PER_SIGMA

    def blurred(values: np.ndarray, width: float) -> np.ndarray:
        fraction = gaussian_filter(good.astype(float), width)
        return gaussian_filter(np.where(good, values, 0.0), width) / np.maximum(fraction, 1e-6)

    ridge = blurred(image.clean_data.astype(float), width)
    ridge = ridge - blurred(image.clean_data.astype(float), 2.0 * width)
    # The fraction of the variance of white noise that the filter leaves. The terms are integrals
    # of products of the two Gaussians.
    fraction = (1.0 + 1.0 / 4.0 - 4.0 / 5.0) / (4.0 * np.pi * width**2)
    sigma = np.sqrt(fraction * blurred(variance, width))
    peak = maximum_filter(ridge, 3) == ridge
    return int(np.sum(good & peak & (ridge > MIN_SIGNIFICANCE * sigma)))


def is_crowded(image: Image) -> bool:
    """Whether the peaks of an image are so many and so dense that most of them must be stars."""
    number, good = count_peaks(image), np.sum(image.weight > 0)
    return bool(number >= CROWD and number * float(image.psf.fwhm) ** 2 > CROWDED * good)


def largest_half_light_radius(image: Image) -> float:
    """Estimate the half-light radius of the widest bright object, as an exponential disc.

    Parameters
    ----------
    image : Image
        The image.

    Returns
    -------
    float
        Half-light radius in pixels, without the width of the PSF; zero if no object is bright
        enough. Close neighbours of similar brightness count as one object.
    """
    good = image.weight > 0
    if not np.any(good):
        return 0.0
    width = float(image.psf.fwhm) / ROUNDED_FWHM_PER_SIGMA
    data = np.where(good, image.clean_data.astype(float), 0.0)
    smooth = gaussian_filter(data - sky_level(image.clean_data, good), width)
    noise = float(np.sqrt(np.median(1.0 / image.weight[good].astype(float))))
    noise /= 2.0 * np.sqrt(np.pi) * width
    side = 2 * int(np.ceil(width)) + 1
    peaks = np.argwhere((maximum_filter(smooth, side) == smooth) & (smooth > BRIGHT * noise))
    heights = smooth[tuple(peaks.T)]
    largest = 0.0
    for row, column in peaks[np.argsort(heights)[::-1][:NUM_BRIGHT]]:
        regions, _ = label(smooth > ISOPHOTE * smooth[row, column])
        own = regions == regions[row, column]
        # On the wing of a brighter object, the region is that of both.
        if smooth[own].max() <= smooth[row, column]:
            largest = max(largest, float(np.sum(own)) / np.pi)
    # A point source, blurred by its own PSF, is wide too.
    blurred = 4.0 * width**2 * np.log(1.0 / ISOPHOTE)
    return float(np.sqrt(max(largest - blurred, 0.0))) / EXPONENTIAL
