"""What a point source splits into: shares, displacements, and which pairs may merge.

Two close stars with fluxes ``phi F`` and ``(1 - phi) F`` and separation d look like one
star of flux F at their centroid, but for a quadrupole of amplitude
``phi (1 - phi) F d^2 / 2`` times the second derivative of the PSF.  The separation at
which it stands out of the noise sets the scale of displacements, so that splits of
bright stars are as narrow as they have to be.
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.prior import Prior
from probcat.sampler.proposals.fluxes import HALF_LOG_TWO_PI, choose, log_probability
from probcat.sampler.proposals.matched_filter import precision_at
from probcat.sampler.window.slots import active
from probcat.sampler.window.structures import FLUX, Model, Window, X, Y

SLACK = 0.9
"""Shares may fall below the flux limit by this factor, as the total is drawn anew."""
LEAST = 2.2
"""Sources fainter than this times the flux limit are not split."""
PICK_SLOPE = 0.4
"""Sources are picked with probability in proportion to this power of their flux."""
WIDTHS = (0.5, 1.3)
"""Standard deviations of displacements per axis, in units of the scale."""
WIDEST = 0.8
"""Greatest scale of a displacement in units of the PSF's FWHM."""


def pair_scale(model: Model, level: Array, fraction: Array, flux: Array) -> Array:
    """Separation at which a pair differs from a single star by one standard deviation.

    Parameters
    ----------
    model : Model
    level : Array
        Inverse variance of the pixels around the pair.
    fraction : Array
        Of one of the two in the total flux.
    flux : Array
        Total.
    """
    amplitude = fraction * (1.0 - fraction) * flux
    bend = amplitude**2 * level * model.point_bend_norm
    scale = (8.0 / jnp.maximum(bend, 1e-20)) ** 0.25
    return jnp.minimum(scale, WIDEST * model.fwhm)


def pick_weights(sources: Array) -> Array:
    """Log weights (S,) of sources to be merged or moved: bright blends need it most."""
    flux = sources[:, FLUX]
    return jnp.where(flux > 0.0, PICK_SLOPE * jnp.log(jnp.maximum(flux, 1e-20)), -jnp.inf)


def split_weights(prior: Prior, sources: Array) -> Array:
    """Log weights (S,) of sources to be split."""
    return jnp.where(splittable(prior, sources[:, FLUX]), pick_weights(sources), -jnp.inf)


def splittable(prior: Prior, flux: Array) -> Array:
    """Whether sources are bright enough to be split."""
    low, _ = prior.flux_limits
    return flux > LEAST * low


def _least_flux_fraction(prior: Prior, flux: Array) -> Array:
    low, _ = prior.flux_limits
    return jnp.minimum(SLACK * low / flux, 0.49)


def sample_flux_fraction(uniform: Array, prior: Prior, flux: Array) -> Array:
    """Draw the share of one of two sources in a flux, from uniforms (3,).

    Half of the time it is uniform in its logit, else its inverse is: faint companions
    of bright stars are the most common, as the flux prior has them.
    """
    least = _least_flux_fraction(prior, flux)
    reach = jnp.log((1.0 - least) / least)
    even = jax.nn.sigmoid((2.0 * uniform[0] - 1.0) * reach)
    faint = 1.0 / (2.0 + uniform[0] * (1.0 / least - 2.0))
    faint = jnp.where(uniform[1] < 0.5, faint, 1.0 - faint)
    return jnp.where(uniform[2] < 0.5, even, faint)


def log_flux_fraction_density(prior: Prior, flux: Array, fraction: Array) -> Array:
    """Log density of `sample_flux_fraction`."""
    least = _least_flux_fraction(prior, flux)
    small = jnp.maximum(jnp.minimum(fraction, 1.0 - fraction), 1e-9)
    reach = jnp.log((1.0 - least) / least)
    even = 0.5 / (reach * small * (1.0 - small))
    faint = 0.5 / (small**2 * (1.0 / least - 2.0))
    return jnp.where(small >= least, jnp.log(0.5 * (even + faint)), -jnp.inf)


def sample_step(uniform: Array, scale: Array) -> Array:
    """Draw the displacement (2,) between two sources from uniforms (3,)."""
    width = jnp.where(uniform[0] < 0.5, WIDTHS[0], WIDTHS[1]) * scale
    length = width * jnp.sqrt(-2.0 * jnp.log(uniform[1]))
    angle = 2.0 * jnp.pi * uniform[2]
    return length * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def log_step_density(square: Array, scale: Array) -> Array:
    """Log density per square pixel of `sample_step` at a squared distance."""

    def normal(width: Array) -> Array:
        return -0.5 * square / width**2 - 2.0 * (HALF_LOG_TWO_PI + jnp.log(width))

    parts = jnp.logaddexp(normal(WIDTHS[0] * scale), normal(WIDTHS[1] * scale))
    return parts - jnp.log(2.0)


def partner_weights(
    model: Model, window: Window, sources: Array, second: Array, excluded: Array
) -> Array:
    """Log weights (S,) of sources to be merged with a second one."""
    level = precision_at(model, window, second[X], second[Y]) / model.point_norm
    total = sources[:, FLUX] + second[FLUX]
    fraction = sources[:, FLUX] / jnp.maximum(total, 1e-20)
    scale = pair_scale(model, level, fraction, total)
    square = (sources[:, X] - second[X]) ** 2 + (sources[:, Y] - second[Y]) ** 2
    index = jnp.arange(sources.shape[0], dtype=jnp.int32)
    possible = active(sources) & (index != excluded)
    near = log_step_density(square, scale) + 2.0 * jnp.log(scale)
    return jnp.where(possible, near, -jnp.inf)


def choose_partner(
    uniform: Array, model: Model, window: Window, sources: Array, slot: Array
) -> Array:
    """Choose a source to merge the one in a slot with."""
    return choose(uniform, partner_weights(model, window, sources, sources[slot], slot))


def log_partner(
    model: Model, window: Window, sources: Array, second: Array, slot: Array, first: Array
) -> Array:
    """Log probability of `choose_partner`, with the second source given apart."""
    return log_probability(partner_weights(model, window, sources, second, slot), first)
