"""Steps for what all sources share: their expected number, mix, flux slope, background."""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from probcat.moves.base import total
from probcat.prior import Prior, log_slope_posterior
from probcat.scene import Scene
from probcat.state import Draw
from probcat.windows import FLUX

SLOPE_STEPS = (0.5, 1.0, 2.0, 4.0)
"""Scales of the steps of the flux slope, in units of its error for N sources."""


def update_common(
    draw: Draw, residual: tuple[Array, ...], rng_key: Array, scene: Scene
) -> tuple[Draw, tuple[Array, ...]]:
    """Draw mu, extended fraction, flux slope and background of one chain given all else.

    Parameters
    ----------
    draw : Draw
        Without chain axis.
    residual : tuple of Array, shape (Hp, Wp)
    rng_key : Array
    scene : Scene

    Returns
    -------
    draw : Draw
        With the fit's chi-square and log likelihood.
    residual : tuple of Array, shape (Hp, Wp)
    """
    prior = scene.model.prior
    key_mu, key_fraction, key_background, key_slope = jax.random.split(rng_key, 4)
    num_points = jnp.sum(draw.points.active, dtype=jnp.int32).astype(jnp.float32)
    num_extended = jnp.sum(draw.extended.active, dtype=jnp.int32).astype(jnp.float32)
    mu = draw_mu(key_mu, prior.num_sources, num_points + num_extended, draw.mu)
    fraction = draw_fraction(
        key_fraction, prior.extended_fraction, num_points, num_extended, draw.extended_fraction
    )
    background = draw_background(key_background, scene, draw, residual)
    change = draw.background - background
    residual = tuple(plane + change[index] for index, plane in enumerate(residual))
    parts = [total(w * plane**2) for w, plane in zip(scene.weight, residual, strict=True)]
    chi2 = jnp.sum(jnp.stack(parts))
    draw = draw._replace(
        mu=mu,
        extended_fraction=fraction,
        flux_slope=draw_slope(key_slope, prior, draw),
        background=background,
        chi2=chi2,
        log_likelihood=scene.log_norm - 0.5 * chi2,
    )
    return draw, residual


def draw_mu(rng_key: Array, prior: Any, count: Array, current: Array) -> Array:
    """Draw the expected number of sources given their number; a fixed one stays.

    Exact for a Gamma or Exponential hyperprior; for any other, an independence step
    whose proposal is the posterior under a flat one.
    """
    if not isinstance(prior, dist.Distribution):
        return current
    key_gamma, key_accept = jax.random.split(rng_key)
    if isinstance(prior, dist.Gamma | dist.Exponential):
        shape = prior.concentration if isinstance(prior, dist.Gamma) else 1.0
        return jax.random.gamma(key_gamma, shape + count) / (prior.rate + 1.0)
    proposed = jax.random.gamma(key_gamma, 1.0 + count)
    log_ratio = prior.log_prob(proposed) - prior.log_prob(current)
    return jnp.where(-jax.random.exponential(key_accept) < log_ratio, proposed, current)


def draw_fraction(
    rng_key: Array, prior: Any, num_points: Array, num_extended: Array, current: Array
) -> Array:
    """Draw the share of extended sources given the counts; a fixed one stays."""
    if not isinstance(prior, dist.Distribution):
        return current
    key_beta, key_accept = jax.random.split(rng_key)
    limit = jnp.float32(1e-6)
    if isinstance(prior, dist.Beta):
        proposed = jax.random.beta(
            key_beta, prior.concentration1 + num_extended, prior.concentration0 + num_points
        )
        return jnp.clip(proposed, limit, 1.0 - limit)
    proposed = jax.random.beta(key_beta, 1.0 + num_extended, 1.0 + num_points)
    proposed = jnp.clip(proposed, limit, 1.0 - limit)
    log_ratio = prior.log_prob(proposed) - prior.log_prob(current)
    return jnp.where(-jax.random.exponential(key_accept) < log_ratio, proposed, current)


def draw_slope(rng_key: Array, prior: Prior, draw: Draw) -> Array:
    """Move the slope of the flux distribution by Metropolis steps; a fixed one stays."""
    if prior.flux_slope is None:
        return draw.flux_slope
    low, _ = prior.flux_limits
    flux = jnp.concatenate([draw.points.marks[:, FLUX], draw.extended.marks[:, FLUX]])
    excess = jnp.sum(jnp.where(flux > 0.0, jnp.log(jnp.maximum(flux, low) / low), 0.0))
    count = jnp.sum(flux > 0.0, dtype=jnp.int32).astype(jnp.float32)
    keys = jax.random.split(rng_key)
    number = len(SLOPE_STEPS)
    normal = jax.random.normal(keys[0], (number,)) * jnp.asarray(SLOPE_STEPS)
    steps = normal / jnp.sqrt(count + 4.0)
    limits = -jax.random.exponential(keys[1], (number,))

    def move(slope: Array, inputs: tuple[Array, Array]) -> tuple[Array, None]:
        step, limit = inputs
        at = jnp.stack([slope, slope + step])
        density = jax.vmap(lambda s: log_slope_posterior(prior, s, count, excess))(at)
        return jnp.where(limit < density[1] - density[0], slope + step, slope), None

    return jax.lax.scan(move, draw.flux_slope, (steps, limits))[0]


def draw_background(rng_key: Array, scene: Scene, draw: Draw, residual: tuple[Array, ...]) -> Array:
    """Draw the background level of every image from its conditional Gaussian.

    Fixed ones stay.
    """
    levels, priors = [], scene.model.prior.backgrounds
    keys = [rng_key] if len(priors) == 1 else list(jax.random.split(rng_key, len(priors)))
    for index, (key, prior) in enumerate(zip(keys, priors, strict=True)):
        level = draw.background[index]
        if isinstance(prior, dist.Distribution):
            weight = scene.weight[index] * draw.temperature
            precision = total(weight) + 1.0 / prior.scale**2
            pull = total(weight * residual[index]) + (prior.loc - level) / prior.scale**2
            noise = jax.random.normal(key) / jnp.sqrt(precision)
            level = level + pull / precision + noise
        levels.append(level)
    return jnp.stack(levels)
