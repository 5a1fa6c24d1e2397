"""Render whole catalogs onto the padded planes of a scene."""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.point_sources import point_stamps
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.geometry.tiling import Sources
from probcat.sampler.scene.scene import Scene
from probcat.sampler.window.light import extended_stamp, profiles_in
from probcat.sampler.window.structures import FLUX, NUM_SHAPE


def render(
    scene: Scene, layout: Layout, points: Sources, extended: Sources, radius: int
) -> list[Array]:
    """Light of one chain's catalog in every image, on the padded pixels.

    Parameters
    ----------
    scene : Scene
    layout : Layout
    points, extended : Sources
        Without chain axis.
    radius : int
        Half side in pixels of the largest footprint of an extended source in the first image.
    """
    return [
        render_one(scene, layout, index, points, extended, radius)
        for index in range(len(layout.padded_shapes))
    ]


def render_one(
    scene: Scene, layout: Layout, index: int, points: Sources, extended: Sources, radius: int
) -> Array:
    """Light of one chain's catalog in one image; see `render`."""
    shape = layout.padded_shapes[index]
    image = render_points(scene, index, points, shape)
    if not scene.model.images[index].extended_tables:
        return image
    own = radius if index == 0 else layout.frames[index - 1].radius
    return image + render_extended(scene, index, extended, shape, own)


def render_points(scene: Scene, index: int, sources: Sources, shape: tuple[int, int]) -> Array:
    """Light of all point sources in one image."""
    tables = scene.model.images[index].point_tables
    pixel, offset, flux = _seen(scene, index, sources)
    place = pixel.astype(jnp.float32) + offset
    stamps, row, column = point_stamps(tables, offset[:, 0], offset[:, 1], place)
    stamps = stamps * flux[:, None, None]
    return _add_stamps(stamps, row + pixel[:, 1], column + pixel[:, 0], shape)


def render_extended(
    scene: Scene, index: int, sources: Sources, shape: tuple[int, int], radius: int
) -> Array:
    """Light of all extended sources in one image."""
    pixel, offset, flux = _seen(scene, index, sources)
    shapes, place = sources.marks[:, -NUM_SHAPE:], pixel.astype(jnp.float32) + offset
    stamps = extended_stamps(scene, index, offset, flux, shapes, radius, place)
    return _add_stamps(stamps, pixel[:, 1] - radius, pixel[:, 0] - radius, shape)


def extended_stamps(
    scene: Scene,
    index: int,
    offset: Array,
    flux: Array,
    shapes: Array,
    radius: int,
    place: Array | None = None,
) -> Array:
    """Stamps of extended sources in one image, shape (N, 2 radius + 1, 2 radius + 1).

    Parameters
    ----------
    scene : Scene
    index : int
        Of the image.
    offset : Array, shape (N, 2)
        From the stamps' central pixels.
    flux : Array, shape (N,)
    shapes : Array, shape (N, 4)
        As they are in the first image.
    radius : int
    place : Array or None, shape (N, 2)
        Padded pixels (x, y), which a PSF that varies is taken at.
    """
    side = 2 * radius + 1
    image, large = scene.model.images[index], scene.model.large_size
    affine = None if scene.model.shared_shape_of[index] == 0 else image.affine

    def stamp(source: tuple[Array, Array, Array, Array | None]) -> Array:
        offset, flux, shape, place = source
        at = offset + jnp.float32(radius)
        # Empty slots must stay finite.
        shape = jnp.where(shape[0] > 0.0, shape, jnp.asarray(_ROUND, jnp.float32))
        profiles = profiles_in(image, shape, affine)
        return flux * extended_stamp(image, large, at[0], at[1], profiles, shape, place, side)

    return jax.lax.map(stamp, (offset, flux, shapes, place), batch_size=16)


_ROUND = (1.0, 0.0, 0.0, 1.0)


def _seen(scene: Scene, index: int, sources: Sources) -> tuple[Array, Array, Array]:
    """Nearest pixel, offset from it and flux of sources in one image."""
    band = scene.model.bands[index]
    flux = sources.marks[:, FLUX]
    if band > 0:
        flux = flux * jnp.exp(sources.marks[:, FLUX + band])
    if index == 0:
        return sources.pixel, sources.marks[:, :FLUX], flux
    affine, offset = scene.maps[index]
    place = sources.pixel.astype(jnp.float32) + sources.marks[:, :FLUX]
    place = jnp.matmul(place, affine.T, precision="highest") + offset[None]
    pixel = jnp.round(place)
    return pixel.astype(jnp.int32), place - pixel, flux * scene.flux_factor[index]


def _add_stamps(stamps: Array, row: Array, column: Array, shape: tuple[int, int]) -> Array:
    def add(index: Array, image: Array) -> Array:
        corner = (row[index], column[index])
        current = jax.lax.dynamic_slice(image, corner, stamps.shape[1:])
        return jax.lax.dynamic_update_slice(image, current + stamps[index], corner)

    return jax.lax.fori_loop(0, stamps.shape[0], add, jnp.zeros(shape, jnp.float32))
