"""Tile the padded images with windows.

The windows of one sweep share no pixel, and a source that may move in a window keeps its whole
stamp inside it, so that windows are independent given everything else.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.stamps import add_stamps
from probcat.sampler.geometry.layout import Layout, PassPlan
from probcat.sampler.window.structures import FLUX

WALL = 1e-3
"""Distance in pixels that sources keep from the walls of their window's interior."""


class Sources(NamedTuple):
    """Sources of one kind, with split positions that are equally precise everywhere.

    Attributes
    ----------
    pixel : Array, shape (..., N, 2), int32
        Nearest pixel (column, row) of the padded image.
    marks : Array, shape (..., N, num_columns), float32
        Sub-pixel offset (x, y), flux, colours, and the shape of extended sources, in the columns
        of `probcat.sampler.window.structures`. A slot with flux 0 is empty.
    """

    pixel: Array
    marks: Array

    @property
    def active(self) -> Array:
        """Whether a slot holds a source."""
        return self.marks[..., FLUX] > 0.0


class Tiling(NamedTuple):
    """Placement of the windows of one sweep.

    Attributes
    ----------
    origin : Array, shape (num_windows, 2), int32
        Padded pixel (column, row) of every window's first pixel.
    lower_bound, upper_bound : Array, shape (num_windows, 2), float32
        Limits (x, y) of the sources that may move, in window pixels.
    grid : Array, shape (2,), int32
        Number of windows along x and y; windows are listed row by row.
    corners : tuple of Array, shape (num_windows, 2), int32
        Padded pixel of every window's first pixel, for every image; the first entry is `origin`.
    shift : Array, shape (num_windows, I, 2), float32
        Position (x, y) of the first image's window pixel (0, 0) in the window of every image.
    """

    origin: Array
    lower_bound: Array
    upper_bound: Array
    grid: Array
    corners: tuple[Array, ...]
    shift: Array


def draw_tiling(rng_key: Array, layout: Layout, plan: PassPlan) -> Tiling:
    """Place the windows at random.

    Along each axis the row of windows shifts as a whole, between the position at which its first
    interior overhangs the start of the region and the one at which its last interior overhangs
    the end (`PassPlan.overhang`), so that every position is covered with positive probability.

    Parameters
    ----------
    rng_key : Array
        Random key.
    layout : Layout
        Sizes of the run.
    plan : PassPlan
        Plan of the windows.

    Returns
    -------
    Tiling
        Placement in the first image alone.
    """
    keys = jax.random.split(rng_key)
    margin, interior, size = plan.margin, plan.interior, plan.size
    starts, limits, counts = [], [], []
    for axis in (0, 1):
        count = plan.num_windows(layout, axis)
        length = layout.region_pixels(axis)
        overhang = plan.overhang(layout, axis)
        slide = length + 2 * overhang - interior - size * (count - 1) + 1
        shift = jax.random.randint(keys[axis], (), 0, slide)
        first = layout.region_start(axis) - overhang + shift
        starts.append(first - margin + size * jnp.arange(count, dtype=jnp.int32))
        limits.append(layout.region_bounds(axis))
        counts.append(count)
    columns, rows = jnp.meshgrid(starts[0], starts[1])
    origin = jnp.stack([columns.reshape(-1), rows.reshape(-1)], axis=1).astype(jnp.int32)
    region = jnp.asarray(limits, dtype=jnp.float32)
    corner = origin.astype(jnp.float32)
    lower = jnp.maximum(margin - 0.5 + WALL, region[None, :, 0] - corner)
    upper = jnp.minimum(margin + interior - 0.5 - WALL, region[None, :, 1] - corner)
    grid, shift = jnp.asarray(counts, dtype=jnp.int32), jnp.zeros_like(lower)[:, None]
    return Tiling(origin, lower, upper, grid, (origin,), shift)


def with_frames(tiling: Tiling, maps: list[tuple[Array, Array]], sizes: tuple[int, ...]) -> Tiling:
    """Place the windows in all images.

    Parameters
    ----------
    tiling : Tiling
        Placement in the first image.
    maps : list of (Array, Array)
        Affine maps, (2, 2) and (2,), from padded pixels of the first image to those of every
        image.
    sizes : tuple of int
        Side of a window in pixels of every image.

    Returns
    -------
    Tiling
    """
    corners, shifts = [tiling.origin], [jnp.zeros_like(tiling.lower_bound)]
    centre = 0.5 * (sizes[0] - 1)
    origin = tiling.origin.astype(jnp.float32)
    for (affine, offset), size in zip(maps[1:], sizes[1:], strict=True):
        middle, first = (
            points_to_image(affine, offset, points) for points in (origin + centre, origin)
        )
        corner = jnp.floor(middle - 0.5 * (size - 1) + 0.5)
        corners.append(corner.astype(jnp.int32))
        shifts.append(first - corner)
    return tiling._replace(corners=tuple(corners), shift=jnp.stack(shifts, axis=1))


def points_to_image(affine: Array, offset: Array, points: Array) -> Array:
    """Map points (n, 2) of the first image to another one by a matrix product.

    The product rounds differently from `probcat.model.image_map.to_image`: with that function
    here the chains of a given seed would change.
    """
    return jnp.matmul(points, affine.T, precision="highest") + offset[None]


def cut(image: Array, corners: Array, size: int) -> Array:
    """Cut windows out of a padded image, shape (num_windows, size, size)."""
    return jax.vmap(
        lambda corner: jax.lax.dynamic_slice(image, (corner[1], corner[0]), (size, size))
    )(corners)


def paste(image: Array, windows: Array, corners: Array) -> Array:
    """Write windows back into a padded image."""

    def write(index: Array, canvas: Array) -> Array:
        corner = corners[index]
        return jax.lax.dynamic_update_slice(canvas, windows[index], (corner[1], corner[0]))

    return jax.lax.fori_loop(0, windows.shape[0], write, image)


def add(image: Array, windows: Array, corners: Array) -> Array:
    """Add windows, which may overlap, to a padded image."""
    return add_stamps(image, windows, corners[:, 1], corners[:, 0])
