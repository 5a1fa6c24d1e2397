"""Densities that moves draw from: fluxes, displacements, choices among sources."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import log_ndtr, ndtr, ndtri

from probcat.model.prior.densities import log_flux_prior
from probcat.model.prior.prior import Prior

PRIOR_FRACTION = 0.05
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
    body = -0.5 * z**2 - HALF_LOG_TWO_PI - jnp.log(ndtr(-jnp.minimum(edge, TAIL)))
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
    it proper where no pixel has weight.  It is not added: that would shrink bright
    sources by many of their standard deviations.
    """
    precision = jnp.maximum(information, _least_precision(prior))
    return score / precision, precision


def _least_precision(prior: Prior) -> Array:
    low, _ = prior.flux_limits
    return 0.04 / low**2


def sample_flux(
    uniform: Array, from_prior: Array, prior: Prior, mean: Array, precision: Array
) -> Array:
    """Draw a flux: conditional Gaussian above the flux limit, or rarely the prior.

    Parameters
    ----------
    uniform : Array, shape (2,)
    from_prior : Array
        A draw from the prior.
    prior : Prior
    mean, precision : Array
        As `flux_conditional` returns them.
    """
    low, _ = prior.flux_limits
    informed = sample_above(uniform[0], mean, precision, low)
    return jnp.where(uniform[1] < PRIOR_FRACTION, from_prior, informed)


def log_flux_density(prior: Prior, flux: Array, mean: Array, precision: Array) -> Array:
    """Log density of `sample_flux`."""
    low, _ = prior.flux_limits
    informed = log_density_above(jnp.maximum(flux, low), mean, precision, low)
    return jnp.logaddexp(
        jnp.log1p(-PRIOR_FRACTION) + informed, jnp.log(PRIOR_FRACTION) + log_flux_prior(prior, flux)
    )


def pair_conditional(prior: Prior, scores: Array, information: Array) -> tuple[Array, Array]:
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
    """
    floor = _least_precision(prior)
    first_precision = jnp.maximum(information[0, 0], floor)
    coupling = information[0, 1] / first_precision
    precision = jnp.maximum(information[1, 1] - coupling * information[0, 1], floor)
    mean = (scores[1] - coupling * scores[0]) / precision
    return mean, precision


def sample_displacement(uniform: Array, scale: Array) -> Array:
    """Isotropic displacement (2,) from uniforms (3,): a near and a far Gaussian, mixed."""
    width = jnp.where(uniform[0] < 0.5, 0.3, 0.8) * scale
    length = width * jnp.sqrt(-2.0 * jnp.log(uniform[1]))
    angle = 2.0 * jnp.pi * uniform[2]
    return length * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def log_displacement(square: Array, scale: Array) -> Array:
    """Log density (per square pixel) of `sample_displacement` at squared distance."""

    def normal(width: Array) -> Array:
        return -0.5 * square / width**2 - 2.0 * (HALF_LOG_TWO_PI + jnp.log(width))

    return jnp.logaddexp(normal(0.3 * scale), normal(0.8 * scale)) - jnp.log(2.0)


def choose(uniform: Array, log_weight: Array) -> Array:
    """Choose an index with the given log weights, by inversion."""
    weight = jnp.exp(log_weight - jnp.max(log_weight))
    cumulative = jnp.cumsum(weight)
    return jnp.sum(cumulative < uniform * cumulative[-1], dtype=jnp.int32)


def choose_uniformly(uniform: Array, possible: Array) -> Array:
    """Choose one of the possible indices uniformly (any index if there is none)."""
    cumulative = jnp.cumsum(possible.astype(jnp.float32))
    return jnp.sum(cumulative < uniform * cumulative[-1], dtype=jnp.int32)


def log_probability(log_weight: Array, index: Array) -> Array:
    """Log probability of an index under log weights."""
    return log_weight[index] - jax.scipy.special.logsumexp(log_weight)


def empty_slot(occupied: Array) -> tuple[Array, Array]:
    """Index of the first empty slot and whether there is one."""
    return jnp.argmin(occupied), ~jnp.all(occupied)
