r"""Birth and death of a source, informed by the residual.

Upward, a source is born: its position comes from the matched-filter map of the residual, its
shape, if any, from several tries, its flux f from its conditional Gaussian, and its colours c from
a Laplace approximation. Downward, a source dies that is chosen by its flux, mostly a faint one.
With the intensity :math:`\lambda` of sources of that kind, and a Jacobian of one,

.. math:: A = \frac{\lambda\, p(f)\, p(c)\, P_\mathrm{death}(i \mid y)}
          {q(\mathrm{position} \mid R)\, N(f \mid R)\, q(c \mid f, R)\, w / \bar w},

where i is the slot of the source in y, and :math:`w / \bar w` belongs to extended sources. The
residual R without the source is that of x, so that both directions use the same map.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_colour_prior, log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.choices import (
    choose_weighted,
    death_weights,
    empty_slot,
    log_probability,
)
from probcat.sampler.proposals.colours import log_colours_density, mean_colours, sample_colours
from probcat.sampler.proposals.fluxes import flux_conditional, log_flux_density, sample_flux
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


class _Candidate(NamedTuple):
    """Source that is born or dies, and what its position and shape are drawn from.

    Attributes
    ----------
    source : Array
        The source, with the flux and colours of the current state.
    image : Array, shape (W, W)
        Its image of unit flux in every band.
    bare : Array, shape (W, W)
        Residual without it.
    log_cell : Array, shape (cells, cells)
        Log probabilities of the cells of the matched-filter map of ``bare``.
    log_shape_ratio : Array, shape ()
        ``ln(w / mean(w))`` of its shape, zero for a star.
    """

    source: Array
    image: Array
    bare: Array
    log_cell: Array
    log_shape_ratio: Array


def birth_death(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    kind: int,
) -> tuple[WindowState, Outcome]:
    """Propose that a source of a kind is born (upward) or dies (downward).

    Arguments and results are those of a `Move`, except for the kind of the source.
    """
    u = numbers.uniform
    u_direction, u_death, u_position, u_shape = u[0], u[1], u[2:7], u[7]
    u_flux, u_accept, u_colours = u[8:10], u[10], u[11]

    sources = sources_of(state, kind)
    upward = u_direction < 0.5
    weights = death_weights(model, sources[:, FLUX])
    dying = choose_weighted(u_death, weights)
    free, has_room = empty_slot(active(sources))
    slot = jnp.where(upward, free, dying)
    current = sources[slot]
    candidate = _candidate(
        u_position, u_shape, numbers, model, search, window, state, current, upward, kind
    )
    bare, unit = candidate.bare, candidate.image

    scores = band_totals(model, window.weight * bare * unit)
    information = band_totals(model, window.weight * unit**2)
    means, precisions = flux_conditional(model.prior, scores, information)
    new_flux = sample_flux(u_flux, numbers.flux[0], model.prior, means[0], precisions[0])
    flux = jnp.where(upward, new_flux, current[FLUX])
    other_bands = (model.prior, flux, means[1:], precisions[1:])
    new_colours = sample_colours(u_colours, numbers.colours, numbers.normal, *other_bands)
    colours = jnp.where(upward, new_colours, colours_of(model, current))
    source = with_colours(with_flux(candidate.source, flux), colours)
    image = apply_colours(model, unit, colours)

    weights_upper = put(weights, slot, death_weights(model, flux))
    log_ratio = (
        jnp.log(window.density[kind])
        + log_flux_prior(model.prior, flux)
        - log_position_density(search, candidate.log_cell, source[X], source[Y])
        - log_flux_density(model.prior, flux, means[0], precisions[0])
        + log_colour_prior(model.prior, colours)
        - log_colours_density(model.prior, colours, *other_bands[1:])
        - candidate.log_shape_ratio
        + log_probability(weights_upper, slot)
    )
    proposed = put(sources, slot, jnp.where(upward, source, 0.0))
    can_be_born = has_room & contains(window, source[X], source[Y])
    proposal = Proposal(
        upward=upward,
        possible=jnp.where(upward, can_be_born, jnp.any(active(sources))),
        log_ratio=log_ratio,
        residual=(bare, bare - flux * image),
        sources=(
            proposed if kind == POINT else state.points,
            proposed if kind == EXTENDED else state.extended,
        ),
        signal=flux * jnp.sqrt(total(window.weight * image**2)),
    )
    overflow = state.overflow | (upward & ~has_room & one_hot(kind, 2))
    return decide(u_accept, window, state._replace(overflow=overflow), proposal)


def _candidate(
    u_position: Array,
    u_shape: Array,
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    current: Array,
    upward: Array,
    kind: int,
) -> _Candidate:
    """Return the source that is born at a new position, or the current one that dies."""
    flux_now = jnp.where(upward, 0.0, current[FLUX])
    colours_now = colours_of(model, current)

    def at_position(log_cell: Array) -> Array:
        new_position = sample_position(u_position, search, log_cell)
        return with_position(current, jnp.where(upward, new_position, current[:FLUX]))

    if kind == POINT:
        image_now = unit_image_per_band(model, window, POINT, current)
        bare = state.residual + flux_now * apply_colours(model, image_now, colours_now)
        log_cell = log_cells(model, search, window, bare)
        source = at_position(log_cell)
        image = unit_image_per_band(model, window, POINT, source)
        return _Candidate(source, image, bare, log_cell, jnp.float32(0.0))
    # Upward the residual is that without the source; downward the position stays as it is.
    source = at_position(log_cells(model, search, window, state.residual))
    shapes, images = propose_shapes(numbers, model, window, source, upward)
    bare = state.residual + flux_now * apply_colours(model, images[0], colours_now)
    log_cell = log_cells(model, search, window, bare)
    shape, image, log_shape_ratio = select_shape(
        u_shape, model, window, bare, shapes, images, upward, mean_colours(model)
    )
    return _Candidate(with_shape(source, shape), image, bare, log_cell, log_shape_ratio)
