"""Arrays of PSF samples: check, taper the border, find the centroid, shift."""

import math

import numpy as np

from probcat.errors import InputError
from probcat.numerics.robust import FWHM_PER_SIGMA

# Width in pixels over which the border of a PSF array is brought smoothly to zero.
TAPER = 1.5
_CENTROID_STEPS = 100
# Brightness of the border over that of the peak, and light over area of the middle.
LARGEST_BORDER, LEAST_CONCENTRATION = 0.3, 1.25


def taper(depth):
    """Smooth step from 0 (depth <= 0) to 1 (depth >= 1)."""
    return np.sin(0.5 * np.pi * np.clip(depth, 0.0, 1.0)) ** 2


def border_taper(n, oversampling):
    """Taper of an axis of n samples, zero one sample outside the array."""
    edge = np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1))
    return taper(edge / (TAPER * oversampling))


def checked(array, oversampling):
    """Return the array as float64, or raise InputError."""
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


def why_no_psf(samples):
    """Say why samples are not those of a PSF, or give an empty string.

    A PSF has its peak near the middle of its array, falls off towards the border, and holds
    more of its light in the middle than an array of stars or of sky does.
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, 1), (3, 3))
    smooth = windows.mean(axis=(2, 3))
    inner = samples[1:-1, 1:-1]
    border = (samples.sum() - inner.sum()) / (samples.size - inner.size)
    if border > LARGEST_BORDER * smooth.max():
        return f"its border has {border / smooth.max():.2f} of the brightness of its peak"
    row, column = np.unravel_index(np.argmax(smooth), samples.shape)
    middle = [n // 2 for n in samples.shape]
    reach = [max(1, n // 4) for n in samples.shape]
    if any(abs(p - m) > r + 1 for p, m, r in zip((row, column), middle, reach, strict=True)):
        return f"its brightest part is at (x, y) = ({column}, {row}), far from the middle"
    centre = tuple(slice(m - r, m + r + 1) for m, r in zip(middle, reach, strict=True))
    share, area = samples[centre].sum() / samples.sum(), samples[centre].size / samples.size
    if not share > LEAST_CONCENTRATION * area:
        return f"the middle {area:.0%} of its area hold {share:.0%} of its light"
    return ""


def flux_note(total, oversampling):
    """Say so when the input is on neither of the two usual scales."""
    if min(abs(total - 1.0), abs(total / oversampling**2 - 1.0)) <= 0.01:
        return ()
    return (f"PSF array summed to {total:.4g}; normalised to unit flux",)


def centroid(samples):
    """Gaussian-weighted centroid (y, x), in samples from the centre.

    The weight is as wide as the core and follows it, so that noise in the wings has no say:
    the fixed point of adaptive moments (Bernstein & Jarvis 2002, section 3.1).
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
        # A weight of the profile's own width halves the offset: hence the factor 2.
        step = 2.0 * np.array([weighted.sum(1) @ dy, weighted.sum(0) @ dx]) / total
        centre += step
        if np.abs(step).max() < 1e-8:
            return centre
        if np.any(np.abs(centre) > np.array(samples.shape) / 2):
            break
    raise InputError("the PSF has no core: its centroid cannot be measured")


def shifted(samples, offset_y, offset_x):
    """Move the point (offset_y, offset_x) to the central sample, by a Fourier shift."""
    margins = [(abs(round(offset)),) * 2 for offset in (offset_y, offset_x)]
    samples = np.pad(samples, margins)
    rows, cols = (
        np.sinc(np.subtract.outer(np.arange(n) + offset, np.arange(n)))
        for n, offset in zip(samples.shape, (offset_y, offset_x), strict=True)
    )
    return rows @ samples @ cols.T
