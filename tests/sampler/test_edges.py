"""Sources whose centres lie outside the image."""

import jax
import numpy as np

from probcat import PSF, Prior, SamplerSettings, condense, sample, simulate_image

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
