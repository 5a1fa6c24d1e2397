r"""Colours: what moves draw them from, and how pairs share them.

A colour is the logarithm of a flux over that in the first band.  Two sources with shares
``phi`` and ``1 - phi`` of the first band's flux and colours ``c_1, c_2`` have together the
colour C; with ``delta = c_1 - c_2`` the share in another band is
:math:`\sigma(\mathrm{logit}\,\phi + \delta)`.  The Jacobian of (C, delta) -> (c_1, c_2) is one.
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_colour_prior
from probcat.model.prior.prior import Prior
from probcat.sampler.proposals.fluxes import HALF_LOG_TWO_PI
from probcat.sampler.window.structures import Model

PRIOR_FRACTION = 0.1
NEWTON_STEPS = 4
GREATEST = 30.0
"""Largest absolute value of a colour on the way of a Newton iteration."""


def merge(fraction: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """Colours of the sum of two sources, and their difference.

    Parameters
    ----------
    fraction : Array
        Of the first in the flux of the first band.
    first, second : Array, shape (B - 1,)
    """
    if first.shape[0] == 0:
        return first, first
    least = jnp.float32(1e-12)
    log_share = jnp.log(jnp.maximum(fraction, least))
    log_rest = jnp.log(jnp.maximum(1.0 - fraction, least))
    return jnp.logaddexp(log_share + first, log_rest + second), first - second


def divide(fraction: Array, colours: Array, difference: Array) -> tuple[Array, Array]:
    """Colours of two sources from those of their sum: the inverse of `merge`."""
    if colours.shape[0] == 0:
        return colours, colours
    log_share, log_rest = jnp.log(fraction), jnp.log1p(-fraction)
    logit = log_share - log_rest + difference
    first = colours + jax.nn.log_sigmoid(logit) - log_share
    second = colours + jax.nn.log_sigmoid(-logit) - log_rest
    return first, second


def sample_difference(normal: Array, prior: Prior) -> Array:
    """Draw the difference of two colours; exact for a normal prior."""
    if normal.shape[0] == 0:
        return normal
    return normal * jnp.sqrt(2.0 * prior.colour_variance)


def log_difference_density(prior: Prior, difference: Array) -> Array:
    """Log density of `sample_difference`."""
    if difference.shape[0] == 0:
        return jnp.float32(0.0)
    return _log_normal(difference, jnp.zeros_like(difference), 0.5 / prior.colour_variance)


def log_division(
    prior: Prior, joined: Array, difference: Array, first: Array, second: Array
) -> Array:
    """Prior of two sources' colours over that of one's, over the density of dividing them."""
    return (
        log_colour_prior(prior, first)
        + log_colour_prior(prior, second)
        - log_colour_prior(prior, joined)
        - log_difference_density(prior, difference)
    )


def sample_colours(
    uniform: Array,
    from_prior: Array,
    normal: Array,
    prior: Prior,
    flux: Array,
    means: Array,
    precisions: Array,
) -> Array:
    """Draw the colours of a source given its flux: Laplace's approximation, or the prior.

    Parameters
    ----------
    uniform : Array
    from_prior, normal : Array, shape (B - 1,)
        Draws from the prior and from the standard normal distribution.
    prior : Prior
    flux : Array
        In the first band.
    means, precisions : Array, shape (B - 1,)
        Of the conditional Gaussian of the flux in every other band.
    """
    if normal.shape[0] == 0:
        return normal
    centre, precision = _laplace(prior, flux, means, precisions)
    informed = centre + normal * jax.lax.rsqrt(precision)
    return jnp.where(uniform < PRIOR_FRACTION, from_prior, informed)


def log_colours_density(
    prior: Prior, colours: Array, flux: Array, means: Array, precisions: Array
) -> Array:
    """Log density of `sample_colours`."""
    if colours.shape[0] == 0:
        return jnp.float32(0.0)
    informed = _log_normal(colours, *_laplace(prior, flux, means, precisions))
    return jnp.logaddexp(
        jnp.log1p(-PRIOR_FRACTION) + informed,
        jnp.log(PRIOR_FRACTION) + log_colour_prior(prior, colours),
    )


def mean_colours(model: Model) -> Array:
    """Mean of the prior of the colours, shape (B - 1,)."""
    if model.num_colours == 0:
        return jnp.zeros(0, jnp.float32)
    return model.prior.colour_mean


def _laplace(prior: Prior, flux: Array, means: Array, precisions: Array) -> tuple[Array, Array]:
    """Mode and curvature of prior times likelihood in every colour, by Gauss-Newton steps."""
    mean, weight = prior.colour_mean, 1.0 / prior.colour_variance
    signal = precisions * jnp.maximum(means, 0.0) ** 2
    guess = jnp.log(jnp.maximum(means, 1e-6 * flux) / flux)
    colours = (weight * mean + signal * guess) / (weight + signal)
    for _ in range(NEWTON_STEPS):
        light = flux * jnp.exp(jnp.clip(colours, -GREATEST, GREATEST))
        curvature = weight + precisions * light**2
        pull = weight * (mean - colours) + precisions * light * (means - light)
        colours = colours + jnp.clip(pull / curvature, -1.0, 1.0)
    light = flux * jnp.exp(jnp.clip(colours, -GREATEST, GREATEST))
    return colours, weight + precisions * light**2


def _log_normal(value: Array, mean: Array, precision: Array) -> Array:
    terms = 0.5 * jnp.log(precision) - HALF_LOG_TWO_PI - 0.5 * precision * (value - mean) ** 2
    return jnp.sum(terms)
