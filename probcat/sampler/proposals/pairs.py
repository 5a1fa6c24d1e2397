r"""Pairs of stars that look like one source: how flux and position divide, and which pairs merge.

Two close stars with fluxes :math:`\varphi F` and :math:`(1 - \varphi) F` and separation d look
like one star of flux F at their centroid, apart from :math:`\varphi (1 - \varphi) F d^2 / 2` times
the second derivative of the PSF along d. The separation at which this quadrupole begins to stand
out of the noise is the scale of proposed separations, so that splits of bright stars are as narrow
as they have to be.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.prior import Prior
from probcat.sampler.proposals.choices import choose_weighted, log_probability
from probcat.sampler.proposals.colours import (
    divide_colours,
    join_colours,
    sample_colour_difference,
)
from probcat.sampler.proposals.displacements import log_separation_density
from probcat.sampler.proposals.matched_filter import precision_at
from probcat.sampler.window.light import unit_image
from probcat.sampler.window.slots import active, colours_of, star
from probcat.sampler.window.structures import FLUX, POINT, Model, RandomNumbers, Window, X, Y

FAINT_HALF_TOLERANCE = 0.9
"""Faintest proposed half of a pair in units of the flux limit.

It may be below the limit since the total flux is drawn again afterwards.
"""
MAX_PAIR_SCALE = 0.8
"""Largest scale of separations in units of the FWHM of the PSF."""


class Joined(NamedTuple):
    """A pair of sources seen as one source.

    Attributes
    ----------
    flux : Array, shape ()
        Total flux.
    fraction : Array, shape ()
        Fraction of the flux that the first of the pair has; it means nothing where the pair does
        not exist yet.
    centre : Array, shape (2,)
        Centroid of the light.
    colours : Array, shape (B - 1,)
        Joined colours.
    difference : Array, shape (B - 1,)
        Colours of the first of the pair minus those of the second.
    """

    flux: Array
    fraction: Array
    centre: Array
    colours: Array
    difference: Array


class Division(NamedTuple):
    """One source and how it divides in two, of which either may be in the current state.

    Attributes
    ----------
    joined : Joined
        The one source.
    fraction : Array, shape ()
        Fraction of the flux that the first of the two has.
    separation : Array, shape (2,)
        Position of the first minus that of the second in pixels.
    """

    joined: Joined
    fraction: Array
    separation: Array


class StarPair(NamedTuple):
    """Two stars with a total flux of one in the first band.

    Attributes
    ----------
    image : Array, shape (W, W)
        Image of both.
    first, second : Array, shape (2 + B,)
        The two stars, their fluxes being fractions.
    """

    image: Array
    first: Array
    second: Array


def join_sources(
    numbers: RandomNumbers,
    model: Model,
    upward: Array,
    single: Array,
    first: Array,
    second: Array,
) -> Joined:
    """Return the single source of the current state, or the pair of it seen as one.

    Parameters
    ----------
    numbers : RandomNumbers
        Random numbers of the move, which the difference of colours of a new pair is made of.
    model : Model
        Model, which has the prior of colours.
    upward : Array, bool
        Whether the current state has the single source, which is to be split.
    single, first, second : Array
        The single source, and the first and second of the pair.
    """
    flux_of_pair = first[FLUX] + second[FLUX]
    fraction = first[FLUX] / jnp.maximum(flux_of_pair, 1e-30)
    centroid = fraction * first[:FLUX] + (1.0 - fraction) * second[:FLUX]
    joined, difference = join_colours(fraction, colours_of(model, first), colours_of(model, second))
    new_difference = sample_colour_difference(numbers.normal, model.prior)
    return Joined(
        flux=jnp.where(upward, single[FLUX], flux_of_pair),
        fraction=fraction,
        centre=jnp.where(upward, single[:FLUX], centroid),
        colours=jnp.where(upward, colours_of(model, single), joined),
        difference=jnp.where(upward, new_difference, difference),
    )


def divide_in_stars(model: Model, window: Window, division: Division) -> StarPair:
    """Return the two stars that one source divides into.

    Parameters
    ----------
    model : Model
        Model of the images.
    window : Window
        Window that the image fills.
    division : Division
        The source and how it divides.
    """
    joined, fraction, separation = division
    colours_1, colours_2 = divide_colours(fraction, joined.colours, joined.difference)
    first = star(joined.centre + (1.0 - fraction) * separation, fraction, colours_1)
    second = star(joined.centre - fraction * separation, 1.0 - fraction, colours_2)
    image_1, image_2 = (
        one[FLUX] * unit_image(model, window, POINT, one) for one in (first, second)
    )
    return StarPair(image_1 + image_2, first, second)


def pair_scale(model: Model, pixel_weight: Array, fraction: Array, flux: Array) -> Array:
    r"""Return the separation at which a pair differs from one star by about one standard deviation.

    It is :math:`d = (8 / b)^{1/4}` with
    :math:`b = (\varphi (1 - \varphi) F)^2\, w \sum (\partial^2 P / \partial x^2)^2`: there the
    quadrupole of the pair has a chi-square :math:`b d^4 / 4` of two.

    Parameters
    ----------
    model : Model
        Model, which has the sum of the squared second derivatives of the PSF P.
    pixel_weight : Array
        Inverse variance w of the pixels around the pair.
    fraction : Array
        Fraction :math:`\varphi` of the total flux that one of the two has.
    flux : Array
        Total flux F.

    Returns
    -------
    Array
        Separation in pixels, at most `MAX_PAIR_SCALE` FWHM.
    """
    amplitude = fraction * (1.0 - fraction) * flux
    bend = amplitude**2 * pixel_weight * model.point_bend_norm
    scale = (8.0 / jnp.maximum(bend, 1e-20)) ** 0.25
    return jnp.minimum(scale, MAX_PAIR_SCALE * model.fwhm)


def _least_flux_fraction(prior: Prior, flux: Array) -> Array:
    """Return the smallest fraction that either of two sources may have of a flux."""
    low, _ = prior.flux_limits
    return jnp.minimum(FAINT_HALF_TOLERANCE * low / flux, 0.49)


def sample_flux_fraction(uniform: Array, prior: Prior, flux: Array) -> Array:
    r"""Draw the fraction of a flux that the first of two sources has.

    Half of the time its logit is uniform. Otherwise the smaller fraction :math:`\varphi` has a
    density in proportion to :math:`\varphi^{-2}`: as faint sources are the most common in the
    prior, so are faint companions of bright stars.

    Parameters
    ----------
    uniform : Array, shape (3,)
        Uniform random numbers.
    prior : Prior
        Prior, which has the flux limit.
    flux : Array, shape ()
        Total flux of the two sources.
    """
    least = _least_flux_fraction(prior, flux)
    max_logit = jnp.log((1.0 - least) / least)
    even = jax.nn.sigmoid((2.0 * uniform[0] - 1.0) * max_logit)
    faint = 1.0 / (2.0 + uniform[0] * (1.0 / least - 2.0))
    faint = jnp.where(uniform[1] < 0.5, faint, 1.0 - faint)
    return jnp.where(uniform[2] < 0.5, even, faint)


def log_flux_fraction_density(prior: Prior, flux: Array, fraction: Array) -> Array:
    """Return the log density of `sample_flux_fraction` at a fraction."""
    least = _least_flux_fraction(prior, flux)
    small = jnp.maximum(jnp.minimum(fraction, 1.0 - fraction), 1e-9)
    max_logit = jnp.log((1.0 - least) / least)
    even = 0.5 / (max_logit * small * (1.0 - small))
    faint = 0.5 / (small**2 * (1.0 / least - 2.0))
    return jnp.where(small >= least, jnp.log(0.5 * (even + faint)), -jnp.inf)


def partner_weights(
    model: Model, window: Window, sources: Array, second: Array, excluded: Array
) -> Array:
    """Return the log weights (S,) of stars to be chosen as the partner of a second one.

    They are the densities of the separations in units of `pair_scale`, so that the pairs are
    preferred that look most like one star.

    Parameters
    ----------
    model : Model
        Model, which has the sums over the PSF.
    window : Window
        Window of the sources.
    sources : Array, shape (S, 2 + B)
        Candidates.
    second : Array, shape (2 + B,)
        Star that a partner is chosen for.
    excluded : Array, int32
        Slot that must not be chosen; -1 if all may be.
    """
    pixel_weight = precision_at(model, window, second[X], second[Y]) / model.point_norm
    total_flux = sources[:, FLUX] + second[FLUX]
    fraction = sources[:, FLUX] / jnp.maximum(total_flux, 1e-20)
    scale = pair_scale(model, pixel_weight, fraction, total_flux)
    square = (sources[:, X] - second[X]) ** 2 + (sources[:, Y] - second[Y]) ** 2
    index = jnp.arange(sources.shape[0], dtype=jnp.int32)
    possible = active(sources) & (index != excluded)
    weight = log_separation_density(square, scale) + 2.0 * jnp.log(scale)
    return jnp.where(possible, weight, -jnp.inf)


def choose_partner(
    uniform: Array, model: Model, window: Window, sources: Array, slot: Array
) -> Array:
    """Choose the slot of a star to merge the star in a given slot with."""
    weights = partner_weights(model, window, sources, sources[slot], slot)
    return choose_weighted(uniform, weights)


def log_partner(
    model: Model, window: Window, sources: Array, second: Array, slot: Array, first: Array
) -> Array:
    """Return the log probability that `choose_partner` chooses the slot `first`.

    Parameters
    ----------
    model, window, sources, second
        As in `partner_weights`.
    slot : Array, int32
        Slot of the second star in `sources`; -1 if it is not among them.
    first : Array, int32
        Slot of the first star.
    """
    return log_probability(partner_weights(model, window, sources, second, slot), first)
