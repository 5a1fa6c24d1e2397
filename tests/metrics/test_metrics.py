"""Scores with answers that can be counted by hand."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from probcat.errors import InputError
from probcat.metrics import (
    Sources,
    align_shares,
    brier_score,
    calibration_error,
    expected_calibration_error,
    fraction_of_light_assigned,
    intersection_over_union,
    interval_coverage,
    log_score,
    match_masks,
    match_sources,
    measure_offset,
    pairwise_iou,
    reliability,
    score_detection,
    score_segmentation,
    true_shares,
)


def test_matching_is_one_to_one_and_takes_the_most_pairs():
    # The nearest pair (0, 0) would leave a source without a partner on either side.
    found, truth = Sources([0.0, 1.0], [0.0, 0.0]), Sources([0.1, -0.8], [0.0, 0.0])
    one, other = match_sources(found, truth, radius=1.0)
    assert dict(zip(one, other, strict=True)) == {0: 1, 1: 0}


@pytest.mark.parametrize("norm", [2.0, np.inf])
def test_matching_agrees_with_a_dense_assignment(norm):
    rng = np.random.default_rng(0)
    found = Sources(*rng.uniform(0, 10, (2, 60)), mag=rng.uniform(18, 20, 60), prob=rng.random(60))
    truth = Sources(*rng.uniform(0, 10, (2, 80)), mag=rng.uniform(18, 20, 80))
    one, other = match_sources(found, truth, 1.0, max_mag_difference=0.5, norm=norm)
    assert one.size == np.unique(one).size
    assert other.size == np.unique(other).size
    delta = np.stack([np.subtract.outer(found.x, truth.x), np.subtract.outer(found.y, truth.y)])
    distance = np.linalg.norm(delta, ord=norm, axis=0)
    near = (distance <= 1.0) & (np.abs(np.subtract.outer(found.mag, truth.mag)) <= 0.5)
    assert near[one, other].all()
    gain = np.where(near, found.prob[:, None] + 1e-3 * (1 - distance), 0.0)
    best = gain[linear_sum_assignment(gain, maximize=True)].sum()
    assert gain[one, other].sum() == pytest.approx(best)


def test_of_two_candidates_the_more_probable_is_matched():
    found = Sources([0.0, 0.3], [0.0, 0.0], prob=[0.2, 0.9])
    one, _ = match_sources(found, Sources([0.0], [0.0]), radius=1.0)
    assert one.tolist() == [1]


def test_scores_by_magnitude_count_as_defined():
    truth = Sources([10, 20, 30, 1], [10, 20, 30, 1], mag=[18.2, 18.7, 19.5, 18.0])
    found = Sources(
        [10, 20.5, 40, 30.1, 1],
        [10, 20, 40, 30, 1],
        [18.4, 18.6, 18.5, 19.1, 18.0],
        [1, 0.5, 0.5, 0.8, 1],
    )
    scores = score_detection(
        found,
        truth,
        radius=0.75,
        max_mag_difference=0.5,
        edges=[18, 19, 20, 21],
        shape=(50, 50),
        border=2.5,
    )
    np.testing.assert_allclose(scores.num_true, [2, 1, 0])
    np.testing.assert_allclose(scores.completeness, [0.75, 0.8, np.nan])
    np.testing.assert_allclose(scores.purity, [0.75, 1.0, np.nan])
    np.testing.assert_allclose(scores.false_discovery_rate[:2], [0.25, 0.0])
    assert scores.f1[0] == pytest.approx(0.75)
    overall = scores.overall()
    assert overall.completeness[0] == pytest.approx(2.3 / 3)
    assert overall.purity[0] == pytest.approx(2.3 / 2.8)
    assert len(str(scores).splitlines()) == 4


def test_a_match_beyond_the_border_still_counts():
    truth, found = Sources([1.9], [25.0]), Sources([2.1], [25.0])
    scores = score_detection(found, truth, radius=0.75, shape=(50, 50), border=2.5)
    assert scores.num_true[0] == 0
    assert scores.purity[0] == 1.0


def test_nothing_found_or_nothing_there():
    none, some = Sources([], []), Sources([1.0], [1.0])
    assert score_detection(none, some, radius=1.0).completeness[0] == 0.0
    assert np.isnan(score_detection(none, some, radius=1.0).purity[0])
    assert score_detection(some, none, radius=1.0).purity[0] == 0.0


def test_missing_magnitudes_are_refused():
    with pytest.raises(InputError, match="magnitudes"):
        match_sources(Sources([0.0], [0.0]), Sources([0.0], [0.0]), 1.0, max_mag_difference=0.5)
    with pytest.raises(InputError, match="bins"):
        score_detection(Sources([0.0], [0.0]), Sources([0.0], [0.0]), radius=1.0, edges=[1, 2])
    with pytest.raises(InputError, match="shape"):
        Sources([0.0, 1.0], [0.0])


def test_offset_between_catalogs_is_measured():
    rng = np.random.default_rng(1)
    truth = Sources(*rng.uniform(0, 100, (2, 50)), mag=rng.uniform(15, 20, 50))
    found = truth.shift(0.06, 0.05, -0.1)
    offset = measure_offset(found, truth, radius=0.5, max_mag_difference=0.5, brighter_than=19.0)
    assert offset == pytest.approx((0.06, 0.05, -0.1))
    with pytest.raises(InputError, match="brighter"):
        measure_offset(found, truth, radius=0.5, max_mag_difference=0.5, brighter_than=10.0)


def test_intersection_over_union():
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert intersection_over_union(one, other) == 1.0
    one[:2] = True
    assert intersection_over_union(one, other) == 0.0
    other[1:3] = True
    assert intersection_over_union(one, other) == pytest.approx(1 / 3)
    assert intersection_over_union(one, one.astype(np.uint8) * 7) == 1.0


def test_share_of_light():
    true = np.array([[[1.0, 0.5]], [[0.0, 0.5]]])
    light = np.array([[1.0, 3.0]])
    assert fraction_of_light_assigned(true, true, light) == 1.0
    assert fraction_of_light_assigned(true[::-1], true, light) == pytest.approx(0.75)
    assert fraction_of_light_assigned(true, true, 0 * light) == 1.0


def test_probability_scores():
    assert brier_score([0.0, 1.0], [0.0, 1.0]) == 0.0
    assert brier_score([0.5, 1.0], [1.0, 0.0], weight=[4.0, 0.0]) == pytest.approx(0.25)
    rng = np.random.default_rng(2)
    prob = rng.random(40_000)
    mean, frequency, count = reliability(prob, rng.random(prob.size) < prob, num_bins=5)
    # Standard error of each bin is below 0.0056: five bins at 5 sigma, false alarm 3e-6.
    np.testing.assert_allclose(frequency, mean, atol=0.028)
    assert count.sum() == prob.size
    assert np.isnan(reliability([0.95], [1.0])[0][0])


def squares(*corners, size=4):
    """Masks of squares on 12 x 12 pixels."""
    masks = np.zeros((len(corners), 12, 12), bool)
    for mask, (row, col) in zip(masks, corners, strict=True):
        mask[row : row + size, col : col + size] = True
    return masks


def test_overlap_of_all_pairs():
    one, other = squares((0, 0), (0, 2), (6, 6)), squares((0, 0), (8, 8))
    iou = pairwise_iou(one, other)
    expected = [[intersection_over_union(a, b) for b in other] for a in one]
    np.testing.assert_allclose(iou, expected)
    nothing = np.zeros((1, 12, 12), bool)
    assert pairwise_iou(nothing, nothing)[0, 0] == 1.0
    assert pairwise_iou(nothing, other).tolist() == [[0.0, 0.0]]
    with pytest.raises(InputError, match="shapes"):
        pairwise_iou(one, other[:, :5])
    with pytest.raises(InputError, match="shapes"):
        pairwise_iou(one[0], other[0])


def test_masks_are_matched_for_the_largest_total():
    # Each for itself, the first row would take the first column.
    one, other = match_masks(np.array([[0.6, 0.5], [0.55, 0.0]]))
    assert dict(zip(one.tolist(), other.tolist(), strict=True)) == {0: 1, 1: 0}
    assert len(match_masks(np.array([[0.5]]), 0.5)[0]) == 0


def test_segmentation_scores_count_as_defined():
    # IoU 1, 3/5 (shifted by one of four columns), 1/7 (shifted by three), one missed, one false.
    found = squares((0, 0), (0, 6), (8, 0), (4, 4))
    truth = squares((0, 0), (0, 7), (8, 3), (8, 8))
    scores = score_segmentation(found, truth)
    assert scores.best == pytest.approx([1.0, 0.6, 1 / 7, 0.0])
    assert scores.mean_iou == pytest.approx((1.6 + 1 / 7) / 4)
    assert scores.mean_iou_matched == pytest.approx((1.6 + 1 / 7) / 3)
    assert scores.counts(0.5) == (2, 2, 2)
    assert scores.average_precision() == pytest.approx(2 / 6)
    assert scores.average_precision(0.65) == pytest.approx(1 / 7)
    # 0.5 and 0.55 have two hits, 0.6 to 0.95 one: an IoU at the threshold is no hit.
    assert scores.mean_average_precision() == pytest.approx((2 * 2 / 6 + 8 / 7) / 10)
    assert scores.segmentation_quality == pytest.approx(0.8)
    assert scores.recognition_quality == pytest.approx(0.5)
    assert scores.panoptic_quality == pytest.approx(0.4)


@pytest.mark.parametrize(("found", "true", "score"), [(0, 0, 1.0), (2, 0, 0.0), (0, 2, 0.0)])
def test_scores_of_empty_segmentations(found, true, score):
    one, other = squares(*[(0, 0)] * found), squares(*[(0, 0)] * true)
    scores = score_segmentation(one, other)
    for name in ("mean_iou", "mean_iou_matched", "panoptic_quality", "recognition_quality"):
        assert getattr(scores, name) == score, name
    assert scores.average_precision() == scores.mean_average_precision() == score


def test_true_shares_ignore_ringing_below_zero():
    light = np.array([[[3.0, -1.0, 0.0]], [[1.0, 2.0, -1e-9]]])
    shares, total = true_shares(light)
    np.testing.assert_allclose(shares, [[[0.75, 0.0, 0.0]], [[0.25, 1.0, 0.0]]])
    np.testing.assert_allclose(total, [[4.0, 2.0, 0.0]])
    with pytest.raises(InputError, match="noise-free"):
        true_shares(light[0])


def test_objects_without_a_partner_face_nothing():
    found, true = np.arange(1.0, 4.0)[:, None, None], np.array([10.0, 20.0])[:, None, None]
    both = align_shares(found, true, (np.array([2]), np.array([0])))
    np.testing.assert_allclose(both[0][:, 0, 0], [3.0, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(both[1][:, 0, 0], [10.0, 20.0, 0.0, 0.0])


def test_log_score_is_the_cross_entropy():
    assert log_score([0.25, 0.5], [0.0, 1.0]) == pytest.approx(-0.5 * np.log(0.75 * 0.5))
    share = 0.3
    best = min(np.linspace(0.05, 0.95, 91), key=lambda prob: log_score([prob], [share]))
    assert best == pytest.approx(share)
    assert np.isfinite(log_score([0.0], [1.0]))
    assert log_score([0.9, 0.1], [1.0, 1.0], weight=[1.0, 0.0]) == pytest.approx(-np.log(0.9))


def test_scores_of_no_probabilities_are_nan():
    scores = brier_score([], []), log_score([], []), expected_calibration_error([], [])
    assert np.isnan(scores).all()
    assert np.isnan(interval_coverage([], [], [])[0])
    assert interval_coverage([np.nan], [1.0], [0.5])[2] == 0
    for score in (brier_score, log_score, reliability):
        with pytest.raises(InputError, match="shape"):
            score([0.5], [[0.5]])


def test_calibration_error_is_the_mean_gap():
    prob = np.array([0.15, 0.15, 0.95, 0.95])
    outcome = np.array([0.0, 1.0, 1.0, 1.0])
    assert expected_calibration_error(prob, outcome) == pytest.approx(0.5 * 0.35 + 0.5 * 0.05)
    weight = np.array([0.0, 0.0, 1.0, 3.0])
    assert expected_calibration_error(prob, outcome, weight=weight) == pytest.approx(0.05)
    assert calibration_error([0.2, np.nan], [0.1, np.nan], [4, 0]) == pytest.approx(0.1)


def test_coverage_of_intervals():
    low, high = np.zeros(5), np.ones(5)
    share, error, count = interval_coverage(low, high, [0.0, 0.5, 1.0, 2.0, np.nan])
    assert (share, count) == (0.75, 4)
    assert error == pytest.approx(np.sqrt(0.75 * 0.25 / 4))
