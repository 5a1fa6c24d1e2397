"""Light of sampled catalogs in fixed blocks of an image, a label-free view of all sources.

Which source of one draw is which source of another is unknown, and a blend may be one source in
some draws and two in others. Its light in a part of the image is well defined in every draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import erf

from probcat.numerics.robust import FWHM_PER_SIGMA, HALF_LIGHT_MOMENT
from probcat.samples.samples import Samples

MIN_LIGHT = 0.5
"""Smallest mean light of a block that is judged, in units of the prior's lowest flux.

An isolated star in the middle of a block puts 0.58 of its flux there. A block with less light than
half of the faintest possible source holds none in many draws, and its light then depends on rare
births that say little about the catalog.
"""
MIN_FRACTION = 1e-3
"""Smallest fraction of all light in a block that is judged, if the lowest flux is not known."""
MAX_BLOCKS = 1000
"""Largest number of blocks that are judged; of more blocks, evenly spaced ones are."""
_REACH = 4.0
"""Distance from a source, in standard deviations, beyond which its light is neglected."""
_MAX_CELLS = 2**20
"""Largest number of pairs of a source and a block that are in memory at once."""


@dataclass(frozen=True)
class BlockLight:
    """Light in blocks of the first image.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Centres of the blocks in pixels.
    light : ndarray, shape (n, chain, draw)
        Light of the sampled sources in each block, in the unit of their fluxes.
    """

    x: np.ndarray
    y: np.ndarray
    light: np.ndarray


class _Grid(NamedTuple):
    """Division of an image into equal blocks."""

    columns: int
    rows: int
    width: float
    height: float

    @property
    def size(self) -> int:
        """Number of blocks."""
        return self.columns * self.rows


def block_light(samples: Samples, max_blocks: int = MAX_BLOCKS) -> BlockLight | None:
    """Compute the light of every draw in the blocks of an image that hold light.

    Blocks are about as wide as the PSF. The light of a source is that of a round Gaussian whose
    variance is the sum of those of the PSF and of the source's profile; nothing is rendered.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior, with the attributes `psf_fwhm` and `image_shapes`.
    max_blocks : int
        Largest number of blocks.

    Returns
    -------
    BlockLight or None
        Blocks whose mean light is at least `MIN_LIGHT` times the lowest flux of the prior, or
        `MIN_FRACTION` of all light if that flux is not among the attributes; None if the
        attributes do not tell the size of the image and the width of the PSF.
    """
    fwhm, shapes = samples.attrs.get("psf_fwhm"), samples.attrs.get("image_shapes")
    if fwhm is None or not shapes:
        return None
    grid = _make_grid(shapes[0], float(fwhm))
    sources = _Sources.of(samples, float(fwhm))
    num_samples = samples.num_chains * samples.num_draws
    total = np.zeros(grid.size)
    for _, cell, light in _spread(sources, grid):
        total += np.bincount(cell, light, minlength=grid.size)
    mean = total / max(num_samples, 1)
    chosen = np.flatnonzero(mean >= max(_threshold(samples, mean), np.finfo(float).tiny))
    if len(chosen) > max_blocks:
        chosen = chosen[np.linspace(0, len(chosen) - 1, max_blocks).round().astype(int)]
    found = np.zeros((num_samples, len(chosen)))
    column = np.full(grid.size, -1)
    column[chosen] = np.arange(len(chosen))
    for sample, cell, light in _spread(sources, grid):
        use = column[cell] >= 0
        first, last = sample[0], sample[-1] + 1
        part = found[first:last]
        key = (sample[use] - first) * len(chosen) + column[cell[use]]
        part += np.bincount(key, light[use], minlength=part.size).reshape(part.shape)
    row, of_row = np.divmod(chosen, grid.columns)
    x, y = (of_row + 0.5) * grid.width - 0.5, (row + 0.5) * grid.height - 0.5
    return BlockLight(x, y, found.T.reshape(-1, samples.num_chains, samples.num_draws))


def _threshold(samples: Samples, mean: np.ndarray) -> float:
    """Smallest mean light of a block that is judged."""
    flux_min = (samples.attrs.get("prior") or {}).get("flux_min")
    return MIN_FRACTION * float(mean.sum()) if flux_min is None else MIN_LIGHT * float(flux_min)


def _make_grid(shape: tuple[int, int], fwhm: float) -> _Grid:
    """Blocks of about one FWHM that cover an image exactly."""
    rows, columns = (max(1, round(pixels / fwhm)) for pixels in shape)
    return _Grid(columns, rows, shape[1] / columns, shape[0] / rows)


class _Sources(NamedTuple):
    """Sources of all draws, in the order of `sample`, the number of their draw."""

    sample: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray

    @classmethod
    def of(cls, samples: Samples, fwhm: float) -> _Sources:
        """Active sources of samples."""
        flat = samples.flatten()
        extended = np.asarray(flat["is_extended"], dtype=bool)
        radius = np.where(extended, flat["half_light_radius"], 0.0).astype(np.float64)
        sigma = np.sqrt((fwhm / FWHM_PER_SIGMA) ** 2 + HALF_LIGHT_MOMENT * radius**2)
        x, y, flux = (flat[name].astype(np.float64) for name in ("x", "y", "flux"))
        return cls(flat["sample"], x, y, flux, sigma)

    def take(self, rows: np.ndarray) -> _Sources:
        """Some of the sources."""
        return _Sources(*(values[rows] for values in self))


def _spread(sources: _Sources, grid: _Grid) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield sample, block and light of pairs of a source and a block in its reach."""
    reach = np.ceil(_REACH * sources.sigma / min(grid.width, grid.height)).astype(int)
    for half in np.unique(reach):
        rows = np.flatnonzero(reach == half)
        step = max(1, _MAX_CELLS // (2 * half + 1) ** 2)
        for start in range(0, len(rows), step):
            part = sources.take(rows[start : start + step])
            column, along_x = _along(part.x, part.sigma, grid.width, grid.columns, half)
            row, along_y = _along(part.y, part.sigma, grid.height, grid.rows, half)
            light = part.flux[:, None, None] * along_y[:, :, None] * along_x[:, None, :]
            cell = row[:, :, None] * grid.columns + column[:, None, :]
            sample = np.broadcast_to(part.sample[:, None, None], cell.shape)
            yield sample.ravel(), cell.ravel(), light.ravel()


def _along(
    centre: np.ndarray, sigma: np.ndarray, width: float, count: int, half: int
) -> tuple[np.ndarray, np.ndarray]:
    """Blocks around each source along an axis, and fractions of its light; 0 outside the image."""
    nearest = np.floor((centre + 0.5) / width).astype(int)
    index = nearest[:, None] + np.arange(-half, half + 1)
    edges = np.concatenate([index, index[:, -1:] + 1], axis=1) * width - 0.5
    below = 0.5 * erf((edges - centre[:, None]) / (math.sqrt(2.0) * sigma[:, None]))
    inside = (index >= 0) & (index < count)
    return np.clip(index, 0, count - 1), np.where(inside, np.diff(below, axis=1), 0.0)
