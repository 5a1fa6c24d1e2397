"""Robust measures of level and scatter, and constants of profiles."""

from __future__ import annotations

import numpy as np

_MAD_TO_SIGMA = 1.4826


# Second differences along both axes: blind to a level and to slopes, unit noise gain.
_LAPLACIAN = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6.0


def sky_level(data: np.ndarray, good: np.ndarray) -> float:
    """Measure the sky as the clipped median.

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
        spread = _MAD_TO_SIGMA * np.median(np.abs(values - middle))
        kept = values[values <= middle + 3.0 * spread]
        if kept.size in (0, values.size):
            break
        values = kept
    return float(np.median(values))


def sky_sigma(data: np.ndarray, good: np.ndarray) -> float:
    """Measure the noise of a sky pixel from second differences of neighbours.

    The differences do not see a smooth sky, and only the fainter half of the neighbourhoods
    counts, so that sources add little (Immerkaer 1996, CVIU 64, 300, made robust). Noise that
    is correlated between neighbours is underestimated.

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
        return _spread(data[good])
    filled = np.where(good, data, 0.0)
    windows = np.lib.stride_tricks.sliding_window_view(filled, (3, 3))
    whole = np.lib.stride_tricks.sliding_window_view(good, (3, 3)).all(axis=(2, 3))
    if whole.sum() < 9:
        return _spread(data[good])
    brightness = windows.mean(axis=(2, 3))
    faint = whole & (brightness <= np.median(brightness[whole]))
    differences = np.einsum("yxij,ij->yx", windows, _LAPLACIAN)
    return float(_MAD_TO_SIGMA * np.median(np.abs(differences[faint])))


def _spread(values: np.ndarray) -> float:
    """Robust standard deviation about the median."""
    return float(_MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))
