"""Light of sources in a window, in all images at once.

The windows of all images lie below each other in one array, so that moves are written once:
a unit-flux image times a flux is what a source adds to every image.
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.ellipses import transformed
from probcat.extended import profile_transform, repeated_image
from probcat.moves.base import EMPTY_SHAPE, NUM_SHAPE, POINT, Model, Window, X, Y
from probcat.moves.sources import colours_of, total
from probcat.points import point_patch


def stack(parts: list[Array]) -> Array:
    """Put the windows of all images below each other, filled up to one width."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.shape[-1] for part in parts)
    none = [(0, 0)] * (parts[0].ndim - 1)
    return jnp.concatenate(
        [jnp.pad(part, [*none, (0, width - part.shape[-1])]) for part in parts], axis=-2
    )


def unstack(canvas: Array, sizes: tuple[int, ...]) -> list[Array]:
    """Take the windows of all images apart."""
    if len(sizes) == 1:
        return [canvas]
    parts, row = [], 0
    for size in sizes:
        parts.append(canvas[..., row : row + size, :size])
        row += size
    return parts


def locate(model: Model, window: Window, index: int, x: Array, y: Array) -> tuple[Array, Array]:
    """Position in the window of an image of a position in the window of the first."""
    if index == 0:
        return x, y
    affine, shift = model.images[index].affine, window.shift[index]
    return (
        affine[0, 0] * x + affine[0, 1] * y + shift[0],
        affine[1, 0] * x + affine[1, 1] * y + shift[1],
    )


def psf_place(model: Model, window: Window, index: int, x: Array, y: Array) -> Array | None:
    """Positions (..., 2) in an image, given in its window, that PSFs are taken at.

    None if the PSF is the same everywhere. Trajectories do without the slope of the PSF along
    the image: any force that depends on positions alone leaves a leapfrog step reversible and
    its volume what it was, and the energy is that of the true image.
    """
    if model.images[index].point_tables.variation is None:
        return None
    corner = window.place[index]
    return jax.lax.stop_gradient(jnp.stack([x + corner[0], y + corner[1]], axis=-1))


def patch(model: Model, window: Window, kind: int, source: Array) -> Array:
    """Image of one source of unit flux in the first band, its colours included."""
    return coloured(model, plain_patch(model, window, kind, source), colours_of(model, source))


def plain_patch(model: Model, window: Window, kind: int, source: Array) -> Array:
    """Image of one source of unit flux in every band."""
    if kind != POINT:
        return extended_patch(model, window, source[X], source[Y], source[-NUM_SHAPE:])
    parts = []
    for index, (image, size) in enumerate(zip(model.images, model.sizes, strict=True)):
        x, y = locate(model, window, index, source[X], source[Y])
        place = psf_place(model, window, index, x, y)
        part = point_patch(image.point_tables, x, y, size, place)
        parts.append(part if index == 0 else window.gain[index] * part)
    return stack(parts)


def extended_patch(model: Model, window: Window, x: Array, y: Array, shape: Array) -> Array:
    """Image of an extended source of unit flux in every band."""
    shape = jnp.where(shape[0] > 0.0, shape, EMPTY_SHAPE)  # empty slots must stay finite
    profiles = profiles_of(model, shape)
    parts = []
    for index in range(len(model.images)):
        at = locate(model, window, index, x, y)
        place = psf_place(model, window, index, *at)
        part = one_extended(model, index, *at, profiles[index], shape, place, model.sizes[index])
        parts.append(part if index == 0 else window.gain[index] * part)
    return stack(parts)


def profiles_of(model: Model, shape: Array) -> list[list[Array]]:
    """Transform an extended source, before PSFs blur it: once for all images it is alike in."""
    made: dict[int, list[Array]] = {}
    for index in model.alike:
        made[index] = made.get(index) or profiles_in(model, index, shape)
    return [made[index] for index in model.alike]


def profiles_in(model: Model, index: int, shape: Array) -> list[Array]:
    """Transform an extended source on the grids of one image, before its PSF blurs it."""
    image, first = model.images[index], model.alike[index] == 0
    seen = shape if first else transformed(shape, image.affine)
    return [profile_transform(tables, seen) for tables in image.extended_tables]


def one_extended(
    model: Model,
    index: int,
    x: Array,
    y: Array,
    profiles: list[Array],
    shape: Array,
    place: Array | None,
    size: int,
) -> Array:
    """Image of an extended source in one image, cut to its square footprint.

    Position in pixels of the image, profiles as `profiles_in` gives them for the shape, which
    is that in the first image; place that of the PSF.
    """
    image = model.images[index]
    large = shape[0] > model.large_size
    # Always on the grid of its class, as images of a source on two grids differ a little.
    local = [tables.at(place) for tables in image.extended_tables]
    grids = [
        repeated_image(tables, x, y, shape, size, profile)
        for tables, profile in zip(local, profiles, strict=True)
    ]
    light = jnp.where(large, grids[-1], grids[0])
    pixel = jnp.arange(size, dtype=jnp.int32)
    radius = jnp.where(large, image.large_radius, image.extended_radius)
    in_row = jnp.abs(pixel - jnp.round(y).astype(jnp.int32)) <= radius
    in_col = jnp.abs(pixel - jnp.round(x).astype(jnp.int32)) <= radius
    return jnp.where(in_row[:, None] & in_col[None, :], light, 0.0)


def coloured(model: Model, canvas: Array, colours: Array) -> Array:
    """Light of unit flux in every band, with colours."""
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
    return jnp.concatenate([one, jnp.exp(colours)]) if model.num_colours else one


def band_totals(model: Model, canvas: Array) -> Array:
    """Sum of an image over the pixels of every band, shape (B,)."""
    sums = [jnp.float32(0.0)] * (model.num_colours + 1)
    for band, part in zip(model.bands, unstack(canvas, model.sizes), strict=True):
        sums[band] = sums[band] + total(part)
    return jnp.stack(sums)
