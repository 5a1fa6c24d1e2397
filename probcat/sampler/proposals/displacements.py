"""Proposed displacements between two sources: isotropic mixtures of a narrow and a wide Gaussian.

`sample_displacement` is for a companion of a source that stays where it is, `sample_separation`
for the two halves of a source that is split.
"""

import jax.numpy as jnp
from jax import Array

from probcat.sampler.proposals.fluxes import HALF_LOG_TWO_PI

DISPLACEMENT_WIDTHS = (0.3, 0.8)
"""Standard deviations per axis of `sample_displacement`, in units of its scale."""
SEPARATION_WIDTHS = (0.5, 1.3)
"""Standard deviations per axis of `sample_separation`, in units of its scale."""


def sample_displacement(uniform: Array, scale: Array) -> Array:
    """Draw the displacement of a companion from its host.

    Parameters
    ----------
    uniform : Array, shape (3,)
        Uniform random numbers.
    scale : Array, shape ()
        Unit of `DISPLACEMENT_WIDTHS` in pixels, in most moves a multiple of the FWHM of the PSF.

    Returns
    -------
    Array, shape (2,)
        Displacement (x, y) in pixels.
    """
    return _sample(uniform, scale, DISPLACEMENT_WIDTHS)


def log_displacement_density(square: Array, scale: Array) -> Array:
    """Return the log density, per square pixel, of `sample_displacement` at a squared distance."""
    return _log_density(square, scale, DISPLACEMENT_WIDTHS)


def sample_separation(uniform: Array, scale: Array) -> Array:
    """Draw the separation of two sources whose centroid is known.

    Parameters
    ----------
    uniform : Array, shape (3,)
        Uniform random numbers.
    scale : Array, shape ()
        Unit of `SEPARATION_WIDTHS` in pixels, such as `pairs.pair_scale`.

    Returns
    -------
    Array, shape (2,)
        Separation (x, y) in pixels.
    """
    return _sample(uniform, scale, SEPARATION_WIDTHS)


def log_separation_density(square: Array, scale: Array) -> Array:
    """Return the log density, per square pixel, of `sample_separation` at a squared distance."""
    return _log_density(square, scale, SEPARATION_WIDTHS)


def _sample(uniform: Array, scale: Array, widths: tuple[float, float]) -> Array:
    """Draw from two equally probable Gaussians, by the method of Box & Muller."""
    width = jnp.where(uniform[0] < 0.5, widths[0], widths[1]) * scale
    length = width * jnp.sqrt(-2.0 * jnp.log(uniform[1]))
    angle = 2.0 * jnp.pi * uniform[2]
    return length * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def _log_density(square: Array, scale: Array, widths: tuple[float, float]) -> Array:
    """Return the log density of `_sample` in two dimensions."""

    def log_gaussian(width: Array) -> Array:
        return -0.5 * square / width**2 - 2.0 * (HALF_LOG_TWO_PI + jnp.log(width))

    both = jnp.logaddexp(log_gaussian(widths[0] * scale), log_gaussian(widths[1] * scale))
    return both - jnp.log(2.0)
