"""Sums over draws of each object's share of the light, on the device."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from probcat.model.background import Terms
from probcat.pixels.assignment import KINDS
from probcat.pixels.model_image import RenderSources

if TYPE_CHECKING:
    from probcat.model.renderer import Renderer

LIT_SIGMA = 0.1
"""Light of all sources, in standard deviations of the noise, from which a pixel counts as lit.

Below it, in the wings and the ringing of PSFs, shares of the light are meaningless.
"""
FOOTPRINT_SIGMA = 3.0
"""Light of an object, in standard deviations of the noise, above which a pixel is in its footprint.
"""


class Scenery(NamedTuple):
    """Properties of an image that all draws have in common.

    Attributes
    ----------
    noise : Array, shape (ny, nx)
        Standard deviation of every pixel.
    sky : Array, shape (ny, nx)
        Background that was subtracted from the image before.
    terms : Terms
        Terms of the background that is sampled.
    """

    noise: Any
    sky: Any
    terms: Terms


class Shares(NamedTuple):
    """Maps of some objects and of everything else; stamps have shape (objects, size, size).

    Attributes
    ----------
    own, rest : dict of str to ndarray
        Stamps of objects, and images (ny, nx) of sources that belong to no object, by `KINDS`.
    background : ndarray, shape (ny, nx)
        The background's share of the photons.
    light : ndarray, shape (ny, nx)
        Posterior mean of the light of all sources.
    """

    own: dict[Any, Any]
    rest: dict[Any, Any]
    background: Any
    light: Any


def stamp_corners(renderer: Renderer, draws: RenderSources) -> tuple[np.ndarray, int]:
    """Return first pixels (row, column) of stamps, int32 (draws, sources, 2), and their side."""
    first = jax.tree.map(lambda values: values[0], draws)
    side = jax.eval_shape(lambda draw: renderer.stamps(*draw[:5])[0], first).shape[-1]
    return np.asarray(_corners(renderer, draws)), side


@jax.jit
def _corners(renderer: Renderer, draws: RenderSources) -> jax.Array:
    def corner(draw: RenderSources) -> jax.Array:
        return jnp.stack(renderer.stamps(*draw[:5])[1:], axis=-1)

    return jax.lax.map(corner, draws)


@partial(jax.jit, static_argnums=0)
def accumulate(
    sides: tuple[int, int],
    renderer: Renderer,
    inputs: tuple[RenderSources, jax.Array, jax.Array],
    origins: jax.Array,
    scenery: Scenery,
) -> Shares:
    """Sum over draws for some objects, and for sources that belong to no object.

    All arrays are padded so that windows that extend beyond the image lie inside them; the padding
    has infinite noise, so that no pixel of it counts as lit.

    Parameters
    ----------
    sides : tuple of int
        Side of a source's stamp and of an object's stamp in pixels.
    renderer : Renderer
        Renders stamps of sources.
    inputs : tuple
        `RenderSources`; the slots of each object's sources, shape (draws, objects, any number);
        and the slots of sources of no object, shape (draws, any number). A slot beyond the last
        source is empty.
    origins : Array, shape (objects, 2), int32
        Image pixel (row, column) at which an object's stamp starts.
    scenery : Scenery
        Noise and background.

    Returns
    -------
    Shares
        Means over draws.
    """
    side, size = sides
    pad = size
    sigma = jnp.pad(scenery.noise, pad, constant_values=np.inf)
    # A window that misses the image lies completely in the padding after clipping.
    limit = jnp.asarray([[extent - size for extent in sigma.shape]], jnp.int32)
    windows = jnp.clip(origins + pad, 0, limit)
    sigma_here = _cut(sigma, windows, size)

    def step(sums: Any, one: tuple[RenderSources, jax.Array, jax.Array]) -> tuple[Any, None]:
        draw, slot, free = one
        stamps, corner = _stamps_of_draw(renderer, draw)
        padded = jnp.clip(corner + pad, 0, jnp.asarray([sigma.shape], jnp.int32) - side)
        total, brightest = _composite(stamps, padded, sigma.shape)
        others, brightest_other = _composite(stamps[free], padded[free], sigma.shape)
        lit = total >= LIT_SIGMA * sigma
        inverse = _inverse(total, lit)
        top = jnp.where(lit, brightest, jnp.inf)
        sky = jnp.pad(_background(draw, scenery), pad)
        photons = total + sky
        bright = photons > 0.0
        per_photon = _inverse(photons, bright)

        own = brightest_own = jnp.float32(0.0)
        for one_each in jnp.moveaxis(slot, -1, 0):
            shift = jnp.clip(corner[one_each] - origins, 0, size - side)
            light = _shift(stamps[one_each], shift, size)
            own, brightest_own = own + light, jnp.maximum(brightest_own, light)
        new_own = {
            "light": own * _cut(inverse, windows, size),
            "dominant": (brightest_own >= _cut(top, windows, size)).astype(jnp.float32),
            "footprint": (own > FOOTPRINT_SIGMA * sigma_here).astype(jnp.float32),
            "photon": own * _cut(per_photon, windows, size),
        }
        new_rest = {
            "light": others * inverse,
            "dominant": (brightest_other >= top).astype(jnp.float32),
            "footprint": (others > FOOTPRINT_SIGMA * sigma).astype(jnp.float32),
            "photon": others * per_photon,
        }
        # Without any light the pixel belongs to the background.
        of_background = jnp.where(bright, sky * per_photon, 1.0)
        new = (Shares(new_own, new_rest, of_background, total), lit.astype(jnp.float32))
        return jax.tree.map(jnp.add, sums, new), None

    stamp, plane = jnp.zeros((origins.shape[0], size, size)), jnp.zeros(sigma.shape)
    empty = Shares(dict.fromkeys(KINDS, stamp), dict.fromkeys(KINDS, plane), plane, plane)
    (sums, times_lit), _ = jax.lax.scan(step, (empty, plane), inputs)
    inner = (slice(pad, -pad), slice(pad, -pad))
    count = jnp.float32(inputs[0].x.shape[0])
    mean = jax.tree.map(lambda values: values / count, sums)
    times_lit = jnp.maximum(times_lit, 1.0)
    light = {"light": sums.own["light"] / _cut(times_lit, windows, size)}
    rest = {kind: values[inner] for kind, values in mean.rest.items()}
    rest["light"] = (sums.rest["light"] / times_lit)[inner]
    return Shares(mean.own | light, rest, mean.background[inner], mean.light[inner])


def _stamps_of_draw(renderer: Renderer, draw: RenderSources) -> tuple[jax.Array, jax.Array]:
    """Stamps of all sources without negative light, and a dark one; and their first pixels."""
    stamps, row, col = renderer.stamps(*draw[:5])
    stamps = jnp.where(draw.active[:, None, None], jnp.maximum(stamps, 0.0), 0.0)
    corner = jnp.stack([row, col], axis=-1)
    # The dark stamp serves objects that this draw does not contain.
    dark = jnp.zeros((1, *stamps.shape[1:]), stamps.dtype)
    return (
        jnp.concatenate([stamps, dark]),
        jnp.concatenate([corner, jnp.zeros((1, 2), corner.dtype)]),
    )


def _composite(
    stamps: jax.Array, corner: jax.Array, shape: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """Light of all stamps in every pixel, and that of the brightest one."""
    dark = jnp.zeros(shape, jnp.float32)
    return (
        _scatter(jax.lax.scatter_add, dark, corner, stamps),
        _scatter(jax.lax.scatter_max, dark, corner, stamps),
    )


def _inverse(values: jax.Array, where: jax.Array) -> jax.Array:
    """One over values where that is asked for, else 0."""
    return jnp.where(where, 1.0 / jnp.where(where, values, 1.0), 0.0)


def _background(draw: RenderSources, scenery: Scenery) -> jax.Array:
    """Background in every pixel, including the level that was subtracted before."""
    return jnp.maximum(scenery.terms.image(draw.background) + scenery.sky, 0.0)


def _scatter(combine: Any, canvas: jax.Array, corner: jax.Array, stamps: jax.Array) -> jax.Array:
    """Add stamps to a canvas, or take their maximum, stamp by stamp."""
    numbers = jax.lax.ScatterDimensionNumbers(
        update_window_dims=(1, 2), inserted_window_dims=(), scatter_dims_to_operand_dims=(0, 1)
    )
    return combine(canvas, corner, stamps, numbers)


def _cut(canvas: jax.Array, corner: jax.Array, size: int) -> jax.Array:
    """Cut windows out of a canvas, shape (n, size, size)."""
    return jax.vmap(lambda at: jax.lax.dynamic_slice(canvas, (at[0], at[1]), (size, size)))(corner)


def _shift(stamps: jax.Array, shift: jax.Array, size: int) -> jax.Array:
    """Shift stamps down and right inside larger, dark stamps of side `size`."""
    room = size - stamps.shape[-1]
    padded = jnp.pad(stamps, ((0, 0), (room, room), (room, room)))
    start = room - shift
    return jax.vmap(lambda one, at: jax.lax.dynamic_slice(one, (at[0], at[1]), (size, size)))(
        padded, start
    )
