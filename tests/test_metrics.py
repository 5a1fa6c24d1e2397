"""Scores with answers that can be counted by hand."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from probcat.errors import InputError
from probcat.metrics import (
    Sources,
    brier_score,
    intersection_over_union,
    match_sources,
    measure_offset,
    reliability,
    score_detection,
    share_of_light_assigned,
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
    one, other = match_sources(found, truth, 1.0, mag_gap=0.5, norm=norm)
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
        found, truth, radius=0.75, mag_gap=0.5, edges=[18, 19, 20, 21], shape=(50, 50), border=2.5
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
        match_sources(Sources([0.0], [0.0]), Sources([0.0], [0.0]), 1.0, mag_gap=0.5)
    with pytest.raises(InputError, match="bins"):
        score_detection(Sources([0.0], [0.0]), Sources([0.0], [0.0]), radius=1.0, edges=[1, 2])
    with pytest.raises(InputError, match="shape"):
        Sources([0.0, 1.0], [0.0])


def test_offset_between_catalogs_is_measured():
    rng = np.random.default_rng(1)
    truth = Sources(*rng.uniform(0, 100, (2, 50)), mag=rng.uniform(15, 20, 50))
    found = truth.shift(0.06, 0.05, -0.1)
    offset = measure_offset(found, truth, radius=0.5, mag_gap=0.5, brighter_than=19.0)
    assert offset == pytest.approx((0.06, 0.05, -0.1))
    with pytest.raises(InputError, match="brighter"):
        measure_offset(found, truth, radius=0.5, mag_gap=0.5, brighter_than=10.0)


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
    assert share_of_light_assigned(true, true, light) == 1.0
    assert share_of_light_assigned(true[::-1], true, light) == pytest.approx(0.75)
    assert share_of_light_assigned(true, true, 0 * light) == 1.0


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
