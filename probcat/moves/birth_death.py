"""Birth and death of a source, informed by the residual, flux collapsed.

A position comes from the matched-filter map of the residual, the flux from its
conditional Gaussian; the reverse densities need the same map with the source
taken out, so both directions are computed from the state without the source.
"""

import jax.numpy as jnp
from jax import Array

from probcat.moves.base import (
    EXTENDED,
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
    one_hot,
    patch,
    put,
    sources_of,
    total,
    with_flux,
    with_position,
    with_shape,
)
from probcat.moves.proposals import (
    choose,
    empty_slot,
    flux_conditional,
    log_flux_density,
    log_probability,
    sample_flux,
)
from probcat.moves.search import log_cells, log_position_density, sample_position
from probcat.moves.shapes import choose_shape, tries
from probcat.prior import log_flux_prior

DEATH_SLOPE = 3.0


def log_death_weight(model: Model, flux: Array) -> Array:
    """Log weight of a source to be picked for death: faint ones first."""
    low, _ = model.prior.flux_limits
    weight = -DEATH_SLOPE * jnp.log(jnp.maximum(flux, low) / low)
    return jnp.where(flux > 0.0, weight, -jnp.inf)


def birth_death(
    draws: Draws,
    model: Model,
    search: Search,
    window: Window,
    state: WindowState,
    kind: int,
) -> tuple[WindowState, Outcome]:
    """One birth or death of a source of the given kind."""
    u = draws.uniform
    sources = sources_of(state, kind)
    size = state.residual.shape[-1]
    upward = u[0] < 0.5
    log_weight = log_death_weight(model, sources[:, FLUX])
    dying = choose(u[1], log_weight)
    slot, has_room = empty_slot(active(sources))
    slot = jnp.where(upward, slot, dying)

    current = sources[slot]
    flux_now = jnp.where(upward, 0.0, current[FLUX])
    if kind == EXTENDED:
        log_cell = log_cells(model.prior, search, window, state.residual)
        position = sample_position(u[2:7], search, log_cell)
        source = with_position(current, jnp.where(upward, position, current[:FLUX]))
        shapes, images = tries(draws, model, window, source, upward)
        lower = state.residual + flux_now * images[0]
        log_cell = log_cells(model.prior, search, window, lower)
        shape, image, log_shape_ratio = choose_shape(
            u[7], model, window, lower, shapes, images, upward
        )
        source = with_shape(source, shape)
    else:
        lower = state.residual + flux_now * patch(model, POINT, current, size)
        log_cell = log_cells(model.prior, search, window, lower)
        position = sample_position(u[2:7], search, log_cell)
        source = with_position(current, jnp.where(upward, position, current[:FLUX]))
        image = patch(model, POINT, source, size)
        log_shape_ratio = jnp.float32(0.0)

    score = total(window.weight * lower * image)
    information = total(window.weight * image**2)
    mean, precision = flux_conditional(model.prior, score, information)
    drawn = sample_flux(u[8:10], draws.flux[0], model.prior, mean, precision)
    flux = jnp.where(upward, drawn, current[FLUX])
    source = with_flux(source, flux)

    with_source = put(log_weight, slot, log_death_weight(model, flux))
    log_ratio = (
        jnp.log(window.density[kind])
        + log_flux_prior(model.prior, flux)
        - log_position_density(search, log_cell, source[X], source[Y])
        - log_flux_density(model.prior, flux, mean, precision)
        - log_shape_ratio
        + log_probability(with_source, slot)
    )
    proposed = put(sources, slot, jnp.where(upward, source, 0.0))
    proposal = Proposal(
        upward=upward,
        possible=jnp.where(
            upward, has_room & contains(window, source[X], source[Y]), jnp.any(active(sources))
        ),
        log_ratio=log_ratio,
        residual=(lower, lower - flux * image),
        sources=(
            proposed if kind == POINT else state.points,
            proposed if kind == EXTENDED else state.extended,
        ),
        signal=flux * jnp.sqrt(information),
    )
    overflow = state.overflow | (upward & ~has_room & one_hot(kind, 2))
    return decide(u[10], window, state._replace(overflow=overflow), proposal)
