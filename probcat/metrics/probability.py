"""Scores of probabilities: Brier, logarithmic, calibration, coverage."""

from __future__ import annotations

from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.metrics.ratios import ratio

_SMALLEST = 1e-6


def brier_score(prob: Any, outcome: Any, weight: Any = None) -> float:
    """Mean squared difference of probabilities and outcomes (Brier 1950, MWR 78, 1).

    Parameters
    ----------
    prob, outcome : array_like
        Of one shape, in [0, 1]; an outcome may be a share, such as of the light.
    weight : array_like, optional

    Returns
    -------
    float
        0 is best; NaN of nothing.
    """
    prob, outcome = _alike(prob, outcome)
    return _average((prob - outcome) ** 2, weight)


def log_score(prob: Any, outcome: Any, weight: Any = None, smallest: float = _SMALLEST) -> float:
    """Mean negative log probability of the outcomes (Good 1952, JRSS B 14, 107).

    -o ln p - (1 - o) ln(1 - p), in nats; of an outcome o that is a share it is the cross
    entropy. Probabilities are kept at least `smallest` from 0 and 1, since samples that are
    finite in number cannot tell less from nothing.

    Parameters
    ----------
    prob, outcome, weight
        As in `brier_score`.
    smallest : float

    Returns
    -------
    float
        0 is best; NaN of nothing.
    """
    prob, outcome = _alike(prob, outcome)
    prob = np.clip(prob, smallest, 1.0 - smallest)
    return _average(-outcome * np.log(prob) - (1.0 - outcome) * np.log1p(-prob), weight)


def reliability(
    prob: Any, outcome: Any, num_bins: int = 10, weight: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare stated probabilities with how often they came true.

    Parameters
    ----------
    prob, outcome : array_like
        Probabilities, and outcomes in [0, 1], of one shape.
    num_bins : int
        Bins of equal width on [0, 1].
    weight : array_like, optional
        Of the same shape; by default 1.

    Returns
    -------
    mean_prob, frequency, count : ndarray, shape (num_bins,)
        Means are NaN where a bin is empty; counts are sums of weights.
    """
    prob, outcome = (values.ravel() for values in _alike(prob, outcome))
    weight = np.ones(prob.size) if weight is None else np.asarray(weight, np.float64).ravel()
    index = np.clip((prob * num_bins).astype(np.int64), 0, num_bins - 1)
    count = np.bincount(index, weight, minlength=num_bins)
    means = [
        ratio(np.bincount(index, weight * values, minlength=num_bins), count)
        for values in (prob, outcome)
    ]
    return means[0], means[1], count


def calibration_error(mean_prob: Any, frequency: Any, count: Any) -> float:
    """Give the expected calibration error of a reliability diagram.

    sum_b count_b |mean_prob_b - frequency_b| / sum_b count_b (Naeini et al. 2015, AAAI 29,
    2901; Guo et al. 2017, ICML, arXiv:1706.04599, eq. 3).

    Parameters
    ----------
    mean_prob, frequency, count : array_like, shape (num_bins,)
        Of `reliability`.

    Returns
    -------
    float
        0 is best; NaN of nothing.
    """
    mean_prob, frequency, count = (
        np.asarray(values, np.float64) for values in (mean_prob, frequency, count)
    )
    held = count > 0
    if not held.any():
        return float("nan")
    return float(np.average(np.abs(mean_prob - frequency)[held], weights=count[held]))


def expected_calibration_error(
    prob: Any, outcome: Any, num_bins: int = 10, weight: Any = None
) -> float:
    """Give the expected calibration error, see `reliability` and `calibration_error`.

    Of a finite number n of outcomes in a bin it is above zero by chance, by about
    sqrt(2 p (1 - p) / (pi n)), however well calibrated the probabilities are.
    """
    return calibration_error(*reliability(prob, outcome, num_bins, weight))


def interval_coverage(low: Any, high: Any, true: Any) -> tuple[float, float, int]:
    """Share of true values within their intervals.

    Parameters
    ----------
    low, high, true : array_like, shape (n,)
        Ends of intervals, such as the 16 and 84 % points, and true values. Rows that are not
        finite do not count.

    Returns
    -------
    coverage : float
        NaN of nothing.
    error : float
        Binomial standard error, sqrt(c (1 - c) / n).
    count : int
    """
    low, high, true = (np.asarray(values, np.float64) for values in (low, high, true))
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(true)
    count = int(known.sum())
    if not count:
        return float("nan"), float("nan"), 0
    share = float(np.mean(((low <= true) & (true <= high))[known]))
    return share, float(np.sqrt(share * (1.0 - share) / count)), count


def _alike(prob: Any, outcome: Any) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and outcomes as arrays of one shape."""
    prob, outcome = (np.asarray(values, dtype=np.float64) for values in (prob, outcome))
    if prob.shape != outcome.shape:
        raise InputError(f"probabilities have shape {prob.shape}, outcomes {outcome.shape}")
    return prob, outcome


def _average(values: np.ndarray, weight: Any) -> float:
    """Mean, NaN where all weighs nothing."""
    weight = np.ones(values.shape) if weight is None else np.broadcast_to(weight, values.shape)
    total = float(np.sum(weight))
    return float(np.sum(values * weight) / total) if total > 0 else float("nan")
