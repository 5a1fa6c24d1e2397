"""Shares of light against true shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.metrics.probability import expected_calibration_error

SMALL_SHARE = 0.01
_SMALLEST = 1e-6


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


def true_shares(light: Any) -> tuple[np.ndarray, np.ndarray]:
    """Share of every component of the light, from noise-free images.

    Parameters
    ----------
    light : array_like, shape (n, ny, nx)
        Noise-free image of every component; below zero is taken as none.

    Returns
    -------
    shares : ndarray, shape (n, ny, nx)
        Zero where there is no light.
    total : ndarray, shape (ny, nx)
        Light of all.

    Raises
    ------
    InputError
        If there are not three axes.
    """
    light = np.maximum(np.asarray(light, dtype=np.float64), 0.0)
    if light.ndim != 3:
        raise InputError(f"noise-free images have shape {light.shape}; give (objects, ny, nx)")
    total = light.sum(axis=0)
    return np.where(total > 0, light / np.where(total > 0, total, 1.0), 0.0), total


def align_shares(
    shares: Any, true: Any, pairs: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Bring found and true objects into one order, with zeros for a missing partner.

    Parameters
    ----------
    shares, true : array_like, shapes (n, ny, nx) and (m, ny, nx)
    pairs : tuple of ndarray of int
        Found and true indices that belong together.

    Returns
    -------
    shares, true : ndarray, shape (k, ny, nx)
        The true objects in their order, then what was found without a partner.
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
    r"""How well shares of the light agree, in the pixels that count.

    Parameters
    ----------
    pixels : int
        How many count.
    correct : float
        `share_of_light_assigned`.
    brier : float
        Mean over pixels of sum_k (p_k - f_k)^2 with shares p and true shares f of the owners k
        (Brier 1950, MWR 78, 1, eq. 2).
    divergence : float
        Mean over pixels of sum_k f_k ln(f_k / p_k), nats: the logarithmic score less that of the
        true shares (Kullback & Leibler 1951); p is kept at least 1e-6.
    calibration_error : float
        Of p against f, `probcat.metrics.expected_calibration_error`, over owners and pixels with
        p or f of at least `SMALL_SHARE`: the many that own nothing would hide all others.
    """

    pixels: int
    correct: float
    brier: float
    divergence: float
    calibration_error: float


def score_light(shares: Any, true: Any, light: Any, counts: Any) -> LightScores:
    """Score shares of the light.

    Parameters
    ----------
    shares, true : array_like, shape (owners, ny, nx)
        In one order, see `align_shares`.
    light : array_like, shape (ny, nx)
        True light of all.
    counts : array_like of bool, shape (ny, nx)
        Pixels that count.

    Returns
    -------
    LightScores
        NaN where no pixel counts, but for `correct`, which is 1.
    """
    counts = np.asarray(counts, dtype=bool)
    prob = np.asarray(shares, np.float64)[:, counts]
    part = np.asarray(true, np.float64)[:, counts]
    light = np.where(counts, light, 0.0)
    if not counts.any():
        return LightScores(0, 1.0, *[float("nan")] * 3)
    least = np.maximum(prob, _SMALLEST)
    ratio = np.where(part > 0, part / least, 1.0)
    some = (prob >= SMALL_SHARE) | (part >= SMALL_SHARE)
    return LightScores(
        pixels=int(counts.sum()),
        correct=share_of_light_assigned(shares, true, light),
        brier=float(((prob - part) ** 2).sum(axis=0).mean()),
        divergence=float((part * np.log(ratio)).sum(axis=0).mean()),
        calibration_error=expected_calibration_error(
            np.clip(prob[some], 0.0, 1.0), np.clip(part[some], 0.0, 1.0)
        ),
    )
