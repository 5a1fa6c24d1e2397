"""Scores of the maps of objects against true masks and noise-free light."""

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
"""Label of the union of the masks of all images."""


@dataclass(frozen=True, eq=False)
class Found:
    """A catalog, its maps and its images.

    Parameters
    ----------
    table : mapping or astropy.table.Table
        Columns of ``catalog.fits``, a row for each object.
    images : sequence of Image
        The images that were cataloged. Positions are in pixels of the first.
    labels : sequence of str
        Names of the images.
    assignments : sequence of Assignment
        Maps of the objects of the table, for every image.
    """

    table: Any
    images: Sequence[Image]
    labels: Sequence[str]
    assignments: Sequence[Assignment]


def object_masks(assignment: Assignment, threshold: float) -> np.ndarray:
    """Return the masks of found objects: where the footprint exceeds a threshold.

    Parameters
    ----------
    assignment : Assignment
        Maps of the objects.
    threshold : float
        Smallest probability, not included, that a pixel is in the footprint.

    Returns
    -------
    ndarray of bool, shape (n, ny, nx)
    """
    masks = [assignment.map(number, "footprint") > threshold for number in assignment.object_ids]
    return np.array(masks, dtype=bool).reshape(len(masks), *assignment.shape)


def true_masks(light: Any, noise: Any) -> np.ndarray:
    """Return the masks of true objects: where the light exceeds three sigma of the noise.

    Parameters
    ----------
    light : array_like, shape (n, ny, nx)
        Noise-free image of every object.
    noise : array_like, shape (ny, nx)
        Standard deviation of the noise, in the same unit.

    Returns
    -------
    ndarray of bool, shape (n, ny, nx)
    """
    return np.asarray(light) > FOOTPRINT_SIGMA * np.asarray(noise)


def mask_scores(found: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Score masks against true masks; empty masks of either are left out.

    Parameters
    ----------
    found : ndarray of bool, shape (n, ny, nx)
        Masks of found objects.
    truth : ndarray of bool, shape (m, ny, nx)
        Masks of true objects.

    Returns
    -------
    dict
        Scores by name, see `probcat.metrics.SegmentationScores`.
    """
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
    """Score shares of the light in the pixels where any true object exceeds three sigma.

    Parameters
    ----------
    shares : ndarray, shape (n, ny, nx)
        Shares of the light of found objects, and of sources that belong to no object.
    light : ndarray, shape (m, ny, nx)
        Noise-free image of every true object.
    noise : ndarray, shape (ny, nx)
        Standard deviation of the noise, in the same unit.
    pairs : tuple of ndarray
        Indices of found and of true objects that are matched.

    Returns
    -------
    dict
        Scores by name, see `probcat.metrics.light.LightScores`.
    """
    true, total = true_shares(light)
    counts = true_masks(light, noise).any(axis=0)
    return asdict(score_light(*align_shares(shares, true, pairs), total, counts))


def score_masks_of(
    assignments: Sequence[Assignment], labels: Sequence[str], masks: np.ndarray, threshold: float
) -> dict[str, dict[str, Any]]:
    """Score masks in every image against true masks that are given.

    Parameters
    ----------
    assignments : sequence of Assignment
        Maps of the objects, for every image; images of another shape than the masks are left out.
    labels : sequence of str
        Names of the images.
    masks : ndarray of bool, shape (m, ny, nx)
        Masks of true objects.
    threshold : float
        As in `object_masks`.

    Returns
    -------
    dict
        Scores by topic ``masks_<label>`` and name; with several images also of the union.

    Raises
    ------
    InputError
        If no image has the shape of the masks.
    """
    kinds = zip(labels, assignments, strict=True)
    fitting = [(label, one) for label, one in kinds if one.shape == masks.shape[1:]]
    if not fitting:
        shapes = ", ".join(str(one.shape) for one in assignments)
        raise InputError(f"true masks have shape {masks.shape[1:]}, but the images {shapes}")
    own = {label: object_masks(one, threshold) for label, one in fitting}
    if len(own) > 1:
        own[ANY_BAND] = np.logical_or.reduce(list(own.values()))
    return {f"masks_{label}": mask_scores(some, masks) for label, some in own.items()}


def score_light_of(
    found: Found, truth: Truth, pairs: tuple[np.ndarray, np.ndarray], threshold: float
) -> dict[str, dict[str, Any]]:
    """Score masks and shares of the light against noise-free images, in every band that has them.

    Parameters
    ----------
    found : Found
        The catalog, its maps and its images.
    truth : Truth
        True objects with their light.
    pairs : tuple of ndarray
        Indices of found and of true objects that are matched.
    threshold : float
        As in `object_masks`.

    Returns
    -------
    dict
        Scores by topic ``masks_<label>`` or ``light_<label>`` and name.

    Raises
    ------
    InputError
        If no image is of a band of the truth, or an image has another shape than the truth.
    """
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
                f"{light.shape[1:]}, but the image {image.shape}"
            )
        noise = pixel_noise(image)
        own.append(object_masks(one, threshold))
        true.append(true_masks(light, noise))
        scores[f"masks_{label}"] = mask_scores(own[-1], true[-1])
        maps = [one.map(number) for number in one.object_ids] + [one.unassigned["light"]]
        scores[f"light_{label}"] = light_scores(np.array(maps), light, noise, pairs)
    if not scores:
        raise InputError(
            f"{truth.source}: noise-free images are of the bands {', '.join(truth.light)}, but "
            f"the run is of {', '.join(image.band or '(unnamed)' for image in found.images)}"
        )
    if len({masks.shape for masks in own}) == 1 and len(own) > 1:
        united = np.logical_or.reduce(own), np.logical_or.reduce(true)
        scores[f"masks_{ANY_BAND}"] = mask_scores(*united)
    return scores
