"""Metropolis updates of the noise of every image: the error of its PSF, and a scale."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from probcat.model.pixel_noise import log_density
from probcat.model.prior.densities import lenient
from probcat.sampler.scene.calibration import plane_noise
from probcat.sampler.scene.scene import Scene
from probcat.sampler.state import ChainSample
from probcat.sampler.window.slots import total

ERROR_STEPS = (0.02, 0.1, 0.4)
"""Step sizes of the relative error of a PSF, in units of its prior's standard deviation."""
SCALE_STEPS = (1.0, 3.0)
"""Step sizes of the scale of the noise, in units of its error for the number of pixels."""


def draw_noise(
    rng_key: Array,
    scene: Scene,
    sample: ChainSample,
    residual: tuple[Array, ...],
    sky_subtracted: tuple[Array, ...],
) -> ChainSample:
    """Update the PSF error and the scale of the noise of every image, in one chain.

    Parameters
    ----------
    rng_key : Array
        Random key of the chain.
    scene : Scene
        Images and prior.
    sample : ChainSample
        Draw of the chain.
    residual, sky_subtracted : tuple of Array, shape (Hp, Wp)
        Images of the chain, as in `CatalogState`.

    Returns
    -------
    ChainSample
    """
    errors, scales = [], []
    for index, plane in enumerate(residual):
        key_error, key_scale = jax.random.split(jax.random.fold_in(rng_key, index))
        here = (scene, sample, plane, sky_subtracted[index], index)
        error = _draw_error(key_error, *here)
        here = (
            scene,
            sample._replace(psf_error_floor=sample.psf_error_floor.at[index].set(error)),
            *here[2:],
        )
        errors.append(error)
        scales.append(_draw_scale(key_scale, *here))
    return sample._replace(psf_error_floor=jnp.stack(errors), noise_scale=jnp.stack(scales))


def _draw_error(
    rng_key: Array,
    scene: Scene,
    sample: ChainSample,
    residual: Array,
    sky_subtracted: Array,
    index: int,
) -> Array:
    """Update the relative error of a PSF by random steps, reflected at zero."""
    prior, current = scene.model.prior.psf_error_floor, sample.psf_error_floor[index]
    if not isinstance(prior, dist.Distribution):
        return current
    width = jnp.sqrt(jnp.asarray(prior.variance, jnp.float32))

    def log_target(value: Array) -> Array:
        changed = sample._replace(psf_error_floor=sample.psf_error_floor.at[index].set(value))
        density = _tempered(scene, changed, residual, sky_subtracted, index)
        return density + _log_prob(prior, value)

    return _walk(rng_key, current, ERROR_STEPS, width, log_target, jnp.abs)


def _draw_scale(
    rng_key: Array,
    scene: Scene,
    sample: ChainSample,
    residual: Array,
    sky_subtracted: Array,
    index: int,
) -> Array:
    """Update the scale of the noise by random steps of its logarithm."""
    prior, current = scene.model.prior.noise_scale, sample.noise_scale[index]
    if not isinstance(prior, dist.Distribution):
        return current
    pixels = jnp.sum(scene.weight[index] > 0.0, dtype=jnp.int32).astype(jnp.float32)
    width = jax.lax.rsqrt(2.0 * pixels * sample.beta + 25.0)

    def log_target(value: Array) -> Array:
        scale = jnp.exp(value)
        changed = sample._replace(noise_scale=sample.noise_scale.at[index].set(scale))
        density = _tempered(scene, changed, residual, sky_subtracted, index)
        return density + _log_prob(prior, scale) + value

    walked = _walk(rng_key, jnp.log(current), SCALE_STEPS, width, log_target, lambda v: v)
    return jnp.exp(walked)


def _walk(
    rng_key: Array,
    current: Array,
    steps: Sequence[float],
    width: Array,
    log_target: Callable[[Array], Array],
    fold: Callable[[Array], Array],
) -> Array:
    """Make Metropolis steps of several sizes; `fold` reflects a value into its support."""
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


def _tempered(
    scene: Scene, sample: ChainSample, residual: Array, sky_subtracted: Array, index: int
) -> Array:
    """Tempered log likelihood of one image."""
    noise = plane_noise(scene, sample, sky_subtracted, index)
    density = jnp.where(scene.weight[index] > 0.0, log_density(noise, residual), 0.0)
    return sample.beta * total(density)


@lenient
def _log_prob(prior: dist.Distribution, value: Array) -> Array:
    """Log density of a hyperprior."""
    log_density: Array = jnp.sum(prior.log_prob(value))
    return log_density
