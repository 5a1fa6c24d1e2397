"""Densities that moves draw from: fluxes, displacements, choices among sources."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import log_ndtr, ndtr, ndtri

from probcat.prior import Prior, log_flux_prior

PRIOR_SHARE = 0.05
TAIL = 3.0
HALF_LOG_TWO_PI = 0.9189385332046727


def _truncated_parts(mean: Array, precision: Array, low: Array) -> tuple[Array, Array]:
    scale = jax.lax.rsqrt(precision)
    return scale, (low - mean) / scale


def sample_above(uniform: Array, mean: Array, precision: Array, low: Array) -> Array:
    """Draw from a Gaussian truncated to values above `low`, from one uniform.

    Beyond three standard deviations the tail is replaced by the exponential of
    Robert (1995, Statistics and Computing 5, 121, eq. 2.2), whose density is
    just as explicit and does not underflow.
    """
    scale, edge = _truncated_parts(mean, precision, low)
    body = -ndtri(jnp.clip(uniform * ndtr(-jnp.minimum(edge, TAIL)), 1e-7, 1.0 - 1e-7))
    tail = edge - jnp.log(uniform) / jnp.maximum(edge, TAIL)
    return jnp.maximum(mean + scale * jnp.where(edge < TAIL, body, tail), low)


def log_density_above(value: Array, mean: Array, precision: Array, low: Array) -> Array:
    """Log density of `sample_above`."""
    scale, edge = _truncated_parts(mean, precision, low)
    z = (value - mean) / scale
    body = -0.5 * z**2 - HALF_LOG_TWO_PI - log_ndtr(-jnp.minimum(edge, TAIL))
    safe = jnp.maximum(edge, TAIL)
    tail = jnp.log(safe) - safe * (z - edge)
    return jnp.where(edge < TAIL, body, tail) - jnp.log(scale)


def log_mass_above(mean: Array, precision: Array, low: Array) -> Array:
    """Log integral of ``exp(-precision (f - mean)^2 / 2)`` over f above `low`."""
    scale, edge = _truncated_parts(mean, precision, low)
    return log_ndtr(-edge) + HALF_LOG_TWO_PI + jnp.log(scale)


def flux_conditional(prior: Prior, score: Array, information: Array) -> tuple[Array, Array]:
    """Mean and precision of a flux given everything else.

    The log likelihood of adding flux f is ``f * score - f^2 * information / 2``
    with ``score = sum r w P`` and ``information = sum w P^2``; a weak floor keeps
    it proper where no pixel has weight.
    """
    low, _ = prior.flux_limits
    precision = information + 0.04 / low**2
    return score / precision, precision


def sample_flux(rng_key: Array, prior: Prior, mean: Array, precision: Array) -> Array:
    """Draw a flux: conditional Gaussian above the flux limit, or rarely the prior."""
    key_flux, key_prior, key_choice = jax.random.split(rng_key, 3)
    low, _ = prior.flux_limits
    uniform = 1.0 - jax.random.uniform(key_flux)
    informed = sample_above(uniform, mean, precision, low)
    from_prior = prior.flux.sample(key_prior)
    return jnp.where(jax.random.uniform(key_choice) < PRIOR_SHARE, from_prior, informed)


def log_flux_density(prior: Prior, flux: Array, mean: Array, precision: Array) -> Array:
    """Log density of `sample_flux`."""
    low, _ = prior.flux_limits
    informed = log_density_above(jnp.maximum(flux, low), mean, precision, low)
    return jnp.logaddexp(
        jnp.log1p(-PRIOR_SHARE) + informed, jnp.log(PRIOR_SHARE) + log_flux_prior(prior, flux)
    )


def pair_conditional(
    prior: Prior, scores: Array, information: Array
) -> tuple[Array, Array, Array]:
    """Flux of the second of two sources with the first one's integrated out.

    Parameters
    ----------
    prior : Prior
    scores : Array, shape (2,)
        ``sum r w P_i``, residual without either source.
    information : Array, shape (2, 2)
        Gram matrix ``sum w P_i P_j``.

    Returns
    -------
    mean, precision : Array, shape ()
        Of the second flux.
    first : Array, shape (2,)
        The first flux has mean ``first[0] - first[1] * second``.
    """
    low, _ = prior.flux_limits
    floor = 0.04 / low**2
    first_precision = information[0, 0] + floor
    coupling = information[0, 1] / first_precision
    precision = jnp.maximum(information[1, 1] - coupling * information[0, 1], 0.0) + floor
    mean = (scores[1] - coupling * scores[0]) / precision
    return mean, precision, jnp.stack([scores[0] / first_precision, coupling])


def sample_displacement(rng_key: Array, scale: Array) -> Array:
    """Isotropic displacement (2,): equal mixture of a near and a far Gaussian."""
    key_choice, key_normal = jax.random.split(rng_key)
    width = jnp.where(jax.random.bernoulli(key_choice), 0.3, 0.8) * scale
    return width * jax.random.normal(key_normal, (2,))


def log_displacement(square: Array, scale: Array) -> Array:
    """Log density (per square pixel) of `sample_displacement` at squared distance."""

    def normal(width: Array) -> Array:
        return -0.5 * square / width**2 - 2.0 * (HALF_LOG_TWO_PI + jnp.log(width))

    return jnp.logaddexp(normal(0.3 * scale), normal(0.8 * scale)) - jnp.log(2.0)


def choose(rng_key: Array, log_weight: Array) -> tuple[Array, Array]:
    """Choose an index with the given log weights; also its log probability."""
    index = jax.random.categorical(rng_key, log_weight)
    return index, log_probability(log_weight, index)


def log_probability(log_weight: Array, index: Array) -> Array:
    """Log probability of an index under log weights."""
    return log_weight[index] - jax.scipy.special.logsumexp(log_weight)


def choose_uniformly(rng_key: Array, possible: Array) -> Array:
    """Choose one of the possible indices uniformly (any index if there is none)."""
    return jax.random.categorical(rng_key, jnp.where(possible, 0.0, -jnp.inf))


def empty_slot(occupied: Array) -> tuple[Array, Array]:
    """Index of the first empty slot and whether there is one."""
    return jnp.argmin(occupied), ~jnp.all(occupied)
