"""Updates of the parameters that all sources share, and of those of every image."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from probcat.model.background import draw_coefficients
from probcat.model.pixel_noise import log_density, variance
from probcat.model.prior.densities import log_slope_posterior
from probcat.model.prior.prior import Prior
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.scene.calibration import background_priors, plane_noise
from probcat.sampler.scene.scene import Scene
from probcat.sampler.state import CatalogState, ChainSample, chain_keys
from probcat.sampler.updates.noise import draw_noise
from probcat.sampler.updates.per_image import update_image_calibration
from probcat.sampler.window.slots import total
from probcat.sampler.window.structures import FLUX

Planes = tuple[Array, ...]
"""An array for every image, of shape (Hp, Wp)."""

SLOPE_STEPS = (0.5, 1.0, 2.0, 4.0)
"""Step sizes of the flux slope, in units of its error for N sources."""


def update_shared(
    rng_key: Array,
    state: CatalogState,
    scene: Scene,
    layout: Layout,
    extended_radius: int,
    settled: Array | bool = True,
) -> CatalogState:
    """Update all parameters but the sources, given the sources, in every chain.

    Parameters
    ----------
    rng_key : Array
        Random key.
    state : CatalogState
        State of all chains.
    scene : Scene
        Images and prior.
    layout : Layout
        Sizes of the run.
    extended_radius : int
        Half-width in pixels of the largest stamp of an extended source in the first image.
    settled : Array, shape (), bool
        Update the noise parameters as well. Early in warm-up the catalog fits so badly that a
        large PSF error would absorb real sources.

    Returns
    -------
    CatalogState
    """
    one = partial(
        _update, scene=scene, layout=layout, extended_radius=extended_radius, settled=settled
    )
    keys = chain_keys(rng_key, state)
    sample, residual, sky_subtracted = jax.vmap(one)(
        state.sample, state.residual, state.sky_subtracted, keys
    )
    return state._replace(sample=sample, residual=residual, sky_subtracted=sky_subtracted)


def update_background(rng_key: Array, state: CatalogState, scene: Scene) -> CatalogState:
    """Draw the background of every image, given the sources, in every chain.

    Parameters
    ----------
    rng_key : Array
        Random key.
    state : CatalogState
        State of all chains.
    scene : Scene
        Images and prior.

    Returns
    -------
    CatalogState
    """

    def one(sample: ChainSample, residual: Planes, sky_subtracted: Planes, key: Array) -> tuple:
        return draw_background(key, scene, sample, residual, sky_subtracted)

    sample, residual, sky_subtracted = jax.vmap(one)(
        state.sample, state.residual, state.sky_subtracted, chain_keys(rng_key, state)
    )
    return state._replace(sample=sample, residual=residual, sky_subtracted=sky_subtracted)


def _update(
    sample: ChainSample,
    residual: Planes,
    sky_subtracted: Planes,
    rng_key: Array,
    scene: Scene,
    layout: Layout,
    extended_radius: int,
    settled: Array | bool,
) -> tuple[ChainSample, Planes, Planes]:
    """Update one chain; returns its draw, residual and data minus background."""
    prior = scene.model.prior
    keys = jax.random.split(rng_key, 6)
    key_mu, key_fraction, key_background, key_slope, key_calibration, key_noise = keys
    num_points = jnp.sum(sample.points.active, dtype=jnp.int32).astype(jnp.float32)
    num_extended = jnp.sum(sample.extended.active, dtype=jnp.int32).astype(jnp.float32)
    sample = sample._replace(
        mu=draw_mu(key_mu, prior.expected_sources, num_points + num_extended, sample.mu),
        extended_fraction=draw_fraction(
            key_fraction,
            prior.extended_fraction,
            num_points,
            num_extended,
            sample.extended_fraction,
        ),
        flux_slope=draw_slope(key_slope, prior, sample),
    )
    sample, residual, sky_subtracted = draw_background(
        key_background, scene, sample, residual, sky_subtracted
    )
    if scene.calibrates:
        sample, residual = update_image_calibration(
            key_calibration, scene, sample, residual, sky_subtracted, layout, extended_radius
        )
    if scene.variance:
        moved = draw_noise(key_noise, scene, sample, residual, sky_subtracted)
        sample = sample._replace(
            psf_error_floor=jnp.where(settled, moved.psf_error_floor, sample.psf_error_floor),
            noise_scale=jnp.where(settled, moved.noise_scale, sample.noise_scale),
        )
    chi2, log_likelihood = evaluate_fit(scene, sample, residual, sky_subtracted)
    return sample._replace(chi2=chi2, log_likelihood=log_likelihood), residual, sky_subtracted


def evaluate_fit(
    scene: Scene, sample: ChainSample, residual: Planes, sky_subtracted: Planes
) -> tuple[Array, Array]:
    """Chi-square and log likelihood of one chain in all images."""
    if not scene.variance:
        parts = [total(w * plane**2) for w, plane in zip(scene.weight, residual, strict=True)]
        chi2 = jnp.sum(jnp.stack(parts))
        return chi2, scene.log_norm - 0.5 * chi2
    squares, densities = [], []
    for index, plane in enumerate(residual):
        weight = true_weight(scene, sample, residual, sky_subtracted, index)
        squares.append(total(weight * plane**2))
        noise = plane_noise(scene, sample, sky_subtracted[index], index)
        densities.append(total(jnp.where(weight > 0.0, log_density(noise, plane), 0.0)))
    return jnp.sum(jnp.stack(squares)), jnp.sum(jnp.stack(densities))


def true_weight(
    scene: Scene, sample: ChainSample, residual: Planes, sky_subtracted: Planes, index: int
) -> Array:
    """Inverse variances of one image in a draw of one chain; zero where masked."""
    weight = scene.weight[index]
    if not scene.variance:
        return weight
    noise = plane_noise(scene, sample, sky_subtracted[index], index)
    return jnp.where(weight > 0.0, 1.0 / variance(noise, residual[index]), 0.0)


def draw_mu(rng_key: Array, prior: Any, count: Array, current: Array) -> Array:
    """Draw the expected number of sources given their number; a fixed one stays.

    The draw is exact for a Gamma or Exponential hyperprior. For any other hyperprior it is a
    Metropolis-Hastings step, with a proposal from the posterior under a flat hyperprior.
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
    """Draw the fraction of extended sources given their numbers; a fixed one stays."""
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


def draw_slope(rng_key: Array, prior: Prior, sample: ChainSample) -> Array:
    """Update the slope of the flux distribution by Metropolis steps; a fixed one stays."""
    if prior.flux_slope is None:
        return sample.flux_slope
    low, _ = prior.flux_limits
    flux = jnp.concatenate([sample.points.marks[:, FLUX], sample.extended.marks[:, FLUX]])
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

    return jax.lax.scan(move, sample.flux_slope, (steps, limits))[0]


def draw_background(
    rng_key: Array, scene: Scene, sample: ChainSample, residual: Planes, sky_subtracted: Planes
) -> tuple[ChainSample, Planes, Planes]:
    """Draw the background of every image from its conditional Gaussian; fixed ones stay.

    Variances that depend on the light of the sources do not depend on the background once the
    sources are given, so that the conditional is Gaussian for them too.
    """
    priors = background_priors(scene)
    keys = [rng_key] if len(priors) == 1 else list(jax.random.split(rng_key, len(priors)))
    coefficients, planes, new_sky_subtracted, first = [], [], list(sky_subtracted), 0
    for index, (key, (mean, scale)) in enumerate(zip(keys, priors, strict=True)):
        terms, plane = scene.background[index], residual[index]
        current = sample.background[first : first + mean.shape[0]]
        first += mean.shape[0]
        if scale is not None:
            weight = sample.beta * true_weight(scene, sample, residual, sky_subtracted, index)
            new = draw_coefficients(key, terms, weight, plane, current, (mean, scale))
            change = terms.image(current - new)
            current, plane = new, plane + change
            if scene.keeps_sky_subtracted:
                new_sky_subtracted[index] = new_sky_subtracted[index] + change
        coefficients.append(current)
        planes.append(plane)
    sample = sample._replace(background=jnp.concatenate(coefficients))
    return sample, tuple(planes), tuple(new_sky_subtracted)
