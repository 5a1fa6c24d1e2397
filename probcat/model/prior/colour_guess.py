"""Guess the colours of the sources of several images, for the default prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import map_coordinates, maximum_filter
from scipy.signal import fftconvolve

from probcat.image.alignment import Alignment
from probcat.model.image_map import to_image
from probcat.numerics.robust import MAD_TO_SIGMA

if TYPE_CHECKING:
    from probcat.image.image import Image

MIN_SIGNAL = 10.0
"""Smallest signal-to-noise ratio in the first band of the peaks that are used."""
MIN_SIGNAL_ELSEWHERE = 3.0
"""Smallest signal-to-noise ratio in another band of the peaks that are used."""
MIN_PEAKS = 8
"""Smallest number of peaks from which the colours of a band are guessed."""
MAX_PEAKS = 300
"""Largest number of peaks that are used."""
SCATTER_FACTOR = 1.5
"""Ratio of the width of the prior to the scatter of the colours of bright sources."""
MIN_SCATTER = 0.2
"""Smallest standard deviation of the prior of a colour."""
MAX_SCATTER = 1.5
"""Largest standard deviation of the prior of a colour."""


def guess_colours(
    images: Sequence[Image], links: Sequence[Alignment], levels: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Guess mean and scatter of the colours, from matched filters at bright peaks.

    Parameters
    ----------
    images : sequence of Image
        The first image of every band is used.
    links : sequence of Alignment
        Relation of every image to the first one.
    levels : sequence of float
        Guesses of the background level per pixel of every image.

    Returns
    -------
    mean, scatter : ndarray, shape (B - 1,)
        Mean and standard deviation of the natural logarithm of the flux ratio to the first band,
        for every other band. With too few peaks the mean is that of all light, and the scatter
        is the widest.
    """
    number = max(link.band for link in links) + 1
    of_band = [next(i for i, link in enumerate(links) if link.band == b) for b in range(number)]
    maps = [_filtered(images[i], levels[i]) for i in of_band]
    flux, error = maps[0]
    signal = flux / error
    peak = (signal == maximum_filter(signal, 3)) & (signal > MIN_SIGNAL)
    rows, cols = np.nonzero(peak)
    order = np.argsort(-signal[rows, cols])[:MAX_PEAKS]
    rows, cols = rows[order], cols[order]
    mean, scatter = np.zeros(number - 1), np.full(number - 1, MAX_SCATTER)
    for band in range(1, number):
        affine = links[of_band[band]].affine
        x, y = to_image(affine, affine[:, 2], cols, rows)
        other, other_error = (
            map_coordinates(plane, [y, x], order=1, cval=np.nan) for plane in maps[band]
        )
        good = np.isfinite(other) & (other > MIN_SIGNAL_ELSEWHERE * other_error)
        ratio = np.log(other[good] / flux[rows[good], cols[good]])
        if len(ratio) >= MIN_PEAKS:
            mean[band - 1] = np.median(ratio)
            spread = MAD_TO_SIGMA * np.median(np.abs(ratio - mean[band - 1]))
            scatter[band - 1] = np.clip(SCATTER_FACTOR * spread, MIN_SCATTER, MAX_SCATTER)
            continue
        light = [
            _all_light(images[of_band[b]], levels[of_band[b]], links[of_band[b]]) for b in (0, band)
        ]
        mean[band - 1] = np.log(light[1] / light[0])
    return mean, scatter


def _filtered(image: Image, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Flux of a point source at every pixel, and its error."""
    reach = np.arange(-image.psf.radius, image.psf.radius + 1.0)
    psf = image.psf.evaluate_grid(reach, reach)[::-1, ::-1]
    weight = image.weight.astype(np.float64)
    residual = np.where(weight > 0, image.clean_data - level, 0.0)
    score = fftconvolve(weight * residual, psf, mode="same")
    precision = fftconvolve(weight, psf**2, mode="same")
    precision = np.maximum(precision, 1e-6 * precision.max())
    return score / precision, 1.0 / np.sqrt(precision)


def _all_light(image: Image, level: float, link: Alignment) -> float:
    """Light above the background on a pixel of the first image; at least its own noise."""
    good = image.weight > 0
    noise = float(np.sqrt(np.sum(1.0 / image.weight[good])))
    light = float(np.sum(image.clean_data[good] - level))
    return max(light, noise) / link.flux_factor * link.scale**2 / np.count_nonzero(good)
