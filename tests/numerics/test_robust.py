import numpy as np
import pytest

from probcat.numerics.robust import (
    FWHM_PER_SIGMA,
    HALF_LIGHT_MOMENT,
    MAD_TO_SIGMA,
    ROUNDED_FWHM_PER_SIGMA,
    mad_sigma,
)


def test_the_width_at_half_maximum_is_where_a_gaussian_is_half_as_high():
    assert np.exp(-0.5 * (0.5 * FWHM_PER_SIGMA) ** 2) == pytest.approx(0.5)
    assert pytest.approx(FWHM_PER_SIGMA, abs=2e-4) == ROUNDED_FWHM_PER_SIGMA


def test_half_of_a_gaussian_lies_within_its_half_light_radius():
    assert 1.0 - np.exp(-0.5 / HALF_LIGHT_MOMENT) == pytest.approx(0.5, abs=1e-3)


def test_the_robust_scatter_of_normal_numbers_is_their_standard_deviation():
    values = np.random.default_rng(2).normal(3.0, 2.0, 20000)
    values[:200] = 1e6
    assert mad_sigma(values) == pytest.approx(2.0, rel=0.04)
    assert MAD_TO_SIGMA == 1.4826
