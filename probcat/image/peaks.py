"""The number of peaks in an image, which sets the sizes of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from probcat.numerics.robust import ROUNDED_FWHM_PER_SIGMA

if TYPE_CHECKING:
    from probcat.image.image import Image

MIN_SIGNIFICANCE = 3.0
"""Least height of a peak in units of the noise."""


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
