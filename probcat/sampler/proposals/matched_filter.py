r"""Proposed positions of new sources: the matched-filter map of a residual.

The map lives on a grid of half-pixel cells in the interior of a window. For a source at the centre
of a cell with unit-flux image P, the derivative of the log likelihood by the flux is the score
``a = sum(w r P)``, and the Fisher information on the flux is ``b = sum(w P**2)``.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.model.point_sources import factors
from probcat.psf.point_tables import PointTables
from probcat.sampler.proposals.choices import choose_weighted
from probcat.sampler.proposals.colours import mean_colours
from probcat.sampler.window.batching import map_images
from probcat.sampler.window.light import ImageInWindow, band_factors, in_images, locate, unstack
from probcat.sampler.window.structures import Model, Search, Window

UNIFORM_FRACTION = 0.1
"""Probability that a proposed position is uniform in the window instead of from the map."""
SEARCH_CELL = 0.5
"""Side of the cells of the map in pixels of the first image."""


def build_search(tables: PointTables, interior: int, margin: int, rank: int = 3) -> Search:
    """Return the PSF factors centred on every half-pixel cell of a window's interior.

    Parameters
    ----------
    tables : PointTables
        PSF of the image.
    interior : int
        Side of the interior in pixels.
    margin : int
        Width of the margin around the interior in pixels.
    rank : int
        Number of separable terms of the PSF that are kept; proposals need not be exact.
    """
    # Two cells lie 0.25 pixels to either side of the centre of a pixel.
    centre = margin - 0.25 + SEARCH_CELL * np.arange(2 * interior)
    return search_at(tables, centre, interior + 2 * margin, rank)


def search_at(tables: PointTables, centre: np.ndarray, size: int, rank: int = 3) -> Search:
    """Return the PSF factors centred on evenly spaced positions along both axes of a window.

    Parameters
    ----------
    tables : PointTables
        PSF of the image.
    centre : ndarray, shape (cells,)
        Positions in pixels of the window.
    size : int
        Side of the window in pixels.
    rank : int
        Number of separable terms of the PSF that are kept.
    """
    pixel = np.round(centre).astype(np.int32)
    offset = jnp.asarray(centre - pixel, jnp.float32)
    column = jnp.asarray(np.arange(size)[None, :] - pixel[:, None] + tables.radius)
    inside = (column >= 0) & (column <= 2 * tables.radius)
    safe = jnp.clip(column, 0, 2 * tables.radius)

    def centred(table: Array) -> Array:
        value, _ = factors(table[:, :rank], offset)
        gathered = jnp.take_along_axis(value, safe[:, None, :], axis=2)
        placed = jnp.where(inside[:, None, :], gathered, 0.0)
        return jnp.swapaxes(placed, 0, 1)

    spacing = jnp.float32(centre[1] - centre[0])
    return Search(centred(tables.rows), centred(tables.cols), spacing)


def _scores(search: Search, weighted: Array) -> Array:
    """Return ``sum(w r P)`` at the positions of a search, for a weighted residual in one image."""
    rank, cells, size = search.rows.shape
    along = (search.rows.reshape(rank * cells, size) @ weighted).reshape(rank, cells, size)
    left = jnp.swapaxes(along, 0, 1).reshape(cells, rank * size)
    right = jnp.swapaxes(search.cols, 0, 1).reshape(cells, rank * size)
    return left @ right.T


def score_map(model: Model, search: tuple[Search, ...], window: Window, weighted: Array) -> Array:
    """Return ``sum(w r P)`` over all images in every cell, for sources of mean colours.

    Parameters
    ----------
    model : Model
        Model of the images.
    search : tuple of Search
        PSF factors of every group of images.
    window : Window
        Window that is searched.
    weighted : Array, shape (W, W)
        Residual times weight in all images.

    Returns
    -------
    Array, shape (cells, cells)
        Scores, rows first. Those of other images than the first one are interpolated.
    """
    parts = unstack(weighted, model.sizes)
    score = _scores(first_search(search), parts[0])
    if len(parts) == 1:
        return score
    factor = band_factors(model, mean_colours(model))
    centre = cell_centres(search)
    x, y = jnp.meshgrid(centre, centre)

    def one(own: Search, seen: ImageInWindow, part: Array, colour: Array) -> Array:
        cells, size = own.rows.shape[1:]
        start = 0.5 * (size - 1 - (cells - 1) * own.spacing)
        column, row = ((at - start) / own.spacing for at in locate(seen, x, y))
        return colour * seen.flux_factor * bilinear(_scores(own, part), column, row)

    for number, group in enumerate(model.groups[1:], 1):
        part = jnp.stack([parts[index] for index in group])
        colour = jnp.stack([factor[model.bands[index]] for index in group])
        scores = map_images(
            one, group, search[number], in_images(model, window, number), part, colour
        )
        score = score + jnp.sum(scores, axis=0)
    return score


def first_search(search: tuple[Search, ...]) -> Search:
    """Return the search of the first image, which is a group of its own."""
    return Search(search[0].rows[0], search[0].cols[0], search[0].spacing[0])


def precision_map(model: Model, window: Window) -> Array:
    """Return ``sum(w P**2)`` over all bands in every cell, before tempering, for mean colours."""
    if model.num_colours == 0:
        return window.search_precision[0]
    factor = band_factors(model, mean_colours(model))
    return jnp.sum(factor[:, None, None] ** 2 * window.search_precision, axis=0)


def log_cells(model: Model, search: tuple[Search, ...], window: Window, residual: Array) -> Array:
    """Return the log probability of every cell to be chosen for a new source.

    It is proportional to the largest likelihood ratio that a flux f above the flux limit reaches,
    ``max_f exp(f * a - f**2 * b / 2)``.

    Parameters
    ----------
    model : Model
        Model, which has the flux limit.
    search : tuple of Search
        PSF factors of every group of images.
    window : Window
        Window that is searched.
    residual : Array, shape (W, W)
        Residual without the source.

    Returns
    -------
    Array, shape (cells, cells)
        Log probabilities, rows first.
    """
    low, _ = model.prior.flux_limits
    score = score_map(model, search, window, window.weight * residual)
    information = precision_map(model, window) * window.beta + 1e-6 / low**2
    flux = jnp.maximum(score / information, low)
    improvement = flux * score - 0.5 * flux**2 * information
    centre = cell_centres(search)
    # Cells outside the bounds may have no data; they would win over cells that need no source.
    half = 0.5 * SEARCH_CELL
    in_x = (centre > window.lower_bound[0] - half) & (centre < window.upper_bound[0] + half)
    in_y = (centre > window.lower_bound[1] - half) & (centre < window.upper_bound[1] + half)
    allowed = in_y[:, None] & in_x[None, :]
    return jax.nn.log_softmax(jnp.where(allowed, improvement, -1e30), axis=(0, 1))


def cell_centres(search: tuple[Search, ...]) -> Array:
    """Return the centres of the cells along an axis, in pixels of the window."""
    cells = search[0].rows.shape[2]
    return (jnp.arange(cells, dtype=jnp.float32) + 0.5) * SEARCH_CELL + _edge_of(search)


def _edge_of(search: tuple[Search, ...]) -> float:
    """Return `_grid_edge` of the window that a search belongs to."""
    _, _, cells, size = search[0].rows.shape
    return _grid_edge(size, cells)


def _grid_edge(size: int, cells: int) -> float:
    """Return the coordinate where the first of the cells begins, in a window of a given side."""
    return 0.5 * (size - cells // 2) - 0.5


def _cell_at(edge: float, cells: int, position: Array) -> Array:
    """Return the index of the cell that contains a coordinate."""
    return jnp.clip(jnp.floor((position - edge) / SEARCH_CELL).astype(jnp.int32), 0, cells - 1)


def precision_at(model: Model, window: Window, x: Array, y: Array) -> Array:
    """Return the tempered ``sum(w P**2)`` of the cell at a position, for mean colours."""
    cells = window.search_precision.shape[-1]
    edge = _grid_edge(model.sizes[0], cells)
    column, row = _cell_at(edge, cells, x), _cell_at(edge, cells, y)
    at = window.search_precision[:, row, column]
    factor = band_factors(model, mean_colours(model))
    return jnp.sum(factor**2 * at) * window.beta


def interpolate(model: Model, grid: Array, x: Array, y: Array) -> Array:
    """Interpolate a map (cells, cells) bilinearly at positions (S,)."""
    edge = _grid_edge(model.sizes[0], grid.shape[0])
    return bilinear(grid, (x - edge) / SEARCH_CELL - 0.5, (y - edge) / SEARCH_CELL - 0.5)


def bilinear(grid: Array, column: Array, row: Array) -> Array:
    """Interpolate a square array bilinearly; it is constant beyond its borders."""
    cells = grid.shape[0]
    column, row = (jnp.clip(v, 0.0, cells - 1.001) for v in (column, row))
    left, below = jnp.floor(column), jnp.floor(row)
    right, above = column - left, row - below
    corner = below.astype(jnp.int32) * cells + left.astype(jnp.int32)
    flat = grid.reshape(-1)
    near = flat[corner] * (1.0 - right) + flat[corner + 1] * right
    far = flat[corner + cells] * (1.0 - right) + flat[corner + cells + 1] * right
    return near * (1.0 - above) + far * above


def sample_position(uniform: Array, search: tuple[Search, ...], log_cell: Array) -> Array:
    """Draw a position (x, y): uniform in a chosen cell, or anywhere in the interior.

    Parameters
    ----------
    uniform : Array, shape (5,)
        Uniform random numbers.
    search : tuple of Search
        PSF factors, of which only the shape matters.
    log_cell : Array, shape (cells, cells)
        Log probabilities of the cells, as returned by `log_cells`.
    """
    u_row, u_column, u_within, u_uniform = uniform[0], uniform[1], uniform[2:4], uniform[4]
    cells = search[0].rows.shape[2]
    row_weight = jax.scipy.special.logsumexp(log_cell, axis=1)
    row = choose_weighted(u_row, row_weight)
    column = choose_weighted(u_column, log_cell[row])
    corner = jnp.stack([column, row]).astype(jnp.float32) * SEARCH_CELL
    in_cell = corner + SEARCH_CELL * u_within
    anywhere = u_within * (cells * SEARCH_CELL)
    return _edge_of(search) + jnp.where(u_uniform < UNIFORM_FRACTION, anywhere, in_cell)


def log_position_density(search: tuple[Search, ...], log_cell: Array, x: Array, y: Array) -> Array:
    """Return the log density, per square pixel, of `sample_position`."""
    cells = search[0].rows.shape[2]
    edge = _edge_of(search)
    column, row = _cell_at(edge, cells, x), _cell_at(edge, cells, y)
    in_cell = log_cell[row, column] - 2.0 * jnp.log(SEARCH_CELL)
    anywhere = -2.0 * jnp.log(cells * SEARCH_CELL)
    return jnp.logaddexp(
        jnp.log1p(-UNIFORM_FRACTION) + in_cell, jnp.log(UNIFORM_FRACTION) + anywhere
    )
