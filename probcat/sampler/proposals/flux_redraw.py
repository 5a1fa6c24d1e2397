"""Draw a flux anew where a move exchanges the image that it multiplies for another."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.sampler.proposals.fluxes import flux_conditional, log_flux_density, sample_flux
from probcat.sampler.window.slots import total
from probcat.sampler.window.structures import Model, RandomNumbers, Window


class Redrawn(NamedTuple):
    """Fluxes of the lower and of the upper state.

    Attributes
    ----------
    lower, upper : Array, shape ()
    log_ratio : Array, shape ()
        Log density of drawing the lower one minus that of drawing the upper one.
    information : Array, shape ()
        Inverse variance of the flux of the lower image.
    """

    lower: Array
    upper: Array
    log_ratio: Array
    information: Array


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
    numbers : RandomNumbers
    model, window : Model, Window
    upward : Array, bool
        Whether the current state is the lower one.
    flux_now : Array, shape ()
        Flux of the current state.
    bare : Array, shape (W, W)
        Residual without the light in question.
    images : tuple of Array, shape (W, W)
        Unit-flux image in the lower and in the upper state.
    """
    prior, weighted = model.prior, window.weight * bare
    information = [total(window.weight * image**2) for image in images]
    scores = [total(weighted * image) for image in images]
    below = flux_conditional(prior, scores[0], information[0])
    above = flux_conditional(prior, scores[1], information[1])
    mean, precision = (jnp.where(upward, b, a) for a, b in zip(below, above, strict=True))
    drawn = sample_flux(uniform, numbers.flux[0], prior, mean, precision)
    lower, upper = jnp.where(upward, flux_now, drawn), jnp.where(upward, drawn, flux_now)
    log_ratio = log_flux_density(prior, lower, *below) - log_flux_density(prior, upper, *above)
    return Redrawn(lower, upper, log_ratio, information[0])
