"""Light that reaches beyond the image: centres outside, and PSFs larger than the image."""

import jax
import numpy as np

from probcat import PSF, Image, Prior, SamplerSettings, condense, sample, simulate_image
from probcat.model.simulate import render_light
from probcat.pixels.model_image import posterior_model

SHAPE = (20, 22)
OUTSIDE = {"x": -1.2, "y": 9.6, "flux": 4000.0}
INSIDE = {"x": 13.3, "y": 11.2, "flux": 2500.0}
NEAR_EDGE = 3.0


def run(border):
    sources = {name: [OUTSIDE[name], INSIDE[name]] for name in OUTSIDE}
    made = simulate_image(
        sources, PSF.moffat(3.0, 3.0, size=15), SHAPE, jax.random.key(4), noise=5.0, background=2.0
    )
    prior = Prior.from_image(made.image, extended_fraction=0.0)
    settings = SamplerSettings(
        border=border, checkpoint_interval=20, merge_and_split=0, companion=0, passes=4
    )
    return sample(
        made.image,
        prior,
        rng_key=1,
        settings=settings,
        num_chains=2,
        num_warmup=80,
        num_samples=80,
        progress_bar=False,
    )


def test_star_outside_the_edge_keeps_its_light():
    """Centre 0.7 px beyond the edge, at -0.5: less than the FWHM that the model spans."""
    samples = run(border=-1.0)
    x, y, flux = (samples.sources[name] for name in ("x", "y", "flux"))
    active = samples.sources["active"]
    beyond = active & (x < -0.5)
    assert np.mean(beyond.any(axis=-1)) > 0.99
    # Of the light near the edge next to nothing is owned by sources inside.
    near = active & (x < NEAR_EDGE) & (np.abs(y - OUTSIDE["y"]) < 4.0)
    inside = np.where(near & ~beyond, flux, 0.0).sum() / np.where(near, flux, 0.0).sum()
    assert inside < 0.02
    catalog = condense(samples)
    row = int(np.argmin(np.hypot(catalog["x"] - OUTSIDE["x"], catalog["y"] - OUTSIDE["y"])))
    assert catalog["prob_exist"][row] > 0.95
    for name, truth in OUTSIDE.items():
        # Three numbers, five sigma: a false alarm in 5e5.
        assert abs(catalog[name][row] - truth) < 5.0 * catalog[f"{name}_err"][row]
    # Its centre is not seen: measured 0.08 of the flux.
    assert catalog["flux_err"][row] < 0.15 * OUTSIDE["flux"]
    false = (catalog["x"] > -0.5) & (catalog["x"] < NEAR_EDGE) & (catalog["prob_exist"] > 0.5)
    assert not false.any()


def test_psf_larger_than_the_image_loses_no_light():
    """Wings of 41 px on 20x24 px; another renderer finds the same residual."""
    axis = np.arange(-20.0, 21.0)
    wings = PSF.moffat(3.5, 2.2, size=41).evaluate_grid(axis, axis)
    sources = {"x": [3.3, 18.6], "y": [5.2, 14.8], "flux": [20000.0, 9000.0]}
    psf = PSF.from_pixels(wings)
    key = jax.random.key(1)
    made = simulate_image(sources, psf, (20, 24), key, noise=2.0, background=3.0).image
    image = Image.from_arrays(made.data, made.variance, psf=wings)
    samples = sample(
        image,
        Prior.from_image(image, extended_fraction=0.0),
        settings=SamplerSettings(passes=1, checkpoint_interval=5, merge_and_split=0, companion=0),
        num_chains=2,
        num_warmup=25,
        num_samples=10,
        progress_bar=False,
    )
    for chain in range(2):
        active = samples.sources["active"][chain, -1]
        last = {name: values[chain, -1][active] for name, values in samples.sources.items()}
        # Fluxes have errors of 40 and 30; the priors of positions and fluxes hardly count.
        np.testing.assert_allclose(np.sort(last["flux"])[-2:], [9000.0, 20000.0], atol=250.0)
        light = render_light(last, psf, image.shape).sum(axis=0)
        residual = image.data - light - samples.scalars["background"][chain, -1]
        chi2 = np.mean(residual**2 * image.weight)
        # The low-rank form of the PSF has errors of up to 0.002 of the peak.
        np.testing.assert_allclose(samples.scalars["chi2_per_pixel"][chain, -1], chi2, rtol=0.1)
        assert chi2 < 1.4
    model = posterior_model(samples, image)
    assert np.nanmean(model.residual**2) < 1.4
