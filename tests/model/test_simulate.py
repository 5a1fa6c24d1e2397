"""Simulated images: rendering, noise, and draws from the prior."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat.errors import InputError
from probcat.model.prior.prior import Prior
from probcat.model.simulate import draw_sources, render_light, simulate_image
from probcat.psf.psf import PSF

PSF_ = PSF.moffat(3.0, 3.5)


def make_prior(extended_fraction=0.5):
    return Prior(
        flux=dist.Pareto(50.0, 1.0),
        half_light_radius=dist.Uniform(1.0, 4.0),
        ellipticity=dist.Uniform(0.0, 0.6),
        sersic_n=dist.Uniform(0.6, 5.0),
        expected_sources=dist.Gamma(400.0, 4.0),
        extended_fraction=extended_fraction,
        background=0.0,
    )


def test_light_of_every_source_holds_its_flux_at_its_place():
    sources = {
        "x": np.array([30.3, 20.0]),
        "y": np.array([25.6, 31.2]),
        "flux": np.array([100.0, 200.0]),
        "is_extended": np.array([False, True]),
        "half_light_radius": np.array([np.nan, 2.0]),
        "ellipticity_1": np.array([np.nan, 0.3]),
        "ellipticity_2": np.array([np.nan, -0.2]),
        "sersic_n": np.array([np.nan, 1.0]),
    }
    light = render_light(sources, PSF_, (60, 64))
    y, x = np.indices((60, 64))
    total = light.sum(axis=(1, 2))
    np.testing.assert_allclose(total, sources["flux"], rtol=5e-3)
    np.testing.assert_allclose((light * x).sum(axis=(1, 2)) / total, sources["x"], atol=0.02)
    np.testing.assert_allclose((light * y).sum(axis=(1, 2)) / total, sources["y"], atol=0.02)


def test_noise_is_what_was_asked_for():
    sources = {"x": [20.0], "y": [20.0], "flux": [1e4]}
    made = simulate_image(
        sources, PSF_, (100, 120), jax.random.key(1), noise=3.0, background=10.0, gain=2.0
    )
    pull = (made.image.data - made.light.sum(axis=0) - 10.0) / np.sqrt(made.image.variance)
    # 12,000 pixels: mean +- 0.009, standard deviation +- 0.0065; five sigma.
    assert abs(pull.mean()) < 0.046
    assert abs(pull.std() - 1.0) < 0.033
    peak = made.light[0].max()
    np.testing.assert_allclose(made.image.variance.max(), 9.0 + peak / 2.0, rtol=1e-5)


def test_light_need_not_be_kept():
    sources = {"x": [20.0, 39.0, 90.0], "y": [20.0, 3.0, 20.0], "flux": [1e4, 300.0, 1e3]}
    made = [
        simulate_image(sources, PSF_, (30, 40), jax.random.key(1), noise=3.0, keep_light=keep)
        for keep in (True, False)
    ]
    np.testing.assert_array_equal(made[0].image.data, made[1].image.data)
    assert made[0].light.shape == (3, 30, 40)
    assert made[1].light.shape == (0, 30, 40)
    assert not made[0].light[2].any()
    dx, dy = np.arange(40) - 39.0, np.arange(30) - 3.0
    np.testing.assert_allclose(made[0].light[1], 300.0 * PSF_.evaluate_grid(dx, dy), atol=1e-4)


def test_sources_follow_the_prior():
    counts, fluxes, shares = [], [], []
    for seed in range(20):
        sources = draw_sources(make_prior(0.3), jax.random.key(seed), (50, 80))
        counts.append(len(sources["x"]))
        fluxes.append(sources["flux"])
        shares.append(sources["is_extended"])
        assert np.all((sources["x"] >= -0.5) & (sources["x"] <= 79.5))
        assert np.all((sources["y"] >= -0.5) & (sources["y"] <= 49.5))
        assert np.all(np.isfinite(sources["sersic_n"]) == sources["is_extended"])
    # Counts have mean 100 and variance 100 + 25; five sigma on each mean.
    assert abs(np.mean(counts) - 100.0) < 5.0 * np.sqrt(125.0 / 20.0)
    median = np.median(np.concatenate(fluxes))
    assert abs(median - 100.0) < 5.0 * 200.0 / (2.0 * np.sqrt(np.sum(counts)))
    share = np.mean(np.concatenate(shares))
    assert abs(share - 0.3) < 5.0 * np.sqrt(0.21 / np.sum(counts))


def test_same_key_same_image():
    images = [
        simulate_image(make_prior(), PSF_, (24, 24), jax.random.key(3), noise=1.0, num_sources=4)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(images[0].image.data, images[1].image.data)
    assert len(images[0].sources["x"]) == 4


@pytest.mark.parametrize(
    ("sources", "noise", "message"),
    [
        ({"x": [1.0], "y": [1.0]}, 1.0, "no flux"),
        ({"x": [1.0], "y": [1.0], "flux": [1.0]}, 0.0, "noise is 0.0; it must be above zero"),
        ({"x": [1.0], "y": [1.0], "flux": [1.0, 2.0]}, 1.0, "2 values of flux but 1 of x"),
        (
            {"x": [1.0], "y": [1.0], "flux": [1.0], "is_extended": [True]},
            1.0,
            "need half_light_radius",
        ),
    ],
)
def test_bad_sources_are_refused(sources, noise, message):
    with pytest.raises(InputError, match=message):
        simulate_image(sources, PSF_, (20, 20), jax.random.key(0), noise=noise)
