"""What a run says of its prior before it starts."""

import dataclasses
import re

import jax
import pytest

from probcat import PSF, Prior, simulate_image
from probcat.model.prior.describe import describe_images, describe_prior

SOURCES = {"x": [10.0, 21.5], "y": [12.0, 8.25], "flux": [900.0, 600.0]}


@pytest.fixture(scope="module")
def image():
    made = simulate_image(
        SOURCES, PSF.moffat(3.0, 3.5), (32, 30), jax.random.key(0), noise=2.0, unit="adu", band="r"
    )
    return dataclasses.replace(made.image, name="r.fits")


def described(images, **given):
    prior = Prior.from_image(images, **given)
    return prior.to_config(), describe_prior(prior.to_config(), given, images)


def test_defaults_say_that_they_are_of_the_image(image):
    values, lines = described([image])
    assert len(lines) == 3
    assert f"flux {values['flux_min']:.4g} to {values['flux_max']:.4g} adu (from the im" in lines[0]
    assert "s = 2 +- 0.5 (default); p(N) ~ exp(-1.5 N) for N sources (default)" in lines[0]
    assert "extended fraction ~ Beta(1, 1) (default)" in lines[1]
    assert f"half-light radius {values['half_light_radius_median']:.3g} px" in lines[1]
    assert f"background {values['background_mean']:.4g} +- " in lines[2]
    assert lines[2].endswith("per pixel (from the image)")
    assert describe_images([image]) == []


def test_given_values_say_that_they_are_given(image):
    _, lines = described(
        [image],
        flux_min=55.5,
        flux_slope=1.75,
        expected_sources=12.0,
        extended_fraction=0.0,
        background=3.25,
    )
    assert "flux 55.5 (given) to" in lines[0]
    assert "~ flux^-1.75 (given); 12 sources expected (given)" in lines[0]
    assert lines[1] == "prior: point sources alone (given)"
    assert lines[2] == "prior: background 3.25 per pixel (given)"
    _, lines = described([image], extended_fraction=0.3, half_light_radius_min=0.5)
    assert "extended fraction 0.3 (given)" in lines[1]
    assert "0.5 to" in lines[1]
    assert "(from the image and given)" in lines[1]
    assert "extended sources alone" in described([image], extended_fraction=1.0)[1][1]


def test_several_images_have_levels_and_colours_of_their_own(image):
    again = dataclasses.replace(image, name="again.fits")
    other = dataclasses.replace(image, name="i.fits", band="i")
    images = [image, again, other]
    values, lines = described(images, colour_mean=0.25)
    for label, mean in zip(("r1", "r2", "i"), values["background_mean"], strict=True):
        assert f"{label} {mean:.4g} +- " in lines[2]
    assert "ln of flux ratios i/r 0.25 +- " in lines[2]
    assert lines[2].endswith("(given and from the images)")
    (line,) = describe_images(images)
    assert line.startswith("3 images in 2 bands: r (r.fits, again.fits); i (i.fits)")
    nameless = [dataclasses.replace(one, band="") for one in images]
    assert "3 images in 1 band: without a name (" in describe_images(nameless)[0]


def test_origins_can_be_left_out(image):
    """Without them the lines are the same but for what stands in brackets."""
    images = [image, dataclasses.replace(image, name="i.fits", band="i")]
    given = {"flux_min": 55.5, "psf_error_floor": 0.01, "background_model": "plane"}
    prior = Prior.from_image(images, **given)
    lines = describe_prior(prior.to_config(), given, images)
    plain = describe_prior(prior.to_config(), None, images)
    brackets = r" \((given|default|from the images)( and (given|default|from the images))*\)"
    assert plain == [re.sub(brackets, "", line) for line in lines]
    assert plain != lines
