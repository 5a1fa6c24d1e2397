"""The variance of pixels that come without one."""

import numpy as np
import pytest

from probcat.image.variance import build_variance
from probcat.numerics.robust import sky_sigma


def test_sky_noise_is_measured_in_spite_of_sources():
    rng = np.random.default_rng(3)
    data = rng.normal(0.0, 2.0, (100, 100))
    y, x = np.indices(data.shape)
    for _ in range(40):
        cx, cy = rng.uniform(0, 100, 2)
        data += 500.0 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 6.0)
    good = np.ones(data.shape, bool)
    # The scatter of the estimate is 2 %; the sources bias it by a few per cent at most.
    np.testing.assert_allclose(sky_sigma(data, good), 2.0, rtol=0.12)


def test_the_variance_from_a_gain_follows_the_ccd_equation():
    rng = np.random.default_rng(4)
    electrons = rng.poisson(400.0, (64, 64)) + rng.normal(0.0, 5.0, (64, 64))
    data = electrons / 2.0
    data[10, 10] = 5000.0
    free = np.zeros(data.shape, bool)
    variance, note = build_variance(data, free, gain=2.0, read_noise=5.0)
    assert "gain 2" in note
    assert variance[10, 10] == pytest.approx(5000.0 / 2.0 + 25.0 / 4.0)
    np.testing.assert_allclose(variance.min(), 425.0 / 4.0, rtol=0.02)
    # Without its sky the image does not show the variance of the sky: it is measured.
    variance, note = build_variance(data - 200.0, free, gain=2.0)
    assert "measured" in note
    np.testing.assert_allclose(np.median(variance), 425.0 / 4.0, rtol=0.2)


def test_sources_on_a_subtracted_sky_are_not_taken_for_the_sky():
    rng = np.random.default_rng(5)
    y, x = np.indices((60, 60))
    sources = 4.0 + 300.0 * np.exp(-((x - 30) ** 2 + (y - 30) ** 2) / 40.0)
    data = rng.poisson(12.0 + sources) - 12.0
    # The median, 4, is below the variance of 16 that most pixels have.
    variance, note = build_variance(data, np.zeros(data.shape, bool), gain=1.0)
    assert "measured" in note
    np.testing.assert_allclose(np.median(variance), 16.0, rtol=0.2)
