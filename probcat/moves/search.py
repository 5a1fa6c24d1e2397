"""Where a new source could go: the matched-filter map of a residual."""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.moves.base import Search, Window
from probcat.moves.proposals import choose
from probcat.points import PointTables, factors
from probcat.prior import Prior

UNIFORM_SHARE = 0.1
CELL = 0.5


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
    size = interior + 2 * margin
    cell = jnp.arange(2 * interior, dtype=jnp.int32)
    pixel = cell // 2 + margin
    offset = jnp.where(cell % 2 == 0, jnp.float32(-0.25), jnp.float32(0.25))
    column = jnp.arange(size, dtype=jnp.int32)[None, :] - pixel[:, None] + tables.radius
    inside = (column >= 0) & (column <= 2 * tables.radius)
    safe = jnp.clip(column, 0, 2 * tables.radius)

    def centred(table: Array) -> Array:
        value, _ = factors(table[:, :rank], offset)
        gathered = jnp.take_along_axis(value, safe[:, None, :], axis=2)
        placed = jnp.where(inside[:, None, :], gathered, 0.0)
        return jnp.swapaxes(placed, 0, 1)

    return Search(centred(tables.rows), centred(tables.cols))


def score_map(search: Search, weighted: Array) -> Array:
    """``sum r w P`` on the half-pixel grid for a weighted residual (W, W)."""
    rank, cells, size = search.rows.shape
    along = (search.rows.reshape(rank * cells, size) @ weighted).reshape(rank, cells, size)
    left = jnp.swapaxes(along, 0, 1).reshape(cells, rank * size)
    right = jnp.swapaxes(search.cols, 0, 1).reshape(cells, rank * size)
    return left @ right.T


def log_cells(prior: Prior, search: Search, window: Window, residual: Array) -> Array:
    """Log probability of every half-pixel cell for a new source, shape (cells, cells).

    A cell's weight is the best likelihood gain of a flux above the limit,
    ``max_f (f a - f^2 b / 2)``, with ``a`` and ``b`` of the matched filter.
    """
    low, _ = prior.flux_limits
    score = score_map(search, window.weight * residual)
    information = window.search_precision * window.temperature + 1e-6 / low**2
    flux = jnp.maximum(score / information, low)
    gain = flux * score - 0.5 * flux**2 * information
    cells = gain.shape[0]
    centre = (jnp.arange(cells, dtype=jnp.float32) + 0.5) * CELL + _edge(search)
    # Cells without any place in them would win where there are no data.
    half = 0.5 * CELL
    in_x = (centre > window.lower[0] - half) & (centre < window.upper[0] + half)
    in_y = (centre > window.lower[1] - half) & (centre < window.upper[1] + half)
    allowed = in_y[:, None] & in_x[None, :]
    return jax.nn.log_softmax(jnp.where(allowed, gain, -1e30), axis=(0, 1))


def _edge(search: Search) -> float:
    _, cells, size = search.rows.shape
    return 0.5 * (size - cells // 2) - 0.5


def precision_at(window: Window, x: Array, y: Array) -> Array:
    """Tempered ``sum w P^2`` of a source, from the cell that it lies in."""
    cells = window.search_precision.shape[0]
    edge = 0.5 * (window.weight.shape[-1] - cells // 2) - 0.5
    column = jnp.clip(jnp.floor((x - edge) / CELL).astype(jnp.int32), 0, cells - 1)
    row = jnp.clip(jnp.floor((y - edge) / CELL).astype(jnp.int32), 0, cells - 1)
    return window.search_precision[row, column] * window.temperature


def interpolate(window: Window, grid: Array, x: Array, y: Array) -> Array:
    """Bilinear interpolation of a map on the half-pixel grid at positions (S,)."""
    cells = grid.shape[0]
    edge = 0.5 * (window.weight.shape[-1] - cells // 2) - 0.5
    column, row = (jnp.clip((v - edge) / CELL - 0.5, 0.0, cells - 1.001) for v in (x, y))
    left, below = jnp.floor(column), jnp.floor(row)
    right, above = column - left, row - below
    corner = below.astype(jnp.int32) * cells + left.astype(jnp.int32)
    flat = grid.reshape(-1)
    near = flat[corner] * (1.0 - right) + flat[corner + 1] * right
    far = flat[corner + cells] * (1.0 - right) + flat[corner + cells + 1] * right
    return near * (1.0 - above) + far * above


def sample_position(uniform: Array, search: Search, log_cell: Array) -> Array:
    """Draw a position (x, y): uniform in a chosen cell, or anywhere in the interior.

    Parameters
    ----------
    uniform : Array, shape (5,)
    search : Search
    log_cell : Array, shape (cells, cells)
        As `log_cells` returns it.
    """
    cells = search.rows.shape[1]
    row_weight = jax.scipy.special.logsumexp(log_cell, axis=1)
    row = choose(uniform[0], row_weight)
    column = choose(uniform[1], log_cell[row])
    corner = jnp.stack([column, row]).astype(jnp.float32) * CELL
    informed = corner + CELL * uniform[2:4]
    anywhere = uniform[2:4] * (cells * CELL)
    uninformed = uniform[4] < UNIFORM_SHARE
    return _edge(search) + jnp.where(uninformed, anywhere, informed)


def log_position_density(search: Search, log_cell: Array, x: Array, y: Array) -> Array:
    """Log density per square pixel of `sample_position`."""
    cells = search.rows.shape[1]
    edge = _edge(search)
    column = jnp.clip(jnp.floor((x - edge) / CELL).astype(jnp.int32), 0, cells - 1)
    row = jnp.clip(jnp.floor((y - edge) / CELL).astype(jnp.int32), 0, cells - 1)
    informed = log_cell[row, column] - 2.0 * jnp.log(CELL)
    uniform = -2.0 * jnp.log(cells * CELL)
    return jnp.logaddexp(jnp.log1p(-UNIFORM_SHARE) + informed, jnp.log(UNIFORM_SHARE) + uniform)
