r"""Split of a star in two and merger of two stars in one, keeping the centroid.

Upward, a star of flux F at position :math:`\mathbf r` is chosen to be split, mostly a bright one.
A fraction :math:`\varphi` of its flux, a separation d and a difference :math:`\delta` of colours
are drawn, and it becomes two stars

.. math:: (\mathbf r + (1 - \varphi)\, d,\ \varphi F) \quad\mathrm{and}\quad
          (\mathbf r - \varphi\, d,\ (1 - \varphi) F).

Downward, a star is picked, mostly a bright one, a partner is chosen that is close to it for its
flux, and both become one star at their centroid. In either direction the total flux is drawn again
from its conditional Gaussian given the image that it multiplies. The Jacobian of
:math:`(\mathbf r, d, \varphi, F) \to (\mathbf r_1, \mathbf r_2, f_1, f_2)` is F, and that of the
colours is one:

.. math:: A = \lambda_P\, \frac{p(f_1)\, p(f_2)}{p(F_x)}
          \cdot \frac{p(c_1)\, p(c_2)}{p(C)\, q(\delta)}
          \cdot \frac{P_\mathrm{pick}(2 \mid y)\, P_\mathrm{partner}(1 \mid 2, y)}
          {P_\mathrm{split}(x)\, q(\varphi \mid F_x)\, q(d \mid \varphi, F_x)}
          \cdot \frac{N(F_x \mid R)}{N(F_y \mid R)}\, F_y.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.choices import (
    choose_weighted,
    empty_slot,
    log_probability,
    pick_weights,
    split_weights,
    splittable,
)
from probcat.sampler.proposals.colours import log_division_ratio
from probcat.sampler.proposals.displacements import log_separation_density, sample_separation
from probcat.sampler.proposals.flux_redraw import Redrawn, redraw_flux
from probcat.sampler.proposals.pairs import (
    Division,
    choose_partner,
    divide_in_stars,
    join_sources,
    log_flux_fraction_density,
    log_partner,
    pair_scale,
    sample_flux_fraction,
)
from probcat.sampler.window.light import unit_image
from probcat.sampler.window.slots import (
    active,
    colours_of,
    contains,
    one_hot,
    put,
    star,
    total,
    with_flux,
)
from probcat.sampler.window.structures import (
    FLUX,
    POINT,
    Model,
    RandomNumbers,
    Search,
    Window,
    WindowState,
)


class _Merged(NamedTuple):
    """The one star of the lower state.

    Attributes
    ----------
    unit : Array, shape (2 + B,)
        The star with a flux of one.
    image : Array, shape (W, W)
        Its image.
    information : Array, shape ()
        Fisher information on its flux.
    pixel_weight : Array, shape ()
        Inverse variance of the pixels around it.
    """

    unit: Array
    image: Array
    information: Array
    pixel_weight: Array


def split_merge(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
) -> tuple[WindowState, Outcome]:
    """Propose to split one star in two (upward) or to merge two stars in one (downward).

    Arguments and results are those of a `Move`.
    """
    del search
    u = numbers.uniform
    u_direction, u_pick = u[0], u[1]
    u_first = u[2]  # chooses the star to split, upward, or the partner to merge with, downward
    u_division, u_flux, u_accept = u[3:9], u[9:11], u[11]

    prior, sources = model.prior, state.points
    upward = u_direction < 0.5
    picked = choose_weighted(u_pick, pick_weights(sources))
    free, has_room = empty_slot(active(sources))
    second_slot = jnp.where(upward, free, picked)
    to_split = choose_weighted(u_first, split_weights(prior, sources))
    partner = choose_partner(u_first, model, window, sources, second_slot)
    first_slot = jnp.where(upward, to_split, partner)

    merged, division = _divide(
        u_division, numbers, model, window, upward, sources[first_slot], sources[second_slot]
    )
    joined, fraction = division.joined, division.fraction
    pair = divide_in_stars(model, window, division)
    images = (merged.image, pair.image)
    bare = state.residual + joined.flux * jnp.where(upward, *images)
    flux = redraw_flux(u_flux, numbers, model, window, upward, joined.flux, bare, images)

    first, second = (with_flux(one, one[FLUX] * flux.upper) for one in (pair.first, pair.second))
    with_merged = put(sources, first_slot, with_flux(merged.unit, flux.lower))
    with_merged = put(with_merged, second_slot, 0.0)
    with_first = put(sources, first_slot, first)
    with_both = put(with_first, second_slot, second)
    # Upward, the second star is not yet among the sources that it chooses its partner from.
    excluded = jnp.where(upward, -1, second_slot)
    log_choices = (
        log_probability(pick_weights(with_both), second_slot),
        log_partner(model, window, with_first, second, excluded, first_slot),
        log_probability(split_weights(prior, with_merged), first_slot),
    )

    stars_inside = contains(window, *first[:FLUX]) & contains(window, *second[:FLUX])
    has_pair = jnp.sum(active(sources), dtype=jnp.int32) > 1
    bright_enough = splittable(prior, flux.lower)
    can_split, can_merge = has_room & stars_inside, has_pair & contains(window, *joined.centre)
    proposal = Proposal(
        upward=upward,
        possible=bright_enough & jnp.where(upward, can_split, can_merge),
        log_ratio=_log_ratio(
            model, window, division, merged.pixel_weight, flux, (first, second), log_choices
        ),
        residual=(bare - flux.lower * images[0], bare - flux.upper * images[1]),
        sources=(jnp.where(upward, with_both, with_merged), state.extended),
        signal=jnp.minimum(fraction, 1.0 - fraction) * flux.upper * jnp.sqrt(merged.information),
    )
    overflow = state.overflow | (upward & ~has_room & bright_enough & one_hot(POINT, 2))
    return decide(u_accept, window, state._replace(overflow=overflow), proposal)


def _divide(
    uniform: Array,
    numbers: RandomNumbers,
    model: Model,
    window: Window,
    upward: Array,
    first: Array,
    second: Array,
) -> tuple[_Merged, Division]:
    """Divide the first star at random, upward, or return the division that the pair is."""
    u_fraction, u_separation = uniform[:3], uniform[3:]
    joined = join_sources(numbers, model, upward, first, first, second)
    unit = star(joined.centre, jnp.float32(1.0), joined.colours)
    image = unit_image(model, window, POINT, unit)
    information = total(window.weight * image**2)
    pixel_weight = information / model.point_norm
    new_fraction = sample_flux_fraction(u_fraction, model.prior, joined.flux)
    fraction = jnp.where(upward, new_fraction, joined.fraction)
    scale = pair_scale(model, pixel_weight, fraction, joined.flux)
    new_separation = sample_separation(u_separation, scale)
    separation = jnp.where(upward, new_separation, first[:FLUX] - second[:FLUX])
    division = Division(joined, fraction, separation)
    return _Merged(unit, image, information, pixel_weight), division


def _log_ratio(
    model: Model,
    window: Window,
    division: Division,
    pixel_weight: Array,
    flux: Redrawn,
    stars: tuple[Array, Array],
    log_choices: tuple[Array, Array, Array],
) -> Array:
    """Return ln A of the module's docstring."""
    prior, (joined, fraction, separation) = model.prior, division
    (first, second), (log_pick, log_first, log_split) = stars, log_choices
    scale = pair_scale(model, pixel_weight, fraction, flux.lower)
    log_fraction = log_flux_fraction_density(prior, flux.lower, fraction)
    log_pair_density = log_fraction + log_separation_density(jnp.sum(separation**2), scale)
    return (
        jnp.log(window.density[POINT])
        + log_flux_prior(prior, first[FLUX])
        + log_flux_prior(prior, second[FLUX])
        - log_flux_prior(prior, flux.lower)
        + log_pick
        + log_first
        + flux.log_ratio
        - log_split
        - log_pair_density
        + jnp.log(flux.upper)
        + log_division_ratio(
            prior,
            joined.colours,
            joined.difference,
            colours_of(model, first),
            colours_of(model, second),
        )
    )
