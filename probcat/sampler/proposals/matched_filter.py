"""Where a new source could go: the matched-filter map of a residual."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.model.point_sources import factors
from probcat.psf.point_tables import PointTables
from probcat.sampler.proposals.colours import mean_colours
from probcat.sampler.proposals.fluxes import choose
from probcat.sampler.window.batching import map_images
from probcat.sampler.window.light import ImageInWindow, band_factors, in_images, locate, unstack
from probcat.sampler.window.structures import Model, Search, Window

UNIFORM_FRACTION = 0.1
SEARCH_CELL = 0.5


def build_search(tables: PointTables, interior: int, margin: int, rank: int = 3) -> Search:
    """PSF factors centred on every half-pixel cell of a window's interior.

    Parameters
    ----------
    tables : PointTables
    interior, margin : int
        Side of the interior and width of the margin around it, in pixels.
    rank : int
        Terms kept; a proposal need not be exact.
    """
    centre = margin - 0.25 + SEARCH_CELL * np.arange(2 * interior)
    return search_at(tables, centre, interior + 2 * margin, rank)


def search_at(tables: PointTables, centre: np.ndarray, size: int, rank: int = 3) -> Search:
    """PSF factors centred on evenly spaced positions along both axes of a window.

    Parameters
    ----------
    tables : PointTables
    centre : ndarray, shape (cells,)
        Positions in pixels of the window.
    size : int
        Side of the window.
    rank : int
        Terms kept.
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
    """``sum r w P`` at the positions of a search for a weighted residual, one image."""
    rank, cells, size = search.rows.shape
    along = (search.rows.reshape(rank * cells, size) @ weighted).reshape(rank, cells, size)
    left = jnp.swapaxes(along, 0, 1).reshape(cells, rank * size)
    right = jnp.swapaxes(search.cols, 0, 1).reshape(cells, rank * size)
    return left @ right.T


def score_map(model: Model, search: tuple[Search, ...], window: Window, weighted: Array) -> Array:
    """``sum r w P`` of all images on the half-pixel grid, for sources of mean colours."""
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
    """Search of the first image, which is a group of its own."""
    return Search(search[0].rows[0], search[0].cols[0], search[0].spacing[0])


def precision_map(model: Model, window: Window) -> Array:
    """``sum w P^2`` of all bands on the half-pixel grid, mean colours, before tempering."""
    if model.num_colours == 0:
        return window.search_precision[0]
    factor = band_factors(model, mean_colours(model))
    return jnp.sum(factor[:, None, None] ** 2 * window.search_precision, axis=0)


def log_cells(model: Model, search: tuple[Search, ...], window: Window, residual: Array) -> Array:
    """Log probability of every half-pixel cell for a new source, shape (cells, cells).

    A cell's weight is the best likelihood gain of a flux above the limit,
    ``max_f (f a - f^2 b / 2)``, with ``a`` and ``b`` of the matched filter.
    """
    low, _ = model.prior.flux_limits
    score = score_map(model, search, window, window.weight * residual)
    information = precision_map(model, window) * window.beta + 1e-6 / low**2
    flux = jnp.maximum(score / information, low)
    improvement = flux * score - 0.5 * flux**2 * information
    centre = cell_centres(search)
    # Cells without any place in them would win where there are no data.
    half = 0.5 * SEARCH_CELL
    in_x = (centre > window.lower_bound[0] - half) & (centre < window.upper_bound[0] + half)
    in_y = (centre > window.lower_bound[1] - half) & (centre < window.upper_bound[1] + half)
    allowed = in_y[:, None] & in_x[None, :]
    return jax.nn.log_softmax(jnp.where(allowed, improvement, -1e30), axis=(0, 1))


def cell_centres(search: tuple[Search, ...]) -> Array:
    """Centres of the half-pixel cells along an axis, in pixels of the window."""
    cells = search[0].rows.shape[2]
    return (jnp.arange(cells, dtype=jnp.float32) + 0.5) * SEARCH_CELL + _edge(search)


def _edge(search: tuple[Search, ...]) -> float:
    _, _, cells, size = search[0].rows.shape
    return 0.5 * (size - cells // 2) - 0.5


def precision_at(model: Model, window: Window, x: Array, y: Array) -> Array:
    """Tempered ``sum w P^2`` of a source of mean colours, from the cell that it lies in."""
    cells = window.search_precision.shape[-1]
    edge = _corner(model, cells)
    column = jnp.clip(jnp.floor((x - edge) / SEARCH_CELL).astype(jnp.int32), 0, cells - 1)
    row = jnp.clip(jnp.floor((y - edge) / SEARCH_CELL).astype(jnp.int32), 0, cells - 1)
    at = window.search_precision[:, row, column]
    factor = band_factors(model, mean_colours(model))
    return jnp.sum(factor**2 * at) * window.beta


def _corner(model: Model, cells: int) -> float:
    return 0.5 * (model.sizes[0] - cells // 2) - 0.5


def interpolate(model: Model, grid: Array, x: Array, y: Array) -> Array:
    """Bilinear interpolation of a map on the half-pixel grid at positions (S,)."""
    edge = _corner(model, grid.shape[0])
    return bilinear(grid, (x - edge) / SEARCH_CELL - 0.5, (y - edge) / SEARCH_CELL - 0.5)


def bilinear(grid: Array, column: Array, row: Array) -> Array:
    """Bilinear interpolation of a square array, constant beyond its borders."""
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
    search : tuple of Search
    log_cell : Array, shape (cells, cells)
        As `log_cells` returns it.
    """
    cells = search[0].rows.shape[2]
    row_weight = jax.scipy.special.logsumexp(log_cell, axis=1)
    row = choose(uniform[0], row_weight)
    column = choose(uniform[1], log_cell[row])
    corner = jnp.stack([column, row]).astype(jnp.float32) * SEARCH_CELL
    informed = corner + SEARCH_CELL * uniform[2:4]
    anywhere = uniform[2:4] * (cells * SEARCH_CELL)
    uninformed = uniform[4] < UNIFORM_FRACTION
    return _edge(search) + jnp.where(uninformed, anywhere, informed)


def log_position_density(search: tuple[Search, ...], log_cell: Array, x: Array, y: Array) -> Array:
    """Log density per square pixel of `sample_position`."""
    cells = search[0].rows.shape[2]
    edge = _edge(search)
    column = jnp.clip(jnp.floor((x - edge) / SEARCH_CELL).astype(jnp.int32), 0, cells - 1)
    row = jnp.clip(jnp.floor((y - edge) / SEARCH_CELL).astype(jnp.int32), 0, cells - 1)
    informed = log_cell[row, column] - 2.0 * jnp.log(SEARCH_CELL)
    uniform = -2.0 * jnp.log(cells * SEARCH_CELL)
    return jnp.logaddexp(
        jnp.log1p(-UNIFORM_FRACTION) + informed, jnp.log(UNIFORM_FRACTION) + uniform
    )
