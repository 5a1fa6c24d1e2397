"""Scores of catalogs and pixel assignments against a truth.

Imports `pixels`, `catalog` and `image`; never `plots`.
"""

from probcat.metrics.detection import DetectionScores, measure_offset, score_detection
from probcat.metrics.light import (
    LightScores,
    align_shares,
    fraction_of_light_assigned,
    score_light,
    true_shares,
)
from probcat.metrics.matching import Sources, match_sources
from probcat.metrics.probability import (
    brier_score,
    calibration_error,
    expected_calibration_error,
    interval_coverage,
    log_score,
    reliability,
)
from probcat.metrics.segmentation import (
    AP_THRESHOLDS,
    SegmentationScores,
    intersection_over_union,
    match_masks,
    pairwise_iou,
    score_segmentation,
)

__all__ = [
    "AP_THRESHOLDS",
    "DetectionScores",
    "LightScores",
    "SegmentationScores",
    "Sources",
    "align_shares",
    "brier_score",
    "calibration_error",
    "expected_calibration_error",
    "fraction_of_light_assigned",
    "intersection_over_union",
    "interval_coverage",
    "log_score",
    "match_masks",
    "match_sources",
    "measure_offset",
    "pairwise_iou",
    "reliability",
    "score_detection",
    "score_light",
    "score_segmentation",
    "true_shares",
]
