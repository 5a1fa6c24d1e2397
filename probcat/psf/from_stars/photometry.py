"""Point sources that are found and fitted while a PSF is being measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import lsmr

from probcat.numerics.robust import sky_level

if TYPE_CHECKING:
    from probcat.psf.psf import PSF

DETECTED = 5.0
"""Least signal-to-noise ratio of the peak pixel of a modelled source."""
NUM_STEPS = 2
"""Number of steps in a fit of positions."""
MAX_STEP = 0.3
"""Greatest length of a step along an axis in pixels."""
DIFFERENCE = 0.05
"""Displacement in pixels for numerical derivatives with respect to the position."""
BATCH = 100
"""Number of sources that are rendered at a time."""
MODEL_ERROR = 0.02
"""Error of modelled light as a fraction of it, where further peaks are looked for."""


class FittedSources(NamedTuple):
    """Point sources that were fitted.

    Attributes
    ----------
    position : ndarray, shape (n, 2)
        Positions (x, y) in padded pixels.
    flux : ndarray, shape (n,)
        Fluxes in the unit of the pixels.
    """

    position: np.ndarray
    flux: np.ndarray


@dataclass(frozen=True, eq=False)
class Field:
    """Pixels of an image, padded so that the box around any source lies within them.

    Parameters
    ----------
    signal : ndarray, shape (ny, nx)
        Pixels above the sky, 0 where they are bad.
    sigma : ndarray, shape (ny, nx)
        Standard deviation of the noise.
    good : ndarray of bool, shape (ny, nx)
        True where a pixel can be used.
    half : int
        Half side of the box around a star in pixels, and width of the padding.
    """

    signal: np.ndarray
    sigma: np.ndarray
    good: np.ndarray
    half: int

    @classmethod
    def from_image(
        cls, data: np.ndarray, variance: np.ndarray, mask: np.ndarray, half: int = 0
    ) -> Field:
        """Subtract the sky from an image, and pad it by `half` pixels."""
        good = ~mask & np.isfinite(data) & (variance > 0) & np.isfinite(variance)
        level = sky_level(data, good) if good.any() else 0.0
        signal = np.pad(np.where(good, data - level, 0.0), half)
        sigma = np.pad(np.sqrt(np.where(good, variance, 1.0)), half, constant_values=1.0)
        return cls(signal, sigma, np.pad(good, half), half)

    @property
    def root_weight(self) -> np.ndarray:
        """Inverse standard deviation of the noise, 0 where a pixel is bad."""
        return np.where(self.good, 1.0 / self.sigma, 0.0)

    def box(self, x: float, y: float, half: int | None = None) -> tuple[slice, slice]:
        """Return the box of pixels around a position, as slices (rows, columns)."""
        half = self.half if half is None else half
        row, column = round(y), round(x)
        return slice(row - half, row + half + 1), slice(column - half, column + half + 1)

    def around(self, positions: np.ndarray) -> Field:
        """Return a copy in which only pixels in the boxes around some positions can be used."""
        near = np.zeros_like(self.good)
        for x, y in positions:
            near[self.box(x, y)] = True
        return Field(self.signal, self.sigma, self.good & near, self.half)


def find_peaks(
    field: Field, model: np.ndarray | None = None, threshold: float = DETECTED
) -> np.ndarray:
    """Find local maxima above the noise.

    Parameters
    ----------
    field : Field
        The pixels.
    model : ndarray, shape (ny, nx), optional
        Light to subtract first; its error (`MODEL_ERROR`) counts as noise.
    threshold : float
        Least signal-to-noise ratio of the peak pixel.

    Returns
    -------
    ndarray, shape (n, 2)
        Positions (x, y) in padded pixels, the brightest first.
    """
    light = np.zeros_like(field.signal) if model is None else model
    signal = np.where(field.good, field.signal - light, 0.0)
    smooth = ndimage.gaussian_filter(signal, 0.7)
    noise = np.hypot(field.sigma, MODEL_ERROR * light)
    top = smooth == ndimage.maximum_filter(smooth, 3)
    rows, columns = np.nonzero(top & field.good & (signal > threshold * noise))
    order = np.argsort(-signal[rows, columns], kind="stable")
    return np.stack([columns[order], rows[order]], axis=1).astype(float)


def fit_sources(
    field: Field, psf: PSF, positions: np.ndarray
) -> tuple[FittedSources, float, np.ndarray]:
    """Fit the fluxes and positions of all sources and a constant level together.

    Parameters
    ----------
    field : Field
        The pixels.
    psf : PSF
        PSF of the sources.
    positions : ndarray, shape (n, 2)
        Initial positions (x, y) in padded pixels.

    Returns
    -------
    sources : FittedSources
        The sources, in the order of the positions.
    level : float
        Level of the background above the subtracted sky.
    model : ndarray, shape (ny, nx)
        Light of the sources.
    """
    flux, level = _solve(field, _columns(field, psf, positions))
    flux = np.maximum(flux, 0.0)
    for _ in range(NUM_STEPS):
        solution, _ = _solve(field, _columns(field, psf, positions, flux))
        flux = np.maximum(solution[::3], 0.0)
        step = np.stack([solution[1::3], solution[2::3]], axis=1)
        positions = positions + np.clip(step, -MAX_STEP, MAX_STEP)
        low, high = field.half, np.array(field.signal.shape[::-1]) - field.half - 1.0
        positions = np.clip(positions, low, high)
    columns = _columns(field, psf, positions)
    flux, level = _solve(field, columns)
    flux = np.maximum(flux, 0.0)
    return FittedSources(positions, flux), level, (columns @ flux).reshape(field.signal.shape)


def _columns(
    field: Field, psf: PSF, positions: np.ndarray, flux: np.ndarray | None = None
) -> sparse.csc_matrix:
    """Return the image of every source as a column; with fluxes, also its slopes by x and y."""
    number, width = len(positions), field.signal.shape[1]
    nearest = np.rint(positions).astype(int)
    reach = np.arange(-field.half, field.half + 1)
    columns, rows = (nearest[:, axis, None] + reach for axis in (0, 1))
    pixels = (rows[:, :, None] * width + columns[:, None, :]).reshape(number, 1, -1)
    along, across = rows - positions[:, 1:], columns - positions[:, :1]
    kinds = 1 if flux is None else 3
    values = np.empty((number, kinds, reach.size**2))
    for start in range(0, number, BATCH):
        some = slice(start, start + BATCH)
        x, y = across[some], along[some]
        values[some, 0] = _stamps(psf, x, y)
        if flux is not None:
            slope = flux[some, None] / (2.0 * DIFFERENCE)
            steps = (_stamps(psf, x - DIFFERENCE, y), _stamps(psf, x + DIFFERENCE, y))
            values[some, 1] = slope * (steps[0] - steps[1])
            steps = (_stamps(psf, x, y - DIFFERENCE), _stamps(psf, x, y + DIFFERENCE))
            values[some, 2] = slope * (steps[0] - steps[1])
    return sparse.csc_matrix(
        (
            values.ravel(),
            np.broadcast_to(pixels, values.shape).ravel(),
            reach.size**2 * np.arange(number * kinds + 1),
        ),
        shape=(field.signal.size, number * kinds),
    )


def _stamps(psf: PSF, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return values of the PSF on grids of displacements x, y of shape (n, side), flattened."""
    across = psf.basis(x.ravel(), 1).reshape(*x.shape, -1)
    along = (psf.basis(y.ravel(), 0) @ psf.pixels).reshape(*y.shape, -1)
    return np.einsum("nis,njs->nij", along, across).reshape(len(x), -1)


def _solve(field: Field, columns: sparse.csc_matrix) -> tuple[np.ndarray, float]:
    """Return the weighted least-squares coefficients of the columns, and a constant level."""
    weight = field.root_weight.ravel()
    level = sparse.csc_matrix(np.ones((field.signal.size, 1)))
    design = (sparse.diags(weight) @ sparse.hstack([columns, level])).tocsc()
    norm = np.sqrt(np.asarray(design.multiply(design).sum(axis=0)).ravel())
    norm[norm == 0.0] = 1.0
    target = weight * field.signal.ravel()
    scaled = lsmr(design @ sparse.diags(1.0 / norm), target, atol=1e-8, btol=1e-8, maxiter=400)[0]
    return scaled[:-1] / norm[:-1], float(scaled[-1] / norm[-1])


def light_of(psf: PSF, sources: FittedSources, number: int, box: tuple[slice, slice]) -> np.ndarray:
    """Return the light of one source in a box of padded pixels."""
    rows, columns = (np.arange(side.start, side.stop) for side in box)
    x, y = sources.position[number]
    return sources.flux[number] * psf.evaluate_grid(columns - x, rows - y)
