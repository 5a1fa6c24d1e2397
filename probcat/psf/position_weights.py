"""How a PSF varies over an image: the weights of its components at a position.

The PSF of a source at (X, Y) is ``P(x, y) = sum_k c_k(X, Y) B_k(x, y)``. In every cell of a
grid over the image the weights ``c_k`` are polynomials of the position: one cell holds a
polynomial over the whole image, cells of degree one interpolate between PSFs at the nodes.
"""

import itertools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array


class Variation(NamedTuple):
    """Weights of the components of a PSF as a function of the position.

    Arrays are numpy's, in double precision, or jax's.

    Attributes
    ----------
    x_knots, y_knots : Array, shapes (Nx + 1,), (Ny + 1,)
        Borders of the cells in pixels.
    table : Array, shape (Ny, Nx, Dy + 1, Dx + 1, K)
        Coefficients of ``v**i * u**j`` in every cell; u and v run from -1 to 1 across it.
    low, high : Array, shape (2,)
        Positions (x, y) beyond these have the weights of the nearest one within.
    sums : Array, shape (K,)
        Sum over pixels of every component. Weights are scaled such that the sum over pixels of
        the PSF is one at every position.
    """

    x_knots: Any
    y_knots: Any
    table: Any
    low: Any
    high: Any
    sums: Any

    def moved(self, origin: Any) -> "Variation":
        """Do the same in pixels of an array whose pixel (0, 0) is at `origin` (x, y)."""
        origin = np.asarray(origin, float)
        return self._replace(
            x_knots=self.x_knots - origin[0],
            y_knots=self.y_knots - origin[1],
            low=self.low - origin,
            high=self.high - origin,
        )

    def within(self, low: Any, high: Any) -> "Variation":
        """Do the same between closer bounds (x, y)."""
        bounds = (np.clip(np.asarray(bound, float), self.low, self.high) for bound in (low, high))
        return self._replace(**dict(zip(("low", "high"), bounds, strict=True)))

    def of_components(self, matrix: np.ndarray, sums: np.ndarray) -> "Variation":
        """Weights of other components that the old ones, (J, K), are sums of."""
        return self._replace(table=self.table @ matrix, sums=sums)

    def places(self) -> np.ndarray:
        """Positions (N, 2) between the bounds where extreme weights are looked for."""
        _, _, rows, columns, _ = self.table.shape
        axes = [
            _axis_places(knots, degree - 1, low, high)
            for knots, degree, low, high in zip(
                (self.x_knots, self.y_knots), (columns, rows), self.low, self.high, strict=True
            )
        ]
        return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)

    def single(self) -> "Variation":
        """Copy in single precision, for jax."""
        return Variation(*(jnp.asarray(value, jnp.float32) for value in self))


def weights(variation: Variation, place: Any) -> Any:
    """Weights of the components at a position.

    Parameters
    ----------
    variation : Variation
    place : Array, shape (2,)
        Position (x, y) in pixels. A jax array gives a jax array.

    Returns
    -------
    Array, shape (K,)
    """
    value, total = unscaled(variation, place)
    return value / total


def unscaled(variation: Variation, place: Any) -> tuple[Any, Any]:
    """Weights before they are scaled, and the sum over pixels of the PSF with them."""
    xp: Any = jnp if isinstance(place, Array) else np
    rows, columns = variation.table.shape[2:4]
    at = xp.clip(place, variation.low, variation.high)
    column, u = _cell(xp, variation.x_knots, at[0])
    row, v = _cell(xp, variation.y_knots, at[1])
    cell = variation.table[row, column]
    powers = xp.stack([v**i * u**j for i in range(rows) for j in range(columns)])
    value = xp.sum(powers[:, None] * cell.reshape(rows * columns, -1), axis=0)
    return value, xp.sum(value * variation.sums)


def _cell(xp: Any, knots: Any, value: Any) -> tuple[Any, Any]:
    """Cell of an axis that a position is in, and its place there, from -1 to 1."""
    if len(knots) == 2:
        index, left, right = 0, knots[0], knots[1]
    else:
        index = xp.sum(knots[1:-1] <= value, dtype=xp.int32)
        left, right = knots[index], knots[index + 1]
    return index, (2.0 * value - left - right) / (right - left)


def polynomial(coefficients: np.ndarray, centre: Any, scale: Any, low: Any, high: Any) -> Variation:
    """Weights that are polynomials over the whole image.

    Parameters
    ----------
    coefficients : ndarray, shape (Dy + 1, Dx + 1, K)
        Of ``v**i * u**j`` with ``(u, v) = (position - centre) / scale``.
    centre, scale : array_like, shape (2,)
        In pixels (x, y).
    low, high : array_like, shape (2,)
        As in `Variation`.

    Returns
    -------
    Variation
        To be given its `sums`.
    """
    centre, scale = np.asarray(centre, float), np.asarray(scale, float)
    ends = np.stack([centre - scale, centre + scale])
    table = np.asarray(coefficients, float)[None, None]
    sums = np.ones(table.shape[-1])
    return Variation(ends[:, 0], ends[:, 1], table, np.asarray(low), np.asarray(high), sums)


def bilinear(x: Any, y: Any) -> Variation:
    """Weights that interpolate linearly between the nodes of a grid, constant beyond it.

    Parameters
    ----------
    x, y : array_like, shapes (n,), (m,)
        Nodes in pixels, increasing.

    Returns
    -------
    Variation
        Component ``row * n + column`` is the PSF at node ``(x[column], y[row])``. To be given
        its `sums`.
    """
    (x_knots, x_hats), (y_knots, y_hats) = (_hats(np.asarray(nodes, float)) for nodes in (x, y))
    table = np.einsum("abc,def->adbecf", y_hats, x_hats)
    table = table.reshape(*table.shape[:4], -1)
    low, high = (np.array([x_knots[end], y_knots[end]]) for end in (0, -1))
    return Variation(x_knots, y_knots, table, low, high, np.ones(table.shape[-1]))


def _hats(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots of an axis, and coefficients (cells, degree + 1, nodes) of its hat functions."""
    if len(nodes) == 1:
        return np.array([nodes[0] - 0.5, nodes[0] + 0.5]), np.ones((1, 1, 1))
    cells = np.arange(len(nodes) - 1)
    hats = np.zeros((len(cells), 2, len(nodes)))
    hats[cells, 0, cells] = hats[cells, 0, cells + 1] = 0.5
    hats[cells, 1, cells], hats[cells, 1, cells + 1] = -0.5, 0.5
    return nodes, hats


def _axis_places(knots: np.ndarray, degree: int, low: float, high: float) -> np.ndarray:
    inner = knots[1:-1][(knots[1:-1] > low) & (knots[1:-1] < high)]
    edges = np.unique(np.concatenate([[low], inner, [high]]))
    if degree == 0 or len(edges) == 1:
        return np.array([edges.mean()])
    # Linear weights have their extremes at the ends of a cell.
    steps = 1 if degree == 1 else 2 * degree
    parts = [np.linspace(a, b, steps + 1)[:-1] for a, b in itertools.pairwise(edges)]
    return np.concatenate([*parts, edges[-1:]])
