"""Steps for what all sources share: their number, mix and flux slope, and every image's own."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from probcat.model.background import draw_coefficients
from probcat.model.pixel_noise import log_density, variance
from probcat.model.prior.densities import lenient, log_slope_posterior
from probcat.model.prior.prior import Prior
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.geometry.tiling import FLUX
from probcat.sampler.scene.calibration import background_priors, plane_noise
from probcat.sampler.scene.scene import Scene
from probcat.sampler.state import CatalogState, Draw, chain_keys
from probcat.sampler.updates.per_image import register
from probcat.sampler.window.slots import total

Planes = tuple[Array, ...]

SLOPE_STEPS = (0.5, 1.0, 2.0, 4.0)
"""Scales of the steps of the flux slope, in units of its error for N sources."""
ERROR_STEPS = (0.02, 0.1, 0.4)
"""Scales of the steps of a PSF's error, in units of its prior's standard deviation."""
SCALE_STEPS = (1.0, 3.0)
"""Scales of the steps of the scale of noise, in units of its error for the number of pixels."""


def update_all(
    rng_key: Array,
    state: CatalogState,
    scene: Scene,
    layout: Layout,
    extended_radius: int,
    settled: Array | bool = True,
) -> CatalogState:
    """Draw all that is common to the sources of an image given the sources, in every chain.

    Parameters
    ----------
    rng_key : Array
    state : CatalogState
    scene : Scene
    layout : Layout
    extended_radius : int
        Half side in pixels of the largest footprint of extended sources in the first image.
    settled : Array, bool
        Whether the noise is moved too: young catalogs fit so badly that the error of the PSF
        would take the place of sources.
    """
    one = partial(
        _update, scene=scene, layout=layout, extended_radius=extended_radius, settled=settled
    )
    keys = chain_keys(rng_key, state)
    draw, residual, light = jax.vmap(one)(state.draw, state.residual, state.light, keys)
    return state._replace(draw=draw, residual=residual, light=light)


def _update(
    draw: Draw,
    residual: Planes,
    light: Planes,
    rng_key: Array,
    scene: Scene,
    layout: Layout,
    extended_radius: int,
    settled: Array | bool,
) -> tuple[Draw, Planes, Planes]:
    prior = scene.model.prior
    key_mu, key_fraction, key_background, key_slope = jax.random.split(rng_key, 4)
    num_points = jnp.sum(draw.points.active, dtype=jnp.int32).astype(jnp.float32)
    num_extended = jnp.sum(draw.extended.active, dtype=jnp.int32).astype(jnp.float32)
    draw = draw._replace(
        mu=draw_mu(key_mu, prior.num_sources, num_points + num_extended, draw.mu),
        extended_fraction=draw_fraction(
            key_fraction, prior.extended_fraction, num_points, num_extended, draw.extended_fraction
        ),
        flux_slope=draw_slope(key_slope, prior, draw),
    )
    draw, residual, light = draw_background(key_background, scene, draw, residual, light)
    if scene.calibrates:
        key = jax.random.fold_in(rng_key, 1)
        draw, residual = register(key, scene, draw, residual, light, layout, extended_radius)
    if scene.variance:
        moved = draw_noise(jax.random.fold_in(rng_key, 2), scene, draw, residual, light)
        draw = draw._replace(
            psf_error=jnp.where(settled, moved.psf_error, draw.psf_error),
            noise_scale=jnp.where(settled, moved.noise_scale, draw.noise_scale),
        )
    chi2, log_likelihood = fit(scene, draw, residual, light)
    return draw._replace(chi2=chi2, log_likelihood=log_likelihood), residual, light


def fit(scene: Scene, draw: Draw, residual: Planes, light: Planes) -> tuple[Array, Array]:
    """Chi-square and log likelihood of one chain."""
    if not scene.variance:
        parts = [total(w * plane**2) for w, plane in zip(scene.weight, residual, strict=True)]
        chi2 = jnp.sum(jnp.stack(parts))
        return chi2, scene.log_norm - 0.5 * chi2
    squares, densities = [], []
    for index, plane in enumerate(residual):
        weight = true_weight(scene, draw, residual, light, index)
        squares.append(total(weight * plane**2))
        noise = plane_noise(scene, draw, light[index], index)
        densities.append(total(jnp.where(weight > 0.0, log_density(noise, plane), 0.0)))
    return jnp.sum(jnp.stack(squares)), jnp.sum(jnp.stack(densities))


def true_weight(scene: Scene, draw: Draw, residual: Planes, light: Planes, index: int) -> Array:
    """Inverse variances of one image in a draw of one chain."""
    weight = scene.weight[index]
    if not scene.variance:
        return weight
    noise = plane_noise(scene, draw, light[index], index)
    return jnp.where(weight > 0.0, 1.0 / variance(noise, residual[index]), 0.0)


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


def draw_background(
    rng_key: Array, scene: Scene, draw: Draw, residual: Planes, light: Planes
) -> tuple[Draw, Planes, Planes]:
    """Draw the background of every image from its conditional Gaussian; fixed ones stay.

    Variances that depend on the light of sources do not depend on the background given the
    sources, so that the conditional is Gaussian for them too.
    """
    priors = background_priors(scene)
    keys = [rng_key] if len(priors) == 1 else list(jax.random.split(rng_key, len(priors)))
    coefficients, planes, lights, first = [], [], list(light), 0
    for index, (key, (mean, scale)) in enumerate(zip(keys, priors, strict=True)):
        terms, plane = scene.background[index], residual[index]
        current = draw.background[first : first + mean.shape[0]]
        first += mean.shape[0]
        if scale is not None:
            weight = draw.temperature * true_weight(scene, draw, residual, light, index)
            new = draw_coefficients(key, terms, weight, plane, current, (mean, scale))
            change = terms.image(current - new)
            current, plane = new, plane + change
            if scene.keeps_light:
                lights[index] = lights[index] + change
        coefficients.append(current)
        planes.append(plane)
    draw = draw._replace(background=jnp.concatenate(coefficients))
    return draw, tuple(planes), tuple(lights)


def draw_noise(rng_key: Array, scene: Scene, draw: Draw, residual: Planes, light: Planes) -> Draw:
    """Move the PSF's error and the scale of the noise of every image by Metropolis steps."""
    errors, scales = [], []
    for index, plane in enumerate(residual):
        key_error, key_scale = jax.random.split(jax.random.fold_in(rng_key, index))
        here = (scene, draw, plane, light[index], index)
        error = _draw_error(key_error, *here)
        here = (scene, draw._replace(psf_error=draw.psf_error.at[index].set(error)), *here[2:])
        errors.append(error)
        scales.append(_draw_scale(key_scale, *here))
    return draw._replace(psf_error=jnp.stack(errors), noise_scale=jnp.stack(scales))


def _draw_error(
    rng_key: Array, scene: Scene, draw: Draw, residual: Array, light: Array, index: int
) -> Array:
    """Random steps, reflected at zero."""
    prior, current = scene.model.prior.psf_error, draw.psf_error[index]
    if not isinstance(prior, dist.Distribution):
        return current
    width = jnp.sqrt(jnp.asarray(prior.variance, jnp.float32))

    def log_target(value: Array) -> Array:
        changed = draw._replace(psf_error=draw.psf_error.at[index].set(value))
        density = _tempered(scene, changed, residual, light, index)
        return density + _log_prob(prior, value)

    return _walk(rng_key, current, ERROR_STEPS, width, log_target, jnp.abs)


def _draw_scale(
    rng_key: Array, scene: Scene, draw: Draw, residual: Array, light: Array, index: int
) -> Array:
    """Random steps of the logarithm."""
    prior, current = scene.model.prior.noise_scale, draw.noise_scale[index]
    if not isinstance(prior, dist.Distribution):
        return current
    pixels = jnp.sum(scene.weight[index] > 0.0, dtype=jnp.int32).astype(jnp.float32)
    width = jax.lax.rsqrt(2.0 * pixels * draw.temperature + 25.0)

    def log_target(value: Array) -> Array:
        scale = jnp.exp(value)
        changed = draw._replace(noise_scale=draw.noise_scale.at[index].set(scale))
        density = _tempered(scene, changed, residual, light, index)
        return density + _log_prob(prior, scale) + value

    walked = _walk(rng_key, jnp.log(current), SCALE_STEPS, width, log_target, lambda v: v)
    return jnp.exp(walked)


def _walk(
    rng_key: Array, current: Array, steps: tuple, width: Array, log_target: Any, fold: Any
) -> Array:
    """Metropolis steps of several sizes; `fold` brings a value back to where it may be."""
    key_step, key_accept = jax.random.split(rng_key)
    moves = jax.random.normal(key_step, (len(steps),)) * jnp.asarray(steps) * width
    limits = -jax.random.exponential(key_accept, (len(steps),))

    def move(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        value, density = carry
        proposed = fold(value + inputs[0])
        other = log_target(proposed)
        accepted = inputs[1] < other - density
        new = (jnp.where(accepted, proposed, value), jnp.where(accepted, other, density))
        return new, None

    return jax.lax.scan(move, (current, log_target(current)), (moves, limits))[0][0]


def _tempered(scene: Scene, draw: Draw, residual: Array, light: Array, index: int) -> Array:
    """Tempered log likelihood of one image."""
    noise = plane_noise(scene, draw, light, index)
    density = jnp.where(scene.weight[index] > 0.0, log_density(noise, residual), 0.0)
    return draw.temperature * total(density)


@lenient
def _log_prob(prior: dist.Distribution, value: Array) -> Array:
    log_density: Array = jnp.sum(prior.log_prob(value))
    return log_density
