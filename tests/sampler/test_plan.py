"""Room in windows and catalogs follows from peaks, and noise on a galaxy is none."""

import numpy as np
import pytest

from probcat import PSF, Image, Prior, SamplerSettings
from probcat.image.alignment import Alignment
from probcat.image.peaks import count_peaks
from probcat.sampler.geometry.layout import PassPlan
from probcat.sampler.geometry.plan import VISITS, build_layout
from probcat.sampler.geometry.window_sizes import choose_windows
from tests.builders import gaussian_light

SHAPE = (60, 70)
SIGMA = 2.0


def make_field(light, masked=None, seed=3):
    data = light + np.random.default_rng(seed).normal(50.0, SIGMA, SHAPE)
    mask = np.zeros(SHAPE, bool) if masked is None else masked
    data = np.where(mask, 1e6, data)
    return Image.from_arrays(data, np.full(SHAPE, SIGMA**2), psf=PSF.gaussian(3.0, 15), mask=mask)


def stars():
    """Light of 30 stars ten pixels apart, of a signal-to-noise ratio of 50."""
    flux = 50.0 * SIGMA * np.sqrt(4.0 * np.pi) * 3.0 / 2.355
    centres = [(x, y) for x in range(10, 70, 10) for y in range(10, 60, 10)]
    return sum(gaussian_light(SHAPE, *centre, flux, 3.0 / 2.355) for centre in centres)


def test_peaks_are_stars():
    assert abs(count_peaks(make_field(stars())) - 30) <= 4


def test_masked_pixels_are_no_peaks():
    masked = np.zeros(SHAPE, bool)
    masked[:, 34:37] = True
    assert abs(count_peaks(make_field(stars(), masked)) - 30) <= 4


def test_noise_on_a_large_galaxy_is_no_crowd():
    """Several hundred of its pixels are local maxima more than ten sigma above the sky."""
    light = gaussian_light(SHAPE, 35.0, 30.0, 400.0 * SIGMA * 2.0 * np.pi * 12.0**2, 12.0)
    assert count_peaks(make_field(light)) <= 12


@pytest.mark.parametrize("region", [(30, 60), (60, 30)])
def test_room_is_that_of_the_image_not_of_a_square(region):
    """For 36 sources expected; a square as wide would need more slots than one window may have."""
    windows = choose_windows(32, [15], region, [Alignment(np.eye(2, 3))], 0.02)
    assert windows.interior > 60
    assert 36 + 3 * 6 <= windows.point_slots <= 64


@pytest.mark.parametrize(("interior", "length"), [(32, 70), (64, 500), (16, 106)])
def test_coverage_is_that_of_placements_at_random(interior, length):
    plan = PassPlan(interior, 20, 16, 16, (), 1, 1)
    rng, covered = np.random.default_rng(1), np.zeros(length)
    count, overhang = plan._num_along(length), plan._overhang_along(length)
    for _ in range(4000):
        shift = rng.integers(length + 2 * overhang - interior - plan.size * (count - 1) + 1)
        for number in range(count):
            first = shift - overhang + plan.size * number
            covered[max(first, 0) : max(first + interior, 0)] += 1.0 / 4000
    assert covered.max() <= 1.0 + 1e-9
    # Four standard errors of the mean.
    assert plan.coverage(length) == pytest.approx(covered.mean(), abs=4.0 * 0.3 / 4000**0.5)


@pytest.mark.parametrize("side", [60, 150, 400])
def test_every_extended_source_is_visited_often(side):
    light = np.zeros((side, side))
    light[5::30, 5::30] = 500.0
    data = light + np.random.default_rng(3).normal(0.0, 1.0, light.shape)
    image = Image.from_arrays(data, np.ones(data.shape), psf=PSF.gaussian(3.0, 21))
    layout = build_layout(image, Prior.from_image(image), SamplerSettings(), 4)
    visits = [
        plan.passes * np.prod([plan.coverage(layout.region_pixels(axis)) for axis in (0, 1)])
        for plan in layout.plans
        if plan.extended_slots and plan.num_hmc and np.isinf(plan.largest)
    ]
    assert visits
    assert min(visits) >= 0.9 * VISITS
