r"""Turn a galaxy into two sources and back, both proposed from fits to their light.

Two sources that blend look like one galaxy, all the more like it the closer they are; at high
signal-to-noise ratio each explanation is a narrow mode, and nothing but a fit hits the other
one.  The residual without the light in question is the same in both states.  So are the
*anchor*, the cell of a randomly placed grid in which the light has its centroid, from which
fits start, and the joined colours.  Both the galaxy and the pair, two stars or a galaxy and a
star, are fitted in either direction, and proposed from about their fits (`probcat.sampler.proposals.laplace_fit`).
With total flux F and the first one's share ``phi`` the Jacobian of (F, phi) -> fluxes is F.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import from_shape, log_flux_prior, log_shape_prior, to_shape
from probcat.model.prior.prior import Prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.companion import neighbour_weights
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.colours import divide, log_division, merge, sample_difference
from probcat.sampler.proposals.flux_redraw import Redrawn, redraw_flux
from probcat.sampler.proposals.fluxes import choose, choose_uniformly, empty_slot, log_probability
from probcat.sampler.proposals.laplace_fit import Fit, log_fit_density, sample_fit
from probcat.sampler.proposals.pair_fits import (
    ANCHOR_CELL,
    Pair,
    anchor_near,
    exchanged,
    fit_both,
    from_pair,
    image_of_pair,
    log_pair_density,
    to_pair,
    typical_shape,
)
from probcat.sampler.proposals.pairs import pick_weights
from probcat.sampler.window.light import apply_colours, extended_unit_image
from probcat.sampler.window.slots import active, colours_of, contains, put, sources_of, star
from probcat.sampler.window.structures import (
    EXTENDED,
    FLUX,
    NUM_SHAPE,
    POINT,
    Model,
    RandomNumbers,
    Search,
    Window,
    WindowState,
    X,
    Y,
)

REACH = 1.5
"""Partners are chosen within about this many FWHM."""


class _Current(NamedTuple):
    """What the move is about, in the state as it is.

    Attributes
    ----------
    upward : Array, bool
    slots : Array, shape (2,), int32
        Of the pair; new ones upward.
    galaxy_slot : Array, int32
        A new one downward.
    has_room : Array, bool
    galaxy : Array, shape (6 + B,)
    pair : Pair
    flux : Array
        Of all the light.
    joined, difference : Array, shape (B - 1,)
        Colours of all the light, and how those of two differ.
    """

    upward: Array
    slots: Array
    galaxy_slot: Array
    has_room: Array
    galaxy: Array
    pair: Pair
    flux: Array
    joined: Array
    difference: Array


class _Both(NamedTuple):
    """The galaxy and the pair, one of which is proposed, in free coordinates and otherwise.

    Attributes
    ----------
    single, free : Array, shape (6,), (5 or 9,)
        Of the galaxy and of the pair.
    shape : Array, shape (4,)
        Of the galaxy.
    pair : Pair
    """

    single: Array
    free: Array
    shape: Array
    pair: Pair


def refit(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    kind: int,
) -> tuple[WindowState, Outcome]:
    """One galaxy to a source of `kind` and a star (upward), or back."""
    del search
    u = numbers.uniform
    now = _current(numbers, model, state, kind)
    bare = state.residual + _light_now(model, window, now, kind)
    centre = jnp.where(now.upward, now.galaxy[:FLUX], now.pair.centroid)
    anchor = anchor_near(model, u[17:19], centre)
    fits = fit_both(model, window, bare, anchor, now.joined, kind)
    both = _propose(u, model, now, fits, kind)

    colours = divide(both.pair.fraction, now.joined, now.difference)
    one = extended_unit_image(model, window, both.single[X], both.single[Y], both.shape)
    images = (
        apply_colours(model, one, now.joined),
        image_of_pair(model, window, both.pair, colours, kind),
    )
    flux = redraw_flux(u[14:16], numbers, model, window, now.upward, now.flux, bare, images)
    sources = _sources(now, both, flux, colours, kind)
    states = _states(state, kind, now, sources)
    log_ratio = (
        _log_choice_ratio(model, kind, now, states, sources[2])
        + _log_prior_ratio(model.prior, window, sources, kind)
        + _log_proposal_ratio(model.prior, fits, both, kind)
        + flux.log_ratio
        + jnp.log(flux.upper)
        + log_division(model.prior, now.joined, now.difference, *colours)
    )
    proposed = jnp.where(now.upward, both.pair.centroid, both.single[:2])
    away = jnp.abs(anchor_near(model, u[17:19], proposed) - anchor)
    existing = jnp.where(now.upward, jnp.any(active(state.extended)), _has_pair(state, kind))
    possible = existing & now.has_room & jnp.all(away < 0.1 * ANCHOR_CELL * model.fwhm)
    fraction = both.pair.fraction
    proposal = Proposal(
        upward=now.upward,
        possible=possible & _inside(window, now, both) & jnp.isfinite(log_ratio),
        log_ratio=log_ratio,
        residual=(bare - flux.lower * images[0], bare - flux.upper * images[1]),
        sources=(
            jnp.where(now.upward, states[1][POINT], states[0][POINT]),
            jnp.where(now.upward, states[1][EXTENDED], states[0][EXTENDED]),
        ),
        signal=jnp.minimum(fraction, 1.0 - fraction) * flux.upper * jnp.sqrt(flux.information),
    )
    lacking = jnp.stack([now.upward, ~now.upward & (kind == POINT)])
    overflow = state.overflow | (existing & ~now.has_room & lacking)
    return decide(u[16], window, state._replace(overflow=overflow), proposal)


def _current(numbers: RandomNumbers, model: Model, state: WindowState, kind: int) -> _Current:
    """Choose a galaxy or a pair."""
    u, prior = numbers.uniform, model.prior
    upward = u[0] < 0.5
    slots, galaxy_slot, has_room = _choose_slots(u[1:4], model, state, kind, upward)
    first, second = sources_of(state, kind)[slots[0]], state.points[slots[1]]
    galaxy = state.extended[galaxy_slot]
    fraction = first[FLUX] / jnp.maximum(first[FLUX] + second[FLUX], 1e-30)
    shape = _shape_or_typical(model, first) if kind == EXTENDED else typical_shape(model)
    joined, difference = merge(fraction, colours_of(model, first), colours_of(model, second))
    return _Current(
        upward,
        slots,
        galaxy_slot,
        has_room,
        galaxy,
        Pair(jnp.stack([first[:FLUX], second[:FLUX]]), shape, fraction),
        jnp.where(upward, galaxy[FLUX], first[FLUX] + second[FLUX]),
        jnp.where(upward, colours_of(model, galaxy), joined),
        jnp.where(upward, sample_difference(numbers.normal, prior), difference),
    )


def _light_now(model: Model, window: Window, now: _Current, kind: int) -> Array:
    """Light of the chosen galaxy or pair, as it is."""
    colours = divide(now.pair.fraction, now.joined, now.difference)
    two = image_of_pair(model, window, now.pair, colours, kind)
    shape = _shape_or_typical(model, now.galaxy)
    one = extended_unit_image(model, window, now.galaxy[X], now.galaxy[Y], shape)
    image = jnp.where(now.upward, apply_colours(model, one, now.joined), two)
    return jnp.where(now.flux > 0.0, now.flux * image, 0.0)


def _propose(
    uniform: Array, model: Model, now: _Current, fits: tuple[Fit, Fit], kind: int
) -> _Both:
    """Draw the galaxy or the pair from about its fit; the other one is as it is."""
    prior, upward = model.prior, now.upward
    own = from_shape(prior, _shape_or_typical(model, now.galaxy))
    own = jnp.concatenate([now.galaxy[:FLUX], own])
    single = jnp.where(upward, own, sample_fit(uniform[4:11], fits[0]))
    drawn = sample_fit(uniform[4 : 5 + fits[1].best.shape[0]], fits[1])
    if kind == POINT:
        # Two stars come in either order.
        drawn = jnp.where(uniform[19] < 0.5, drawn, exchanged(drawn))
    free = jnp.where(upward, drawn, from_pair(prior, now.pair, kind))
    pair = to_pair(prior, free, kind)
    shape = jnp.where(upward, now.galaxy[-NUM_SHAPE:], to_shape(prior, single[2:])[0])
    pair = pair._replace(shape=jnp.where(upward, pair.shape, now.pair.shape))
    return _Both(single, free, shape, pair)


def _sources(
    now: _Current, both: _Both, flux: Redrawn, colours: tuple[Array, Array], kind: int
) -> tuple[Array, Array, Array]:
    """Galaxy, and first and second of the pair, as states hold them."""
    fraction, places = both.pair.fraction, both.pair.places
    galaxy = jnp.concatenate([both.single[:2], flux.lower[None], now.joined, both.shape])
    first = star(places[0], fraction * flux.upper, colours[0])
    first = jnp.concatenate([first, both.pair.shape]) if kind == EXTENDED else first
    return galaxy, first, star(places[1], (1.0 - fraction) * flux.upper, colours[1])


def _log_prior_ratio(
    prior: Prior, window: Window, sources: tuple[Array, Array, Array], kind: int
) -> Array:
    """Log prior of the pair minus that of the galaxy, but for colours."""
    galaxy, first, second = sources
    return (
        jnp.log(window.density[POINT])
        + jnp.log(window.density[kind])
        - jnp.log(window.density[EXTENDED])
        + log_flux_prior(prior, first[FLUX])
        + log_flux_prior(prior, second[FLUX])
        - log_flux_prior(prior, galaxy[FLUX])
        + (log_shape_prior(prior, first[-NUM_SHAPE:]) if kind == EXTENDED else 0.0)
        - log_shape_prior(prior, galaxy[-NUM_SHAPE:])
    )


def _log_proposal_ratio(prior: Prior, fits: tuple[Fit, Fit], both: _Both, kind: int) -> Array:
    """Log density of proposing the galaxy minus that of proposing the pair, but for fluxes."""
    galaxy = log_fit_density(fits[0], both.single) - to_shape(prior, both.single[2:])[1]
    return galaxy - log_pair_density(prior, fits[1], both.free, kind)


def _inside(window: Window, now: _Current, both: _Both) -> Array:
    """Whether what is proposed lies where sources may move."""
    pair = contains(window, *both.pair.places[0]) & contains(window, *both.pair.places[1])
    return jnp.where(now.upward, pair, contains(window, *both.single[:2]))


def _choose_slots(
    uniform: Array, model: Model, state: WindowState, kind: int, upward: Array
) -> tuple[Array, Array, Array]:
    """Slots of the pair and of the galaxy, and whether there is room for what is new.

    A galaxy that is one of a pair keeps its slot.
    """
    points, extended = state.points, state.extended
    second = choose_uniformly(uniform[0], active(points))
    near = _near(model, sources_of(state, kind), points[second], second, kind)
    first = choose(uniform[1], near)
    free, room = empty_slot(active(points))
    galaxy = choose(uniform[2], pick_weights(extended))
    if kind == EXTENDED:
        slot = jnp.where(upward, galaxy, first)
        slots = jnp.stack([slot, jnp.where(upward, free, second)])
        return slots, slot, jnp.where(upward, room, True)
    free_2, room_2 = empty_slot(put(active(points), free, True))
    free_galaxy, room_galaxy = empty_slot(active(extended))
    slots = jnp.where(upward, jnp.stack([free, free_2]), jnp.stack([first, second]))
    has_room = jnp.where(upward, room & room_2, room_galaxy)
    return slots, jnp.where(upward, galaxy, free_galaxy), has_room


def _near(model: Model, sources: Array, second: Array, slot: Array, kind: int) -> Array:
    excluded = slot if kind == POINT else jnp.int32(-1)
    return neighbour_weights(sources, second[X], second[Y], REACH * model.fwhm, excluded)


def _has_pair(state: WindowState, kind: int) -> Array:
    number = jnp.sum(active(state.points), dtype=jnp.int32)
    if kind == POINT:
        return number > 1
    return (number > 0) & jnp.any(active(state.extended))


def _states(
    state: WindowState,
    kind: int,
    now: _Current,
    sources: tuple[Array, Array, Array],
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Points and extended sources of the lower and of the upper state."""
    galaxy, first, second = sources
    points, extended, slots = state.points, state.extended, now.slots
    lower = (put(points, slots[1], 0.0), put(extended, now.galaxy_slot, galaxy))
    upper = (put(points, slots[1], second), put(extended, now.galaxy_slot, 0.0))
    if kind == EXTENDED:
        return lower, (upper[0], put(extended, slots[0], first))
    return (put(lower[0], slots[0], 0.0), lower[1]), (put(upper[0], slots[0], first), upper[1])


def _log_choice_ratio(
    model: Model, kind: int, now: _Current, states: tuple, second: Array
) -> Array:
    """Log probability of choosing the pair minus that of choosing the galaxy."""
    (_, lower), (points, extended) = states
    sources = points if kind == POINT else extended
    number = jnp.sum(active(points), dtype=jnp.int32).astype(jnp.float32)
    near = _near(model, sources, second, now.slots[1], kind)
    pair = log_probability(near, now.slots[0]) - jnp.log(number)
    return pair - log_probability(pick_weights(lower), now.galaxy_slot)


def _shape_or_typical(model: Model, source: Array) -> Array:
    """Shape of a source; of an empty slot one that stays finite."""
    return jnp.where(source[FLUX] > 0.0, source[-NUM_SHAPE:], typical_shape(model))
