"""Scores of the masks and shares of light that rival programs assign to a blend."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import click
import numpy as np

from benchmarks.rivals.baselines import (
    detection_image,
    gaussian_shares,
    hard_shares,
    nearest_shares,
    segment_photutils,
    segment_sep,
)
from benchmarks.rivals.scarlet import fit_scarlet

Pairs = tuple[np.ndarray, np.ndarray]


def score_detections(images: Sequence[Any], truth: Any) -> dict[str, dict[str, Any]]:
    """Score sep and photutils: hard labels, and shares of light built on their detections.

    Parameters
    ----------
    images : sequence of Image
        Bands on one pixel grid.
    truth : probcat.metrics.truth.Truth
        True objects with their noise-free light.

    Returns
    -------
    dict of str to dict
        Scores by program and kind of shares.
    """
    from probcat.metrics import Sources
    from probcat.numerics.robust import sky_level

    detection = detection_image(images)
    fwhm = float(images[0].psf.fwhm)
    bands = [image.clean_data - sky_level(image.clean_data, image.weight > 0) for image in images]
    programs = {"sep": segment_sep(detection), "photutils": segment_photutils(detection, fwhm)}
    results: dict[str, dict[str, Any]] = {}
    for name, segments in programs.items():
        kinds = {
            "labels": lambda _, own=segments: hard_shares(own),
            "nearest": lambda data, own=segments: nearest_shares(own, data.shape),
            "gaussians": lambda data, own=segments: gaussian_shares(own, data),
        }
        found, masks = Sources(segments.x, segments.y), [segments.masks] * len(images)
        for kind, shares in kinds.items():
            given = [shares(data) for data in bands]
            results[f"{name} {kind}"] = _score_program(found, masks, given, images, truth)
    return results


def score_scarlet(
    images: Sequence[Any], truth: Any, offset_y: float = 0.0
) -> dict[str, dict[str, Any]]:
    """Score scarlet2, which is given positions and types, with small boxes and with wide ones.

    Parameters
    ----------
    images : sequence of Image
        Bands on one pixel grid.
    truth : probcat.metrics.truth.Truth
        True objects with their noise-free light.
    offset_y : float
        Shift in pixels that is added to the true y.

    Returns
    -------
    dict of str to dict
        Scores by kind of boxes; empty if scarlet2 is not installed.
    """
    from probcat.metrics import Sources, true_shares
    from probcat.metrics.score_pixels import true_masks
    from probcat.pixels.assign import pixel_noise

    if find_spec("scarlet2") is None:
        click.echo("scarlet2 is not installed and therefore left out")
        return {}
    given = Sources(truth.x, truth.y + offset_y)
    noise = [pixel_noise(image) for image in images]
    results = {}
    for name, wide in (("scarlet2 (positions given)", False), ("scarlet2 (given, wide)", True)):
        models = fit_scarlet(images, given.x, given.y, truth.is_star > 0.5, wide=wide)
        masks = [true_masks(*one) for one in zip(models.light, noise, strict=True)]
        shares = [true_shares(light)[0] for light in models.light]
        results[name] = _score_program(given, masks, shares, images, truth, _pair_in_order)
        results[name] |= {"steps": models.steps, "chi2_per_pixel": models.chi2}
    return results


def _score_program(
    found: Any,
    masks: Sequence[np.ndarray],
    shares: Sequence[np.ndarray],
    images: Sequence[Any],
    truth: Any,
    pair: Callable[[np.ndarray, np.ndarray], Pairs] | None = None,
) -> dict[str, Any]:
    """Scores of masks and shares in every band, and of masks against those of any band."""
    from probcat.metrics import Sources, match_sources
    from probcat.metrics.score_pixels import light_scores, mask_scores, true_masks
    from probcat.pixels.assign import pixel_noise

    radius = 0.5 * float(images[0].psf.fwhm)
    near = match_sources(found, Sources(truth.x, truth.y), radius)
    scores: dict[str, Any] = {"objects": len(found), "found": len(near[0])}
    true = []
    for image, own, given in zip(images, masks, shares, strict=True):
        light, noise = truth.light[image.band], pixel_noise(image)
        true.append(true_masks(light, noise))
        scores[f"masks_{image.band}"] = mask_scores(own, true[-1])
        pairs = (pair or _pair_by_light)(given, light)
        scores[f"light_{image.band}"] = light_scores(given, light, noise, pairs)
    scores["masks_any"] = mask_scores(np.logical_or.reduce(masks), np.logical_or.reduce(true))
    return scores


def _pair_by_light(shares: np.ndarray, light: np.ndarray) -> Pairs:
    """Match detections to objects so that the fraction of correctly assigned light is largest."""
    from scipy.optimize import linear_sum_assignment

    from probcat.metrics import true_shares

    true, total = true_shares(light)
    right = [[np.sum(np.minimum(own, one) * total) for one in true] for own in shares]
    return linear_sum_assignment(np.reshape(right, (len(shares), len(true))), maximize=True)


def _pair_in_order(shares: np.ndarray, light: np.ndarray) -> Pairs:
    """Match objects that were given to themselves, wherever their light is."""
    return np.arange(len(shares)), np.arange(len(light))
