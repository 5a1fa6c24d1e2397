"""Room in windows and catalogs follows from peaks, and noise on a galaxy is none."""

import numpy as np
import pytest

from probcat import PSF, Image
from probcat.image.alignment import Alignment
from probcat.image.peaks import count_peaks
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
