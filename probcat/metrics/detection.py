"""Completeness and purity of a catalog against a truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.metrics.matching import Sources, match_sources
from probcat.metrics.ratios import ratio


@dataclass(frozen=True)
class DetectionScores:
    r"""Completeness and purity by magnitude, weighted by probability.

    With p_i the probability of found source i, and m(j) the found source matched to true source j,

        completeness(b) = sum_{true j in b, matched} p_m(j) / number of true sources in b
        purity(b) = 1 - FDR(b) = sum_{found i in b, matched} p_i / sum_{found i in b} p_i
        F1 = 2 completeness purity / (completeness + purity)

    (prevalence-weighted, Portillo et al. 2017, AJ 154, 132, section 5.2). True sources are put in
    the bins b by their true magnitude and found sources by their found magnitude. Scores are NaN
    where a denominator is zero.

    Parameters
    ----------
    edges : ndarray, shape (bins + 1,)
        Edges of the magnitude bins.
    num_true : ndarray, shape (bins,)
        Number of true sources.
    weight_found : ndarray, shape (bins,)
        Total probability of the found sources.
    true_matched : ndarray, shape (bins,)
        Total probability of the matches of true sources.
    found_matched : ndarray, shape (bins,)
        Total probability of the found sources that are matched.
    """

    edges: np.ndarray
    num_true: np.ndarray
    weight_found: np.ndarray
    true_matched: np.ndarray
    found_matched: np.ndarray

    @property
    def completeness(self) -> np.ndarray:
        """Completeness (recall), shape (bins,)."""
        return ratio(self.true_matched, self.num_true)

    @property
    def purity(self) -> np.ndarray:
        """Purity (precision), shape (bins,)."""
        return ratio(self.found_matched, self.weight_found)

    @property
    def false_discovery_rate(self) -> np.ndarray:
        """False-discovery rate, 1 - purity, shape (bins,)."""
        return 1.0 - self.purity

    @property
    def f1(self) -> np.ndarray:
        """F1, the harmonic mean of completeness and purity, shape (bins,)."""
        return ratio(2.0 * self.completeness * self.purity, self.completeness + self.purity)

    def overall(self) -> DetectionScores:
        """Return the scores of all bins taken as one."""
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
    max_mag_difference: float | None = None,
    edges: Any = None,
    shape: tuple[int, int] | None = None,
    border: float = 0.0,
    norm: float = 2.0,
) -> DetectionScores:
    """Score the detections of a catalog against a truth.

    Sources near the border are left out only after all sources have been matched, so that a
    source that counts may be matched to one that does not.

    Parameters
    ----------
    found : Sources
        Sources of the catalog, with their probabilities.
    truth : Sources
        True sources.
    radius : float
        Largest distance of a match, in pixels.
    max_mag_difference : float, optional
        Largest difference in magnitude of a match; by default there is no limit.
    edges : array_like, shape (bins + 1,), optional
        Edges of the magnitude bins; by default there is one bin for all sources.
    shape : tuple of int, optional
        (ny, nx) of the image, needed for the border.
    border : float
        Sources closer than this to an edge of the image do not count, in pixels.
    norm : float
        As in `match_sources`.

    Returns
    -------
    DetectionScores

    Raises
    ------
    InputError
        If magnitudes are needed and missing.
    """
    if edges is not None and (found.mag is None or truth.mag is None):
        raise InputError("magnitude bins need magnitudes of both found and true sources")
    found_index, truth_index = match_sources(found, truth, radius, max_mag_difference, norm)
    whole = edges is None
    edges = np.array([-np.inf, np.inf] if whole else edges, dtype=np.float64)
    parts = []
    for sources, index in ((truth, truth_index), (found, found_index)):
        counts = np.ones(len(sources), bool) if shape is None else sources.inside(shape, border)
        mag = np.zeros(len(sources)) if whole else sources.mag
        weight = sources.prob if sources is found else np.ones(len(sources))
        matched = np.zeros(len(sources))
        matched[index] = found.prob[found_index]
        parts.append([_bin(mag[counts], edges, each[counts]) for each in (weight, matched)])
    (num_true, true_matched), (weight_found, found_matched) = parts
    return DetectionScores(edges, num_true, weight_found, true_matched, found_matched)


def measure_offset(
    found: Sources,
    truth: Sources,
    *,
    radius: float,
    max_mag_difference: float,
    brighter_than: float,
) -> tuple[float, float, float]:
    """Measure the median offset between bright matched sources, found minus true.

    Catalogs of different instruments and filters differ by small offsets; apply them to the truth
    with `Sources.shift`.

    Parameters
    ----------
    found, truth : Sources
        Sources with magnitudes.
    radius : float
        Largest distance of a match, in pixels.
    max_mag_difference : float
        Largest difference in magnitude of a match.
    brighter_than : float
        Only true sources of smaller magnitude are used.

    Returns
    -------
    x, y : float
        Offset of positions, in pixels.
    mag : float
        Offset of magnitudes.

    Raises
    ------
    InputError
        If no true source brighter than the limit is matched.
    """
    one, other = match_sources(found, truth, radius, max_mag_difference)
    bright = truth.mag[other] < brighter_than
    one, other = one[bright], other[bright]
    if not len(one):
        raise InputError(f"no true source brighter than {brighter_than} is matched")
    x, y, mag = (
        float(np.median(getattr(found, name)[one] - getattr(truth, name)[other]))
        for name in ("x", "y", "mag")
    )
    return x, y, mag


def _bin(mag: np.ndarray, edges: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sum weights by magnitude bin; the last bin includes its upper edge."""
    return np.histogram(mag, bins=edges, weights=weight)[0].astype(np.float64)
