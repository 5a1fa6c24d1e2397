"""Scores of a catalog and its maps against a truth, by topic."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.metrics.score_pixels import Found, score_light_of, score_masks_of
from probcat.metrics.score_sources import SURE, match_objects, score_sources
from probcat.metrics.truth import Truth

MASK_THRESHOLD = 0.5
"""The mask of an object is where the probability of its footprint exceeds this value."""
_RADIUS_PER_FWHM = 0.5
"""Default match radius, in units of the PSF's full width at half maximum."""


@dataclass(frozen=True)
class Comparison:
    """Scores of a catalog and its maps against a truth.

    Parameters
    ----------
    scores : mapping of str to mapping
        Scores by topic and name. The truth decides which topics there are, out of `detection`,
        `by_magnitude`, `existence`, `type`, `position`, `flux_<band>`, `masks_<image>` and
        `light_<image>`.
    about : mapping
        The files that were compared, and the options of the comparison.
    """

    scores: Mapping[str, Mapping[str, Any]]
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return all scores as values that JSON can store.

        Returns
        -------
        dict
            The keys `about` and `scores`; numbers that are not finite become None.
        """
        return {"about": _json_value(self.about), "scores": _json_value(self.scores)}

    def write_json(self, path: str | Path) -> None:
        """Write `to_dict` to a JSON file.

        Parameters
        ----------
        path : path_like
            The file; its directory is created if it does not exist.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        lines = [f"{name}: {value}" for name, value in self.about.items()]
        for topic, values in self.scores.items():
            lines += ["", topic.replace("_", " ")]
            rows = values.get("rows") if topic == "by_magnitude" else None
            if rows is not None:
                lines += [f"  {row}" for row in rows]
                continue
            for name, value in values.items():
                lines.append(f"  {name.replace('_', ' '):<28} {_format_score(value)}")
        return "\n".join(lines)


def score_found(
    found: Found,
    truth: Truth,
    *,
    match_radius: float | None = None,
    max_mag_difference: float | None = None,
    threshold: float = MASK_THRESHOLD,
) -> Comparison:
    """Score a catalog and its maps against a truth.

    Parameters
    ----------
    found : Found
        The catalog, its maps and its images.
    truth : Truth
        The true objects.
    match_radius : float, optional
        Largest distance of a match, in pixels of the first image; by default half of the full
        width at half maximum of its PSF.
    max_mag_difference : float, optional
        Largest difference in magnitude of a match, in the first band; by default there is no limit.
    threshold : float
        The mask of an object is where its `footprint` exceeds this value.

    Returns
    -------
    Comparison
        The scores that the truth allows.

    Raises
    ------
    InputError
        If the truth does not fit the images, or an option is out of range.
    """
    image = found.images[0]
    radius = _RADIUS_PER_FWHM * float(image.psf.fwhm) if match_radius is None else match_radius
    for name, value in (("match_radius", radius), ("max_mag_difference", max_mag_difference)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise InputError(f"{name} must be positive, got {value}")
    if not 0 <= threshold < 1:
        raise InputError(f"threshold must be at least 0 and less than 1, got {threshold}")
    matched = match_objects(found.table, truth, found.images, radius, max_mag_difference)
    scores = score_sources(matched, found.images)
    if truth.masks is not None:
        scores |= score_masks_of(found.assignments, found.labels, truth.masks, threshold)
    if truth.light:
        scores |= score_light_of(found, truth, matched.pairs, threshold)
    about = {
        "truth": truth.source,
        "match_radius": radius,
        "max_mag_difference": max_mag_difference,
        "threshold": threshold,
        "sure": f"objects with prob_exist above {SURE:g}",
    }
    return Comparison(scores, {name: value for name, value in about.items() if value is not None})


def _json_value(value: Any) -> Any:
    """Return a value as JSON can store it."""
    if isinstance(value, Mapping):
        return {str(key): _json_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_json_value(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _format_score(value: Any) -> str:
    """Return a score as text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
