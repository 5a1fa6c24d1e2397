"""Arrays of sources in a window: their occupied slots, and copies with a part replaced."""

import jax.numpy as jnp
from jax import Array

from probcat.numerics.shape_matrices import semi_major
from probcat.sampler.window.structures import FLUX, NUM_SHAPE, POINT, Model, Window, WindowState


def sources_of(state: WindowState, kind: int) -> Array:
    """Array of the sources of a kind in a window."""
    return state.points if kind == POINT else state.extended


def active(sources: Array) -> Array:
    """Whether a slot is occupied by a source."""
    return sources[:, FLUX] > 0.0


def all_fit(window: Window, extended: Array) -> Array:
    """Whether no extended source is too large for the window."""
    return jnp.all(semi_major(extended[:, -NUM_SHAPE:]) <= window.largest)


def contains(window: Window, x: Array, y: Array) -> Array:
    """Whether a position is in the part of the window where sources may move."""
    return (
        (x >= window.lower_bound[0])
        & (x <= window.upper_bound[0])
        & (y >= window.lower_bound[1])
        & (y <= window.upper_bound[1])
    )


def one_hot(index: Array | int, length: int) -> Array:
    """Booleans (length,) that are true at an index.

    Selection by such a mask compiles and runs much faster than a scatter.
    """
    return jnp.arange(length, dtype=jnp.int32) == index


def put(values: Array, index: Array, value: Array | float) -> Array:
    """Copy of an array with the entry at an index of the first axis replaced."""
    here = one_hot(index, values.shape[0])
    return jnp.where(here.reshape(-1, *[1] * (values.ndim - 1)), _raised(value, values), values)


def _raised(value: Array | float, like: Array) -> Array:
    """Value with the dtype of an array, and the shape of one entry of its first axis."""
    return jnp.broadcast_to(jnp.asarray(value, like.dtype), like.shape[1:])[None]


def with_position(source: Array, position: Array) -> Array:
    """Copy of a source at another position (x, y)."""
    return jnp.concatenate([position, source[FLUX:]])


def with_flux(source: Array, flux: Array) -> Array:
    """Copy of a source with another flux."""
    return jnp.concatenate([source[:FLUX], flux[None], source[FLUX + 1 :]])


def with_shape(source: Array, shape: Array) -> Array:
    """Copy of a source with another shape."""
    return jnp.concatenate([source[:-NUM_SHAPE], shape])


def with_colours(source: Array, colours: Array) -> Array:
    """Copy of a source with other colours."""
    end = FLUX + 1 + colours.shape[0]
    return jnp.concatenate([source[: FLUX + 1], colours, source[end:]])


def star(position: Array, flux: Array, colours: Array) -> Array:
    """Point source at a position (x, y), shape (num_columns,)."""
    return jnp.concatenate([position, flux[None], colours])


def colours_of(model: Model, source: Array) -> Array:
    """Colours of a source, shape (B - 1,)."""
    return source[FLUX + 1 : FLUX + 1 + model.num_colours]


def total(image: Array) -> Array:
    """Sum of an image, first over rows and then over columns, which vectorises."""
    return jnp.sum(jnp.sum(image, axis=0))
