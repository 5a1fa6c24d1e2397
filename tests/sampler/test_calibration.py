"""What images have of their own: noise of the model, backgrounds, offsets, flux scales."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat.model.pixel_noise import (
    fisher_information,
    log_density,
    pixel_log_likelihood_change,
    score,
    variance,
)
from probcat.sampler.moves import MOVES
from probcat.sampler.scene.calibration import plane_noise
from tests.sampler.exactness.harness import (
    ALL_MOVES,
    advance,
    compare_with_prior,
    exact_state,
    make_joint,
    make_layout,
    make_prior,
    make_scene,
    render_chain,
)

# About 40 p values a test and 8 tests.
LEAST_P = 1e-4 / (40 * 8)
WIDTH = {"psf_width_change": dist.Normal(0.0, 0.03)}
NOISE = {"psf_error_floor": dist.HalfNormal(0.1), "noise_scale": dist.LogNormal(0.0, 0.2)}
PLACE = {"offset": dist.Normal(0.0, 0.15), "flux_scale": dist.Normal(1.0, 0.1)}
PHOTON = 0.2
WEIGHT = 0.07


def check_joint(layout, scene, passes=4):
    start = exact_state(jax.random.key(11), scene, layout)
    end = advance(jax.random.key(12), start, scene, layout, passes, with_globals=True)
    assert not np.asarray(end.sample.overflow).any()
    p_values = compare_with_prior(end, scene, layout)
    assert min(p_values.values()) > LEAST_P, p_values
    return start, end


SOME_MOVES = ("birth_death_point", "split_merge", "companion_extended", "absorb_point", "retype")


@pytest.mark.parametrize(
    ("moves", "weight"),
    [
        pytest.param(SOME_MOVES, WEIGHT, id="some-with_data"),
        pytest.param(ALL_MOVES, WEIGHT, id="all-with_data", marks=pytest.mark.slow),
        pytest.param(ALL_MOVES, 0.0, id="all-prior_only", marks=pytest.mark.slow),
    ],
)
def test_noise_of_the_model_leaves_the_joint_unchanged(moves, weight):
    layout = make_layout(moves * (2 if moves is SOME_MOVES else 1), 1, num_chains=400)
    prior = make_prior(**NOISE, **WIDTH, background_model=("plane",))
    scene = make_scene(layout, prior, weight, photon=PHOTON)
    start, end = check_joint(layout, scene)
    assert np.mean(end.sample.hmc_acceptance) > 0.3
    for name in NOISE:
        moved = np.asarray(getattr(end.sample, name) != getattr(start.sample, name))
        assert moved.mean() > 0.5, name
    tried, accepted = np.moveaxis(np.asarray(end.sample.moves).sum(axis=(0, 2)), -1, 0)
    # Refits are rarely accepted without data; they are tested alone elsewhere.
    counted = tried.sum(axis=1) > 0
    for name in ("refit_two_stars", "refit_star_and_galaxy"):
        counted[list(MOVES).index(name)] = False
    assert accepted.sum(axis=1)[counted].min() > 0


@pytest.mark.slow
def test_trajectories_in_noise_of_the_model_leave_the_joint_unchanged():
    layout = make_layout([], 2, num_chains=600)
    scene = make_scene(layout, make_prior(**NOISE), WEIGHT, photon=PHOTON)
    _, end = check_joint(layout, scene)
    assert np.mean(end.sample.hmc_acceptance) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("noise", [NOISE, {}], ids=["of_the_model", "given"])
def test_offsets_and_flux_scales_leave_the_joint_unchanged(noise):
    moves = ["birth_death_point", "retype"]
    colours = dist.Normal(jnp.array([0.3]), jnp.array([0.5]))
    models = ("level", "mesh", "plane") if noise else ("level",)
    prior = make_prior(
        background=(dist.Normal(5.0, 2.0),) * 3,
        background_model=models,
        background_mesh=12.0,
        colours=colours,
        **noise,
        **PLACE,
        **WIDTH,
    )
    photon = PHOTON if noise else 0.0
    layout, scene = make_joint(moves, 1, 300, WEIGHT, prior, photon=photon)
    start, end = check_joint(layout, scene, passes=3)
    offset, scale = (np.asarray(getattr(end.sample, name)) for name in PLACE)
    moved = np.any(offset != np.asarray(start.sample.offset), axis=-1)
    assert not moved[:, 0].any()
    assert moved[:, 1:].mean() > 0.5
    # The second image has a band of its own, the third is another one of the first band.
    assert np.all(scale[:, :2] == 1.0)
    assert np.mean(scale[:, 2] != np.asarray(start.sample.flux_scale)[:, 2]) > 0.5
    models = jax.jit(jax.vmap(lambda draw: render_chain(scene, layout, draw)))(end.sample)
    for light, residual, model, weight in zip(
        end.sky_subtracted, end.residual, models, scene.weight, strict=True
    ):
        seen = np.asarray(weight) > 0
        error = np.abs(np.asarray(light - residual - model))[:, seen]
        assert error.max() < 1e-3 / np.sqrt(WEIGHT)


def noise_and_residual():
    """Noise of an image that depends on the model, and a residual, in double precision."""
    with jax.enable_x64(False):
        layout = make_layout([], 0, num_chains=3)
        scene = make_scene(layout, make_prior(**NOISE), WEIGHT, photon=PHOTON)
        state = exact_state(jax.random.key(3), scene, layout)
        draw = jax.tree.map(lambda values: values[0], state.sample)
        planes = plane_noise(scene, draw, state.sky_subtracted[0][0], 0), state.residual[0][0]
    return jax.tree.map(lambda values: jnp.asarray(np.asarray(values), jnp.float64), planes)


def test_log_gain_and_score_are_those_of_the_density():
    with jax.enable_x64(True):
        noise, lower = noise_and_residual()
        rng = np.random.default_rng(1)
        upper = lower - jnp.asarray(rng.exponential(30.0, lower.shape))
        gain = log_density(noise, upper) - log_density(noise, lower)
        np.testing.assert_allclose(
            pixel_log_likelihood_change(noise, lower, upper), gain, rtol=1e-9, atol=1e-9
        )
        step = 1e-4
        slope = log_density(noise, upper - step) - log_density(noise, upper + step)
        found, expected = score(noise, upper), slope / (2.0 * step)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert float(jnp.min(variance(noise, upper) / noise.base)) >= 1.0


def test_information_is_the_mean_square_of_the_score():
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    with jax.enable_x64(True):
        noise, _ = noise_and_residual()
        source = jnp.asarray(np.random.default_rng(1).exponential(30.0, noise.base.shape))
        noise = noise._replace(sky_subtracted=source)
        spread = jnp.sqrt(variance(noise, jnp.zeros_like(source)))
        mean = jnp.zeros_like(source)
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            residual = float(node) * spread
            seen = noise._replace(sky_subtracted=source + residual)
            mean = mean + float(weight) * score(seen, residual) ** 2
        expected = fisher_information(noise, jnp.zeros_like(source))
        np.testing.assert_allclose(mean, expected, rtol=1e-9)


def test_photon_noise_of_the_model_from_gain_and_read_noise():
    from probcat import PSF, Image, InputError, Prior, SamplerSettings, sample, simulate_image

    gain, read_noise, sky = 0.5, 3.0, 40.0
    psf, shape = PSF.moffat(2.8, 3.0, size=15), (24, 25)
    noise = np.sqrt(sky / gain + (read_noise / gain) ** 2)
    stars = {"x": [8.2, 16.4], "y": [9.1, 15.3], "flux": [20000.0, 4000.0]}
    made = simulate_image(
        stars, psf, shape, jax.random.key(1), noise=noise, background=sky, gain=gain
    )
    options = {"psf": psf, "gain": gain, "read_noise": read_noise, "model_variance": True}
    image = Image.from_arrays(made.image.data, **options)
    assert image.photon_variance == pytest.approx(1.0 / gain)
    # The sky is measured, and is no wider than its own noise.
    assert np.sqrt(image.variance[0, 0]) == pytest.approx(noise, rel=0.05)
    assert np.ptp(image.variance) == 0.0
    with pytest.raises(InputError, match="needs a gain"):
        Image.from_arrays(made.image.data, psf=psf, model_variance=True)
    prior = Prior.from_image(image, extended_fraction=0.0)
    samples = sample(
        image,
        prior,
        rng_key=2,
        num_warmup=60,
        num_samples=60,
        settings=SamplerSettings(passes=3, checkpoint_interval=20),
        progress_bar=False,
    )
    assert np.mean(samples.num_sources == 2) > 0.5
    # Five sigma for the mean chi-square of 600 pixels: a false alarm in 2e6.
    assert abs(samples.scalars["chi2_per_pixel"].mean() - 1.0) < 5.0 * np.sqrt(2.0 / 600)
    flux = np.sort(np.where(samples.sources["active"], samples.sources["flux"], 0.0), axis=-1)
    # Photon noise dominates: without it the error would be 0.4 times this.
    expected = np.sqrt(20000.0 / gain + noise**2 * psf.effective_area)
    assert 0.8 < flux[..., -1].std() / expected < 1.4
    assert abs(flux[..., -1].mean() - 20000.0) < 5.0 * expected
