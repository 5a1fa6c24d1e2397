"""Overlap of masks of objects with true masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from probcat.errors import InputError

AP_THRESHOLDS = tuple(np.round(np.arange(0.5, 1.0, 0.05), 2).tolist())
"""Thresholds of IoU over which the average precision is averaged: 0.5, 0.55, ..., 0.95."""


def intersection_over_union(one: Any, other: Any) -> float:
    """Compute the intersection over union of two masks, |A and B| / |A or B|.

    (Jaccard 1912, New Phytol. 11, 37.)

    Parameters
    ----------
    one, other : array_like of bool
        Masks of the same shape; every value that is not zero is true.

    Returns
    -------
    float
        Between 0 and 1; 1 for two empty masks.
    """
    one, other = np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 1.0


def pairwise_iou(found: Any, truth: Any) -> np.ndarray:
    """Compute the intersection over union of every found mask with every true mask.

    Parameters
    ----------
    found : array_like of bool, shape (n, ny, nx)
        Mask of every found object; masks may overlap.
    truth : array_like of bool, shape (m, ny, nx)
        Mask of every true object.

    Returns
    -------
    ndarray, shape (n, m)
        Values between 0 and 1; 1 for two empty masks.

    Raises
    ------
    InputError
        If the masks do not cover the same pixels.
    """
    found, truth = np.asarray(found, dtype=bool), np.asarray(truth, dtype=bool)
    if found.ndim != 3 or truth.ndim != 3 or found.shape[1:] != truth.shape[1:]:
        raise InputError(
            f"masks have shapes {found.shape} and {truth.shape}; both must be (objects, ny, nx)"
        )
    # Counts up to 2^24 pixels are exact in single precision.
    pixels = found.shape[1] * found.shape[2]
    one = found.reshape(len(found), pixels).astype(np.float32)
    other = truth.reshape(len(truth), pixels).astype(np.float32)
    both = (one @ other.T).astype(np.float64)
    either = one.sum(axis=1)[:, None] + other.sum(axis=1)[None, :] - both
    return np.where(either > 0, both / np.where(either > 0, either, 1.0), 1.0)


def match_masks(iou: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Match masks one to one with the largest total intersection over union.

    Parameters
    ----------
    iou : ndarray, shape (n, m)
        Values of `pairwise_iou`.
    threshold : float
        Only pairs of a larger intersection over union are matched.

    Returns
    -------
    found_index, truth_index : ndarray of int, shape (pairs,)
        Indices of the matched masks.
    """
    one, other = linear_sum_assignment(np.where(iou > threshold, iou, 0.0), maximize=True)
    kept = iou[one, other] > threshold
    return one[kept], other[kept]


@dataclass(frozen=True)
class SegmentationScores:
    r"""Agreement of masks, from the intersection over union (IoU) of all pairs.

    Masks are matched one to one with the largest total IoU. At a threshold t, with TP(t) pairs of
    IoU > t, and FP(t) found and FN(t) true masks without a match,

        AP(t) = TP / (TP + FP + FN)

    as in the Data Science Bowl 2018 and Cellpose (Stringer et al. 2021, Nature Methods 18, 100).
    COCO's average precision is another quantity, an area under a curve over confidences. And

        PQ = SQ RQ = (sum_TP IoU / TP) (TP / (TP + FP / 2 + FN / 2)),   at IoU > 0.5

    (Kirillov et al. 2019, CVPR, arXiv:1801.00868, eq. 1). Without masks on either side all
    scores are 1; with masks on one side only, 0.

    Parameters
    ----------
    iou : ndarray, shape (found, true)
        Values of `pairwise_iou`.
    """

    iou: np.ndarray

    def counts(self, threshold: float) -> tuple[int, int, int]:
        """Return TP, FP and FN at a threshold."""
        hits = len(match_masks(self.iou, threshold)[0])
        return hits, self.iou.shape[0] - hits, self.iou.shape[1] - hits

    @property
    def best(self) -> np.ndarray:
        """IoU of every true mask with its match, 0 without one, shape (true,)."""
        one, other = match_masks(self.iou)
        values = np.zeros(self.iou.shape[1])
        values[other] = self.iou[one, other]
        return values

    @property
    def mean_iou(self) -> float:
        """Mean IoU over all true masks; a mask without a match counts as zero."""
        if self.iou.shape[1] == 0:
            return 1.0 if self.iou.shape[0] == 0 else 0.0
        return float(self.best.mean())

    @property
    def mean_iou_matched(self) -> float:
        """Mean IoU over true masks that have a match; `mean_iou` if there is none."""
        hits = self.best[self.best > 0]
        return float(hits.mean()) if len(hits) else self.mean_iou

    def average_precision(self, threshold: float = 0.5) -> float:
        """Return AP at a threshold, TP / (TP + FP + FN)."""
        hits, false, missed = self.counts(threshold)
        total = hits + false + missed
        return hits / total if total else 1.0

    def mean_average_precision(self, thresholds: Sequence[float] = AP_THRESHOLDS) -> float:
        """Return the mean of AP over thresholds, by default 0.5, 0.55, ..., 0.95."""
        return float(np.mean([self.average_precision(threshold) for threshold in thresholds]))

    @property
    def segmentation_quality(self) -> float:
        """SQ, the mean IoU of pairs above 0.5; without pairs 0, and without any masks 1."""
        one, other = match_masks(self.iou, 0.5)
        if not len(one):
            return float(self.iou.shape == (0, 0))
        return float(self.iou[one, other].mean())

    @property
    def recognition_quality(self) -> float:
        """RQ, the F1 score of pairs above 0.5."""
        hits, false, missed = self.counts(0.5)
        total = hits + 0.5 * (false + missed)
        return hits / total if total else 1.0

    @property
    def panoptic_quality(self) -> float:
        """PQ, the product of SQ and RQ."""
        return self.segmentation_quality * self.recognition_quality


def score_segmentation(found: Any, truth: Any) -> SegmentationScores:
    """Score masks against true masks.

    Parameters
    ----------
    found : array_like of bool, shape (n, ny, nx)
        Mask of every found object; masks may overlap.
    truth : array_like of bool, shape (m, ny, nx)
        Mask of every true object.

    Returns
    -------
    SegmentationScores

    Raises
    ------
    InputError
        If the masks do not cover the same pixels.
    """
    return SegmentationScores(pairwise_iou(found, truth))
