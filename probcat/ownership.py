"""Sums over draws of each object's share of the light, on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from probcat.posterior import Draws

if TYPE_CHECKING:
    from probcat.render import Renderer

KINDS = ("light", "dominant", "footprint")
# A pixel has light in a draw if all sources together give at least this many standard
# deviations of its noise: shares of next to nothing (wings, ringing) mean nothing.
LIT_SIGMA = 0.1
FOOTPRINT_SIGMA = 3.0


def stamp_corners(renderer: Renderer, draws: Draws) -> tuple[np.ndarray, int]:
    """Find where the stamp of each source starts, int32 (draws, sources, 2), and its side."""

    def corner(draw: Draws) -> jax.Array:
        return jnp.stack(renderer.stamps(*draw[:5])[1:], axis=-1)

    on_device = jax.tree.map(jnp.asarray, draws)
    first = jax.tree.map(lambda values: values[0], on_device)
    side = jax.eval_shape(lambda draw: renderer.stamps(*draw[:5])[0], first).shape[-1]
    return np.asarray(jax.jit(lambda all_draws: jax.lax.map(corner, all_draws))(on_device)), side


def accumulate(
    renderer: Renderer,
    draws: Draws,
    slots: np.ndarray,
    loose: np.ndarray,
    origins: np.ndarray,
    noise: np.ndarray,
    sides: tuple[int, int],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sum over draws, on the device, for some objects and for the unassigned sources.

    All maps are padded so that windows that reach out of the image stay inside arrays; the
    padding has infinite noise, so nothing is ever lit there.

    Returns
    -------
    stamps : list of ndarray, shape (objects, size, size), in the order of `KINDS`
    unassigned : list of ndarray, shape (ny, nx)
    """
    side, size = sides
    pad = size
    sigma = jnp.pad(jnp.asarray(noise), pad, constant_values=np.inf)
    first_pixel = jnp.asarray(origins, jnp.int32)
    # A window that misses the image lies wholly in the padding after being clipped to it.
    limit = jnp.asarray([[extent - size for extent in sigma.shape]], jnp.int32)
    windows = jnp.clip(first_pixel + pad, 0, limit)
    sigma_here = _cut(sigma, windows, size)

    def step(sums: Any, inputs: tuple[Draws, jax.Array, jax.Array]) -> tuple[Any, None]:
        draw, slot, free = inputs
        stamps, row, col = renderer.stamps(*draw[:5])
        stamps = jnp.where(draw.active[:, None, None], jnp.maximum(stamps, 0.0), 0.0)
        corner = jnp.stack([row, col], axis=-1)
        # One more stamp, dark, for objects that this draw does not hold.
        stamps = jnp.concatenate([stamps, jnp.zeros((1, side, side), stamps.dtype)])
        corner = jnp.concatenate([corner, jnp.zeros((1, 2), corner.dtype)])
        place = jnp.clip(corner + pad, 0, jnp.asarray([sigma.shape], jnp.int32) - side)

        dark = jnp.zeros(sigma.shape, jnp.float32)
        total = _scatter(jax.lax.scatter_add, dark, place, stamps)
        brightest = _scatter(jax.lax.scatter_max, dark, place, stamps)
        others = _scatter(jax.lax.scatter_add, dark, place[free], stamps[free])
        brightest_other = _scatter(jax.lax.scatter_max, dark, place[free], stamps[free])
        lit = total >= LIT_SIGMA * sigma
        inverse = jnp.where(lit, 1.0 / jnp.where(lit, total, 1.0), 0.0)

        shift = jnp.clip(corner[slot] - first_pixel, 0, size - side)
        own = _shift(stamps[slot], shift, size)
        top = jnp.where(lit, brightest, jnp.inf)
        new = (
            own * _cut(inverse, windows, size),
            (own >= _cut(top, windows, size)).astype(jnp.float32),
            (own > FOOTPRINT_SIGMA * sigma_here).astype(jnp.float32),
            others * inverse,
            (brightest_other >= top).astype(jnp.float32),
            (others > FOOTPRINT_SIGMA * sigma).astype(jnp.float32),
            lit.astype(jnp.float32),
        )
        return jax.tree.map(jnp.add, sums, new), None

    @jax.jit
    def run(inputs: Any) -> tuple[list[jax.Array], list[jax.Array]]:
        stamp, plane = jnp.zeros((len(origins), size, size)), jnp.zeros(sigma.shape)
        sums, _ = jax.lax.scan(step, (stamp,) * 3 + (plane,) * 4, inputs)
        lit = jnp.maximum(sums[-1], 1.0)
        count = jnp.float32(len(draws.x))
        own = [sums[0] / _cut(lit, windows, size), sums[1] / count, sums[2] / count]
        inner = (slice(pad, -pad), slice(pad, -pad))
        rest = [sums[3] / lit, sums[4] / count, sums[5] / count]
        return own, [values[inner] for values in rest]

    own, rest = run(jax.tree.map(jnp.asarray, (draws, slots, loose)))
    return [np.asarray(values) for values in own], [np.asarray(values) for values in rest]


def _scatter(combine: Any, canvas: jax.Array, place: jax.Array, stamps: jax.Array) -> jax.Array:
    """Add stamps to a canvas, or take their maximum, stamp by stamp."""
    numbers = jax.lax.ScatterDimensionNumbers(
        update_window_dims=(1, 2), inserted_window_dims=(), scatter_dims_to_operand_dims=(0, 1)
    )
    return combine(canvas, place, stamps, numbers)


def _cut(canvas: jax.Array, place: jax.Array, size: int) -> jax.Array:
    """Cut windows out of a canvas, shape (n, size, size)."""
    return jax.vmap(lambda at: jax.lax.dynamic_slice(canvas, (at[0], at[1]), (size, size)))(place)


def _shift(stamps: jax.Array, shift: jax.Array, size: int) -> jax.Array:
    """Move stamps down and right inside larger, dark ones of side `size`."""
    room = size - stamps.shape[-1]
    padded = jnp.pad(stamps, ((0, 0), (room, room), (room, room)))
    start = room - shift
    return jax.vmap(lambda one, at: jax.lax.dynamic_slice(one, (at[0], at[1]), (size, size)))(
        padded, start
    )
