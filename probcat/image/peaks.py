"""How crowded an image is, which arrays are sized by."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from probcat.numerics.robust import ROUNDED_FWHM_PER_SIGMA

if TYPE_CHECKING:
    from probcat.image.image import Image

SEEN = 3.0
"""Peaks stand out by so many sigma."""


def count_peaks(image: "Image") -> int:
    """Count peaks on the scale of the PSF that stand out of noise and of what lies around them.

    These are local maxima of the difference of two Gaussians, as wide as the PSF and twice that
    (an approximate matched filter after Marr and Hildreth 1980, Proc. R. Soc. B 207, 187): noise
    on the light of a large galaxy is no crowd of stars.
    """
    good = image.weight > 0
    variance = np.where(good, 1.0 / np.where(good, image.weight, 1.0), 0.0)
    width = float(image.psf.fwhm) / ROUNDED_FWHM_PER_SIGMA

    def blurred(values: np.ndarray, width: float) -> np.ndarray:
        share = gaussian_filter(good.astype(float), width)
        return gaussian_filter(np.where(good, values, 0.0), width) / np.maximum(share, 1e-6)

    ridge = blurred(image.clean_data.astype(float), width)
    ridge = ridge - blurred(image.clean_data.astype(float), 2.0 * width)
    # Of white noise; the terms are integrals of products of the two Gaussians.
    share = (1.0 + 1.0 / 4.0 - 4.0 / 5.0) / (4.0 * np.pi * width**2)
    sigma = np.sqrt(share * blurred(variance, width))
    peak = maximum_filter(ridge, 3) == ridge
    return int(np.sum(good & peak & (ridge > SEEN * sigma)))
