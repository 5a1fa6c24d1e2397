"""Scores of catalogs and pixel assignments against a truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from probcat.errors import InputError

# Pairs are chosen for their total weight; among equals, for their distance.
_DISTANCE_WEIGHT = 1e-3


@dataclass(frozen=True)
class Sources:
    """Positions and magnitudes to compare.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Pixels.
    mag : array_like, shape (n,), optional
        Needed for a magnitude gap and for magnitude bins.
    prob : array_like, shape (n,), optional
        Probability that the source exists; 1 by default.
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
        """Add offsets, such as between two catalogs' frames and filters."""
        return Sources(
            self.x + x, self.y + y, None if self.mag is None else self.mag + mag, self.prob
        )

    def inside(self, shape: tuple[int, int], border: float) -> np.ndarray:
        """Tell which sources are at least `border` pixels inside the edges of an image."""
        low, (high_y, high_x) = border - 0.5, (extent - 0.5 - border for extent in shape)
        return (self.x >= low) & (self.x <= high_x) & (self.y >= low) & (self.y <= high_y)


def match_sources(
    found: Sources,
    truth: Sources,
    radius: float,
    mag_gap: float | None = None,
    norm: float = 2.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Match two catalogs one to one.

    Among pairs within the radius and the magnitude gap, those are chosen that have the largest
    total probability of what was found (so the largest number, where all are certain), and
    among such choices the smallest total distance (Kuhn 1955, Naval Res. Logist. Q. 2, 83).

    Parameters
    ----------
    found, truth : Sources
    radius : float
        Largest distance, pixels.
    mag_gap : float, optional
        Largest difference of magnitudes.
    norm : float
        2 for the Euclidean distance, infinity for the larger of |dx| and |dy|.

    Returns
    -------
    found_index, truth_index : ndarray of int64, shape (pairs,)

    Raises
    ------
    InputError
        If a gap is asked for and magnitudes are missing.
    """
    none = np.zeros(0, dtype=np.int64)
    if mag_gap is not None and (found.mag is None or truth.mag is None):
        raise InputError("a magnitude gap needs magnitudes on both sides")
    if not len(found) or not len(truth):
        return none, none
    tree = cKDTree(np.stack([truth.x, truth.y], axis=1))
    near = tree.query_ball_point(np.stack([found.x, found.y], axis=1), radius, p=norm)
    one = np.repeat(np.arange(len(found)), [len(row) for row in near])
    other = np.concatenate([*map(np.asarray, near), none]).astype(np.int64)
    if mag_gap is not None:
        close = np.abs(found.mag[one] - truth.mag[other]) <= mag_gap
        one, other = one[close], other[close]
    delta = np.stack([found.x[one] - truth.x[other], found.y[one] - truth.y[other]], axis=1)
    distance = np.linalg.norm(delta, ord=norm, axis=1) if len(delta) else np.zeros(0)
    gain = found.prob[one] + _DISTANCE_WEIGHT * (1.0 - distance / radius)
    chosen = _best_pairs(one, other, gain, (len(found), len(truth)))
    return one[chosen], other[chosen]


def _best_pairs(
    one: np.ndarray, other: np.ndarray, gain: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Choose pairs of the largest total gain, component by component of the graph."""
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
        matrix[row, col], edge[row, col] = gain[group], group
        picked = edge[linear_sum_assignment(matrix, maximize=True)]
        chosen.append(picked[picked >= 0])
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True)
class DetectionScores:
    r"""Completeness and purity by magnitude, weighted by probability.

    With p_i the probability of a found source and m(j) the one matched to true source j,

        completeness(b) = sum_{true j in b, matched} p_m(j) / number of true sources in b
        purity(b) = 1 - FDR(b) = sum_{found i in b, matched} p_i / sum_{found i in b} p_i
        F1 = 2 completeness purity / (completeness + purity)

    (Portillo et al. 2017, AJ 154, 132, section 5.2: prevalence-weighted). A bin b holds true
    sources by true, and found sources by found magnitude. NaN where a denominator is zero.

    Parameters
    ----------
    edges : ndarray, shape (bins + 1,)
        Magnitudes.
    num_true, weight_found : ndarray, shape (bins,)
        Number of true sources; total probability of found sources.
    true_matched, found_matched : ndarray, shape (bins,)
        The part of each that is matched, by probability.
    """

    edges: np.ndarray
    num_true: np.ndarray
    weight_found: np.ndarray
    true_matched: np.ndarray
    found_matched: np.ndarray

    @property
    def completeness(self) -> np.ndarray:
        """Recall, shape (bins,)."""
        return _ratio(self.true_matched, self.num_true)

    @property
    def purity(self) -> np.ndarray:
        """Precision, shape (bins,)."""
        return _ratio(self.found_matched, self.weight_found)

    @property
    def false_discovery_rate(self) -> np.ndarray:
        """1 - purity, shape (bins,)."""
        return 1.0 - self.purity

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of completeness and purity, shape (bins,)."""
        return _ratio(2.0 * self.completeness * self.purity, self.completeness + self.purity)

    def overall(self) -> DetectionScores:
        """Put all bins into one."""
        ends = self.edges[[0, -1]]
        counts = (self.num_true, self.weight_found, self.true_matched, self.found_matched)
        return DetectionScores(ends, *(np.array([values.sum()]) for values in counts))

    def __str__(self) -> str:
        lines = ["      mag      true  found  completeness  FDR    F1"]
        for row in range(len(self.num_true)):
            lines.append(
                f"{self.edges[row]:6.2f}-{self.edges[row + 1]:6.2f} {self.num_true[row]:6.0f} "
                f"{self.weight_found[row]:6.1f} {self.completeness[row]:10.2f} "
                f"{self.false_discovery_rate[row]:8.2f} {self.f1[row]:5.2f}"
            )
        return "\n".join(lines)


def score_detection(
    found: Sources,
    truth: Sources,
    *,
    radius: float,
    mag_gap: float | None = None,
    edges: Any = None,
    shape: tuple[int, int] | None = None,
    border: float = 0.0,
    norm: float = 2.0,
) -> DetectionScores:
    """Score a catalog against a truth.

    All sources take part in the matching, so that one at the edge of what counts may be
    matched to one beyond; only then are sources near the border left out.

    Parameters
    ----------
    found, truth : Sources
    radius : float
        Largest distance of a match, pixels.
    mag_gap : float, optional
        Largest difference of magnitudes of a match.
    edges : array_like, shape (bins + 1,), optional
        Edges of the magnitude bins; by default one bin for all.
    shape : tuple of int, optional
        (ny, nx) of the image, for the border.
    border : float
        Sources closer than this to an edge of the image do not count, pixels.
    norm : float
        As in `match_sources`.

    Returns
    -------
    DetectionScores
    """
    if edges is not None and (found.mag is None or truth.mag is None):
        raise InputError("magnitude bins need magnitudes on both sides")
    found_index, truth_index = match_sources(found, truth, radius, mag_gap, norm)
    edges = np.array([-np.inf, np.inf] if edges is None else edges, dtype=np.float64)
    parts = []
    for sources, index in ((truth, truth_index), (found, found_index)):
        counts = np.ones(len(sources), bool) if shape is None else sources.inside(shape, border)
        mag = np.zeros(len(sources)) if sources.mag is None else sources.mag
        weight = sources.prob if sources is found else np.ones(len(sources))
        matched = np.zeros(len(sources))
        matched[index] = found.prob[found_index]
        parts.append([_bin(mag[counts], edges, each[counts]) for each in (weight, matched)])
    (num_true, true_matched), (weight_found, found_matched) = parts
    return DetectionScores(edges, num_true, weight_found, true_matched, found_matched)


def measure_offset(
    found: Sources, truth: Sources, *, radius: float, mag_gap: float, brighter_than: float
) -> tuple[float, float, float]:
    """Measure the median offset (x, y, mag), found less true, of bright matched sources.

    Catalogs of different instruments and filters differ by small offsets; `Sources.shift`
    takes them out of the truth.

    Raises
    ------
    InputError
        If no true source brighter than the limit is matched.
    """
    one, other = match_sources(found, truth, radius, mag_gap)
    bright = truth.mag[other] < brighter_than
    one, other = one[bright], other[bright]
    if not len(one):
        raise InputError(f"no source brighter than {brighter_than} is matched")
    x, y, mag = (
        float(np.median(getattr(found, name)[one] - getattr(truth, name)[other]))
        for name in ("x", "y", "mag")
    )
    return x, y, mag


def intersection_over_union(one: Any, other: Any) -> float:
    """Overlap of two masks, |A and B| / |A or B| (Jaccard 1912); two empty masks score 1."""
    one, other = np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 1.0


def share_of_light_assigned(shares: Any, true_shares: Any, light: Any) -> float:
    """Share of the light that is assigned to the right object.

    sum_{k, pixel} min(true_k, p_k) I / sum_pixel I: 1 where assigned shares equal the true
    ones, 0 where all light goes to wrong objects. An image without light scores 1.

    Parameters
    ----------
    shares, true_shares : array_like, shape (objects, ny, nx)
        Matched objects in the same order; each pixel's true shares sum to one.
    light : array_like, shape (ny, nx)
        I: the sources' light; zero outside the pixels that count.
    """
    light = np.asarray(light, dtype=np.float64)
    right = np.minimum(np.asarray(shares), np.asarray(true_shares)).sum(axis=0)
    return float((right * light).sum() / light.sum()) if light.sum() else 1.0


def brier_score(prob: Any, outcome: Any, weight: Any = None) -> float:
    """Mean squared difference of probabilities and outcomes in [0, 1] (Brier 1950)."""
    difference = np.asarray(prob, dtype=np.float64) - np.asarray(outcome, dtype=np.float64)
    return float(np.average(difference**2, weights=weight))


def reliability(prob: Any, outcome: Any, num_bins: int = 10) -> tuple[np.ndarray, ...]:
    """Compare stated probabilities with how often they came true.

    Parameters
    ----------
    prob, outcome : array_like, shape (n,)
        Probabilities, and outcomes in [0, 1].
    num_bins : int
        Bins of equal width on [0, 1].

    Returns
    -------
    mean_prob, frequency, count : ndarray, shape (num_bins,)
        Means are NaN where a bin is empty.
    """
    prob, outcome = (np.asarray(values, dtype=np.float64) for values in (prob, outcome))
    index = np.clip((prob * num_bins).astype(np.int64), 0, num_bins - 1)
    count = np.bincount(index, minlength=num_bins).astype(np.float64)
    means = [
        _ratio(np.bincount(index, values, minlength=num_bins), count) for values in (prob, outcome)
    ]
    return means[0], means[1], count


def _bin(mag: np.ndarray, edges: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sum weights by magnitude bin; the last bin holds its upper edge too."""
    return np.histogram(mag, bins=edges, weights=weight)[0].astype(np.float64)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide, with NaN where the denominator is zero."""
    safe = np.where(denominator > 0, denominator, 1.0)
    return np.where(denominator > 0, numerator / safe, np.nan)
