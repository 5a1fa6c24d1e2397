"""Robust measures of level and scatter, and constants of profiles."""

from __future__ import annotations

import math

import numpy as np

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a Gaussian in units of its median absolute deviation."""
FWHM_PER_SIGMA = math.sqrt(8.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian in standard deviations, 2 sqrt(2 ln 2), exact."""
ROUNDED_FWHM_PER_SIGMA = 2.355
"""`FWHM_PER_SIGMA` as the moves of the sampler and the sizes of its arrays use it.

The chain that follows from a seed depends on every digit of this value.
"""
HALF_LIGHT_MOMENT = 0.72
"""Second moment along an axis of a Gaussian of unit half-light radius, 1 / (2 ln 2).

The two digits are those that the moves of the sampler use; other profiles come near enough.
"""

# Second differences along both axes do not see a level or a slope; the noise keeps its scale.
_LAPLACIAN = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6.0


def sky_level(data: np.ndarray, good: np.ndarray) -> float:
    """Measure the level of the sky as a clipped median.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Pixel values.
    good : ndarray of bool, shape (ny, nx)
        Pixels to use.

    Returns
    -------
    float
        Level per pixel, in the unit of the data.
    """
    values = data[good]
    for _ in range(10):
        middle = np.median(values)
        spread = MAD_TO_SIGMA * np.median(np.abs(values - middle))
        kept = values[values <= middle + 3.0 * spread]
        if kept.size in (0, values.size):
            break
        values = kept
    return float(np.median(values))


def sky_sigma(data: np.ndarray, good: np.ndarray) -> float:
    """Measure the noise of a sky pixel from second differences of neighbouring pixels.

    The differences do not see a smooth sky, and only the fainter half of the neighbourhoods
    counts, so that sources add little: a robust form of the estimator of Immerkaer (1996,
    CVIU 64, 300). Noise that is correlated between neighbouring pixels is underestimated.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Pixel values.
    good : ndarray of bool, shape (ny, nx)
        Pixels to use.

    Returns
    -------
    float
        Standard deviation per pixel, in the unit of the data.
    """
    if min(data.shape) < 3:
        return mad_sigma(data[good])
    filled = np.where(good, data, 0.0)
    windows = np.lib.stride_tricks.sliding_window_view(filled, (3, 3))
    whole = np.lib.stride_tricks.sliding_window_view(good, (3, 3)).all(axis=(2, 3))
    if whole.sum() < 9:
        return mad_sigma(data[good])
    brightness = windows.mean(axis=(2, 3))
    faint = whole & (brightness <= np.median(brightness[whole]))
    differences = np.einsum("yxij,ij->yx", windows, _LAPLACIAN)
    return float(MAD_TO_SIGMA * np.median(np.abs(differences[faint])))


def mad_sigma(values: np.ndarray) -> float:
    """Return the robust standard deviation of values about their median.

    Parameters
    ----------
    values : ndarray
        Any shape, not empty.

    Returns
    -------
    float
        `MAD_TO_SIGMA` times the median absolute deviation.
    """
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))
