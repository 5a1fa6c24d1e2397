"""The start of warm-up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probcat import PSF, InputError, Prior, SamplerSettings, simulate_image
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.kernel import CatalogKernel
from probcat.sampler.warmup.tempering import (
    DENSITY_PENALTY,
    FRACTION,
    FRACTION_OF_STARS,
    MAX_START_BETA,
    START_SIGNAL,
    default_start_beta,
    fraction_of_warmup,
    plan_warmup,
)


def star(flux, seed=1):
    psf = PSF.gaussian(3.0)
    sources = {"x": [20.0], "y": [18.0], "flux": [flux]}
    return simulate_image(sources, psf, (40, 44), jax.random.key(seed), noise=1.0).image


def test_brightest_object_starts_faint():
    image = star(2e4)
    grid = np.arange(-8.0, 9.0)
    signal_square = 2e4**2 * np.sum(image.psf.evaluate_grid(grid, grid) ** 2)
    # The box holds all but the wings of a Gaussian.
    expected = START_SIGNAL**2 / signal_square
    assert default_start_beta([image]) == pytest.approx(expected, rel=0.05)
    # Two exposures of one band hold twice the information; those of another band do not add.
    assert default_start_beta([image, star(2e4, 2)]) == pytest.approx(expected / 2.0, rel=0.05)


def test_faint_images_and_stars_alone_start_warmest():
    assert default_start_beta([star(30.0)]) == MAX_START_BETA
    assert default_start_beta([star(2e4)], with_extended=False) == MAX_START_BETA


def test_bad_temperature_is_refused():
    with pytest.raises(InputError, match=r"start_beta = 1.5; it must be in \[0, 1\]"):
        SamplerSettings(start_beta=1.5)


def test_galaxies_are_tempered_longer_than_stars():
    assert fraction_of_warmup(SamplerSettings().tempering_fraction, True) == FRACTION
    assert (
        fraction_of_warmup(SamplerSettings().tempering_fraction, False)
        == FRACTION_OF_STARS
        < FRACTION
    )
    assert fraction_of_warmup(0.2, True) == fraction_of_warmup(0.2, False) == 0.2
    with pytest.raises(InputError, match=r"tempering_fraction = 1.5; it must be at most 1"):
        SamplerSettings(tempering_fraction=1.5)


def test_reluctance_is_over_when_the_likelihood_is_whole():
    layout = Layout((20, 20), 10, 1.0, 8, 8, (), 4, 2)
    kernel = CatalogKernel(layout, 5, num_warmup=100, tempering_fraction=0.5, density_penalty=3.0)
    progress = [float(kernel._progress(jnp.int32(i))) for i in (0, 25, 50, 99, 200)]
    assert progress == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert kernel != CatalogKernel(layout, 5, num_warmup=100, tempering_fraction=0.5)


def crowd(number, side=44):
    """Image of stars of one flux."""
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0.0, side, (2, number))
    sources = {"x": x, "y": y, "flux": np.full(number, 2e3)}
    return simulate_image(
        sources, PSF.gaussian(3.0), (side, side), jax.random.key(1), noise=1.0
    ).image


def test_crowded_fields_start_with_stars_alone():
    dense, loose = crowd(80), crowd(4)
    warmups = [
        plan_warmup([image], Prior.from_image(image), SamplerSettings()) for image in (dense, loose)
    ]
    assert [warmup.points_alone > warmup.fraction for warmup in warmups] == [True, False]
    assert [warmup.fraction for warmup in warmups] == [FRACTION_OF_STARS, FRACTION]
    assert [warmup.density_penalty for warmup in warmups] == [0.0, DENSITY_PENALTY]
    assert warmups[0].start_beta == MAX_START_BETA
    given = SamplerSettings(start_beta=0.02, tempering_fraction=0.3)
    warmup = plan_warmup([dense], Prior.from_image(dense), given)
    assert (warmup.start_beta, warmup.fraction) == (0.02, 0.3)
