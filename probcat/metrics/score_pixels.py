"""Scores of pixel-assignment maps against true masks and noise-free light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.metrics import align_shares, score_light, score_segmentation, true_shares
from probcat.metrics.truth import Truth
from probcat.pixels.accumulate import FOOTPRINT_SIGMA
from probcat.pixels.noise import pixel_noise

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.pixels.assignment import Assignment

ANY_BAND = "any"


@dataclass(frozen=True, eq=False)
class Found:
    """What a run found.

    Parameters
    ----------
    table : mapping or astropy.table.Table
        Columns of ``catalog.fits``, a row for each object.
    images : sequence of Image
        The first gives the pixels of positions.
    labels : sequence of str
        Names of the images.
    assignments : sequence of Assignment
        Of every image, with the objects of the table.
    """

    table: Any
    images: Sequence[Image]
    labels: Sequence[str]
    assignments: Sequence[Assignment]


def object_masks(assignment: Assignment, threshold: float) -> np.ndarray:
    """Masks of all objects, bool (n, ny, nx): where the footprint exceeds the threshold."""
    masks = [assignment.map(number, "footprint") > threshold for number in assignment.object_ids]
    return np.array(masks, dtype=bool).reshape(len(masks), *assignment.shape)


def true_masks(light: Any, noise: Any) -> np.ndarray:
    """Masks of all objects: where the noise-free light exceeds three sigma of the noise."""
    return np.asarray(light) > FOOTPRINT_SIGMA * np.asarray(noise)


def mask_scores(found: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Scores of masks; those that are empty are left out on both sides."""
    found, truth = (masks[masks.any(axis=(1, 2))] for masks in (found, truth))
    scores = score_segmentation(found, truth)
    return {
        "true_masks": len(truth),
        "found_masks": len(found),
        "mean_iou": scores.mean_iou,
        "mean_iou_matched": scores.mean_iou_matched,
        "true_with_iou_above_0.5": int(np.sum(scores.best > 0.5)),
        "average_precision_0.5": scores.average_precision(0.5),
        "average_precision_0.5_to_0.95": scores.mean_average_precision(),
        "panoptic_quality": scores.panoptic_quality,
    }


def light_scores(
    shares: np.ndarray, light: np.ndarray, noise: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Scores of shares of the light, where any object's light exceeds three sigma.

    Parameters
    ----------
    shares : ndarray, shape (n, ny, nx)
        Of objects, and of whatever else was given light.
    light : ndarray, shape (m, ny, nx)
        Noise-free.
    noise : ndarray, shape (ny, nx)
    pairs : tuple of ndarray
        Found and true indices that belong together.
    """
    true, total = true_shares(light)
    counts = true_masks(light, noise).any(axis=0)
    return asdict(score_light(*align_shares(shares, true, pairs), total, counts))


def score_masks_of(
    assignments: Sequence[Assignment], labels: Sequence[str], masks: np.ndarray, threshold: float
) -> dict[str, dict[str, Any]]:
    """Compare with masks that are given, in every image on their pixels."""
    kinds = zip(labels, assignments, strict=True)
    fitting = [(label, one) for label, one in kinds if one.shape == masks.shape[1:]]
    if not fitting:
        shapes = ", ".join(str(one.shape) for one in assignments)
        raise InputError(f"masks have shape {masks.shape[1:]}, the images {shapes}")
    own = {label: object_masks(one, threshold) for label, one in fitting}
    if len(own) > 1:
        own[ANY_BAND] = np.logical_or.reduce(list(own.values()))
    return {f"masks_{label}": mask_scores(some, masks) for label, some in own.items()}


def score_light_of(
    found: Found, truth: Truth, pairs: tuple[np.ndarray, np.ndarray], threshold: float
) -> dict[str, dict[str, Any]]:
    """Compare with noise-free light, in every image of its band."""
    scores: dict[str, dict[str, Any]] = {}
    own, true = [], []
    for label, image, one in zip(found.labels, found.images, found.assignments, strict=True):
        light = truth.light.get(image.band, truth.light.get(image.band.lower()))
        if light is None and len(truth.light) == len(found.images) == 1:
            light = next(iter(truth.light.values()))
        if light is None:
            continue
        if light.shape[1:] != image.shape:
            raise InputError(
                f"{truth.source}: noise-free images of band {image.band!r} have shape "
                f"{light.shape[1:]}, the image {image.shape}"
            )
        noise = pixel_noise(image)
        own.append(object_masks(one, threshold))
        true.append(true_masks(light, noise))
        scores[f"masks_{label}"] = mask_scores(own[-1], true[-1])
        maps = [one.map(number) for number in one.object_ids] + [one.unassigned["light"]]
        scores[f"light_{label}"] = light_scores(np.array(maps), light, noise, pairs)
    if not scores:
        raise InputError(
            f"{truth.source}: has light in the bands {', '.join(truth.light)}, the run is of "
            f"{', '.join(image.band or '(unnamed)' for image in found.images)}"
        )
    if len({masks.shape for masks in own}) == 1 and len(own) > 1:
        united = np.logical_or.reduce(own), np.logical_or.reduce(true)
        scores[f"masks_{ANY_BAND}"] = mask_scores(*united)
    return scores
