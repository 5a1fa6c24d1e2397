"""Several exposures of one band: they add up, and their offsets and scales are found."""

import dataclasses

import jax
import numpy as np
import pytest

from probcat import PSF, Image, Prior, SamplerSettings, sample, simulate_image
from probcat.model.prior.parameters import UNCERTAIN_PSF
from probcat.samples.chains import import_arviz

STARS = {
    "x": np.array([9.3, 12.4, 22.6, 20.2, 5.5]),
    "y": np.array([8.8, 10.4, 21.7, 6.1, 22.9]),
    "flux": np.array([3000.0, 1800.0, 2500.0, 900.0, 1500.0]),
}
SHAPE = (28, 29)
NOISE = 6.0
PSF_2_PX = PSF.moffat(2.8, 3.0, size=15)
GIVEN = {"extended_fraction": 0.0, "background": 0.0, "flux_min": 150.0, "flux_max": 1e5}
SETTINGS = SamplerSettings(passes=4, checkpoint_interval=20)
COUNTS = {"num_warmup": 80, "num_samples": 160, "settings": SETTINGS, "progress_bar": False}


def exposure(data, sigma, name):
    variance = np.full(SHAPE, sigma**2, np.float32)
    return Image.from_arrays(data, variance, psf=PSF_2_PX, band="r", zero_point=25.0, name=name)


def error_of_mean(values):
    """Mean of a quantity (chain, draw) and its Monte Carlo error."""
    import xarray as xr

    coords = {"chain": np.arange(values.shape[0]), "draw": np.arange(values.shape[1])}
    data = xr.Dataset({"v": (("chain", "draw"), np.asarray(values, float))}, coords=coords)
    ess = float(import_arviz().ess(data)["v"])
    return float(values.mean()), float(values.std() / np.sqrt(max(ess, 4.0)))


@pytest.mark.slow
def test_two_exposures_of_half_the_depth_are_one_of_full_depth():
    made = simulate_image(STARS, PSF_2_PX, SHAPE, jax.random.key(4), noise=NOISE).image
    split = np.random.default_rng(5).normal(0.0, NOISE, SHAPE)
    halves = [made.data + split, made.data - split]
    whole = exposure(made.data, NOISE, "whole")
    two = [
        exposure(data, np.sqrt(2.0) * NOISE, name)
        for data, name in zip(halves, ("a", "b"), strict=True)
    ]
    found = []
    for images in ([whole], two):
        prior = Prior.from_image(images, **GIVEN, offset_scatter=0.0, flux_scale_scatter=0.0)
        samples = sample(images, prior, rng_key=3, **COUNTS)
        flux = np.where(samples.sources["active"], samples.sources["flux"], 0.0)
        brightest = np.sort(flux, axis=-1)[..., -5:]
        found.append(
            [samples.scalars["num_sources"], samples.scalars["total_flux"]]
            + [brightest[..., k] for k in range(5)]
        )
    for pair in zip(*found, strict=True):
        for one, other in (pair, tuple((values - values.mean()) ** 2 for values in pair)):
            (mean, error), (mean_2, error_2) = error_of_mean(one), error_of_mean(other)
            # Means and variances of seven numbers, five sigma: a false alarm in 1e5; the floor is
            # for N that never moves.
            assert abs(mean - mean_2) < 5.0 * np.hypot(error, error_2) + 0.02


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(UNCERTAIN_PSF, id="uncertain_psf"),
        pytest.param({}, id="known_psf", marks=pytest.mark.slow),
    ],
)
def test_offset_and_scale_of_an_exposure_are_found(options):
    shift, scale = (0.22, -0.13), 1.03
    moved = {"x": STARS["x"] + shift[0], "y": STARS["y"] + shift[1], "flux": STARS["flux"] * scale}
    images = []
    for seed, stars in enumerate((STARS, moved)):
        image = simulate_image(stars, PSF_2_PX, SHAPE, jax.random.key(seed), noise=NOISE).image
        images.append(dataclasses.replace(image, band="r", zero_point=25.0, name=f"{seed}"))
    prior = Prior.from_image(
        images, **GIVEN, **options, offset_scatter=0.2, flux_scale_scatter=0.05
    )
    samples = sample(images, prior, rng_key=3, **COUNTS)
    for name, truth in (("offset_x", shift[0]), ("offset_y", shift[1]), ("flux_scale", scale)):
        values = samples.scalars[f"{name}_r2"]
        # Six numbers, five sigma: a false alarm in 3e5.
        assert abs(values.mean() - truth) < 5.0 * values.std(), name
        assert values.std() < 0.03, name
