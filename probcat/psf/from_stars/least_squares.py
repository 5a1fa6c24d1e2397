"""Least-squares fit of the samples of a PSF to the pixels of stars."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.sparse.linalg import LinearOperator, cg

from probcat.psf.psf import PSF

SMOOTHNESS = 1e-3
"""Weight of the curvature of a correction, as a fraction of the weight of the pixels."""


class Star(NamedTuple):
    """Pixels around a star, from which all other light is subtracted.

    Attributes
    ----------
    data : ndarray, shape (n, n)
        Light of the star in every pixel.
    root_weight : ndarray, shape (n, n)
        Inverse standard deviation of the noise, 0 where a pixel is bad.
    x, y : float
        Position of the star in pixels of the array.
    flux : float
        Flux of the star, in the unit of the pixels.
    """

    data: np.ndarray
    root_weight: np.ndarray
    x: float
    y: float
    flux: float


def fit_samples(psf: PSF, stars: list[Star], oversampling: int) -> PSF:
    """Correct a PSF by a weighted least-squares fit to the pixels of stars.

    The fitted samples are those of the band-limited interpolation that `probcat.PSF` uses. Their
    correction is as smooth as the pixels allow: the sum of the squares of its Laplacian is kept
    small, which also fills in samples that no star constrains.

    Parameters
    ----------
    psf : PSF
        The PSF to correct.
    stars : list of Star
        The stars, with arrays of one size.
    oversampling : int
        Samples per pixel of the result.

    Returns
    -------
    PSF
        The corrected PSF, centred and of unit sum.
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
    residual = weight * np.stack([star.data for star in stars]) - predict(start)
    change = smooth_correction(
        lambda samples: gather(predict(samples)), gather(residual), float(np.sum(scale**2))
    )
    return unit_psf(start + change, oversampling)


def smooth_correction(
    normal: Callable[[np.ndarray], np.ndarray], right_side: np.ndarray, snr_squared: float
) -> np.ndarray:
    """Solve the normal equations of a correction to samples, with a penalty on its curvature.

    Parameters
    ----------
    normal : callable
        Function that multiplies samples, shape (n, m), by the normal matrix.
    right_side : ndarray, shape (n, m)
        Right-hand side of the equations.
    snr_squared : float
        Sum over pixels of flux squared times inverse variance, which sets the scale of the
        matrix.

    Returns
    -------
    ndarray, shape (n, m)
        The correction.
    """
    stiffness = SMOOTHNESS * snr_squared / right_side.size

    def product(vector: np.ndarray) -> np.ndarray:
        samples = vector.reshape(right_side.shape)
        rough = ndimage.laplace(ndimage.laplace(samples, mode="constant"), mode="constant")
        return np.ravel(normal(samples) + stiffness * rough)

    operator = LinearOperator((right_side.size,) * 2, matvec=product, dtype=float)
    change, _ = cg(operator, right_side.ravel(), rtol=1e-5, maxiter=300)
    return np.asarray(change).reshape(right_side.shape)


def unit_psf(samples: np.ndarray, oversampling: int) -> PSF:
    """Return a centred PSF of unit sum from samples on any scale."""
    return PSF.from_pixels(samples / samples.sum(), oversampling)
