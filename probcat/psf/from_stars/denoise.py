"""Take the noise out of a PSF that was measured from stars."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import least_squares

from probcat.numerics.robust import mad_sigma
from probcat.psf.psf import PSF

OUTER = 2.5
"""Where only noise is left, in FWHM."""
HARD_THRESHOLD = 4.0 / math.sqrt(3.0)
"""Of the singular values of a square matrix, times the noise and the root of its side."""


def without_noise(psf: PSF) -> PSF:
    """Keep of a measured PSF what stands out of its noise.

    That is the best elliptical profile of a Moffat core and a Gaussian, and of what it leaves
    the separable parts whose singular values exceed the optimal hard threshold for matrices in
    white noise (Gavish & Donoho 2014, IEEE Trans. Inf. Theory 60, 5040, eq. 3). Noise would
    cost time as well: it makes point-source tables of a high rank.

    Parameters
    ----------
    psf : PSF
        Its noise is that of the samples beyond `OUTER` FWHM.

    Returns
    -------
    PSF
        Itself, where it is too small to show its noise.
    """
    samples = psf.pixels
    rows, columns = (np.arange(n) - n // 2 for n in samples.shape)
    y, x = (axis / psf.oversampling for axis in np.meshgrid(rows, columns, indexing="ij"))
    outer = np.hypot(x, y) > OUTER * psf.fwhm
    if outer.sum() < samples.size // 8:
        return psf
    smooth = _profile(samples, x, y, psf.fwhm)
    rest = samples - smooth
    sigma = mad_sigma(rest[outer])
    left, values, right = np.linalg.svd(rest, full_matrices=False)
    kept = values > HARD_THRESHOLD * sigma * math.sqrt(max(samples.shape))
    cleaned = smooth + (left[:, kept] * values[kept]) @ right[kept]
    result: PSF = PSF.from_pixels(cleaned, psf.oversampling)
    return result


def _profile(samples: np.ndarray, x: np.ndarray, y: np.ndarray, fwhm: float) -> np.ndarray:
    """Fit an elliptical Moffat and a Gaussian of one centre and one ellipticity each."""
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
