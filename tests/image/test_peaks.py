"""Crowding of an image, and the width of its largest object."""

import jax
import numpy as np
import pytest
from numpyro.distributions import Distribution

from probcat import PSF, Image, Prior, simulate_image
from probcat.image.peaks import (
    CROWDED,
    count_peaks,
    is_crowded,
    largest_half_light_radius,
)

PSF_FWHM = 3.0


def make_image(radii=(), stars=0, side=90, flux=2e4):
    """Round exponential galaxies on a diagonal, and stars anywhere."""
    rng = np.random.default_rng(4)
    number = len(radii) + stars
    diagonal = np.linspace(0.25, 0.75, max(len(radii), 2))[: len(radii)] * side
    sources = {
        "x": np.append(diagonal, rng.uniform(3, side - 3, stars)),
        "y": np.append(diagonal, rng.uniform(3, side - 3, stars)),
        "flux": np.full(number, flux),
        "is_extended": np.arange(number) < len(radii),
        "half_light_radius": np.append(radii, np.ones(stars)),
        "ellipticity_1": np.zeros(number),
        "ellipticity_2": np.zeros(number),
        "sersic_n": np.ones(number),
    }
    psf = PSF.gaussian(PSF_FWHM)
    made = simulate_image(sources, psf, (side, side), jax.random.key(1), noise=1.0, background=7.0)
    return made.image


def test_radius_of_the_widest_object():
    # The PSF dims the peak, at which the width is measured.
    assert 7.0 < largest_half_light_radius(make_image([3.0, 8.0])) < 12.0
    assert largest_half_light_radius(make_image(stars=4)) < 0.7 * PSF_FWHM


def test_an_empty_image_has_no_object():
    noise = np.random.default_rng(0).normal(0.0, 1.0, (40, 40))
    psf = PSF.gaussian(PSF_FWHM)
    assert largest_half_light_radius(Image.from_arrays(noise, np.ones((40, 40)), psf=psf)) == 0.0


def test_prior_has_room_for_the_widest_object():
    usual, wide = (
        float(Prior.from_image(image).half_light_radius.support.upper_bound)
        for image in (make_image(stars=4), make_image([13.0]))
    )
    assert usual == pytest.approx(3.0 * PSF_FWHM, rel=0.02)
    assert 16.0 < wide <= 45.0


def test_galaxies_are_rare_where_stars_crowd():
    crowded = make_image(stars=300)
    assert float(Prior.from_image(crowded).extended_fraction) == pytest.approx(0.01)
    given = Prior.from_image(crowded, extended_fraction=0.4)
    assert float(given.extended_fraction) == pytest.approx(0.4)
    assert isinstance(Prior.from_image(make_image(stars=4)).extended_fraction, Distribution)


def test_stars_crowd_a_field_and_galaxies_do_not():
    assert is_crowded(make_image(stars=300))
    assert not is_crowded(make_image([3.0] * 5, stars=10))


def test_a_small_cutout_of_few_stars_is_no_crowded_field():
    cutout = make_image(stars=4, side=18)
    assert count_peaks(cutout) * PSF_FWHM**2 > CROWDED * 18**2
    assert not is_crowded(cutout)
