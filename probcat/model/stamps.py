"""Stamps of extended sources, and stamps added to an image.

The sampler and everything that renders its samples later use these functions, so that both have
one model of the sky.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.extended_sources import ExtendedTables, tiled_image
from probcat.numerics.shape_matrices import semi_major


def extended_stamp(
    tables: Sequence[ExtendedTables],
    radii: tuple[Array | int, Array | int],
    large_size: Array,
    x: Array,
    y: Array,
    shape: Array,
    size: int,
    *,
    profiles: Sequence[Array | None] | None = None,
    position: Array | None = None,
) -> Array:
    """Image of an extended source of unit flux, zero outside its square stamp.

    Parameters
    ----------
    tables : sequence of ExtendedTables
        Grids for small and for large sources, or one grid for all.
    radii : tuple of int
        Half-widths in pixels of the stamps of small and of large sources.
    large_size : Array, shape ()
        Half-light radius along the major axis above which a source is large, in the pixels that
        `shape` is given in.
    x, y : Array, shape ()
        Position of the source in pixels from the first pixel of the result.
    shape : Array, shape (4,)
        Half-light radius, two ellipticity components and Sersic index.
    size : int
        Side of the result in pixels.
    profiles : sequence of Array, optional
        Transforms of the source on every grid (`probcat.model.extended_sources.profile_transform`);
        without them they are computed from `shape`.
    position : Array, shape (2,), optional
        Position (x, y) in the image; needed if its PSF varies.

    Returns
    -------
    Array, shape (size, size), float32
    """
    large = semi_major(shape) > large_size
    # Every source is on the grid of its class, as its images on two grids differ a little.
    local = [one.at(position) for one in tables]
    grids = [
        tiled_image(one, x, y, shape, size, profile)
        for one, profile in zip(local, profiles or [None] * len(local), strict=True)
    ]
    light = jnp.where(large, grids[-1], grids[0])
    pixel = jnp.arange(size, dtype=jnp.int32)
    radius = jnp.where(large, radii[1], radii[0])
    in_row = jnp.abs(pixel - jnp.round(y).astype(jnp.int32)) <= radius
    in_col = jnp.abs(pixel - jnp.round(x).astype(jnp.int32)) <= radius
    return jnp.where(in_row[:, None] & in_col[None, :], light, 0.0)


def add_stamps(image: Array, stamps: Array, row: Array, column: Array) -> Array:
    """Add stamps, which may overlap, to an image.

    Parameters
    ----------
    image : Array, shape (ny, nx)
        Image that contains every stamp.
    stamps : Array, shape (n, height, width)
        Stamps, which are added one after the other.
    row, column : Array, shape (n,), int32
        Image pixel of the first row and column of every stamp.

    Returns
    -------
    Array, shape (ny, nx)
    """

    def add(index: Array, image: Array) -> Array:
        corner = (row[index], column[index])
        current = jax.lax.dynamic_slice(image, corner, stamps.shape[1:])
        return jax.lax.dynamic_update_slice(image, current + stamps[index], corner)

    return jax.lax.fori_loop(0, stamps.shape[0], add, image)
