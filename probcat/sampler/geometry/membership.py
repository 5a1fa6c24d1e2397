"""Move sources into the windows of a sweep and back."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.numerics.shape_matrices import semi_major
from probcat.sampler.geometry.tiling import Sources, Tiling
from probcat.sampler.window.structures import FLUX, NUM_SHAPE


class Membership(NamedTuple):
    """Assignment of the sources of one catalog to windows.

    Attributes
    ----------
    slot : Array, shape (num_windows, slots), int32
        Slot in the catalog of every slot of a window; meaningless beyond `number`.
    number : Array, shape (num_windows,), int32
        Number of members of every window.
    order : Array, shape (N,), int32
        Slots of the catalog, sorted: members by window, other sources, empty slots.
    num_active : Array, shape (), int32
        Number of sources in the catalog.
    """

    slot: Array
    number: Array
    order: Array
    num_active: Array


def find_members(
    sources: Sources, tiling: Tiling, size: int, slots: int, largest: float = math.inf
) -> Membership:
    """Find the sources of one chain that are in the interior of a window.

    Parameters
    ----------
    sources : Sources
        Sources of one kind, without a chain axis.
    tiling : Tiling
        Placement of the windows.
    size : int
        Side of a window in pixels.
    slots : int
        Number of sources that a window can hold.
    largest : float
        Half-light radius along the major axis, in pixels, above which extended sources are left
        out.

    Returns
    -------
    Membership
    """
    num_windows = tiling.origin.shape[0]
    capacity = sources.marks.shape[0]
    cell = jnp.floor_divide(sources.pixel - tiling.origin[:1], size)
    cell = jnp.clip(cell, 0, tiling.grid[None] - 1)
    window = cell[:, 1] * tiling.grid[0] + cell[:, 0]
    local = (sources.pixel - tiling.origin[window]).astype(jnp.float32)
    local = local + sources.marks[:, :FLUX]
    above = jnp.all(local >= tiling.lower_bound[window], axis=-1)
    below = jnp.all(local <= tiling.upper_bound[window], axis=-1)
    inside = above & below & sources.active
    if math.isfinite(largest):
        inside = inside & (semi_major(sources.marks[:, -NUM_SHAPE:]) <= largest)
    group = jnp.where(inside, window, num_windows)
    group = jnp.where(sources.active, group, num_windows + 1)
    order = jnp.argsort(group).astype(jnp.int32)
    count = jnp.zeros(num_windows, jnp.int32).at[window].add(inside.astype(jnp.int32))
    start = jnp.cumsum(count) - count
    slot = jnp.arange(slots, dtype=jnp.int32)
    index = order[jnp.clip(start[:, None] + slot[None], 0, capacity - 1)]
    return Membership(index, count, order, jnp.sum(sources.active, dtype=jnp.int32))


def gather(sources: Sources, tiling: Tiling, members: Membership) -> Array:
    """Members in window coordinates, shape (num_windows, slots, num_columns)."""
    slots = members.slot.shape[1]
    valid = jnp.arange(slots, dtype=jnp.int32)[None] < members.number[:, None]
    marks = sources.marks[members.slot]
    local = (sources.pixel[members.slot] - tiling.origin[:, None]).astype(jnp.float32)
    marks = marks.at[..., :FLUX].add(local)
    return jnp.where(valid[..., None], marks, 0.0)


def scatter(
    sources: Sources, tiling: Tiling, members: Membership, moved: Array
) -> tuple[Sources, Array]:
    """Write the sources of windows back to the catalog; new ones take empty slots.

    Parameters
    ----------
    sources : Sources
        Catalog before, without a chain axis.
    tiling : Tiling
        Placement of the windows.
    members : Membership
        Sources that were taken into the windows.
    moved : Array, shape (num_windows, slots, num_columns)
        Sources in window coordinates.

    Returns
    -------
    sources : Sources
        Catalog after.
    full : Array, shape (2,), bool
        Whether the catalog is full, and whether a window had more members than slots.
    """
    num_windows, slots = members.slot.shape
    capacity = sources.marks.shape[0]
    slot = jnp.arange(slots, dtype=jnp.int32)
    old = slot[None] < members.number[:, None]
    born = ~old & (moved[..., FLUX] > 0.0)
    rank = jnp.cumsum(born.reshape(-1).astype(jnp.int32)).reshape(born.shape) - 1
    index = members.num_active + rank
    fresh = members.order[jnp.clip(index, 0, capacity - 1)]
    target = jnp.where(old, members.slot, jnp.where(born, fresh, capacity))
    target = jnp.where(born & (index >= capacity), capacity, target).reshape(-1)

    nearest = jnp.round(moved[..., :FLUX])
    marks = moved.at[..., :FLUX].add(-nearest)
    pixel = nearest.astype(jnp.int32) + tiling.origin[:, None]
    full = jnp.stack([jnp.any(born & (index >= capacity)), jnp.any(members.number > slots)])
    return Sources(
        sources.pixel.at[target].set(pixel.reshape(-1, 2), mode="drop"),
        sources.marks.at[target].set(marks.reshape(num_windows * slots, -1), mode="drop"),
    ), full


class WindowMembers(NamedTuple):
    """Sources of one kind in the windows of a sweep.

    Attributes
    ----------
    members : Membership or None
        Assignment to windows; None if windows have no slots for the kind, which then stays as it
        is.
    marks : Array, shape (num_windows, slots, num_columns)
        Sources in window coordinates.
    """

    members: Membership | None
    marks: Array


def load_members(
    sources: Sources, tiling: Tiling, size: int, slots: int, largest: float = math.inf
) -> WindowMembers:
    """Load the sources of one kind that may move into the windows; see `find_members`."""
    if slots == 0:
        columns = sources.marks.shape[-1]
        return WindowMembers(None, jnp.zeros((tiling.origin.shape[0], 0, columns), jnp.float32))
    members = find_members(sources, tiling, size, slots, largest)
    return WindowMembers(members, gather(sources, tiling, members))


def store_members(
    sources: Sources, tiling: Tiling, loaded: WindowMembers, moved: Array
) -> tuple[Sources, Array]:
    """Store the sources of windows in the catalog; see `scatter`."""
    if loaded.members is None:
        return sources, jnp.zeros(2, bool)
    return scatter(sources, tiling, loaded.members, moved)
