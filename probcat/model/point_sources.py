r"""Point sources: a low-rank PSF evaluated as two thin matrices.

A pixel-integrated PSF is close to separable, so that with a few terms

.. math:: P(x, y) = \sum_k u_k(y)\, v_k(x),

and every one-dimensional factor is a polynomial in the sub-pixel offset of the source within each
pixel. To place a source then takes one small matrix product and a shift; to render many sources
takes one matrix product, and so does the gradient.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from probcat.psf.point_tables import PointTables
from probcat.psf.position_weights import weights


def mixing(tables: PointTables, position: Array | None) -> Array | None:
    """Matrix that mixes the factors along x of a source; None if the PSF does not vary.

    Parameters
    ----------
    tables : PointTables
        Tables of the PSF.
    position : Array or None, shape (2,) or (S, 2)
        Positions (x, y) in the image; needed if the PSF varies.

    Returns
    -------
    Array or None, shape (rank, rank) or (S, rank, rank)

    Raises
    ------
    ValueError
        If the PSF varies and no position is given.
    """
    if tables.variation is None or tables.matrices is None:
        return None
    if position is None:
        raise ValueError("a PSF that varies needs to know where the sources are")
    number, rank, _ = tables.matrices.shape
    at = partial(weights, tables.variation)
    value = at(position) if position.ndim == 1 else jax.vmap(at)(position)
    mix = jnp.matmul(value, tables.matrices.reshape(number, -1), precision="highest")
    return mix.reshape(*value.shape[:-1], rank, rank)


def row_factors(tables: PointTables, offset: Array) -> tuple[Array, Array]:
    """Factors along y and their derivatives, see `factors`."""
    if tables.width is None:
        return factors(tables.rows, offset)
    return _widened(tables.rows, tables.width[1] * tables.spread, offset)


def col_factors(
    tables: PointTables, offset: Array, mix: Array | None = None
) -> tuple[Array, Array]:
    """Factors along x and their derivatives, see `factors`; mixed by the matrix of `mixing`."""
    if tables.width is None:
        value, slope = factors(tables.cols, offset)
    else:
        value, slope = _widened(tables.cols, tables.width[0] * tables.spread, offset)
    if mix is None:
        return value, slope
    return (
        jnp.matmul(mix, value, precision="highest"),
        jnp.matmul(mix, slope, precision="highest"),
    )


def _widened(table: Array, fraction: Array, offset: Array) -> tuple[Array, Array]:
    """Factors and derivatives of which a fraction is moved to each neighbouring pixel."""

    def spread(factor: Array) -> Array:
        padded = jnp.pad(factor, [(0, 0)] * (factor.ndim - 1) + [(1, 1)])
        return factor + fraction * (padded[..., 2:] + padded[..., :-2] - 2.0 * factor)

    value, slope = factors(table, offset)
    return spread(value), spread(slope)


def split_position(position: Array) -> tuple[Array, Array]:
    """Nearest pixel (int32) and sub-pixel offset in [-0.5, 0.5] of a position."""
    nearest = jnp.round(position)
    return nearest.astype(jnp.int32), position - nearest


def factors(coefficients: Array, offset: Array) -> tuple[Array, Array]:
    """Evaluate one axis of the tables, and its derivative by the position.

    Parameters
    ----------
    coefficients : Array, shape (degree + 1, K, D)
        Coefficients of K factors at D pixels.
    offset : Array, shape (...,)
        Sub-pixel offsets.

    Returns
    -------
    value, derivative : Array, shape (..., K, D)
        Factors, and their derivatives per pixel.
    """
    degree = coefficients.shape[0] - 1
    exponents = jnp.arange(degree + 1, dtype=jnp.int32)
    powers = jnp.stack([offset**j for j in range(degree + 1)], axis=-1)
    slopes = jnp.concatenate([jnp.zeros_like(powers[..., :1]), powers[..., :-1]], axis=-1)
    slopes = slopes * exponents.astype(offset.dtype).reshape((1,) * offset.ndim + (-1,))
    flat = coefficients.reshape(degree + 1, -1)
    shape = offset.shape + coefficients.shape[1:]
    return (powers @ flat).reshape(shape), (slopes @ flat).reshape(shape)


def shift_into_window(factor: Array, start: Array, size: int) -> Array:
    """Shift factors into a window, and cut them at its ends.

    Parameters
    ----------
    factor : Array, shape (K, D)
        Factors at D pixels.
    start : Array, shape (), int32
        Window pixel of the first column of `factor`; may be outside the window.
    size : int
        Side of the window in pixels.

    Returns
    -------
    Array, shape (K, size)
    """
    padded = jnp.pad(factor, ((0, 0), (size, size)))
    begin = jnp.clip(size - start, 0, size + factor.shape[1])
    return jax.lax.dynamic_slice_in_dim(padded, begin, size, axis=1)


def in_window(
    value: Array, slope: Array, nearest: Array, radius: int, size: int
) -> tuple[Array, Array]:
    """Factors and derivatives of many sources along one axis of a window.

    Parameters
    ----------
    value, slope : Array, shape (S, K, D)
        Factors and derivatives of every source, as `factors` returns them.
    nearest : Array, shape (S,), int32
        Window pixels nearest to the sources.
    radius : int
        Half-width of the stamp of a source in pixels.
    size : int
        Side of the window in pixels.

    Returns
    -------
    value, derivative : Array, shape (S, K, size)
    """
    move = jax.vmap(partial(shift_into_window, size=size))
    both = move(jnp.concatenate([value, slope], axis=1), nearest - radius)
    rank = value.shape[1]
    return both[:, :rank], both[:, rank:]


def point_patch(
    tables: PointTables, x: Array, y: Array, size: int, position: Array | None = None
) -> Array:
    """Unit-flux image of one point source in a window, shape (size, size).

    A PSF that varies needs the position (x, y) of the source in the image.
    """
    radius = tables.radius
    row, y_offset = split_position(y)
    column, x_offset = split_position(x)
    along_y = row_factors(tables, y_offset)[0]
    along_x = col_factors(tables, x_offset, mixing(tables, position))[0]
    return shift_into_window(along_y, row - radius, size).T @ shift_into_window(
        along_x, column - radius, size
    )


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def points_image(
    tables: PointTables, x: Array, y: Array, flux: Array, size: int, position: Array | None = None
) -> Array:
    """Image of many point sources in a window, shape (size, size).

    Differentiable by the window pixels `x` and `y` and by the fluxes, each of shape (S,); the
    gradient takes three matrix products and no transposed gather. A PSF that varies needs the
    positions (S, 2) of the sources in the image, by which there is no gradient.
    """
    return _points_forward(tables, x, y, flux, size, position)[0]


def _points_forward(
    tables: PointTables, x: Array, y: Array, flux: Array, size: int, position: Array | None
) -> tuple[Array, tuple]:
    """Image, and the factors that its gradient needs."""
    row, y_offset = split_position(y)
    column, x_offset = split_position(x)
    radius = tables.radius
    rows, row_slopes = in_window(*row_factors(tables, y_offset), row, radius, size)
    along_x = col_factors(tables, x_offset, mixing(tables, position))
    cols, col_slopes = in_window(*along_x, column, radius, size)
    scaled = cols * flux[:, None, None]
    image = rows.reshape(-1, size).T @ scaled.reshape(-1, size)
    return image, (tables, position, flux, rows, row_slopes, cols, col_slopes)


def _points_backward(size: int, saved: tuple, image_bar: Array) -> tuple:
    """Gradients by all arguments, from the gradient by the image."""
    tables, position, flux, rows, row_slopes, cols, col_slopes = saved
    terms = rows.shape[0] * rows.shape[1]
    against_rows = (rows.reshape(terms, size) @ image_bar).reshape(rows.shape)
    against_slopes = (row_slopes.reshape(terms, size) @ image_bar).reshape(rows.shape)
    flux_bar = jnp.sum(jnp.sum(against_rows * cols, axis=1), axis=-1)
    x_bar = flux * jnp.sum(jnp.sum(against_rows * col_slopes, axis=1), axis=-1)
    y_bar = flux * jnp.sum(jnp.sum(against_slopes * cols, axis=1), axis=-1)
    nothing = jax.tree.map(jnp.zeros_like, (tables, position))
    return nothing[0], x_bar, y_bar, flux_bar, nothing[1]


points_image.defvjp(_points_forward, _points_backward)


def point_stamps(
    tables: PointTables, x: Array, y: Array, position: Array | None = None
) -> tuple[Array, Array, Array]:
    """Unit-flux stamps of many point sources.

    Parameters
    ----------
    tables : PointTables
        Tables of the PSF, of half-width R.
    x, y : Array, shape (S,)
        Positions in image pixels.
    position : Array or None, shape (S, 2)
        Positions (x, y) at which the PSF is taken; needed if it varies.

    Returns
    -------
    stamps : Array, shape (S, 2 R + 1, 2 R + 1)
        Images of the sources.
    row, col : Array, shape (S,), int32
        Image pixel of the stamps' first row and column.
    """
    column, x_offset = split_position(x)
    row, y_offset = split_position(y)
    rows, _ = row_factors(tables, y_offset)
    cols, _ = col_factors(tables, x_offset, mixing(tables, position))
    stamps = jnp.einsum("skj,ski->sji", rows, cols)
    return stamps, row - tables.radius, column - tables.radius
