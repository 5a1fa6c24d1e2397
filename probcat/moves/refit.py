r"""Turn a galaxy into two sources and back, both proposed from fits to their light.

Two sources that blend look like one galaxy, all the more like it the closer they are; at high
signal-to-noise ratio each explanation is a narrow mode, and nothing but a fit hits the other
one.  The residual without the light in question is the same in both states.  So are the
*anchor*, the cell of a randomly placed grid in which the light has its centroid, from which
fits start, and the joined colours.  Both the galaxy and the pair, two stars or a galaxy and a
star, are fitted in either direction, and proposed from about their fits (`probcat.moves.fit`).
With total flux F and the first one's share ``phi`` the Jacobian of (F, phi) -> fluxes is F.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.densities import from_shape, log_flux_prior, log_shape_prior, to_shape
from probcat.ellipses import to_matrix
from probcat.moves.base import (
    EXTENDED,
    FLUX,
    NUM_SHAPE,
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
)
from probcat.moves.colours import divide, log_division, merge, sample_difference
from probcat.moves.companion import neighbour_weights
from probcat.moves.decision import decide
from probcat.moves.fit import Fit, fit, log_fit_density, misfit, sample_fit
from probcat.moves.images import coloured, extended_patch, patch
from probcat.moves.pairs import pick_weights
from probcat.moves.proposals import choose, choose_uniformly, empty_slot, log_probability
from probcat.moves.redraw import redraw
from probcat.moves.sources import active, colours_of, contains, put, sources_of, star
from probcat.prior import Prior

REACH = 1.5
"""Partners are chosen within about this many FWHM."""
CELL = 1.0
"""Side of the cells of the grid that anchors are on, in FWHM."""
NUM_STEPS = 8
TYPICAL_RADIUS, TYPICAL_INDEX = 0.35, 1.5
"""Of galaxies, where fits of shapes start: in FWHM of the PSF, and without unit."""
FREE_WIDTH = (1.5, 0.7, 0.7, 1.0)
"""How far fits of shapes may go in one step, and what holds them, in free coordinates."""
LOGIT_WIDTH = 2.0
FIRST_SHARES = (0.5, 0.8, 0.2)
"""Of one star of a pair, from which the best is fitted."""
DIRECTIONS, DISTANCES = 8, (0.4, 0.9)
"""Where a star beside a galaxy is looked for, distances in FWHM."""
MOMENT = 0.72
"""Second moment of a Gaussian of unit half-light radius."""


class _Pair(NamedTuple):
    """Two sources of unit total flux.

    Attributes
    ----------
    places : Array, shape (2, 2)
        Of the first and the second.
    shape : Array, shape (4,)
        Of the first, if it is a galaxy.
    share : Array
        Of the first.
    """

    places: Array
    shape: Array
    share: Array


def refit(
    draws: Draws,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    kind: int,
) -> tuple[WindowState, Outcome]:
    """One galaxy to a source of `kind` and a star (upward), or back."""
    del search
    u, prior = draws.uniform, model.prior
    upward = u[0] < 0.5

    slots, galaxy_slot, has_room = _choose_slots(u[1:4], model, state, kind, upward)
    first, second = sources_of(state, kind)[slots[0]], state.points[slots[1]]
    galaxy = state.extended[galaxy_slot]
    flux_now = jnp.where(upward, galaxy[FLUX], first[FLUX] + second[FLUX])
    share_now = first[FLUX] / jnp.maximum(first[FLUX] + second[FLUX], 1e-30)
    shape_now = _shape_or_typical(model, first) if kind == EXTENDED else _typical(model)
    pair_now = _Pair(jnp.stack([first[:FLUX], second[:FLUX]]), shape_now, share_now)
    joined, difference = merge(share_now, colours_of(model, first), colours_of(model, second))
    joined = jnp.where(upward, colours_of(model, galaxy), joined)
    difference = jnp.where(upward, sample_difference(draws.normal, prior), difference)

    def one_image(free: Array) -> Array:
        shape = to_shape(prior, free[2:])[0]
        return coloured(model, extended_patch(model, window, free[0], free[1], shape), joined)

    def pair_image(free: Array) -> Array:
        pair = _to_pair(prior, free, kind)
        return _image_of_pair(model, window, pair, (joined, joined), kind)

    own = jnp.concatenate([galaxy[:FLUX], from_shape(prior, _shape_or_typical(model, galaxy))])
    both_now = _image_of_pair(model, window, pair_now, divide(share_now, joined, difference), kind)
    now = jnp.where(upward, one_image(own), both_now)
    bare = state.residual + jnp.where(flux_now > 0.0, flux_now * now, 0.0)
    anchor = _anchor(model, u[17:19], jnp.where(upward, galaxy[:FLUX], _centroid(pair_now)))
    fits = _fit_both(model, window, bare, anchor, (one_image, pair_image), kind)

    drawn = sample_fit(u[4:11], fits[0])
    single = jnp.where(upward, own, drawn)
    drawn = _swapped(sample_fit(u[4 : 5 + fits[1].best.shape[0]], fits[1]), u[19], kind)
    free = jnp.where(upward, drawn, _from_pair(prior, pair_now, kind))
    pair = _to_pair(prior, free, kind)
    share = pair.share
    colours = divide(share, joined, difference)
    shape = jnp.where(upward, galaxy[-NUM_SHAPE:], to_shape(prior, single[2:])[0])
    stays = jnp.where(upward, pair.shape, shape_now)
    image, both = one_image(single), _image_of_pair(model, window, pair, colours, kind)
    flux = redraw(u[14:16], draws, model, window, upward, flux_now, bare, (image, both))

    source = jnp.concatenate([single[:2], flux.lower[None], joined, shape])
    given = star(pair.places[0], share * flux.upper, colours[0])
    given = jnp.concatenate([given, stays]) if kind == EXTENDED else given
    beside = star(pair.places[1], (1.0 - share) * flux.upper, colours[1])
    states = _states(state, kind, slots, galaxy_slot, (source, given, beside))
    log_ratio = (
        _log_choice_ratio(model, kind, slots, galaxy_slot, states, beside)
        + jnp.log(window.density[POINT])
        + jnp.log(window.density[kind])
        - jnp.log(window.density[EXTENDED])
        + log_flux_prior(prior, given[FLUX])
        + log_flux_prior(prior, beside[FLUX])
        - log_flux_prior(prior, flux.lower)
        + (log_shape_prior(prior, stays) if kind == EXTENDED else 0.0)
        - log_shape_prior(prior, shape)
        + log_fit_density(fits[0], single)
        - to_shape(prior, single[2:])[1]
        - _log_pair_density(prior, fits[1], free, kind)
        + flux.log_ratio
        + jnp.log(flux.upper)
        + log_division(prior, joined, difference, *colours)
    )
    proposed = jnp.where(upward, _centroid(pair), single[:2])
    near = jnp.all(jnp.abs(_anchor(model, u[17:19], proposed) - anchor) < 0.1 * CELL * model.fwhm)
    inside = contains(window, *pair.places[0]) & contains(window, *pair.places[1])
    inside = jnp.where(upward, inside, contains(window, *single[:2]))
    existing = jnp.where(upward, jnp.any(active(state.extended)), _has_pair(state, kind))
    proposal = Proposal(
        upward=upward,
        possible=existing & has_room & inside & near & jnp.isfinite(log_ratio),
        log_ratio=log_ratio,
        residual=(bare - flux.lower * image, bare - flux.upper * both),
        sources=(
            jnp.where(upward, states[1][POINT], states[0][POINT]),
            jnp.where(upward, states[1][EXTENDED], states[0][EXTENDED]),
        ),
        signal=jnp.minimum(share, 1.0 - share) * flux.upper * jnp.sqrt(flux.information),
    )
    full = existing & ~has_room & jnp.stack([upward, ~upward & (kind == POINT)])
    return decide(u[16], window, state._replace(overflow=state.overflow | full), proposal)


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
    slots: Array,
    galaxy_slot: Array,
    sources: tuple[Array, Array, Array],
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Points and extended sources of the lower and of the upper state."""
    source, given, beside = sources
    points, extended = state.points, state.extended
    lower = (put(points, slots[1], 0.0), put(extended, galaxy_slot, source))
    upper = (put(points, slots[1], beside), put(extended, galaxy_slot, 0.0))
    if kind == EXTENDED:
        return lower, (upper[0], put(extended, slots[0], given))
    return (put(lower[0], slots[0], 0.0), lower[1]), (put(upper[0], slots[0], given), upper[1])


def _log_choice_ratio(
    model: Model, kind: int, slots: Array, galaxy_slot: Array, states: tuple, beside: Array
) -> Array:
    """Log probability of choosing the pair minus that of choosing the galaxy."""
    (_, lower), (points, extended) = states
    sources = points if kind == POINT else extended
    number = jnp.sum(active(points), dtype=jnp.int32).astype(jnp.float32)
    near = _near(model, sources, beside, slots[1], kind)
    pair = log_probability(near, slots[0]) - jnp.log(number)
    return pair - log_probability(pick_weights(lower), galaxy_slot)


def _anchor(model: Model, uniform: Array, centre: Array) -> Array:
    """Nearest point of a grid placed at random; the same for all states with that cell."""
    cell = CELL * model.fwhm
    offset = sample_offset(uniform, cell)
    return jnp.round((centre - offset) / cell) * cell + offset


def sample_offset(uniform: Array, cell: Array) -> Array:
    """Draw where the grid of anchors begins, (x, y)."""
    return uniform * cell


def _centroid(pair: _Pair) -> Array:
    return pair.share * pair.places[0] + (1.0 - pair.share) * pair.places[1]


def _typical(model: Model) -> Array:
    """Shape that fits start from, within what the prior allows."""

    def within(value: Array, support: object) -> Array:
        low, high = (getattr(support, f"{end}_bound", None) for end in ("lower", "upper"))
        value = value if low is None else jnp.maximum(value, low + 0.05 * (value + low))
        return value if high is None else jnp.minimum(value, 0.9 * high)

    radius = within(TYPICAL_RADIUS * model.fwhm, model.prior.half_light_radius.support)
    index = within(jnp.float32(TYPICAL_INDEX), model.prior.sersic_n.support)
    zero = jnp.float32(0.0)
    return jnp.stack([radius, zero, zero, index]).astype(jnp.float32)


def _shape_or_typical(model: Model, source: Array) -> Array:
    """Shape of a source; of an empty slot one that stays finite."""
    return jnp.where(source[FLUX] > 0.0, source[-NUM_SHAPE:], _typical(model))


def _to_pair(prior: Prior, free: Array, kind: int) -> _Pair:
    shape = to_shape(prior, free[4:8])[0] if kind == EXTENDED else jnp.zeros(4, jnp.float32)
    return _Pair(free[:4].reshape(2, 2), shape, jax.nn.sigmoid(free[-1]))


def _from_pair(prior: Prior, pair: _Pair, kind: int) -> Array:
    share = jnp.clip(pair.share, 1e-6, 1.0 - 1e-6)
    logit = (jnp.log(share) - jnp.log1p(-share))[None]
    shape = [from_shape(prior, pair.shape)] if kind == EXTENDED else []
    return jnp.concatenate([pair.places.reshape(-1), *shape, logit])


def _image_of_pair(
    model: Model, window: Window, pair: _Pair, colours: tuple[Array, Array], kind: int
) -> Array:
    one = jnp.float32(1.0)
    if kind == EXTENDED:
        x, y = pair.places[0, X], pair.places[0, Y]
        plain = extended_patch(model, window, x, y, pair.shape)
        first = coloured(model, plain, colours[0])
    else:
        first = patch(model, window, POINT, star(pair.places[0], one, colours[0]))
    second = patch(model, window, POINT, star(pair.places[1], one, colours[1]))
    return pair.share * first + (1.0 - pair.share) * second


def _swapped(free: Array, uniform: Array, kind: int) -> Array:
    """Free coordinates of a pair; two stars in either order."""
    if kind == EXTENDED:
        return free
    return jnp.where(uniform < 0.5, free, _exchanged(free))


def _exchanged(free: Array) -> Array:
    return jnp.concatenate([free[2:4], free[:2], -free[4:]])


def _log_pair_density(prior: Prior, found: Fit, free: Array, kind: int) -> Array:
    """Log density of a pair in positions, shape and share."""
    log_density = log_fit_density(found, free)
    if kind == POINT:
        other = log_fit_density(found, _exchanged(free))
        log_density = jnp.logaddexp(log_density, other) - jnp.log(2.0)
    else:
        log_density = log_density - to_shape(prior, free[4:8])[1]
    slope = jax.nn.log_sigmoid(free[-1]) + jax.nn.log_sigmoid(-free[-1])
    return log_density - slope


def _fit_both(
    model: Model,
    window: Window,
    bare: Array,
    anchor: Array,
    images: tuple[Callable[[Array], Array], Callable[[Array], Array]],
    kind: int,
) -> tuple[Fit, Fit]:
    """Fit one galaxy and, from there, two sources."""
    free = from_shape(model.prior, _typical(model))
    here = jnp.stack([model.fwhm, model.fwhm])
    middle = jnp.concatenate([anchor, free])
    width = jnp.concatenate([0.5 * here, jnp.asarray(FREE_WIDTH, jnp.float32)])
    one = fit(images[0], window, bare, middle, middle, width, NUM_STEPS)

    starts = _starts(model, one.best, kind)
    losses = jax.vmap(lambda start: misfit(window, bare, images[1](start)))(starts)
    start = starts[jnp.argmin(losses)]
    shape = [free] if kind == EXTENDED else []
    wide = [width[2:]] if kind == EXTENDED else []
    middle = jnp.concatenate([anchor, anchor, *shape, jnp.zeros(1, jnp.float32)])
    width = jnp.concatenate([0.7 * here, 0.7 * here, *wide, jnp.full(1, LOGIT_WIDTH, jnp.float32)])
    return one, fit(images[1], window, bare, start, middle, width, NUM_STEPS)


def _starts(model: Model, one: Array, kind: int) -> Array:
    """Pairs to start from, in free coordinates, given the fit of one galaxy."""
    shape = to_shape(model.prior, one[2:])[0]
    if kind == POINT:
        xx, xy, yy = MOMENT * to_matrix(shape)
        root = jnp.sqrt(0.25 * (xx - yy) ** 2 + xy**2)
        angle = 0.5 * jnp.arctan2(2.0 * xy, xx - yy)
        axis = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        share = jnp.asarray(FIRST_SHARES, jnp.float32)
        length = jnp.sqrt((0.5 * (xx + yy) + root) / (share * (1.0 - share)))
        length = jnp.clip(length, 0.3 * model.fwhm, 1.5 * model.fwhm)
        step = length[:, None] * axis[None]
        first = one[None, :2] + (1.0 - share)[:, None] * step
        logit = (jnp.log(share) - jnp.log1p(-share))[:, None]
        return jnp.concatenate([first, first - step, logit], axis=1)
    angle = jnp.arange(DIRECTIONS, dtype=jnp.float32) * (2.0 * jnp.pi / DIRECTIONS)
    ring = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    step = jnp.concatenate([distance * model.fwhm * ring for distance in DISTANCES])
    number = step.shape[0]
    galaxy = jnp.broadcast_to(one[None], (number, one.shape[0]))
    logit = jnp.full((number, 1), 1.0, jnp.float32)
    parts = [galaxy[:, :2], galaxy[:, :2] + step, galaxy[:, 2:], logit]
    return jnp.concatenate(parts, axis=1)
