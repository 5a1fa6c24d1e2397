"""How a PSF varies over an image: the weights of its components at a position.

The PSF of a source at (X, Y) is ``P(x, y) = sum_k c_k(X, Y) B_k(x, y)``. In every cell of a
grid over the image the weights ``c_k`` are polynomials of the position. A single cell holds
polynomials over the whole image; cells of degree one interpolate between PSFs at the nodes.
"""

import itertools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array


class Variation(NamedTuple):
    """Weights of the components of a PSF as a function of the position.

    The arrays are those of numpy, in double precision, or those of jax.

    Attributes
    ----------
    x_knots, y_knots : Array, shapes (Nx + 1,), (Ny + 1,)
        Borders of the cells in pixels.
    table : Array, shape (Ny, Nx, Dy + 1, Dx + 1, K)
        Coefficients of ``v**i * u**j`` in every cell; u and v run from -1 to 1 across it.
    low, high : Array, shape (2,)
        Bounds (x, y). A position beyond them has the weights of the nearest position within.
    sums : Array, shape (K,)
        Sum over pixels of every component. The weights are scaled so that the PSF sums to one
        over the pixels at every position.
    """

    x_knots: Any
    y_knots: Any
    table: Any
    low: Any
    high: Any
    sums: Any

    def moved(self, origin: Any) -> "Variation":
        """Return the variation in pixels of an array whose pixel (0, 0) is at `origin` (x, y)."""
        origin = np.asarray(origin, float)
        return self._replace(
            x_knots=self.x_knots - origin[0],
            y_knots=self.y_knots - origin[1],
            low=self.low - origin,
            high=self.high - origin,
        )

    def within(self, low: Any, high: Any) -> "Variation":
        """Return the variation with closer bounds (x, y)."""
        bounds = (np.clip(np.asarray(bound, float), self.low, self.high) for bound in (low, high))
        return self._replace(**dict(zip(("low", "high"), bounds, strict=True)))

    def of_components(self, matrix: np.ndarray, sums: np.ndarray) -> "Variation":
        """Return the weights of other components.

        Parameters
        ----------
        matrix : ndarray, shape (K, J)
            Each of the K old components as a sum of the J new ones.
        sums : ndarray, shape (J,)
            Sum over pixels of every new component.
        """
        return self._replace(table=self.table @ matrix, sums=sums)

    def extreme_positions(self) -> np.ndarray:
        """Return positions (N, 2) between the bounds that include the extremes of the weights."""
        _, _, rows, columns, _ = self.table.shape
        axes = [
            _axis_positions(knots, degree - 1, low, high)
            for knots, degree, low, high in zip(
                (self.x_knots, self.y_knots), (columns, rows), self.low, self.high, strict=True
            )
        ]
        return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)

    def single(self) -> "Variation":
        """Return a copy in single precision, for jax."""
        return Variation(*(jnp.asarray(value, jnp.float32) for value in self))


def weights(variation: Variation, position: Any) -> Any:
    """Return the weights of the components at a position.

    Parameters
    ----------
    variation : Variation
        How the PSF varies.
    position : Array, shape (2,)
        Position (x, y) in pixels.

    Returns
    -------
    Array, shape (K,)
        An array of jax if the position is one, or else of numpy.
    """
    value, total = unscaled(variation, position)
    return value / total


def unscaled(variation: Variation, position: Any) -> tuple[Any, Any]:
    """Return the weights before they are scaled, and the sum over pixels of the PSF with them."""
    xp: Any = jnp if isinstance(position, Array) else np
    rows, columns = variation.table.shape[2:4]
    at = xp.clip(position, variation.low, variation.high)
    column, u = _cell(xp, variation.x_knots, at[0])
    row, v = _cell(xp, variation.y_knots, at[1])
    cell = variation.table[row, column]
    powers = xp.stack([v**i * u**j for i in range(rows) for j in range(columns)])
    value = xp.sum(powers[:, None] * cell.reshape(rows * columns, -1), axis=0)
    return value, xp.sum(value * variation.sums)


def _cell(xp: Any, knots: Any, value: Any) -> tuple[Any, Any]:
    """Return the cell of an axis that a position is in, and the position in it, from -1 to 1."""
    if len(knots) == 2:
        index, left, right = 0, knots[0], knots[1]
    else:
        index = xp.sum(knots[1:-1] <= value, dtype=xp.int32)
        left, right = knots[index], knots[index + 1]
    return index, (2.0 * value - left - right) / (right - left)


def polynomial(coefficients: np.ndarray, centre: Any, scale: Any, low: Any, high: Any) -> Variation:
    """Return weights that are polynomials over the whole image.

    Parameters
    ----------
    coefficients : ndarray, shape (Dy + 1, Dx + 1, K)
        Coefficients of ``v**i * u**j`` with ``(u, v) = (position - centre) / scale``.
    centre, scale : array_like, shape (2,)
        Origin and unit of length of u and v, in pixels (x, y).
    low, high : array_like, shape (2,)
        Bounds as in `Variation`.

    Returns
    -------
    Variation
        The weights, with ones in the place of `sums`.
    """
    centre, scale = np.asarray(centre, float), np.asarray(scale, float)
    ends = np.stack([centre - scale, centre + scale])
    table = np.asarray(coefficients, float)[None, None]
    sums = np.ones(table.shape[-1])
    return Variation(ends[:, 0], ends[:, 1], table, np.asarray(low), np.asarray(high), sums)


def bilinear(x: Any, y: Any) -> Variation:
    """Return weights that interpolate linearly between the nodes of a grid.

    Beyond the grid the weights are those at its border.

    Parameters
    ----------
    x, y : array_like, shapes (n,), (m,)
        Nodes in pixels, in increasing order.

    Returns
    -------
    Variation
        The weights, with ones in the place of `sums`. Component ``row * n + column`` is the PSF
        at the node ``(x[column], y[row])``.
    """
    (x_knots, x_hats), (y_knots, y_hats) = (_hats(np.asarray(nodes, float)) for nodes in (x, y))
    table = np.einsum("abc,def->adbecf", y_hats, x_hats)
    table = table.reshape(*table.shape[:4], -1)
    low, high = (np.array([x_knots[end], y_knots[end]]) for end in (0, -1))
    return Variation(x_knots, y_knots, table, low, high, np.ones(table.shape[-1]))


def _hats(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return knots of an axis and coefficients (cells, degree + 1, nodes) of its hat functions."""
    if len(nodes) == 1:
        return np.array([nodes[0] - 0.5, nodes[0] + 0.5]), np.ones((1, 1, 1))
    cells = np.arange(len(nodes) - 1)
    hats = np.zeros((len(cells), 2, len(nodes)))
    hats[cells, 0, cells] = hats[cells, 0, cells + 1] = 0.5
    hats[cells, 1, cells], hats[cells, 1, cells + 1] = -0.5, 0.5
    return nodes, hats


def _axis_positions(knots: np.ndarray, degree: int, low: float, high: float) -> np.ndarray:
    """Return positions between bounds that include the extremes of polynomials of a degree."""
    inner = knots[1:-1][(knots[1:-1] > low) & (knots[1:-1] < high)]
    edges = np.unique(np.concatenate([[low], inner, [high]]))
    if degree == 0 or len(edges) == 1:
        return np.array([edges.mean()])
    # Linear weights have their extremes at the ends of a cell.
    steps = 1 if degree == 1 else 2 * degree
    parts = [np.linspace(a, b, steps + 1)[:-1] for a, b in itertools.pairwise(edges)]
    return np.concatenate([*parts, edges[-1:]])
