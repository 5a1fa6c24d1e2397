r"""Variances of pixels that depend on the light of the model.

With the light m of all sources in a pixel,

.. math:: v = s^2 (v_0 + m / g) + (\epsilon m)^2

where ``v_0`` is the variance without sources, ``g`` the gain (electrons per unit of flux; without
that term if ``v_0`` contains the photon noise already), ``s`` the scale of the noise, and
``epsilon`` the relative error of the PSF. Negative light, as in the wings of some PSFs, adds
nothing.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

LOG_TWO_PI = 1.8378770664093453
"""Natural logarithm of two pi."""


class Noise(NamedTuple):
    """Everything but the residual that the variances of an image or window depend on.

    Attributes
    ----------
    sky_subtracted : Array, shape (H, W)
        Data minus background, the sum of the residual and the light of all sources.
    base : Array, shape (H, W)
        Variance without sources, ``s**2 * v_0``; any positive number where masked.
    photon : Array, shape (H, 1) or ()
        Variance for one unit of light, ``s**2 / g``.
    floor : Array, shape (H, 1) or ()
        Square of the relative error of the PSF, ``epsilon**2``.
    """

    sky_subtracted: Array
    base: Array
    photon: Array
    floor: Array


def source_light(noise: Noise, residual: Array) -> Array:
    """Light of all sources, never below zero."""
    return jnp.maximum(noise.sky_subtracted - residual, 0.0)


def variance(noise: Noise, residual: Array) -> Array:
    """Variance of every pixel in a state with a given residual."""
    light = source_light(noise, residual)
    return noise.base + (noise.photon + noise.floor * light) * light


def pixel_log_likelihood_change(noise: Noise, lower: Array, upper: Array) -> Array:
    """Log likelihood of every pixel in the upper state minus that in the lower state.

    Differences are taken first, so that single precision is enough for sources of any brightness.

    Parameters
    ----------
    noise : Noise
        Noise of the pixels.
    lower, upper : Array, shape (H, W)
        Residuals of both states.
    """
    light, other = source_light(noise, lower), source_light(noise, upper)
    before = noise.base + (noise.photon + noise.floor * light) * light
    change = (noise.photon + noise.floor * (light + other)) * (other - light)
    relative = change / before
    fit = (lower - upper) * (lower + upper) + upper**2 * relative / (1.0 + relative)
    return 0.5 * (fit / before - jnp.log(1.0 + relative))


def log_density(noise: Noise, residual: Array) -> Array:
    """Log likelihood of every pixel."""
    spread = variance(noise, residual)
    return -0.5 * (residual**2 / spread + jnp.log(spread) + LOG_TWO_PI)


def score(noise: Noise, residual: Array) -> Array:
    """Derivative of the log likelihood of every pixel by the light in it."""
    spread, slope = _variance_and_slope(noise, residual)
    return (residual + 0.5 * slope * (residual**2 / spread - 1.0)) / spread


def fisher_information(noise: Noise, residual: Array) -> Array:
    """Fisher information on the light in every pixel, from its mean and from its variance."""
    spread, slope = _variance_and_slope(noise, residual)
    return (1.0 + 0.5 * slope**2 / spread) / spread


def _variance_and_slope(noise: Noise, residual: Array) -> tuple[Array, Array]:
    """Variance of every pixel, and its derivative by the light."""
    light = source_light(noise, residual)
    spread = noise.base + (noise.photon + noise.floor * light) * light
    slope = jnp.where(light > 0.0, noise.photon + 2.0 * noise.floor * light, 0.0)
    return spread, slope
