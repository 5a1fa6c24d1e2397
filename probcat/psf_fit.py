"""Samples of a PSF by least squares for the pixels of stars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.sparse.linalg import LinearOperator, cg

from probcat.psf import PSF

SMOOTHNESS = 1e-3
"""Weight of the curvature of a correction, relative to that of the pixels."""


class Star(NamedTuple):
    """A star alone: what is left of its pixels when all other light is taken off.

    Parameters
    ----------
    data, root_weight : ndarray, shape (n, n)
        Pixels, and the inverse standard deviation of their noise, 0 where they are bad.
    x, y : float
        Position of the star in pixels of the array.
    flux : float
    """

    data: np.ndarray
    root_weight: np.ndarray
    x: float
    y: float
    flux: float


def fit_samples(psf: PSF, stars: list[Star], oversampling: int) -> PSF:
    """Correct a PSF by weighted least squares for the pixels of stars.

    The samples are those of the band-limited interpolation that `probcat.PSF` uses. Their
    correction is as smooth as the pixels allow: the sum of the squares of its Laplacian is
    kept small, which also fills what no star samples.

    Parameters
    ----------
    psf : PSF
        To start from.
    stars : list of Star
    oversampling : int
        Samples per pixel of the result.

    Returns
    -------
    PSF
    """
    half = stars[0].data.shape[0] // 2
    grid = np.arange(-half * oversampling, half * oversampling + 1)
    side = np.arange(2 * half + 1)
    bases = []
    for star in stars:
        down, across = (
            np.sinc((side - centre)[:, None] * oversampling - grid) for centre in (star.y, star.x)
        )
        bases.append((down, across, star.flux * star.root_weight))

    def predict(samples: np.ndarray) -> list[np.ndarray]:
        return [scale * (down @ samples @ across.T) for down, across, scale in bases]

    def gather(parts: list[np.ndarray]) -> np.ndarray:
        return sum(
            (d.T @ (scale * part) @ a for part, (d, a, scale) in zip(parts, bases, strict=True)),
            np.zeros((len(grid), len(grid))),
        )

    stiffness = SMOOTHNESS * sum(float(np.sum(scale**2)) for *_, scale in bases) / len(grid) ** 2

    def normal(vector: np.ndarray) -> np.ndarray:
        samples = vector.reshape(len(grid), -1)
        rough = ndimage.laplace(ndimage.laplace(samples, mode="constant"), mode="constant")
        return (gather(predict(samples)) + stiffness * rough).ravel()

    start = psf.evaluate_grid(grid / oversampling, grid / oversampling)
    left = [
        star.root_weight * star.data - part
        for star, part in zip(stars, predict(start), strict=True)
    ]
    operator = LinearOperator((grid.size**2,) * 2, matvec=normal, dtype=float)
    change, _ = cg(operator, gather(left).ravel(), rtol=1e-5, maxiter=300)
    return unit_psf(start + change.reshape(start.shape), oversampling)


def unit_psf(samples: np.ndarray, oversampling: int) -> PSF:
    """Make a centred PSF of samples on any scale."""
    psf: PSF = PSF.from_pixels(samples / samples.sum(), oversampling)
    return psf
