"""Log densities and samples of the marks of sources, for any distributions of a prior."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions.transforms import biject_to

from probcat.model.prior.prior import Prior

_Result = TypeVar("_Result")


def lenient(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Allow numpyro to promote dtypes and ranks within a function that calls it."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> _Result:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return function(*args, **kwargs)

    return wrapped


def prior_mean(value: Any, default: float) -> np.ndarray:
    """Mean of a hyperprior, or the fixed number in its place; a default if the prior has neither.

    Parameters
    ----------
    value : Distribution, float or None
        Field of a `Prior`.
    default : float
        Value that None stands for.
    """
    if isinstance(value, dist.Distribution):
        return np.asarray(value.mean)
    return np.asarray(default if value is None else value)


@lenient
def log_flux_prior(prior: Prior, flux: Array) -> Array:
    """Log density of a flux; minus infinity outside the limits."""
    lower, upper = prior.flux_limits
    inside = (flux >= lower) & (flux <= upper)
    safe = jnp.clip(flux, lower, jnp.minimum(upper, jnp.float32(3e37)))
    return jnp.where(inside, prior.flux.log_prob(safe), -jnp.inf)


@lenient
def log_slope_posterior(prior: Prior, slope: Array, count: Array, excess: Array) -> Array:
    """Log density of a flux slope given fluxes, up to a constant.

    Parameters
    ----------
    prior : Prior
        Prior with a hyperprior of the slope.
    slope : Array, shape ()
        Slope s of ``p(flux) ~ flux**-s``.
    count : Array, shape ()
        Number of sources.
    excess : Array, shape ()
        Sum of ``log(flux / flux_min)`` over the sources.
    """
    assert prior.flux_slope is not None
    low, _ = prior.flux_limits
    at_limit = prior.with_slope(slope).flux.log_prob(low)
    return prior.flux_slope.log_prob(slope) + count * at_limit - slope * excess


@lenient
def to_shape(prior: Prior, free: Array) -> tuple[Array, Array]:
    """Map unconstrained coordinates to shapes.

    Radius and index are mapped by numpyro's bijections onto their supports, and the plane is
    mapped onto the open disc of ellipticities by ``eta / sqrt(1 + |eta|^2)``.

    Parameters
    ----------
    prior : Prior
        Prior with the supports of radius and index.
    free : Array, shape (..., 4)
        Unconstrained coordinates.

    Returns
    -------
    shape : Array, shape (..., 4)
        Half-light radius, two ellipticity components, Sersic index.
    log_jacobian : Array, shape (...,)
        Logarithm of the determinant of the map's derivative.
    """
    to_radius = biject_to(prior.half_light_radius.support)
    to_index = biject_to(prior.sersic_n.support)
    radius = to_radius(free[..., 0])
    index = to_index(free[..., 3])
    square = free[..., 1] ** 2 + free[..., 2] ** 2
    shrink = jax.lax.rsqrt(1.0 + square)
    log_jacobian = (
        to_radius.log_abs_det_jacobian(free[..., 0], radius)
        + to_index.log_abs_det_jacobian(free[..., 3], index)
        - 2.0 * jnp.log1p(square)
    )
    shape = jnp.stack([radius, free[..., 1] * shrink, free[..., 2] * shrink, index], axis=-1)
    return shape, log_jacobian


@lenient
def from_shape(prior: Prior, shape: Array) -> Array:
    """Unconstrained coordinates (..., 4) of shapes, the inverse of `to_shape`."""
    stretch = jax.lax.rsqrt(
        jnp.maximum(1.0 - shape[..., 1] ** 2 - shape[..., 2] ** 2, jnp.float32(1e-6))
    )
    radius = biject_to(prior.half_light_radius.support).inv(shape[..., 0])
    index = biject_to(prior.sersic_n.support).inv(shape[..., 3])
    return jnp.stack([radius, shape[..., 1] * stretch, shape[..., 2] * stretch, index], axis=-1)


@lenient
def log_shape_prior(prior: Prior, shape: Array) -> Array:
    """Log density of shapes (..., 4) in radius, both ellipticity components and index."""
    square = jnp.maximum(shape[..., 1] ** 2 + shape[..., 2] ** 2, jnp.float32(1e-12))
    modulus = jnp.clip(jnp.sqrt(square), jnp.float32(1e-6), jnp.float32(1.0 - 1e-6))
    return (
        prior.half_light_radius.log_prob(shape[..., 0])
        + prior.ellipticity.log_prob(modulus)
        - jnp.log(2.0 * jnp.pi * modulus)
        + prior.sersic_n.log_prob(shape[..., 3])
    )


@lenient
def sample_flux_prior(prior: Prior, rng_key: Array, sample_shape: tuple[int, ...]) -> Array:
    """Draw fluxes from the prior."""
    flux: Array = prior.flux.sample(rng_key, sample_shape)
    return flux


@lenient
def log_colour_prior(prior: Prior, colours: Array) -> Array:
    """Log density of the colours (..., B - 1) of a source; zero with one band."""
    if prior.colours is None:
        return jnp.zeros(colours.shape[:-1], jnp.float32)
    log_density: Array = jnp.sum(prior.colours.log_prob(colours), axis=-1)
    return log_density


@lenient
def sample_colour_prior(prior: Prior, rng_key: Array, sample_shape: tuple[int, ...]) -> Array:
    """Draw colours from the prior, shape (*sample_shape, B - 1)."""
    if prior.colours is None:
        return jnp.zeros((*sample_shape, 0), jnp.float32)
    colours: Array = prior.colours.sample(rng_key, sample_shape)
    return colours


@lenient
def sample_shape(prior: Prior, rng_key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
    """Draw shapes from the prior, shape (*sample_shape, 4)."""
    keys = jax.random.split(rng_key, 4)
    radius = prior.half_light_radius.sample(keys[0], sample_shape)
    modulus = prior.ellipticity.sample(keys[1], sample_shape)
    angle = jax.random.uniform(keys[2], sample_shape, maxval=2.0 * jnp.pi)
    index = prior.sersic_n.sample(keys[3], sample_shape)
    first, second = modulus * jnp.cos(angle), modulus * jnp.sin(angle)
    return jnp.stack([radius, first, second, index], axis=-1)
