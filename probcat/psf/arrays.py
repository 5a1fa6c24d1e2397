"""Arrays of PSF samples: check them, taper their border, measure and shift their centroid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.numerics.robust import FWHM_PER_SIGMA

TAPER = 1.5
"""Width in pixels over which the border of a PSF array is brought smoothly to zero."""
MAX_BORDER = 0.3
"""Greatest mean brightness of the border of a PSF array, as a fraction of the peak."""
MIN_CONCENTRATION = 1.25
"""Least fraction of the light in the middle of a PSF array, over its fraction of the area."""
_CENTROID_STEPS = 100


def taper(depth: np.ndarray) -> np.ndarray:
    """Return a smooth step from 0 (depth <= 0) to 1 (depth >= 1)."""
    return np.sin(0.5 * np.pi * np.clip(depth, 0.0, 1.0)) ** 2


def border_taper(n: int, oversampling: int) -> np.ndarray:
    """Return the taper along an axis of n samples; it reaches zero one sample outside the array."""
    edge = np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1))
    return taper(edge / (TAPER * oversampling))


def checked(array: Any, oversampling: float) -> np.ndarray:
    """Return samples of a PSF as a float64 copy.

    Parameters
    ----------
    array : array_like, shape (ny, nx)
        Samples on any scale of values.
    oversampling : int
        Samples per image pixel along each axis.

    Returns
    -------
    ndarray, shape (ny, nx)
        The same samples.

    Raises
    ------
    InputError
        If they are not a finite two-dimensional array with a positive sum, or `oversampling` is
        not a positive whole number.
    """
    if oversampling != int(oversampling) or oversampling < 1:
        raise InputError(f"PSF oversampling must be a positive whole number, not {oversampling}")
    samples = np.array(array, dtype=float)
    if samples.ndim != 2:
        raise InputError(f"a PSF must be a two-dimensional array, not of shape {samples.shape}")
    if min(samples.shape) < 3:
        raise InputError(f"a PSF array of shape {samples.shape} is too small")
    bad = np.count_nonzero(~np.isfinite(samples))
    if bad:
        raise InputError(f"the PSF has {bad} non-finite values")
    if samples.sum() <= 0.0:
        raise InputError(f"the sum of the PSF must be positive, not {samples.sum():g}")
    return samples


def why_no_psf(samples: np.ndarray) -> str:
    """Return the reason why samples are not those of a PSF, or an empty string.

    A PSF has its peak near the middle of its array, falls off towards the border, and is more
    concentrated than an array of stars or of sky.

    Parameters
    ----------
    samples : ndarray, shape (ny, nx)
        Finite samples with a positive sum.
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, 1), (3, 3))
    smooth = windows.mean(axis=(2, 3))
    inner = samples[1:-1, 1:-1]
    border = (samples.sum() - inner.sum()) / (samples.size - inner.size)
    if border > MAX_BORDER * smooth.max():
        return f"its border has {border / smooth.max():.2f} of the brightness of its peak"
    row, column = np.unravel_index(np.argmax(smooth), samples.shape)
    middle = [n // 2 for n in samples.shape]
    reach = [max(1, n // 4) for n in samples.shape]
    if any(abs(p - m) > r + 1 for p, m, r in zip((row, column), middle, reach, strict=True)):
        return f"its brightest part is at (x, y) = ({column}, {row}), far from the middle"
    centre = tuple(slice(m - r, m + r + 1) for m, r in zip(middle, reach, strict=True))
    light, area = samples[centre].sum() / samples.sum(), samples[centre].size / samples.size
    if not light > MIN_CONCENTRATION * area:
        return f"the middle {area:.0%} of its area hold {light:.0%} of its light"
    return ""


def flux_note(total: float, oversampling: int) -> tuple[str, ...]:
    """Return a note if samples sum to neither one nor one per pixel, the two usual scales."""
    if min(abs(total - 1.0), abs(total / oversampling**2 - 1.0)) <= 0.01:
        return ()
    return (f"PSF array summed to {total:.4g}; normalised to unit flux",)


def centroid(samples: np.ndarray) -> np.ndarray:
    """Return the Gaussian-weighted centroid (y, x), in samples from the centre of the array.

    The weight is as wide as the core and is centred on the centroid, so that noise in the wings
    does not count: the fixed point of adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583,
    section 3.1).

    Raises
    ------
    InputError
        If the samples have no core.
    """
    y, x = (np.arange(n) - n // 2 for n in samples.shape)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, 1), (3, 3))
    smooth = windows.sum(axis=(2, 3))
    row, col = np.unravel_index(np.argmax(smooth), smooth.shape)
    centre = np.array([y[row], x[col]], float)
    area = np.count_nonzero(samples > 0.5 * samples[row, col])
    sigma = max(1.0, 2.0 * math.sqrt(area / math.pi) / FWHM_PER_SIGMA)
    for _ in range(_CENTROID_STEPS):
        dy, dx = y - centre[0], x - centre[1]
        weighted = samples * np.exp(-0.5 * np.add.outer(dy**2, dx**2) / sigma**2)
        total = weighted.sum()
        if not total > 0.0:
            break
        # A weight as wide as the profile halves the offset, hence the factor 2.
        step = 2.0 * np.array([weighted.sum(1) @ dy, weighted.sum(0) @ dx]) / total
        centre += step
        if np.abs(step).max() < 1e-8:
            return centre
        if np.any(np.abs(centre) > np.array(samples.shape) / 2):
            break
    raise InputError("the PSF has no core: its centroid cannot be measured")


def shifted(samples: np.ndarray, offset_y: float, offset_x: float) -> np.ndarray:
    """Shift the point (offset_y, offset_x) to the central sample by sinc interpolation.

    Parameters
    ----------
    samples : ndarray, shape (ny, nx)
        Samples, which are zero outside the array.
    offset_y, offset_x : float
        Position of the point in samples from the centre.

    Returns
    -------
    ndarray
        Shifted samples. The array is wider on every side by the offset in whole samples.
    """
    margins = [(abs(round(offset)),) * 2 for offset in (offset_y, offset_x)]
    samples = np.pad(samples, margins)
    rows, cols = (
        np.sinc(np.subtract.outer(np.arange(n) + offset, np.arange(n)))
        for n, offset in zip(samples.shape, (offset_y, offset_x), strict=True)
    )
    return rows @ samples @ cols.T
