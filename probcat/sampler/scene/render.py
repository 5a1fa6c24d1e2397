"""Render whole catalogs onto the padded images of a scene."""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.extended_sources import EMPTY_SHAPE
from probcat.model.image_map import flux_ratio
from probcat.model.point_sources import point_stamps, split_position
from probcat.model.stamps import add_stamps
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.geometry.tiling import Sources, points_to_image
from probcat.sampler.scene.scene import Scene
from probcat.sampler.window.light import profiles_in, stamp_in_image
from probcat.sampler.window.structures import FLUX, NUM_SHAPE

BATCH = 8
"""Number of extended sources that are rendered at once."""


def render(
    scene: Scene, layout: Layout, points: Sources, extended: Sources, radius: int
) -> list[Array]:
    """Render one chain's catalog in every image.

    Parameters
    ----------
    scene : Scene
        Scene with the offsets, flux scales and PSFs of the chain.
    layout : Layout
        Sizes of the padded images.
    points, extended : Sources
        Sources of both kinds, without a chain axis.
    radius : int
        Half-width in pixels of the largest stamp of an extended source in the first image.

    Returns
    -------
    list of Array, shape (Hp, Wp)
        Light of all sources on the padded pixels of every image.
    """
    return [
        render_one(scene, layout, index, points, extended, radius)
        for index in range(len(layout.padded_shapes))
    ]


def render_one(
    scene: Scene, layout: Layout, index: int, points: Sources, extended: Sources, radius: int
) -> Array:
    """Render one chain's catalog in one image; see `render`."""
    shape = layout.padded_shapes[index]
    image = render_points(scene, index, points, shape)
    if not scene.model.images[index].extended_tables:
        return image
    own = radius if index == 0 else layout.frames[index - 1].radius
    return image + render_extended(scene, index, extended, shape, own)


def render_points(scene: Scene, index: int, sources: Sources, shape: tuple[int, int]) -> Array:
    """Light of all point sources in one image, an array of the given shape."""
    tables = scene.model.images[index].point_tables
    pixel, offset, flux = _in_image(scene, index, sources)
    position = pixel.astype(jnp.float32) + offset
    stamps, row, column = point_stamps(tables, offset[:, 0], offset[:, 1], position)
    stamps = stamps * flux[:, None, None]
    dark = jnp.zeros(shape, jnp.float32)
    return add_stamps(dark, stamps, row + pixel[:, 1], column + pixel[:, 0])


def render_extended(
    scene: Scene, index: int, sources: Sources, shape: tuple[int, int], radius: int
) -> Array:
    """Light of all extended sources in one image, an array of the given shape.

    Only occupied slots are rendered, some at a time, as most slots of a catalog are empty.
    """
    slots = sources.active.shape[0]
    size = min(BATCH, slots)
    order = jnp.argsort(~sources.active)
    # The last batch is filled up with empty slots, so that all have one size.
    order = jnp.pad(order, (0, -slots % size), constant_values=slots - 1)
    number = (jnp.sum(sources.active, dtype=jnp.int32) + size - 1) // size
    rank = jnp.arange(size, dtype=jnp.int32)

    def add(batch: Array, image: Array) -> Array:
        chosen = jax.lax.dynamic_slice(order, (batch * size,), (size,))
        own = Sources(sources.pixel[chosen], sources.marks[chosen])
        pixel, offset, flux = _in_image(scene, index, own)
        # The slot that fills up the last batch counts once.
        flux = jnp.where(batch * size + rank < slots, flux, 0.0)
        shapes, position = own.marks[:, -NUM_SHAPE:], pixel.astype(jnp.float32) + offset
        stamps = extended_stamps(scene, index, offset, flux, shapes, radius, position)
        return add_stamps(image, stamps, pixel[:, 1] - radius, pixel[:, 0] - radius)

    return jax.lax.fori_loop(0, number, add, jnp.zeros(shape, jnp.float32))


def extended_stamps(
    scene: Scene,
    index: int,
    offset: Array,
    flux: Array,
    shapes: Array,
    radius: int,
    position: Array | None = None,
) -> Array:
    """Render every extended source on a stamp of its own in one image.

    Parameters
    ----------
    scene : Scene
        Scene with the PSFs of the chain.
    index : int
        Number of the image.
    offset : Array, shape (N, 2)
        Positions (x, y) relative to the central pixels of the stamps.
    flux : Array, shape (N,)
        Fluxes in the unit of the image.
    shapes : Array, shape (N, 4)
        Shapes in the first image.
    radius : int
        Half-width of the stamps in pixels.
    position : Array, shape (N, 2), optional
        Padded pixels (x, y) of the sources; needed if the PSF varies.

    Returns
    -------
    Array, shape (N, 2 radius + 1, 2 radius + 1)
    """
    side = 2 * radius + 1
    image, large = scene.model.images[index], scene.model.large_size
    affine = None if scene.model.shared_shape_of[index] == 0 else image.affine

    def stamp(source: tuple[Array, Array, Array, Array | None]) -> Array:
        offset, flux, shape, position = source
        at = offset + jnp.float32(radius)
        # Empty slots must stay finite.
        shape = jnp.where(shape[0] > 0.0, shape, EMPTY_SHAPE)
        profiles = profiles_in(image, shape, affine)
        return flux * stamp_in_image(image, large, at[0], at[1], profiles, shape, position, side)

    return jax.vmap(stamp)((offset, flux, shapes, position))


def _in_image(scene: Scene, index: int, sources: Sources) -> tuple[Array, Array, Array]:
    """Nearest pixel, offset from it and flux of sources in one image."""
    band = scene.model.bands[index]
    flux = sources.marks[:, FLUX]
    if band > 0:
        flux = flux * flux_ratio(sources.marks[:, FLUX + band], jnp)
    if index == 0:
        return sources.pixel, sources.marks[:, :FLUX], flux
    position = sources.pixel.astype(jnp.float32) + sources.marks[:, :FLUX]
    pixel, offset = split_position(points_to_image(*scene.maps[index], position))
    return pixel, offset, flux * scene.flux_factor[index]
