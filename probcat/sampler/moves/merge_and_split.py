"""Divide the light of two point sources anew, keeping their centroid.

Merging a pair and splitting it again in one step moves along the directions in which
blends are least certain.  The pair has flux F, share ``phi`` and separation d; F is
drawn from its conditional Gaussian.  Half of the time ``phi`` and d are drawn as for a
split; else ``phi`` alone is, and d changes to keep ``phi (1 - phi) d^2``, the pair's
quadrupole, with a Jacobian of the square of its stretch.  Colours of the sum and their
difference stay.
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_colour_prior, log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.colours import divide, merge
from probcat.sampler.proposals.fluxes import (
    choose,
    flux_conditional,
    log_flux_density,
    log_probability,
    sample_flux,
)
from probcat.sampler.proposals.pairs import (
    choose_partner,
    log_flux_fraction_density,
    log_partner,
    log_step_density,
    pair_scale,
    pick_weights,
    sample_flux_fraction,
    sample_step,
)
from probcat.sampler.window.light import unit_image
from probcat.sampler.window.slots import active, colours_of, contains, put, star, total, with_flux
from probcat.sampler.window.structures import (
    FLUX,
    POINT,
    Model,
    RandomNumbers,
    Search,
    Window,
    WindowState,
)


def merge_and_split(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
) -> tuple[WindowState, Outcome]:
    """Move a pair of point sources; the proposed state counts as the upper one."""
    del search
    u = numbers.uniform
    prior, sources = model.prior, state.points
    slot = choose(u[0], pick_weights(sources))
    first_slot = choose_partner(u[1], model, window, sources, slot)
    first, second = sources[first_slot], sources[slot]
    flux = first[FLUX] + second[FLUX]
    fraction = first[FLUX] / jnp.maximum(flux, 1e-30)
    step = first[:FLUX] - second[:FLUX]
    centre = second[:FLUX] + fraction * step

    joined, difference = merge(fraction, colours_of(model, first), colours_of(model, second))
    image = unit_image(model, window, POINT, star(centre, jnp.float32(1.0), joined))
    information = total(window.weight * image**2)
    level = information / model.point_norm
    new_share = sample_flux_fraction(u[2:5], prior, flux)
    free = u[5] < 0.5
    stretch = jnp.sqrt(fraction * (1.0 - fraction) / (new_share * (1.0 - new_share)))
    drawn = sample_step(u[6:9], pair_scale(model, level, new_share, flux))
    # Stretched the other way round, the faint one changes sides.
    sign = jnp.where(u[6] < 0.5, stretch, -stretch)
    new_step = jnp.where(free, drawn, sign * step)

    here = (model, window, joined, difference, centre)
    both, *_ = _pair(*here, fraction, step)
    new_both, unit_1, unit_2 = _pair(*here, new_share, new_step)
    bare = state.residual + flux * both
    weighted = window.weight * bare
    before = flux_conditional(prior, total(weighted * both), total(window.weight * both**2))
    after = flux_conditional(prior, total(weighted * new_both), total(window.weight * new_both**2))
    new_flux = sample_flux(u[9:11], numbers.flux[0], prior, *after)

    new_first, new_second = (with_flux(one, one[FLUX] * new_flux) for one in (unit_1, unit_2))
    proposed = put(put(sources, first_slot, new_first), slot, new_second)

    def log_split(fraction: Array, step: Array, flux: Array) -> Array:
        scale = pair_scale(model, level, fraction, flux)
        drawn = log_step_density(jnp.sum(step**2), scale)
        return log_flux_fraction_density(prior, flux, fraction) + jnp.where(free, drawn, 0.0)

    log_ratio = (
        log_flux_prior(prior, new_first[FLUX])
        + log_flux_prior(prior, new_second[FLUX])
        - log_flux_prior(prior, first[FLUX])
        - log_flux_prior(prior, second[FLUX])
        + log_probability(pick_weights(proposed), slot)
        - log_probability(pick_weights(sources), slot)
        + log_partner(model, window, proposed, new_second, slot, first_slot)
        - log_partner(model, window, sources, second, slot, first_slot)
        + log_split(fraction, step, new_flux)
        - log_split(new_share, new_step, flux)
        + log_flux_density(prior, flux, *before)
        - log_flux_density(prior, new_flux, *after)
        + jnp.log(new_flux)
        - jnp.log(flux)
        + jnp.where(free, 0.0, 2.0 * jnp.log(stretch))
        + log_colour_prior(prior, colours_of(model, new_first))
        + log_colour_prior(prior, colours_of(model, new_second))
        - log_colour_prior(prior, colours_of(model, first))
        - log_colour_prior(prior, colours_of(model, second))
    )
    inside = contains(window, *unit_1[:FLUX]) & contains(window, *unit_2[:FLUX])
    proposal = Proposal(
        upward=jnp.bool_(True),
        possible=inside & (jnp.sum(active(sources), dtype=jnp.int32) > 1),
        log_ratio=log_ratio,
        residual=(state.residual, bare - new_flux * new_both),
        sources=(proposed, state.extended),
        signal=jnp.minimum(fraction, 1.0 - fraction) * flux * jnp.sqrt(information),
    )
    return decide(u[11], window, state, proposal)


def _pair(
    model: Model,
    window: Window,
    joined: Array,
    difference: Array,
    centre: Array,
    fraction: Array,
    step: Array,
) -> tuple[Array, Array, Array]:
    """Unit-flux image of a pair, and its two stars with their shares as fluxes."""
    colours = jnp.stack(divide(fraction, joined, difference))
    fractions = jnp.stack([fraction, 1.0 - fraction])
    places = centre[None] + jnp.stack([1.0 - fraction, -fraction])[:, None] * step[None]
    stars = jnp.concatenate([places, fractions[:, None], colours], axis=1)
    images = jax.vmap(lambda one: unit_image(model, window, POINT, one))(stars)
    return fractions[0] * images[0] + fractions[1] * images[1], stars[0], stars[1]
