"""Denoise a PSF that was measured from stars."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import least_squares

from probcat.numerics.robust import mad_sigma
from probcat.psf.psf import PSF

OUTER = 2.5
"""Distance from the centre in FWHM beyond which only noise is left."""
HARD_THRESHOLD = 4.0 / math.sqrt(3.0)
"""Threshold of singular values in units of the noise times the root of the side of the matrix."""


def without_noise(psf: PSF) -> PSF:
    """Return the part of a measured PSF that is significant above its noise.

    This is the best-fitting sum of an elliptical Moffat profile and an elliptical Gaussian, plus
    those separable terms of the residual whose singular values exceed the optimal hard threshold
    for square matrices in white noise (Gavish & Donoho 2014, IEEE Trans. Inf. Theory 60, 5040,
    eq. 3). Noise would also cost time, since it raises the rank of the point-source tables.

    Parameters
    ----------
    psf : PSF
        The measured PSF. Its noise is measured from the samples beyond `OUTER` FWHM.

    Returns
    -------
    PSF
        The denoised PSF, or the same one if it has too few samples beyond `OUTER` FWHM.
    """
    samples = psf.pixels
    rows, columns = (np.arange(n) - n // 2 for n in samples.shape)
    y, x = (axis / psf.oversampling for axis in np.meshgrid(rows, columns, indexing="ij"))
    outer = np.hypot(x, y) > OUTER * psf.fwhm
    if outer.sum() < samples.size // 8:
        return psf
    smooth = _profile(samples, x, y, psf.fwhm)
    residual = samples - smooth
    sigma = mad_sigma(residual[outer])
    left, values, right = np.linalg.svd(residual, full_matrices=False)
    kept = values > HARD_THRESHOLD * sigma * math.sqrt(max(samples.shape))
    cleaned = smooth + (left[:, kept] * values[kept]) @ right[kept]
    return PSF.from_pixels(cleaned, psf.oversampling)


def _profile(samples: np.ndarray, x: np.ndarray, y: np.ndarray, fwhm: float) -> np.ndarray:
    """Return the best-fitting sum of an elliptical Moffat profile and an elliptical Gaussian."""
    peak = float(samples.max())

    def square(width: float, first: float, second: float, centre: np.ndarray) -> np.ndarray:
        dx, dy = x - centre[0], y - centre[1]
        stretched = np.exp(first) * dx**2 + np.exp(-first) * dy**2 + 2.0 * second * dx * dy
        return np.maximum(stretched, 0.0) / np.exp(2.0 * width)

    def model(values: np.ndarray) -> np.ndarray:
        centre = values[:2]
        core = (1.0 + square(values[3], values[4], values[5], centre)) ** -np.exp(values[6])
        wide = np.exp(-0.5 * square(values[8], values[9], values[10], centre))
        return peak * (values[2] * core + values[7] * wide)

    scale = math.log(fwhm)
    start = np.array([0, 0, 0.9, scale, 0, 0, math.log(3.0), 0.1, scale - 0.3, 0, 0])
    fitted = least_squares(lambda values: (model(values) - samples).ravel() / peak, start)
    return model(fitted.x)
