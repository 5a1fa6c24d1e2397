"""Scores of the columns of a catalog against true sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.catalog.table import flux_column
from probcat.errors import InputError
from probcat.metrics import (
    DetectionScores,
    Sources,
    brier_score,
    expected_calibration_error,
    interval_coverage,
    log_score,
    match_sources,
    score_detection,
)
from probcat.metrics.truth import Truth
from probcat.numerics.robust import mad_sigma

if TYPE_CHECKING:
    from probcat.image.image import Image

SURE = 0.5
"""Probability of existence above which an object is called sure."""
_FAR_AWAY = -1e9
"""Coordinate in pixels of a true source without a position, so that it has no match."""


@dataclass(frozen=True, eq=False)
class Matched:
    """A catalog and its truth, matched one to one.

    Parameters
    ----------
    table : mapping or astropy.table.Table
        Columns of ``catalog.fits``.
    truth : Truth
        The true objects.
    found, true : Sources
        Sources of both, with magnitudes in the first band if both have them.
    pairs : tuple of ndarray of int
        Indices of the matched sources, found and true.
    radius : float
        Largest distance of a match, in pixels.
    max_mag_difference : float, optional
        Largest difference in magnitude of a match.
    """

    table: Any
    truth: Truth
    found: Sources
    true: Sources
    pairs: tuple[np.ndarray, np.ndarray]
    radius: float
    max_mag_difference: float | None


def match_objects(
    table: Any,
    truth: Truth,
    images: Sequence[Image],
    radius: float,
    max_mag_difference: float | None = None,
) -> Matched:
    """Match objects to true sources, see `probcat.metrics.match_sources`.

    Parameters
    ----------
    table : mapping or astropy.table.Table
        Columns of ``catalog.fits``.
    truth : Truth
        The true objects.
    images : sequence of Image
        The images that were cataloged; the first gives band and zero point of magnitudes.
    radius : float
        Largest distance of a match, in pixels of the first image.
    max_mag_difference : float, optional
        Largest difference in magnitude of a match; by default there is no limit.

    Returns
    -------
    Matched

    Raises
    ------
    InputError
        If differences in magnitude are limited, and catalog or truth has no magnitudes.
    """
    image = images[0]
    mags = _magnitudes(table, truth, image)
    if mags is None and max_mag_difference is not None:
        raise InputError(
            f"{truth.source}: max_mag_difference needs a column flux or mag of band "
            f"{image.band!r} in the truth, and for mag a zero point of the image"
        )
    own, true = mags or (None, None)
    found = Sources(_column(table, "x"), _column(table, "y"), own, _prob(table))
    x, y = (np.where(np.isfinite(values), values, _FAR_AWAY) for values in (truth.x, truth.y))
    known = Sources(x, y, true)
    pairs = match_sources(found, known, radius, max_mag_difference)
    return Matched(table, truth, found, known, pairs, radius, max_mag_difference)


def score_sources(matched: Matched, images: Sequence[Image]) -> dict[str, dict[str, Any]]:
    """Score detections, probabilities, positions and fluxes, as far as the truth has them.

    Parameters
    ----------
    matched : Matched
        The catalog and its truth.
    images : sequence of Image
        The images that were cataloged.

    Returns
    -------
    dict
        Scores by topic and name, see `probcat.metrics.compare.Comparison`.
    """
    scores = _detection(matched, images[0].shape)
    prob = matched.found.prob
    real = np.zeros(len(matched.found))
    real[matched.pairs[0]] = 1.0
    scores["existence"] = {"objects": len(prob)} | _probabilities(prob, real)
    sure = prob[matched.pairs[0]] > SURE
    one, other = (index[sure] for index in matched.pairs)
    if matched.truth.is_star is not None:
        star = matched.truth.is_star[other]
        known = np.isfinite(star)
        stated, star = _column(matched.table, "prob_star")[one][known], star[known]
        right = (stated > 0.5) == (star > 0.5)
        fraction = float(right.mean()) if right.size else float("nan")
        scores["type"] = {"objects": int(known.sum()), "right": fraction}
        scores["type"] |= _probabilities(stated, star)
    if matched.truth.masks is None:
        # The centroid of a mask is not the position of its object.
        scores["position"] = _positions(matched, one, other)
    for image in {image.band: image for image in reversed(images)}.values():
        flux = _true_flux(matched.truth, image, image is images[0])
        if flux is not None:
            scores[f"flux_{image.band}"] = _fluxes(matched, image, flux, one, other)
    return scores


def _detection(matched: Matched, shape: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """Score completeness and purity: weighted by probability, of sure objects, by magnitude."""
    score = partial(
        score_detection,
        truth=matched.true,
        radius=matched.radius,
        max_mag_difference=matched.max_mag_difference,
        shape=shape,
    )
    weighted = score(matched.found)
    found, keep = matched.found, matched.found.prob > SURE
    mag = None if found.mag is None else found.mag[keep]
    sure = score(Sources(found.x[keep], found.y[keep], mag))
    topic: dict[str, Any] = {
        "true_sources": int(weighted.num_true[0]),
        "found_weighted": float(weighted.weight_found[0]),
        "found_sure": int(sure.weight_found[0]),
    }
    for name, scores in (("weighted", weighted), ("sure", sure)):
        for what in ("completeness", "purity", "f1"):
            topic[f"{what}_{name}"] = float(getattr(scores, what)[0])
    topics: dict[str, dict[str, Any]] = {"detection": topic}
    true = matched.true.mag
    if true is not None and found.mag is not None and np.isfinite(true).any():
        known = true[np.isfinite(true)]
        low, high = np.floor(known.min()), np.floor(known.max()) + 1.0
        edges = np.arange(low, high + 0.5)
        topics["by_magnitude"] = _by_magnitude(score(found, edges=edges))
    return topics


def _by_magnitude(scores: DetectionScores) -> dict[str, Any]:
    """Return the columns and the printed rows of a table by magnitude."""
    names = ("num_true", "weight_found", "completeness", "purity", "f1")
    columns = {name: np.asarray(getattr(scores, name)).tolist() for name in names}
    return {"edges": scores.edges.tolist(), **columns, "rows": str(scores).splitlines()}


def _probabilities(prob: np.ndarray, outcome: np.ndarray) -> dict[str, Any]:
    """Score probabilities against outcomes of 0 or 1."""
    return {
        "brier": brier_score(prob, outcome),
        "log_score": log_score(prob, outcome),
        "calibration_error": expected_calibration_error(prob, outcome),
    }


def _positions(matched: Matched, one: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Score the offsets of sure objects, found minus true, in pixels."""
    topic: dict[str, Any] = {"objects": len(one)}
    for name in ("x", "y"):
        true = getattr(matched.true, name)[other]
        delta = getattr(matched.found, name)[one] - true
        topic[f"{name}_offset_median"] = float(np.median(delta)) if len(delta) else float("nan")
        topic[f"{name}_offset_scatter"] = _scatter(delta)
        topic |= _coverage(matched.table, name, true, one)
    return topic


def _fluxes(
    matched: Matched, image: Image, flux: np.ndarray, one: np.ndarray, other: np.ndarray
) -> dict[str, Any]:
    """Score the ratios of found to true flux of sure objects."""
    name = flux_column(image.band)
    true = flux[other]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = _column(matched.table, name)[one] / true
    ratio = ratio[np.isfinite(ratio)]
    topic: dict[str, Any] = {
        "objects": len(ratio),
        "ratio_median": float(np.median(ratio)) if len(ratio) else float("nan"),
        "ratio_scatter": _scatter(ratio),
    }
    return topic | _coverage(matched.table, name, true, one)


def _coverage(table: Any, name: str, true: np.ndarray, one: np.ndarray) -> dict[str, float]:
    """Return the fraction of true values between the 16 and 84 % quantiles, nominally 0.68."""
    if f"{name}_q16" not in _column_names(table):
        return {}
    low, high = (_column(table, f"{name}_{end}")[one] for end in ("q16", "q84"))
    stem = "" if name.startswith("flux") else f"{name}_"
    covered, error, _ = interval_coverage(low, high, true)
    return {f"{stem}coverage_of_68": covered, f"{stem}coverage_error": error}


def _magnitudes(table: Any, truth: Truth, image: Image) -> tuple[np.ndarray, np.ndarray] | None:
    """Return found and true magnitudes in the first band; instrumental without a zero point."""
    flux = _true_flux(truth, image, first=True)
    if flux is None:
        return None
    zero = 0.0 if image.zero_point is None else image.zero_point
    with np.errstate(divide="ignore", invalid="ignore"):
        own, true = (
            zero - 2.5 * np.log10(v) for v in (_column(table, flux_column(image.band)), flux)
        )
    return own, true


def _true_flux(truth: Truth, image: Image, first: bool) -> np.ndarray | None:
    """Return true fluxes in the band and unit of an image; those without band are the first's."""
    for band in (image.band, image.band.lower(), *([""] if first else [])):
        if band in truth.flux:
            return np.asarray(truth.flux[band], float)
        if band in truth.mag and image.zero_point is not None:
            return 10.0 ** (0.4 * (image.zero_point - np.asarray(truth.mag[band], float)))
    return None


def _column_names(table: Any) -> list[str]:
    """Return the names of the columns of a table or mapping."""
    return list(getattr(table, "colnames", table))


def _column(table: Any, name: str) -> np.ndarray:
    """Return a column as float64, NaN where it is masked."""
    if name not in _column_names(table):
        raise InputError(f"the catalog has no column {name}; condense the run again")
    return np.ma.filled(np.ma.asarray(table[name], dtype=np.float64), np.nan)


def _prob(table: Any) -> np.ndarray:
    """Return the probabilities of existence, in [0, 1]."""
    return np.clip(_column(table, "prob_exist"), 0.0, 1.0)


def _scatter(values: np.ndarray) -> float:
    """Return the robust standard deviation, NaN without values."""
    return mad_sigma(values) if len(values) else float("nan")
