"""One-to-one matching of two catalogs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from probcat.errors import InputError

_DISTANCE_WEIGHT = 1e-3
"""Weight of the distance beside that of the probability; it decides between equal sums."""


@dataclass(frozen=True)
class Sources:
    """Sources of a catalog to be matched: positions, magnitudes and probabilities.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positions in pixels.
    mag : array_like, shape (n,), optional
        Magnitudes, needed to limit differences in magnitude and for magnitude bins.
    prob : array_like, shape (n,), optional
        Probability that each source exists; by default 1.

    Raises
    ------
    InputError
        If the arrays have different lengths.
    """

    x: Any
    y: Any
    mag: Any = None
    prob: Any = None

    def __post_init__(self) -> None:
        size = len(np.atleast_1d(self.x))
        for name in ("x", "y", "mag", "prob"):
            values = getattr(self, name)
            if values is None and name == "prob":
                values = np.ones(size)
            if values is not None:
                values = np.atleast_1d(np.asarray(values, dtype=np.float64))
                if values.shape != (size,):
                    raise InputError(f"{name} has shape {values.shape}, expected ({size},)")
                object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.x)

    def shift(self, x: float = 0.0, y: float = 0.0, mag: float = 0.0) -> Sources:
        """Return the sources with offsets added to their positions and magnitudes.

        Parameters
        ----------
        x, y : float
            Offset of positions, in pixels.
        mag : float
            Offset of magnitudes.

        Returns
        -------
        Sources
        """
        return Sources(
            self.x + x, self.y + y, None if self.mag is None else self.mag + mag, self.prob
        )

    def inside(self, shape: tuple[int, int], border: float) -> np.ndarray:
        """Return which sources are at least some pixels inside the edges of an image.

        Parameters
        ----------
        shape : tuple of int
            (ny, nx) of the image.
        border : float
            Least distance from an edge, in pixels.

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        low, (high_y, high_x) = border - 0.5, (extent - 0.5 - border for extent in shape)
        return (self.x >= low) & (self.x <= high_x) & (self.y >= low) & (self.y <= high_y)


def match_sources(
    found: Sources,
    truth: Sources,
    radius: float,
    max_mag_difference: float | None = None,
    norm: float = 2.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Match two catalogs one to one.

    Among all one-to-one choices of pairs within the limits, the one with the largest total
    probability of the found sources is taken (the most pairs, if all are certain), and among equals
    the one with the smallest total distance (Kuhn 1955, Naval Res. Logist. Q. 2, 83).

    Parameters
    ----------
    found : Sources
        Sources of the catalog, with their probabilities.
    truth : Sources
        True sources.
    radius : float
        Largest distance of a pair, in pixels.
    max_mag_difference : float, optional
        Largest difference in magnitude of a pair; by default there is no limit.
    norm : float
        2 for the Euclidean distance, infinity for the larger of |dx| and |dy|.

    Returns
    -------
    found_index, truth_index : ndarray of int64, shape (pairs,)
        Indices of the matched sources in both catalogs.

    Raises
    ------
    InputError
        If differences in magnitude are limited and magnitudes are missing.
    """
    none = np.zeros(0, dtype=np.int64)
    if max_mag_difference is not None and (found.mag is None or truth.mag is None):
        raise InputError("max_mag_difference needs magnitudes of both found and true sources")
    if not len(found) or not len(truth):
        return none, none
    tree = cKDTree(np.stack([truth.x, truth.y], axis=1))
    near = tree.query_ball_point(np.stack([found.x, found.y], axis=1), radius, p=norm)
    one = np.repeat(np.arange(len(found)), [len(row) for row in near])
    other = np.concatenate([*map(np.asarray, near), none]).astype(np.int64)
    if max_mag_difference is not None:
        close = np.abs(found.mag[one] - truth.mag[other]) <= max_mag_difference
        one, other = one[close], other[close]
    delta = np.stack([found.x[one] - truth.x[other], found.y[one] - truth.y[other]], axis=1)
    distance = np.linalg.norm(delta, ord=norm, axis=1) if len(delta) else np.zeros(0)
    benefit = found.prob[one] + _DISTANCE_WEIGHT * (1.0 - distance / radius)
    chosen = _best_pairs(one, other, benefit, (len(found), len(truth)))
    return one[chosen], other[chosen]


def _best_pairs(
    one: np.ndarray, other: np.ndarray, benefit: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Choose the pairs of largest total benefit, for each component of the graph by itself."""
    if not len(one):
        return np.zeros(0, dtype=np.int64)
    size = sum(shape)
    graph = coo_array((np.ones(len(one)), (one, shape[0] + other)), shape=(size, size))
    component = connected_components(graph, directed=False)[1][one]
    order = np.argsort(component, kind="stable")
    chosen = []
    for group in np.split(order, np.flatnonzero(np.diff(component[order])) + 1):
        if len(group) == 1:
            chosen.append(group)
            continue
        rows, row = np.unique(one[group], return_inverse=True)
        cols, col = np.unique(other[group], return_inverse=True)
        matrix, edge = np.zeros((len(rows), len(cols))), np.full((len(rows), len(cols)), -1)
        matrix[row, col], edge[row, col] = benefit[group], group
        picked = edge[linear_sum_assignment(matrix, maximize=True)]
        chosen.append(picked[picked >= 0])
    return np.sort(np.concatenate(chosen))
