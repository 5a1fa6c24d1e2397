"""Proposed fluxes: the conditional Gaussian of a flux, given everything else, or the prior."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import log_ndtr, ndtr, ndtri

from probcat.model.prior.densities import log_flux_prior
from probcat.model.prior.prior import Prior

FLUX_PRIOR_FRACTION = 0.05
"""Probability that a proposed flux comes from the prior instead of the conditional Gaussian."""
TAIL_START = 3.0
"""Truncation point, in standard deviations above the mean, beyond which the tail is exponential."""
HALF_LOG_TWO_PI = 0.9189385332046727
"""Constant ``ln(2 pi) / 2`` in the log density of a Gaussian."""


def _scale_and_edge(mean: Array, precision: Array, low: Array) -> tuple[Array, Array]:
    """Return the standard deviation of a Gaussian and its truncation point in units of it."""
    scale = jax.lax.rsqrt(precision)
    return scale, (low - mean) / scale


def sample_above(uniform: Array, mean: Array, precision: Array, low: Array) -> Array:
    """Draw from a Gaussian that is truncated to values above a limit.

    If the limit is more than `TAIL_START` standard deviations above the mean, the tail is
    replaced by the exponential distribution of Robert (1995, Statistics and Computing 5, 121,
    eq. 2.2), whose density is as explicit and does not underflow.

    Parameters
    ----------
    uniform : Array, shape ()
        Uniform random number.
    mean, precision : Array, shape ()
        Mean and inverse variance of the Gaussian before the truncation.
    low : Array, shape ()
        Limit.

    Returns
    -------
    Array, shape ()
        Value of at least `low`.
    """
    scale, edge = _scale_and_edge(mean, precision, low)
    body = -ndtri(jnp.clip(uniform * ndtr(-jnp.minimum(edge, TAIL_START)), 1e-7, 1.0 - 1e-7))
    tail = edge - jnp.log(uniform) / jnp.maximum(edge, TAIL_START)
    return jnp.maximum(mean + scale * jnp.where(edge < TAIL_START, body, tail), low)


def log_density_above(value: Array, mean: Array, precision: Array, low: Array) -> Array:
    """Return the log density of `sample_above`.

    Parameters
    ----------
    value : Array, shape ()
        Where to evaluate the density, above `low`.
    mean, precision, low : Array, shape ()
        As in `sample_above`.
    """
    scale, edge = _scale_and_edge(mean, precision, low)
    z = (value - mean) / scale
    body = -0.5 * z**2 - HALF_LOG_TWO_PI - jnp.log(ndtr(-jnp.minimum(edge, TAIL_START)))
    rate = jnp.maximum(edge, TAIL_START)
    tail = jnp.log(rate) - rate * (z - edge)
    return jnp.where(edge < TAIL_START, body, tail) - jnp.log(scale)


def log_mass_above(mean: Array, precision: Array, low: Array) -> Array:
    """Return the log integral of ``exp(-precision * (f - mean)**2 / 2)`` over f above `low`."""
    scale, edge = _scale_and_edge(mean, precision, low)
    return log_ndtr(-edge) + HALF_LOG_TWO_PI + jnp.log(scale)


def flux_conditional(prior: Prior, score: Array, information: Array) -> tuple[Array, Array]:
    """Return the Gaussian that the likelihood is as a function of one flux.

    Adding a source of flux f and unit-flux image P changes the log likelihood by
    ``f * score - f**2 * information / 2``, with ``score = sum(w r P)`` of the residual r
    without the source, and the Fisher information ``sum(w P**2)``.

    Parameters
    ----------
    prior : Prior
        Prior, whose flux limit sets a floor of the precision. It keeps the Gaussian proper where
        no pixel has weight. The floor is not added to the information, since that would shrink
        the fluxes of bright sources by many of their standard deviations.
    score : Array
        Derivative of the log likelihood by the flux, at zero flux.
    information : Array
        Fisher information on the flux.

    Returns
    -------
    mean, precision : Array
        Mean and inverse variance of the flux.
    """
    precision = jnp.maximum(information, _precision_floor(prior))
    return score / precision, precision


def _precision_floor(prior: Prior) -> Array:
    """Return the inverse variance of a flux that is uncertain by five times the flux limit."""
    low, _ = prior.flux_limits
    return 0.04 / low**2


def sample_flux(
    uniform: Array, from_prior: Array, prior: Prior, mean: Array, precision: Array
) -> Array:
    """Draw a flux from the conditional Gaussian above the flux limit, or rarely from the prior.

    Parameters
    ----------
    uniform : Array, shape (2,)
        Uniform random numbers.
    from_prior : Array, shape ()
        Random flux that follows the prior.
    prior : Prior
        Prior, which has the flux limit.
    mean, precision : Array, shape ()
        Conditional Gaussian, as returned by `flux_conditional`.
    """
    low, _ = prior.flux_limits
    from_data = sample_above(uniform[0], mean, precision, low)
    return jnp.where(uniform[1] < FLUX_PRIOR_FRACTION, from_prior, from_data)


def log_flux_density(prior: Prior, flux: Array, mean: Array, precision: Array) -> Array:
    """Return the log density of `sample_flux` at a flux."""
    low, _ = prior.flux_limits
    from_data = log_density_above(jnp.maximum(flux, low), mean, precision, low)
    return jnp.logaddexp(
        jnp.log1p(-FLUX_PRIOR_FRACTION) + from_data,
        jnp.log(FLUX_PRIOR_FRACTION) + log_flux_prior(prior, flux),
    )


def pair_conditional(prior: Prior, scores: Array, information: Array) -> tuple[Array, Array]:
    """Return the Gaussian of the second of two fluxes with the first one integrated out.

    Its precision is the Schur complement ``I_22 - I_12**2 / I_11``.

    Parameters
    ----------
    prior : Prior
        Prior, whose flux limit sets a floor of both precisions.
    scores : Array, shape (2,)
        ``sum(w r P_i)`` of the residual r without either source.
    information : Array, shape (2, 2)
        Fisher matrix ``I_ij = sum(w P_i P_j)`` of the two fluxes.

    Returns
    -------
    mean, precision : Array, shape ()
        Mean and inverse variance of the second flux.
    """
    floor = _precision_floor(prior)
    first_precision = jnp.maximum(information[0, 0], floor)
    coupling = information[0, 1] / first_precision
    precision = jnp.maximum(information[1, 1] - coupling * information[0, 1], floor)
    mean = (scores[1] - coupling * scores[0]) / precision
    return mean, precision
