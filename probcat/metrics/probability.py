"""Scores of probabilities: Brier, logarithmic, calibration, coverage."""

from __future__ import annotations

from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.metrics.ratios import ratio

SMALLEST_PROB = 1e-6
"""Smallest probability that a finite number of samples is taken to state."""


def brier_score(prob: Any, outcome: Any, weight: Any = None) -> float:
    """Compute the Brier score: the mean squared difference of probabilities and outcomes.

    (Brier 1950, MWR 78, 1.)

    Parameters
    ----------
    prob : array_like
        Probabilities, in [0, 1].
    outcome : array_like
        Outcomes, of the same shape, in [0, 1]; fractions are allowed, such as shares of light.
    weight : array_like, optional
        Weights, of the same shape; by default equal.

    Returns
    -------
    float
        0 is best; NaN without any weight.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    prob, outcome = _same_shape(prob, outcome)
    return _average((prob - outcome) ** 2, weight)


def log_score(
    prob: Any, outcome: Any, weight: Any = None, smallest: float = SMALLEST_PROB
) -> float:
    """Compute the logarithmic score: the mean negative log probability of the outcomes.

    For a probability p and an outcome o it is -o ln p - (1 - o) ln(1 - p), in nats (Good 1952,
    JRSS B 14, 107); for a fractional outcome this is the cross entropy.

    Parameters
    ----------
    prob, outcome, weight
        As in `brier_score`.
    smallest : float
        Least distance of a probability from 0 and 1, since a finite number of samples cannot
        state a smaller one.

    Returns
    -------
    float
        0 is best; NaN without any weight.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    prob, outcome = _same_shape(prob, outcome)
    prob = np.clip(prob, smallest, 1.0 - smallest)
    return _average(-outcome * np.log(prob) - (1.0 - outcome) * np.log1p(-prob), weight)


def reliability(
    prob: Any, outcome: Any, num_bins: int = 10, weight: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute a reliability diagram: stated probabilities and how often they came true.

    Parameters
    ----------
    prob, outcome : array_like
        As in `brier_score`.
    num_bins : int
        Number of bins of equal width on [0, 1].
    weight : array_like, optional
        Weights, of the same shape; by default 1.

    Returns
    -------
    mean_prob : ndarray, shape (num_bins,)
        Mean probability in each bin, NaN in an empty one.
    frequency : ndarray, shape (num_bins,)
        Mean outcome in each bin, NaN in an empty one.
    count : ndarray, shape (num_bins,)
        Sum of the weights in each bin.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    prob, outcome = (values.ravel() for values in _same_shape(prob, outcome))
    weight = np.ones(prob.size) if weight is None else np.asarray(weight, np.float64).ravel()
    index = np.clip((prob * num_bins).astype(np.int64), 0, num_bins - 1)
    count = np.bincount(index, weight, minlength=num_bins)
    means = [
        ratio(np.bincount(index, weight * values, minlength=num_bins), count)
        for values in (prob, outcome)
    ]
    return means[0], means[1], count


def calibration_error(mean_prob: Any, frequency: Any, count: Any) -> float:
    """Compute the expected calibration error of a reliability diagram.

    sum_b count_b |mean_prob_b - frequency_b| / sum_b count_b (Naeini et al. 2015, AAAI 29,
    2901; Guo et al. 2017, ICML, arXiv:1706.04599, eq. 3).

    Parameters
    ----------
    mean_prob, frequency, count : array_like, shape (num_bins,)
        As `reliability` returns them.

    Returns
    -------
    float
        0 is best; NaN if all bins are empty.
    """
    mean_prob, frequency, count = (
        np.asarray(values, np.float64) for values in (mean_prob, frequency, count)
    )
    filled = count > 0
    if not filled.any():
        return float("nan")
    return float(np.average(np.abs(mean_prob - frequency)[filled], weights=count[filled]))


def expected_calibration_error(
    prob: Any, outcome: Any, num_bins: int = 10, weight: Any = None
) -> float:
    """Compute the expected calibration error of probabilities.

    With n outcomes of probability p in a bin, chance alone makes it about
    sqrt(2 p (1 - p) / (pi n)), however well calibrated the probabilities are.

    Parameters
    ----------
    prob, outcome, num_bins, weight
        As in `reliability`.

    Returns
    -------
    float
        0 is best; NaN without any weight; see `calibration_error`.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    return calibration_error(*reliability(prob, outcome, num_bins, weight))


def interval_coverage(low: Any, high: Any, true: Any) -> tuple[float, float, int]:
    """Compute the fraction of true values that lie within their intervals.

    Parameters
    ----------
    low, high : array_like, shape (n,)
        Ends of the intervals, such as the 16 and 84 % quantiles.
    true : array_like, shape (n,)
        True values. Rows in which any of the three is not finite do not count.

    Returns
    -------
    coverage : float
        The fraction c, ends included; NaN if no row counts.
    error : float
        Its binomial standard error, sqrt(c (1 - c) / n).
    count : int
        The number n of rows that count.
    """
    low, high, true = (np.asarray(values, np.float64) for values in (low, high, true))
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(true)
    count = int(known.sum())
    if not count:
        return float("nan"), float("nan"), 0
    covered = float(np.mean(((low <= true) & (true <= high))[known]))
    return covered, float(np.sqrt(covered * (1.0 - covered) / count)), count


def _same_shape(prob: Any, outcome: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and outcomes as arrays, and refuse those of different shapes."""
    prob, outcome = (np.asarray(values, dtype=np.float64) for values in (prob, outcome))
    if prob.shape != outcome.shape:
        raise InputError(f"probabilities have shape {prob.shape}, outcomes {outcome.shape}")
    return prob, outcome


def _average(values: np.ndarray, weight: Any) -> float:
    """Return the weighted mean, NaN if all weights are zero."""
    weight = np.ones(values.shape) if weight is None else np.broadcast_to(weight, values.shape)
    total = float(np.sum(weight))
    return float(np.sum(values * weight) / total) if total > 0 else float("nan")
