r"""Proposed colours, and how the colours of a source divide between two.

A colour is the natural logarithm of the flux in a band over the flux in the first band. Of two
sources, let the first have the fraction :math:`\varphi` of the flux in the first band, and let
their colours in another band be :math:`c_1` and :math:`c_2`, with the difference
:math:`\delta = c_1 - c_2`. The joined colour C of both is

.. math:: C = \ln\left(\varphi\, e^{c_1} + (1 - \varphi)\, e^{c_2}\right),

and the first source has the fraction :math:`\sigma(\mathrm{logit}\,\varphi + \delta)` of the flux
in the other band, where :math:`\sigma` is the logistic function. At a given :math:`\varphi` the
Jacobian of :math:`(C, \delta) \to (c_1, c_2)` is one.
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_colour_prior
from probcat.model.prior.prior import Prior
from probcat.sampler.proposals.fluxes import HALF_LOG_TWO_PI
from probcat.sampler.window.structures import Model

COLOUR_PRIOR_FRACTION = 0.1
"""Probability that proposed colours come from the prior instead of the Laplace approximation."""
NEWTON_STEPS = 4
"""Number of Gauss-Newton steps to the mode of the Laplace approximation."""
MAX_COLOUR = 30.0
"""Largest absolute value of a colour in the Gauss-Newton steps, which keeps fluxes finite."""


def join_colours(fraction: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """Return the joined colours of two sources and the difference of their colours.

    Parameters
    ----------
    fraction : Array, shape ()
        Fraction of the flux in the first band that the first source has.
    first, second : Array, shape (B - 1,)
        Colours of the two sources.

    Returns
    -------
    joined, difference : Array, shape (B - 1,)
        Colours of both sources together, and first minus second colours.
    """
    if first.shape[0] == 0:
        return first, first
    least = jnp.float32(1e-12)
    log_fraction = jnp.log(jnp.maximum(fraction, least))
    log_rest = jnp.log(jnp.maximum(1.0 - fraction, least))
    return jnp.logaddexp(log_fraction + first, log_rest + second), first - second


def divide_colours(fraction: Array, joined: Array, difference: Array) -> tuple[Array, Array]:
    """Return the colours of two sources: the inverse of `join_colours`."""
    if joined.shape[0] == 0:
        return joined, joined
    log_fraction, log_rest = jnp.log(fraction), jnp.log1p(-fraction)
    logit = log_fraction - log_rest + difference
    first = joined + jax.nn.log_sigmoid(logit) - log_fraction
    second = joined + jax.nn.log_sigmoid(-logit) - log_rest
    return first, second


def sample_colour_difference(normal: Array, prior: Prior) -> Array:
    """Draw the difference of the colours of two sources; exact if the prior is normal."""
    if normal.shape[0] == 0:
        return normal
    return normal * jnp.sqrt(2.0 * prior.colour_variance)


def log_colour_difference_density(prior: Prior, difference: Array) -> Array:
    """Return the log density of `sample_colour_difference`."""
    if difference.shape[0] == 0:
        return jnp.float32(0.0)
    return _log_normal(difference, jnp.zeros_like(difference), 0.5 / prior.colour_variance)


def log_division_ratio(
    prior: Prior, joined: Array, difference: Array, first: Array, second: Array
) -> Array:
    r"""Return the factor of the acceptance ratio that is due to the division of colours.

    It is :math:`\ln p(c_1) + \ln p(c_2) - \ln p(C) - \ln q(\delta)`.

    Parameters
    ----------
    prior : Prior
        Prior of the colours.
    joined, difference : Array, shape (B - 1,)
        Joined colours and difference of the two sources.
    first, second : Array, shape (B - 1,)
        Colours of the two sources.
    """
    return (
        log_colour_prior(prior, first)
        + log_colour_prior(prior, second)
        - log_colour_prior(prior, joined)
        - log_colour_difference_density(prior, difference)
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
    """Draw the colours of a source given its flux, from a Laplace approximation or the prior.

    Parameters
    ----------
    uniform : Array, shape ()
        Uniform random number.
    from_prior, normal : Array, shape (B - 1,)
        Random colours that follow the prior, and random numbers from the standard normal
        distribution.
    prior : Prior
        Prior of the colours.
    flux : Array, shape ()
        Flux in the first band.
    means, precisions : Array, shape (B - 1,)
        Conditional Gaussian of the flux in every other band.
    """
    if normal.shape[0] == 0:
        return normal
    mode, precision = _laplace(prior, flux, means, precisions)
    from_data = mode + normal * jax.lax.rsqrt(precision)
    return jnp.where(uniform < COLOUR_PRIOR_FRACTION, from_prior, from_data)


def log_colours_density(
    prior: Prior, colours: Array, flux: Array, means: Array, precisions: Array
) -> Array:
    """Return the log density of `sample_colours` at colours (B - 1,)."""
    if colours.shape[0] == 0:
        return jnp.float32(0.0)
    from_data = _log_normal(colours, *_laplace(prior, flux, means, precisions))
    return jnp.logaddexp(
        jnp.log1p(-COLOUR_PRIOR_FRACTION) + from_data,
        jnp.log(COLOUR_PRIOR_FRACTION) + log_colour_prior(prior, colours),
    )


def mean_colours(model: Model) -> Array:
    """Return the mean of the prior of the colours, shape (B - 1,)."""
    if model.num_colours == 0:
        return jnp.zeros(0, jnp.float32)
    return model.prior.colour_mean


def _laplace(prior: Prior, flux: Array, means: Array, precisions: Array) -> tuple[Array, Array]:
    """Return the mode of prior times likelihood in every colour, and the precision there."""
    mean, weight = prior.colour_mean, 1.0 / prior.colour_variance
    snr_squared = precisions * jnp.maximum(means, 0.0) ** 2
    guess = jnp.log(jnp.maximum(means, 1e-6 * flux) / flux)
    colours = (weight * mean + snr_squared * guess) / (weight + snr_squared)
    for _ in range(NEWTON_STEPS):
        band_flux = flux * jnp.exp(jnp.clip(colours, -MAX_COLOUR, MAX_COLOUR))
        curvature = weight + precisions * band_flux**2
        slope = weight * (mean - colours) + precisions * band_flux * (means - band_flux)
        colours = colours + jnp.clip(slope / curvature, -1.0, 1.0)
    band_flux = flux * jnp.exp(jnp.clip(colours, -MAX_COLOUR, MAX_COLOUR))
    return colours, weight + precisions * band_flux**2


def _log_normal(value: Array, mean: Array, precision: Array) -> Array:
    """Return the log density of independent Gaussians, summed over the bands."""
    terms = 0.5 * jnp.log(precision) - HALF_LOG_TWO_PI - 0.5 * precision * (value - mean) ** 2
    return jnp.sum(terms)
