"""Choice of a galaxy that may be a pair of sources, or of a pair that may be a galaxy.

A galaxy is chosen with `choices.pick_weights`. Of a pair the second source, a star, is chosen
uniformly, and the first one, of a given kind, by its distance to the second.
"""

import jax.numpy as jnp
from jax import Array

from probcat.sampler.proposals.choices import (
    PARTNER_REACH,
    choose_uniformly,
    choose_weighted,
    empty_slot,
    log_probability,
    neighbour_weights,
    pick_weights,
)
from probcat.sampler.window.slots import active, put, sources_of
from probcat.sampler.window.structures import EXTENDED, POINT, Model, WindowState, X, Y


def choose_slots(
    uniform: Array, model: Model, state: WindowState, kind: int, upward: Array
) -> tuple[Array, Array, Array]:
    """Choose a galaxy and empty slots for a pair (upward), or a pair and one for a galaxy.

    Parameters
    ----------
    uniform : Array, shape (3,)
        Uniform random numbers.
    model : Model
        Model, which has the FWHM of the PSF.
    state : WindowState
        Current state.
    kind : int
        Kind of the first source of the pair. If it is a galaxy, it has the slot of the one galaxy
        in the other state.
    upward : Array, bool
        Whether a galaxy is chosen.

    Returns
    -------
    slots : Array, shape (2,), int32
        Slots of the first and of the second source of the pair.
    galaxy_slot : Array, int32
        Slot of the one galaxy.
    has_room : Array, bool
        Whether there are enough empty slots.
    """
    u_second, u_first, u_galaxy = uniform[0], uniform[1], uniform[2]
    points, extended = state.points, state.extended
    second = choose_uniformly(u_second, active(points))
    weights = _first_weights(model, sources_of(state, kind), points[second], second, kind)
    first = choose_weighted(u_first, weights)
    free, room = empty_slot(active(points))
    galaxy = choose_weighted(u_galaxy, pick_weights(extended))
    if kind == EXTENDED:
        slot = jnp.where(upward, galaxy, first)
        slots = jnp.stack([slot, jnp.where(upward, free, second)])
        return slots, slot, jnp.where(upward, room, True)
    free_2, room_2 = empty_slot(put(active(points), free, True))
    free_galaxy, room_galaxy = empty_slot(active(extended))
    slots = jnp.where(upward, jnp.stack([free, free_2]), jnp.stack([first, second]))
    has_room = jnp.where(upward, room & room_2, room_galaxy)
    return slots, jnp.where(upward, galaxy, free_galaxy), has_room


def has_pair(state: WindowState, kind: int) -> Array:
    """Return whether a state has a pair whose first source is of a kind."""
    num_points = jnp.sum(active(state.points), dtype=jnp.int32)
    if kind == POINT:
        return num_points > 1
    return (num_points > 0) & jnp.any(active(state.extended))


def both_catalogs(
    state: WindowState,
    kind: int,
    slots: tuple[Array, Array],
    sources: tuple[Array, Array, Array],
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return points and extended sources of the lower state, with the galaxy, and of the upper one.

    Parameters
    ----------
    state : WindowState
        Current state.
    kind : int
        Kind of the first source of the pair.
    slots : tuple of Array
        Slots of the pair, and slot of the galaxy.
    sources : tuple of Array
        The galaxy, and the first and the second source of the pair.
    """
    (pair_slots, galaxy_slot), (galaxy, first, second) = slots, sources
    points, extended = state.points, state.extended
    lower = (put(points, pair_slots[1], 0.0), put(extended, galaxy_slot, galaxy))
    with_second = put(points, pair_slots[1], second)
    if kind == EXTENDED:
        return lower, (with_second, put(extended, pair_slots[0], first))
    without_pair = put(lower[0], pair_slots[0], 0.0)
    with_pair = put(with_second, pair_slots[0], first)
    return (without_pair, lower[1]), (with_pair, put(extended, galaxy_slot, 0.0))


def log_choice_ratio(
    model: Model,
    kind: int,
    slots: tuple[Array, Array],
    states: tuple[tuple[Array, Array], tuple[Array, Array]],
    second: Array,
) -> Array:
    """Return the log probability of choosing the pair minus that of choosing the galaxy.

    Parameters
    ----------
    model : Model
        Model, which has the FWHM of the PSF.
    kind : int
        Kind of the first source of the pair.
    slots : tuple of Array
        Slots of the pair, and slot of the galaxy.
    states : tuple of tuple of Array
        Points and extended sources of the lower state, with the galaxy, and of the upper one.
    second : Array
        Second source of the pair.
    """
    (pair_slots, galaxy_slot), ((_, extended_lower), upper) = slots, states
    num_points = jnp.sum(active(upper[POINT]), dtype=jnp.int32).astype(jnp.float32)
    weights = _first_weights(model, upper[kind], second, pair_slots[1], kind)
    log_pair = log_probability(weights, pair_slots[0]) - jnp.log(num_points)
    return log_pair - log_probability(pick_weights(extended_lower), galaxy_slot)


def _first_weights(model: Model, sources: Array, second: Array, slot: Array, kind: int) -> Array:
    """Return the log weights (S,) of sources to be the first of a pair with a second one."""
    excluded = slot if kind == POINT else jnp.int32(-1)
    return neighbour_weights(sources, second[X], second[Y], PARTNER_REACH * model.fwhm, excluded)
