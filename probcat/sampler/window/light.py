"""Light of sources in a window, in all images at once.

The windows of all images lie below each other in one array, so that moves are written only once:
the light of a source in all images is its unit-flux image times its flux.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.extended_sources import EMPTY_SHAPE, profile_transform
from probcat.model.image_map import flux_ratio, to_image
from probcat.model.point_sources import point_patch
from probcat.model.stamps import extended_stamp
from probcat.numerics.shape_matrices import transformed
from probcat.sampler.window.batching import group_slice, map_images
from probcat.sampler.window.slots import colours_of, total
from probcat.sampler.window.structures import NUM_SHAPE, POINT, ImageModel, Model, Window, X, Y


def stack(parts: list[Array]) -> Array:
    """Put the windows of all images below each other, padded with zeros to one width."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.shape[-1] for part in parts)
    none = [(0, 0)] * (parts[0].ndim - 1)
    return jnp.concatenate(
        [jnp.pad(part, [*none, (0, width - part.shape[-1])]) for part in parts], axis=-2
    )


def unstack(canvas: Array, sizes: tuple[int, ...]) -> list[Array]:
    """Separate the windows of all images again."""
    if len(sizes) == 1:
        return [canvas]
    parts, row = [], 0
    for size in sizes:
        parts.append(canvas[..., row : row + size, :size])
        row += size
    return parts


class ImageInWindow(NamedTuple):
    """One image in a window, or a group of images stacked along a first axis.

    Attributes
    ----------
    image : ImageModel
        How sources appear in the image.
    shift : Array, shape (2,)
        Position (x, y) of the first image's window pixel (0, 0) in the window of this image.
    flux_factor : Array, shape ()
        Flux in the unit of the image for one unit of that of its band.
    corner : Array, shape (2,)
        Padded pixel (x, y) of the image that the window starts at.
    """

    image: ImageModel
    shift: Array
    flux_factor: Array
    corner: Array


def in_images(model: Model, window: Window, number: int) -> ImageInWindow:
    """Images of a group in a window."""
    own = group_slice(model.groups[number])
    return ImageInWindow(
        model.stacks[number], window.shift[own], window.flux_factor[own], window.corner[own]
    )


def render_images(
    model: Model, window: Window, render_one: Callable[..., Array], *own: Any
) -> Array:
    """Render the windows of all images, one below the other.

    Parameters
    ----------
    model : Model
        Model within windows, with groups of images.
    window : Window
        The window to render.
    render_one : callable
        Renders the window of one image from its `ImageInWindow`, its side in pixels, and the
        image's entries of `own`.
    *own : sequence
        Further arguments, with an entry for every group that has the images first.

    Returns
    -------
    Array, shape (rows of all images, largest side)
    """
    parts = []
    for number, group in enumerate(model.groups):
        size, mine = model.sizes[group[0]], [values[number] for values in own]

        def one(seen: ImageInWindow, *mine: Any, size: int = size) -> Array:
            return render_one(seen, size, *mine)

        rendered = map_images(one, group, in_images(model, window, number), *mine)
        parts.append(rendered.reshape(-1, size))
    return stack(parts)


def locate(seen: ImageInWindow, x: Array, y: Array) -> tuple[Array, Array]:
    """Position in the window of an image of a position in the window of the first."""
    return to_image(seen.image.affine, seen.shift, x, y)


def psf_position(seen: ImageInWindow, x: Array, y: Array) -> Array | None:
    """Positions (..., 2) in an image of sources in its window, for a PSF that varies.

    None if the PSF is the same everywhere. The positions have no gradient, so that trajectories
    ignore the change of the PSF along the image: with any force that depends on positions alone
    a leapfrog step is reversible and preserves volume, and its energy is that of the true image.
    """
    if seen.image.point_tables.variation is None:
        return None
    corner = seen.corner
    return jax.lax.stop_gradient(jnp.stack([x + corner[0], y + corner[1]], axis=-1))


def unit_image(model: Model, window: Window, kind: int, source: Array) -> Array:
    """Image of one source of unit flux in the first band, with its colours in other bands."""
    return apply_colours(
        model, unit_image_per_band(model, window, kind, source), colours_of(model, source)
    )


def unit_image_per_band(model: Model, window: Window, kind: int, source: Array) -> Array:
    """Image of one source of unit flux in every band."""
    if kind != POINT:
        return extended_unit_image(model, window, source[X], source[Y], source[-NUM_SHAPE:])

    def render_one(seen: ImageInWindow, size: int) -> Array:
        x, y = locate(seen, source[X], source[Y])
        return seen.flux_factor * point_patch(
            seen.image.point_tables, x, y, size, psf_position(seen, x, y)
        )

    return render_images(model, window, render_one)


def extended_unit_image(model: Model, window: Window, x: Array, y: Array, shape: Array) -> Array:
    """Image of an extended source of unit flux in every band."""
    shape = jnp.where(shape[0] > 0.0, shape, EMPTY_SHAPE)  # empty slots must stay finite

    def render_one(seen: ImageInWindow, size: int, profiles: list[Array]) -> Array:
        at = locate(seen, x, y)
        return seen.flux_factor * stamp_in_image(
            seen.image, model.large_size, *at, profiles, shape, psf_position(seen, *at), size
        )

    return render_images(model, window, render_one, profiles_of(model, shape))


def profiles_of(model: Model, shape: Array) -> list[list[Array]]:
    """Transform an extended source before PSFs blur it, once for all images it looks alike in.

    Returns
    -------
    list of list of Array
        Transforms for every group and every grid, with the images of the group first.
    """
    made: dict[int, list[Array]] = {}
    found = []
    for group, images in zip(model.groups, model.stacks, strict=True):
        first = jax.tree.map(lambda value: value[0], images)
        kinds = {model.shared_shape_of[index] for index in group}
        if len(kinds) > 1:
            in_affine = partial(profiles_in, first, shape)
            found.append(jax.vmap(in_affine)(images.affine))
            continue
        kind = kinds.pop()
        if kind not in made:
            made[kind] = profiles_in(first, shape, None if kind == 0 else first.affine)
        found.append([jnp.broadcast_to(value, (len(group), *value.shape)) for value in made[kind]])
    return found


def profiles_in(image: ImageModel, shape: Array, affine: Array | None) -> list[Array]:
    """Transform an extended source on the grids of an image before its PSF blurs it.

    The affine map (2, 2) leads from the first image to this one; None if it changes no shape.
    """
    seen = shape if affine is None else transformed(shape, affine)
    return [profile_transform(tables, seen) for tables in image.extended_tables]


def stamp_in_image(
    image: ImageModel,
    large_size: Array,
    x: Array,
    y: Array,
    profiles: list[Array],
    shape: Array,
    position: Array | None,
    size: int,
) -> Array:
    """Image (size, size) of an extended source in one image; see `extended_stamp`.

    The position (x, y) is in pixels of the result, `shape` is that in the first image, and
    `profiles` are those of `profiles_in`.
    """
    radii = (image.extended_radius, image.large_radius)
    return extended_stamp(
        image.extended_tables,
        radii,
        large_size,
        x,
        y,
        shape,
        size,
        profiles=profiles,
        position=position,
    )


def apply_colours(model: Model, canvas: Array, colours: Array) -> Array:
    """Image of a source with colours, from its image of unit flux in every band."""
    if model.num_colours == 0:
        return canvas
    factor = band_factors(model, colours)
    rows = [
        jnp.broadcast_to(factor[band], (size,))
        for band, size in zip(model.bands, model.sizes, strict=True)
    ]
    return canvas * jnp.concatenate(rows)[:, None]


def band_factors(model: Model, colours: Array) -> Array:
    """Flux in every band over that in the first, shape (B,)."""
    one = jnp.ones(1, jnp.float32)
    return jnp.concatenate([one, flux_ratio(colours, jnp)]) if model.num_colours else one


def band_totals(model: Model, canvas: Array) -> Array:
    """Sum of an image over the pixels of every band, shape (B,)."""
    sums = [jnp.float32(0.0)] * (model.num_colours + 1)
    for band, part in zip(model.bands, unstack(canvas, model.sizes), strict=True):
        sums[band] = sums[band] + total(part)
    return jnp.stack(sums)
