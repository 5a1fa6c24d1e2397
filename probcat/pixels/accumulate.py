"""Sums over draws of each object's share of the light, on the device."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from probcat.model.background import Terms
from probcat.pixels.model_image import RenderSources

if TYPE_CHECKING:
    from probcat.model.renderer import Renderer

KINDS = ("light", "dominant", "footprint", "photon")
# A pixel has light in a draw if all sources together give at least this many standard
# deviations of its noise: shares of next to nothing (wings, ringing) mean nothing.
LIT_SIGMA = 0.1
FOOTPRINT_SIGMA = 3.0


class Scenery(NamedTuple):
    """What all draws of an image share.

    Attributes
    ----------
    noise : Array, shape (ny, nx)
        Standard deviation of every pixel.
    sky : Array, shape (ny, nx)
        Background that was taken off the image.
    terms : Terms
        Of the background that is sampled.
    """

    noise: Any
    sky: Any
    terms: Terms


class Shares(NamedTuple):
    """Maps of some objects, and of all else; stamps have shape (objects, size, size).

    Attributes
    ----------
    own, rest : dict of str to ndarray
        Stamps of objects, and images (ny, nx) of sources of no object, by `KINDS`.
    background : ndarray, shape (ny, nx)
        Its share of the photons.
    light : ndarray, shape (ny, nx)
        Mean light of all sources.
    """

    own: dict[str, Any]
    rest: dict[str, Any]
    background: Any
    light: Any


def stamp_corners(renderer: Renderer, draws: RenderSources) -> tuple[np.ndarray, int]:
    """Find where the stamp of each source starts, int32 (draws, sources, 2), and its side."""
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
    """Sum over draws for some objects and for the unassigned sources.

    All maps are padded so that windows that reach out of the image stay inside arrays; the
    padding has infinite noise, so nothing is ever lit there.

    Parameters
    ----------
    sides : tuple of int
        Side of a source's stamp and of an object's.
    renderer : Renderer
    inputs : tuple
        RenderSources; slots of every object's sources (draws, objects, any number); slots of no object
        (draws, any number). A slot beyond the sources is none.
    origins : Array, shape (objects, 2), int32
        Image pixel (row, column) that an object's stamp starts at.
    scenery : Scenery

    Returns
    -------
    Shares
    """
    side, size = sides
    pad = size
    sigma = jnp.pad(scenery.noise, pad, constant_values=np.inf)
    # A window that misses the image lies wholly in the padding after being clipped to it.
    limit = jnp.asarray([[extent - size for extent in sigma.shape]], jnp.int32)
    windows = jnp.clip(origins + pad, 0, limit)
    sigma_here = _cut(sigma, windows, size)

    def step(sums: Any, one: tuple[RenderSources, jax.Array, jax.Array]) -> tuple[Any, None]:
        draw, slot, free = one
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
        top = jnp.where(lit, brightest, jnp.inf)
        sky = jnp.pad(_background(draw, scenery), pad)
        photons = total + sky
        bright = photons > 0.0
        per_photon = jnp.where(bright, 1.0 / jnp.where(bright, photons, 1.0), 0.0)

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
        # Where nothing shines, what little there may be is the background's.
        dim = jnp.where(bright, sky * per_photon, 1.0)
        new = (Shares(new_own, new_rest, dim, total), lit.astype(jnp.float32))
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


def _background(draw: RenderSources, scenery: Scenery) -> jax.Array:
    """Light of the background in every pixel, the part that was taken off included."""
    return jnp.maximum(scenery.terms.image(draw.background) + scenery.sky, 0.0)


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
