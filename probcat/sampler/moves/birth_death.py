"""Birth and death of a source, informed by the residual, flux collapsed.

A position comes from the matched-filter map of the residual, the flux from its
conditional Gaussian; the reverse densities need the same map with the source
taken out, so both directions are computed from the state without the source.
"""

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_colour_prior, log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.colours import log_colours_density, mean_colours, sample_colours
from probcat.sampler.proposals.fluxes import (
    choose,
    empty_slot,
    flux_conditional,
    log_flux_density,
    log_probability,
    sample_flux,
)
from probcat.sampler.proposals.matched_filter import (
    log_cells,
    log_position_density,
    sample_position,
)
from probcat.sampler.proposals.shapes import propose_shapes, select_shape
from probcat.sampler.window.light import apply_colours, band_totals, unit_image_per_band
from probcat.sampler.window.slots import (
    active,
    colours_of,
    contains,
    one_hot,
    put,
    sources_of,
    total,
    with_colours,
    with_flux,
    with_position,
    with_shape,
)
from probcat.sampler.window.structures import (
    EXTENDED,
    FLUX,
    POINT,
    Model,
    RandomNumbers,
    Search,
    Window,
    WindowState,
    X,
    Y,
)

DEATH_SLOPE = 3.0


def log_death_weight(model: Model, flux: Array) -> Array:
    """Log weight of a source to be picked for death: faint ones first."""
    low, _ = model.prior.flux_limits
    weight = -DEATH_SLOPE * jnp.log(jnp.maximum(flux, low) / low)
    return jnp.where(flux > 0.0, weight, -jnp.inf)


def birth_death(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    kind: int,
) -> tuple[WindowState, Outcome]:
    """One birth or death of a source of the given kind."""
    u = numbers.uniform
    sources = sources_of(state, kind)
    upward = u[0] < 0.5
    log_weight = log_death_weight(model, sources[:, FLUX])
    dying = choose(u[1], log_weight)
    slot, has_room = empty_slot(active(sources))
    slot = jnp.where(upward, slot, dying)

    current = sources[slot]
    lower, plain, source, log_cell, log_shape_ratio = _without_and_with(
        u[2:8], numbers, model, search, window, state, current, upward, kind
    )
    scores = band_totals(model, window.weight * lower * plain)
    information = band_totals(model, window.weight * plain**2)
    means, precisions = flux_conditional(model.prior, scores, information)
    drawn = sample_flux(u[8:10], numbers.flux[0], model.prior, means[0], precisions[0])
    flux = jnp.where(upward, drawn, current[FLUX])
    given = (model.prior, flux, means[1:], precisions[1:])
    drawn = sample_colours(u[11], numbers.colours, numbers.normal, *given)
    colours = jnp.where(upward, drawn, colours_of(model, current))
    source = with_colours(with_flux(source, flux), colours)
    image = apply_colours(model, plain, colours)

    with_source = put(log_weight, slot, log_death_weight(model, flux))
    log_ratio = (
        jnp.log(window.density[kind])
        + log_flux_prior(model.prior, flux)
        - log_position_density(search, log_cell, source[X], source[Y])
        - log_flux_density(model.prior, flux, means[0], precisions[0])
        + log_colour_prior(model.prior, colours)
        - log_colours_density(model.prior, colours, *given[1:])
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
        signal=flux * jnp.sqrt(total(window.weight * image**2)),
    )
    overflow = state.overflow | (upward & ~has_room & one_hot(kind, 2))
    return decide(u[10], window, state._replace(overflow=overflow), proposal)


def _without_and_with(
    uniform: Array,
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    current: Array,
    upward: Array,
    kind: int,
) -> tuple[Array, Array, Array, Array, Array]:
    """Residual without the source; its image of unit flux in every band; where it is.

    Also the log probabilities of cells for births, and the log ratio of shapes.
    """
    flux_now = jnp.where(upward, 0.0, current[FLUX])
    now = colours_of(model, current)

    def moved(log_cell: Array) -> Array:
        position = sample_position(uniform[:5], search, log_cell)
        return with_position(current, jnp.where(upward, position, current[:FLUX]))

    if kind == POINT:
        plain = unit_image_per_band(model, window, POINT, current)
        lower = state.residual + flux_now * apply_colours(model, plain, now)
        log_cell = log_cells(model, search, window, lower)
        source = moved(log_cell)
        plain = unit_image_per_band(model, window, POINT, source)
        return lower, plain, source, log_cell, jnp.float32(0.0)
    source = moved(log_cells(model, search, window, state.residual))
    shapes, images = propose_shapes(numbers, model, window, source, upward)
    lower = state.residual + flux_now * apply_colours(model, images[0], now)
    log_cell = log_cells(model, search, window, lower)
    shape, image, log_ratio = select_shape(
        uniform[5], model, window, lower, shapes, images, upward, mean_colours(model)
    )
    return lower, image, with_shape(source, shape), log_cell, log_ratio
