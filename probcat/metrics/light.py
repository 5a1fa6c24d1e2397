"""Shares of the light of every pixel, scored against true shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.metrics.probability import SMALLEST_PROB, expected_calibration_error

SMALL_SHARE = 0.01
"""Share of a pixel's light below which an object does not count for the calibration error."""


def fraction_of_light_assigned(shares: Any, true_shares: Any, light: Any) -> float:
    """Compute the fraction of the light that is assigned to the right object.

    With shares p and true shares f of object k in pixel i, and light I, it is
    sum_{k, i} min(f_ki, p_ki) I_i / sum_i I_i.

    Parameters
    ----------
    shares, true_shares : array_like, shape (objects, ny, nx)
        Shares of matched objects in the same order; in each pixel the true ones sum to one.
    light : array_like, shape (ny, nx)
        Light of all sources; zero in pixels that do not count.

    Returns
    -------
    float
        1 if all shares are right, 0 if all light goes to wrong objects; 1 without any light.
    """
    light = np.asarray(light, dtype=np.float64)
    right = np.minimum(np.asarray(shares), np.asarray(true_shares)).sum(axis=0)
    return float((right * light).sum() / light.sum()) if light.sum() else 1.0


def true_shares(light: Any) -> tuple[np.ndarray, np.ndarray]:
    """Compute the share that every component has of the light, from noise-free images.

    Parameters
    ----------
    light : array_like, shape (n, ny, nx)
        Noise-free image of every component; negative light counts as none.

    Returns
    -------
    shares : ndarray, shape (n, ny, nx)
        Shares, zero where there is no light.
    total : ndarray, shape (ny, nx)
        Light of all components.

    Raises
    ------
    InputError
        If the array does not have three axes.
    """
    light = np.maximum(np.asarray(light, dtype=np.float64), 0.0)
    if light.ndim != 3:
        raise InputError(
            f"noise-free images have shape {light.shape}; it must be (components, ny, nx)"
        )
    total = light.sum(axis=0)
    return np.where(total > 0, light / np.where(total > 0, total, 1.0), 0.0), total


def align_shares(
    shares: Any, true: Any, pairs: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Put the shares of found and of true objects into one order.

    Parameters
    ----------
    shares : array_like, shape (n, ny, nx)
        Shares of the found objects.
    true : array_like, shape (m, ny, nx)
        Shares of the true objects.
    pairs : tuple of ndarray of int
        Indices of found and of true objects that are matched.

    Returns
    -------
    shares, true : ndarray, shape (k, ny, nx)
        The true objects in their order, then the found objects without a match; zero where an
        object has no match.
    """
    shares, true = np.asarray(shares, np.float64), np.asarray(true, np.float64)
    rest = np.setdiff1d(np.arange(len(shares)), pairs[0])
    both = np.zeros((2, len(true) + len(rest), *true.shape[1:]))
    both[0, pairs[1]] = shares[pairs[0]]
    both[0, len(true) :] = shares[rest]
    both[1, : len(true)] = true
    return both[0], both[1]


@dataclass(frozen=True)
class LightScores:
    r"""Agreement of shares of the light with true shares, in the pixels that count.

    Parameters
    ----------
    pixels : int
        Number of pixels that count.
    correct : float
        Fraction of the light assigned to the right object, see `fraction_of_light_assigned`.
    brier : float
        Brier score: mean over pixels of sum_k (p_k - f_k)^2 with shares p and true shares f of
        the owners k (Brier 1950, MWR 78, 1, eq. 2).
    divergence : float
        Kullback-Leibler divergence: mean over pixels of sum_k f_k ln(f_k / p_k), in nats, which is
        the logarithmic score minus that of the true shares (Kullback & Leibler 1951, Ann. Math.
        Stat. 22, 79). Here p is at least 1e-6.
    calibration_error : float
        Expected calibration error of p against f, over owners and pixels in which either is at
        least `SMALL_SHARE`; the many owners without light would hide all others.
    """

    pixels: int
    correct: float
    brier: float
    divergence: float
    calibration_error: float


def score_light(shares: Any, true: Any, light: Any, counts: Any) -> LightScores:
    """Score shares of the light against true shares.

    Parameters
    ----------
    shares, true : array_like, shape (owners, ny, nx)
        Shares and true shares in one order, see `align_shares`.
    light : array_like, shape (ny, nx)
        True light of all sources.
    counts : array_like of bool, shape (ny, nx)
        True in pixels that count.

    Returns
    -------
    LightScores
        If no pixel counts, `correct` is 1 and all other scores are NaN.
    """
    counts = np.asarray(counts, dtype=bool)
    prob = np.asarray(shares, np.float64)[:, counts]
    fraction = np.asarray(true, np.float64)[:, counts]
    light = np.where(counts, light, 0.0)
    if not counts.any():
        return LightScores(0, 1.0, *[float("nan")] * 3)
    least = np.maximum(prob, SMALLEST_PROB)
    ratio = np.where(fraction > 0, fraction / least, 1.0)
    some = (prob >= SMALL_SHARE) | (fraction >= SMALL_SHARE)
    return LightScores(
        pixels=int(counts.sum()),
        correct=fraction_of_light_assigned(shares, true, light),
        brier=float(((prob - fraction) ** 2).sum(axis=0).mean()),
        divergence=float((fraction * np.log(ratio)).sum(axis=0).mean()),
        calibration_error=expected_calibration_error(
            np.clip(prob[some], 0.0, 1.0), np.clip(fraction[some], 0.0, 1.0)
        ),
    )
