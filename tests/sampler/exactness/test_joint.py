"""Several images at once: exact in every move, and images mean what they should."""

import dataclasses

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat import PSF, InputError, Prior, condense, sample, simulate_image
from probcat.image.alignment import align_images, image_labels
from probcat.model.prior.colour_guess import guess_colours
from probcat.pixels.model_image import posterior_model
from probcat.sampler.moves import MOVES
from tests.builders import tan_wcs
from tests.sampler.exactness.harness import (
    ALL_MOVES,
    COMMON_MOVES,
    advance_by,
    check_running_residuals,
    compare_with_prior,
    exact_state,
    make_joint,
    make_prior,
    make_work,
)

LEAST_P = 1e-6
PRIOR = {
    "colours": dist.Normal(np.array([0.4], np.float32), np.array([0.5], np.float32)),
    "background": (dist.Normal(5.0, 2.0), dist.Normal(1.0, 1.0), 3.0),
}
RARE = {"galaxy_to_stars", "refit_two_stars", "refit_star_and_galaxy"}
"""Moves that most draws of the prior give no pair to."""
WORK = {name: make_work([name], 2) for name in MOVES}
WORK["hmc"] = make_work([], 4, with_hmc=True)
WORK["all"] = make_work(ALL_MOVES, 4, with_hmc=True, with_shared=True)
WORK_OF_COMMON = make_work(COMMON_MOVES, 4, with_hmc=True, with_shared=True)


def run_moves(work, weight, num_chains, moves=ALL_MOVES):
    prior = make_prior(**PRIOR)
    layout, scene = make_joint((), 1, num_chains, weight, prior, shared=moves)
    start = exact_state(jax.random.key(11), scene, layout)
    end = advance_by(work, jax.random.key(12), start, scene, layout)
    check_running_residuals(start, end, scene, layout, 1e-3)
    moves = np.asarray(end.sample.moves).sum(axis=(0, 2))
    return compare_with_prior(end, scene, layout), moves


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 0.05], ids=["prior_only", "with_data"])
@pytest.mark.parametrize("name", list(WORK))
def test_every_move_leaves_the_joint_unchanged(name, weight):
    p_values, moves = run_moves(WORK[name], weight, 1000)
    if name != "hmc":
        assert moves[..., 1].sum() > (5 if name in RARE else 20)
    assert min(p_values.values()) > LEAST_P, p_values


@pytest.mark.parametrize("weight", [0.0, 0.05], ids=["prior_only", "with_data"])
def test_common_moves_leave_the_joint_unchanged(weight):
    p_values, _ = run_moves(WORK_OF_COMMON, weight, 400, COMMON_MOVES)
    assert min(p_values.values()) > LEAST_P, p_values


STARS = {
    "x": np.array([9.3, 12.1, 24.6, 20.2, 5.5]),
    "y": np.array([8.8, 10.4, 21.7, 6.1, 24.9]),
    "flux": np.array([3000.0, 1800.0, 2500.0, 900.0, 1500.0]),
}
COLOURS = np.array([0.3, -0.2, 0.6, 0.1, 0.45])


def observe(wcs, shape, psf, noise, band, seed, reference):
    """The stars as another image sees them."""
    x, y = wcs.world_to_pixel(reference.pixel_to_world(STARS["x"], STARS["y"]))
    flux = STARS["flux"] * (np.exp(COLOURS) if band == "i" else 1.0)
    made = simulate_image(
        {"x": x, "y": y, "flux": flux}, psf, shape, jax.random.key(seed), noise=noise
    )
    return dataclasses.replace(made.image, wcs=wcs, band=band, zero_point=27.0, name=f"{band}.fits")


@pytest.fixture(scope="module")
def two_images():
    first = tan_wcs(0.2, 0.0, [16.0, 16.0])
    other = tan_wcs(0.15, 0.5, [26.0, 25.0])
    return [
        observe(first, (30, 32), PSF.moffat(3.0, 3.0, size=15), 6.0, "r", 1, first),
        observe(other, (50, 52), PSF.moffat(3.4, 3.0, size=17), 4.0, "i", 2, first),
    ]


@pytest.mark.slow
def test_two_bands_give_both_fluxes(two_images):
    prior = Prior.from_image(two_images, extended_fraction=0.0)
    samples = sample(
        two_images, prior, rng_key=3, num_warmup=100, num_samples=60, progress_bar=False
    )
    assert samples.num_sources.mean() < 6.0
    catalog = condense(samples)
    for name, truth in (("flux", STARS["flux"]), ("flux_i", STARS["flux"] * np.exp(COLOURS))):
        for x, y, flux in zip(STARS["x"], STARS["y"], truth, strict=True):
            row = np.argmin(np.hypot(catalog["x"] - x, catalog["y"] - y))
            assert catalog["prob_exist"][row] > 0.9
            # Ten numbers, five sigma: a false alarm in 2e5.
            assert abs(catalog[name][row] - flux) < 5.0 * catalog[f"{name}_err"][row]
    table = catalog.to_table(two_images)
    np.testing.assert_allclose(table["mag_i"], 27.0 - 2.5 * np.log10(catalog["flux_i"]))
    for image, model in zip(two_images, posterior_model(samples, two_images), strict=True):
        chi2 = np.nanmean(model.residual**2)
        assert abs(chi2 - 1.0) < 5.0 * np.sqrt(2.0 / image.data.size)


def test_images_that_do_not_go_together_are_refused(two_images):
    first, second = two_images
    far = tan_wcs(0.15, 0.5, [26.0, 2500.0])
    replace = dataclasses.replace
    for images, message in (
        ([first, replace(second, wcs=None)], "i.fits: has no WCS"),
        ([first, replace(second, wcs=far)], "does not overlap"),
        ([first, replace(second, band="")], "has no band"),
        ([first, replace(second, band="r", zero_point=None)], "has no zero point"),
        ([replace(first, wcs=None), replace(second, wcs=None)], "share one pixel grid"),
    ):
        with pytest.raises(InputError, match=message):
            align_images(images)


def test_zero_points_set_the_gain_of_exposures(two_images):
    first, second = two_images
    links = align_images([first, dataclasses.replace(second, band="r", zero_point=28.0), second])
    assert [link.band for link in links] == [0, 0, 1]
    np.testing.assert_allclose(links[1].flux_factor, 10.0**0.4)
    np.testing.assert_allclose(links[1].scale, 0.2 / 0.15, rtol=1e-5)
    assert image_labels([first, second, second]) == ["r", "i1", "i2"]


def test_colours_are_guessed_from_bright_peaks(two_images):
    mean, scatter = guess_colours(two_images, align_images(two_images), [0.0, 0.0])
    assert mean.shape == scatter.shape == (1,)
    # With so few peaks it is the ratio of all light on the same area.
    flux = STARS["flux"]
    area = (50 * 52) * (0.15 / 0.2) ** 2 / (30 * 32)
    ratio = np.log(np.sum(flux * np.exp(COLOURS)) / np.sum(flux) / area)
    assert abs(mean[0] - ratio) < 0.2
