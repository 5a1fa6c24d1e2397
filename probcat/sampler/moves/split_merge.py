"""Split a point source in two and merge two into one, keeping the centroid.

With total flux F, share ``phi`` and displacement d, the source at x becomes
``x + (1 - phi) d`` with flux ``phi F`` and ``x - phi d`` with ``(1 - phi) F``; the
Jacobian of (x, d, phi, F) -> (x1, x2, f1, f2) is F.  Both ways the total flux is
drawn from its conditional Gaussian given the image that it multiplies.
"""

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.colours import divide, log_division, merge, sample_difference
from probcat.sampler.proposals.flux_redraw import redraw_flux
from probcat.sampler.proposals.fluxes import choose, empty_slot, log_probability
from probcat.sampler.proposals.pairs import (
    choose_partner,
    log_flux_fraction_density,
    log_partner,
    log_step_density,
    pair_scale,
    pick_weights,
    sample_flux_fraction,
    sample_step,
    split_weights,
    splittable,
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


def split_merge(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
) -> tuple[WindowState, Outcome]:
    """One split or merge of point sources."""
    del search
    u = numbers.uniform
    prior, sources = model.prior, state.points
    upward = u[0] < 0.5

    leaving = choose(u[1], pick_weights(sources))
    free, has_room = empty_slot(active(sources))
    slot = jnp.where(upward, free, leaving)
    host = choose(u[2], split_weights(prior, sources))
    partner = choose_partner(u[2], model, window, sources, slot)
    first_slot = jnp.where(upward, host, partner)
    first, second = sources[first_slot], sources[slot]

    flux_now = first[FLUX] + jnp.where(upward, 0.0, second[FLUX])
    share_now = first[FLUX] / jnp.maximum(flux_now, 1e-30)
    middle = share_now * first[:FLUX] + (1.0 - share_now) * second[:FLUX]
    centre = jnp.where(upward, first[:FLUX], middle)
    joined, difference = merge(share_now, colours_of(model, first), colours_of(model, second))
    joined = jnp.where(upward, colours_of(model, first), joined)
    difference = jnp.where(upward, sample_difference(numbers.normal, prior), difference)
    image = unit_image(model, window, POINT, star(centre, jnp.float32(1.0), joined))
    information = total(window.weight * image**2)
    level = information / model.point_norm

    fraction = jnp.where(upward, sample_flux_fraction(u[3:6], prior, flux_now), share_now)
    drawn = sample_step(u[6:9], pair_scale(model, level, fraction, flux_now))
    step = jnp.where(upward, drawn, first[:FLUX] - second[:FLUX])
    position_1, position_2 = centre + (1.0 - fraction) * step, centre - fraction * step
    colours_1, colours_2 = divide(fraction, joined, difference)
    unit = (star(position_1, fraction, colours_1), star(position_2, 1.0 - fraction, colours_2))
    images = [one[FLUX] * unit_image(model, window, POINT, one) for one in unit]
    both = images[0] + images[1]
    bare = state.residual + flux_now * jnp.where(upward, image, both)

    flux = redraw_flux(u[9:11], numbers, model, window, upward, flux_now, bare, (image, both))
    split_1, split_2 = (with_flux(one, one[FLUX] * flux.upper) for one in unit)
    merged = star(centre, flux.lower, joined)
    upper = put(sources, first_slot, split_1)
    lower = put(put(sources, first_slot, merged), slot, 0.0)
    excluded = jnp.where(upward, -1, slot)
    both_split = put(upper, slot, split_2)
    picked = log_probability(pick_weights(both_split), slot)
    hosted = log_probability(split_weights(prior, lower), first_slot)
    log_ratio = (
        jnp.log(window.density[POINT])
        + log_flux_prior(prior, split_1[FLUX])
        + log_flux_prior(prior, split_2[FLUX])
        - log_flux_prior(prior, flux.lower)
        + picked
        + log_partner(model, window, upper, split_2, excluded, first_slot)
        + flux.log_ratio
        - hosted
        - _log_pair_density(prior, model, level, flux.lower, fraction, step)
        + jnp.log(flux.upper)
        + log_division(prior, joined, difference, colours_1, colours_2)
    )
    inside = contains(window, *position_1) & contains(window, *position_2)
    able = splittable(prior, flux.lower)
    proposal = Proposal(
        upward=upward,
        possible=able
        & jnp.where(
            upward,
            has_room & inside,
            (jnp.sum(active(sources), dtype=jnp.int32) > 1) & contains(window, *centre),
        ),
        log_ratio=log_ratio,
        residual=(bare - flux.lower * image, bare - flux.upper * both),
        sources=(jnp.where(upward, both_split, lower), state.extended),
        signal=jnp.minimum(fraction, 1.0 - fraction) * flux.upper * jnp.sqrt(information),
    )
    overflow = state.overflow | (upward & ~has_room & able & one_hot(POINT, 2))
    return decide(u[11], window, state._replace(overflow=overflow), proposal)


def _log_pair_density(prior, model, level, flux, fraction, step) -> Array:
    scale = pair_scale(model, level, fraction, flux)
    return log_flux_fraction_density(prior, flux, fraction) + log_step_density(
        jnp.sum(step**2), scale
    )
