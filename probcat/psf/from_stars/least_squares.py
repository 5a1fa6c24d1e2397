"""Samples of a PSF by least squares for the pixels of stars."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.sparse.linalg import LinearOperator, cg

from probcat.psf.psf import PSF

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
    weight = np.stack([star.root_weight for star in stars])
    scale = weight * np.array([star.flux for star in stars])[:, None, None]
    down, across = (
        np.sinc((side - np.array(centres)[:, None])[..., None] * oversampling - grid)
        for centres in ([star.y for star in stars], [star.x for star in stars])
    )

    def predict(samples: np.ndarray) -> np.ndarray:
        return scale * np.einsum(
            "nis,njs->nij", (down.reshape(-1, grid.size) @ samples).reshape(down.shape), across
        )

    def gather(parts: np.ndarray) -> np.ndarray:
        rows = np.einsum("nij,njs->nis", scale * parts, across)
        return np.einsum("nir,nis->rs", down, rows, optimize=True)

    start = psf.evaluate_grid(grid / oversampling, grid / oversampling)
    left = weight * np.stack([star.data for star in stars]) - predict(start)
    change = smooth_correction(
        lambda samples: gather(predict(samples)), gather(left), float(np.sum(scale**2))
    )
    return unit_psf(start + change, oversampling)


def smooth_correction(
    normal: Callable[[np.ndarray], np.ndarray], pull: np.ndarray, information: float
) -> np.ndarray:
    """Solve the normal equations of a correction of samples, with a small Laplacian.

    Parameters
    ----------
    normal : callable
        Product of the normal matrix with samples.
    pull : ndarray, shape (n, m)
        Right-hand side.
    information : float
        Sum over pixels of inverse variance times flux squared, the scale of the matrix.

    Returns
    -------
    ndarray, shape (n, m)
    """
    stiffness = SMOOTHNESS * information / pull.size

    def product(vector: np.ndarray) -> np.ndarray:
        samples = vector.reshape(pull.shape)
        rough = ndimage.laplace(ndimage.laplace(samples, mode="constant"), mode="constant")
        return np.ravel(normal(samples) + stiffness * rough)

    operator = LinearOperator((pull.size,) * 2, matvec=product, dtype=float)
    change, _ = cg(operator, pull.ravel(), rtol=1e-5, maxiter=300)
    return np.asarray(change).reshape(pull.shape)


def unit_psf(samples: np.ndarray, oversampling: int) -> PSF:
    """Make a centred PSF of samples on any scale."""
    psf: PSF = PSF.from_pixels(samples / samples.sum(), oversampling)
    return psf
