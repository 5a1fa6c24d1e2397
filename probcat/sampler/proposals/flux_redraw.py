"""New fluxes of the sources that a move replaces, from their conditional Gaussians.

`redraw_flux` is for one total flux that multiplies another image in the proposed state,
`redraw_host_and_companion` for a source that appears beside another one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.sampler.proposals.colours import log_colours_density, sample_colours
from probcat.sampler.proposals.fluxes import (
    flux_conditional,
    log_flux_density,
    pair_conditional,
    sample_flux,
)
from probcat.sampler.window.light import band_factors, band_totals
from probcat.sampler.window.slots import colours_of, total
from probcat.sampler.window.structures import FLUX, Model, RandomNumbers, Window


class Redrawn(NamedTuple):
    """Total fluxes of the lower and of the upper state, one of them redrawn.

    Attributes
    ----------
    lower, upper : Array, shape ()
        Total flux of the sources in question in the lower and in the upper state.
    log_ratio : Array, shape ()
        ``ln N(lower) - ln N(upper)`` of the densities that they are drawn from; this term of the
        acceptance ratio is the same in both directions.
    information : Array, shape ()
        Fisher information on the flux that multiplies the image of the lower state.
    """

    lower: Array
    upper: Array
    log_ratio: Array
    information: Array


class RedrawnPair(NamedTuple):
    """Fluxes of a companion and its host in the lower and in the upper state.

    Attributes
    ----------
    companion : Array, shape ()
        Flux of the companion, which only the upper state has.
    host_lower, host_upper : Array, shape ()
        Flux of the host without and with the companion.
    colours : Array, shape (B - 1,)
        Colours of the companion.
    log_ratio : Array, shape ()
        Log density of drawing the host's flux alone, minus that of drawing both fluxes and the
        colours.
    """

    companion: Array
    host_lower: Array
    host_upper: Array
    colours: Array
    log_ratio: Array


def redraw_flux(
    uniform: Array,
    numbers: RandomNumbers,
    model: Model,
    window: Window,
    upward: Array,
    flux_now: Array,
    bare: Array,
    images: tuple[Array, Array],
) -> Redrawn:
    """Draw the flux of the proposed state from its conditional Gaussian.

    Parameters
    ----------
    uniform : Array, shape (2,)
        Uniform random numbers.
    numbers : RandomNumbers
        Random numbers of the move, of which the first flux from the prior is used.
    model : Model
        Model, which has the prior of fluxes.
    window : Window
        Window, which has the weights of pixels.
    upward : Array, bool
        Whether the current state is the lower one.
    flux_now : Array, shape ()
        Total flux in the current state.
    bare : Array, shape (W, W)
        Residual without the sources in question, the same in both states.
    images : tuple of Array, shape (W, W)
        Unit-flux images of the lower and of the upper state.
    """
    prior, weighted = model.prior, window.weight * bare
    information = [total(window.weight * image**2) for image in images]
    scores = [total(weighted * image) for image in images]
    given_lower = flux_conditional(prior, scores[0], information[0])
    given_upper = flux_conditional(prior, scores[1], information[1])
    mean, precision = (
        jnp.where(upward, above, below)
        for above, below in zip(given_upper, given_lower, strict=True)
    )
    new_flux = sample_flux(uniform, numbers.flux[0], prior, mean, precision)
    lower = jnp.where(upward, flux_now, new_flux)
    upper = jnp.where(upward, new_flux, flux_now)
    log_ratio = log_flux_density(prior, lower, *given_lower) - log_flux_density(
        prior, upper, *given_upper
    )
    return Redrawn(lower, upper, log_ratio, information[0])


def redraw_host_and_companion(
    uniform: Array,
    numbers: RandomNumbers,
    model: Model,
    window: Window,
    upward: Array,
    now: tuple[Array, Array],
    bare: Array,
    units: tuple[Array, Array],
) -> RedrawnPair:
    """Draw the fluxes of both and the companion's colours, or the flux of the host alone.

    The companion's flux in every band is drawn with the host's flux in the same band integrated
    out; the host's flux follows, with its colours fixed.

    Parameters
    ----------
    uniform : Array, shape (5,)
        Uniform random numbers.
    numbers : RandomNumbers
        Random numbers of the move, of which both fluxes, the colours and the normal ones are used.
    model : Model
        Model, which has the prior.
    window : Window
        Window, which has the weights of pixels.
    upward : Array, bool
        Whether the current state is the lower one, without the companion.
    now : tuple of Array
        Host and companion of the current state.
    bare : Array, shape (W, W)
        Residual without host and companion, the same in both states.
    units : tuple of Array, shape (W, W)
        Images of host and companion of unit flux in every band.
    """
    u_flux, u_host_flux, u_colours = uniform[:2], uniform[2:4], uniform[4]
    prior, weighted, (host, companion) = model.prior, window.weight * bare, now
    scores = jnp.stack([band_totals(model, weighted * image) for image in units])
    host_norm, norm = (band_totals(model, window.weight * image**2) for image in units)
    overlap = band_totals(model, window.weight * units[0] * units[1])
    fisher = jnp.stack([jnp.stack([host_norm, overlap]), jnp.stack([overlap, norm])])
    means, precisions = jax.vmap(lambda score, matrix: pair_conditional(prior, score, matrix))(
        scores.T, jnp.moveaxis(fisher, 2, 0)
    )

    new_flux = sample_flux(u_flux, numbers.flux[0], prior, means[0], precisions[0])
    flux = jnp.where(upward, new_flux, companion[FLUX])
    other_bands = (flux, means[1:], precisions[1:])
    new_colours = sample_colours(u_colours, numbers.colours, numbers.normal, prior, *other_bands)
    colours = jnp.where(upward, new_colours, colours_of(model, companion))

    host_factor = band_factors(model, colours_of(model, host))
    factor = band_factors(model, colours)
    host_information = jnp.sum(host_factor**2 * host_norm)
    given_lower = flux_conditional(prior, jnp.sum(host_factor * scores[0]), host_information)
    host_scores = scores[0] - flux * factor * overlap
    given_upper = flux_conditional(prior, jnp.sum(host_factor * host_scores), host_information)
    # The precision of the host's flux is the same in both states.
    host_mean, host_precision = jnp.where(upward, given_upper[0], given_lower[0]), given_lower[1]
    new_host_flux = sample_flux(u_host_flux, numbers.flux[1], prior, host_mean, host_precision)
    host_lower = jnp.where(upward, host[FLUX], new_host_flux)
    host_upper = jnp.where(upward, new_host_flux, host[FLUX])
    log_ratio = (
        log_flux_density(prior, host_lower, *given_lower)
        - log_flux_density(prior, flux, means[0], precisions[0])
        - log_colours_density(prior, colours, *other_bands)
        - log_flux_density(prior, host_upper, *given_upper)
    )
    return RedrawnPair(flux, host_lower, host_upper, colours, log_ratio)
