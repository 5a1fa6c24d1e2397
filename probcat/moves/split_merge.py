"""Split a point source in two and merge two into one, keeping the centroid.

With total flux F, share ``phi`` and displacement d, the source at x becomes
``x + (1 - phi) d`` with flux ``phi F`` and ``x - phi d`` with ``(1 - phi) F``; the
Jacobian of (x, d, phi, F) -> (x1, x2, f1, f2) is F.  Both ways the total flux is
drawn from its conditional Gaussian given the image that it multiplies.
"""

import jax.numpy as jnp

from probcat.moves.base import (
    FLUX,
    POINT,
    Draws,
    Model,
    Outcome,
    Proposal,
    Search,
    Window,
    WindowState,
    X,
    Y,
    active,
    contains,
    decide,
    patch,
    total,
)
from probcat.moves.birth_death import log_death_weight
from probcat.moves.companion import neighbour_weights
from probcat.moves.proposals import (
    choose,
    choose_uniformly,
    empty_slot,
    flux_conditional,
    log_displacement,
    log_flux_density,
    log_probability,
    sample_displacement,
    sample_flux,
)
from probcat.prior import log_flux_prior


def split_merge(
    draws: Draws, model: Model, search: Search, window: Window, state: WindowState
) -> tuple[WindowState, Outcome]:
    """One split or merge of point sources."""
    del search
    u = draws.uniform
    prior, sources = model.prior, state.points
    size = state.residual.shape[-1]
    upward = u[0] < 0.5

    log_weight = log_death_weight(model, sources[:, FLUX])
    leaving = choose(u[1], log_weight)
    free, has_room = empty_slot(active(sources))
    slot = jnp.where(upward, free, leaving)
    excluded = jnp.where(upward, -1, slot)
    second = sources[slot]
    nearby = neighbour_weights(sources, second[X], second[Y], model.fwhm, excluded)
    first_down = choose(u[2], nearby)
    first_slot = jnp.where(upward, choose_uniformly(u[3], active(sources)), first_down)
    first = sources[first_slot]

    share_down = first[FLUX] / jnp.maximum(first[FLUX] + second[FLUX], 1e-30)
    share = jnp.where(upward, u[4], share_down)
    step = jnp.where(upward, sample_displacement(u[5:8], model.fwhm), first[:FLUX] - second[:FLUX])
    centre = jnp.where(upward, first[:FLUX], second[:FLUX] + share * step)
    position_1, position_2 = centre + (1.0 - share) * step, centre - share * step

    image = patch(model, POINT, centre, size)
    image_1 = patch(model, POINT, position_1, size)
    image_2 = patch(model, POINT, position_2, size)
    both = share * image_1 + (1.0 - share) * image_2
    flux_now = jnp.where(upward, first[FLUX], first[FLUX] + second[FLUX])
    bare = state.residual + flux_now * jnp.where(upward, image, both)

    weighted = window.weight * bare
    one = flux_conditional(prior, total(weighted * image), total(window.weight * image**2))
    two = flux_conditional(prior, total(weighted * both), total(window.weight * both**2))
    drawn = sample_flux(
        u[8:10],
        draws.flux[0],
        prior,
        jnp.where(upward, two[0], one[0]),
        jnp.where(upward, two[1], one[1]),
    )
    flux_one = jnp.where(upward, first[FLUX], drawn)
    flux_two = jnp.where(upward, drawn, first[FLUX] + second[FLUX])
    flux_1, flux_2 = share * flux_two, (1.0 - share) * flux_two

    split_1 = jnp.append(position_1, flux_1)
    split_2 = jnp.append(position_2, flux_2)
    merged = jnp.append(centre, flux_one)
    with_both = log_weight.at[slot].set(log_death_weight(model, flux_2))
    with_both = with_both.at[first_slot].set(log_death_weight(model, flux_1))
    placed = sources.at[first_slot].set(split_1)
    beside = neighbour_weights(placed, position_2[0], position_2[1], model.fwhm, excluded)
    count = jnp.sum(active(sources)) - jnp.where(upward, 0, 1)
    log_ratio = (
        jnp.log(window.density[POINT])
        + log_flux_prior(prior, flux_1)
        + log_flux_prior(prior, flux_2)
        - log_flux_prior(prior, flux_one)
        + log_probability(with_both, slot)
        + log_probability(beside, first_slot)
        + log_flux_density(prior, flux_one, *one)
        + jnp.log(count.astype(jnp.float32))
        - log_displacement(jnp.sum(step**2), model.fwhm)
        - log_flux_density(prior, flux_two, *two)
        + jnp.log(flux_two)
    )
    inside = contains(window, position_1[0], position_1[1])
    inside = inside & contains(window, position_2[0], position_2[1])
    centred = contains(window, centre[0], centre[1])
    proposed = sources.at[first_slot].set(jnp.where(upward, split_1, merged))
    proposed = proposed.at[slot].set(jnp.where(upward, split_2, jnp.zeros_like(split_2)))
    proposal = Proposal(
        upward=upward,
        possible=(count > 0) & jnp.where(upward, has_room & inside, centred),
        log_ratio=log_ratio,
        residual=(bare - flux_one * image, bare - flux_two * both),
        sources=(proposed, state.extended),
    )
    overflow = state.overflow.at[POINT].set(
        state.overflow[POINT] | (upward & ~has_room & (count > 0))
    )
    return decide(u[10], window, state._replace(overflow=overflow), proposal)
