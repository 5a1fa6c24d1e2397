"""The driver: reproducible, resumable, compiled once, honest about its residual."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import MCMC
from scipy import stats

from probcat import PSF, Image, InputError, Prior, sample, simulate_image
from probcat.sampler.checkpoint import Checkpoint
from probcat.sampler.compiled_block import num_compilations
from probcat.sampler.kernel import CatalogKernel
from probcat.sampler.residual import fresh_residual
from probcat.sampler.settings import SamplerSettings
from probcat.sampler.state import initial_state
from tests.sampler.exactness.harness import (
    ALL_MOVES,
    EXTENDED_RADIUS,
    make_layout,
    make_prior,
    make_scene,
)

SETTINGS = SamplerSettings(
    passes=1, extended_passes=1, birth_death=2, split_merge=2, companion=2, checkpoint_interval=3
)
COUNTS = {"num_chains": 2, "num_warmup": 6, "num_samples": 9, "progress_bar": False}


@pytest.fixture(scope="module")
def blend():
    sources = {"x": [9.0, 12.5, 20.0], "y": [10.0, 11.0, 18.2], "flux": [900.0, 500.0, 400.0]}
    psf = PSF.moffat(2.8, 3.0, size=15)
    return simulate_image(
        sources, psf, (28, 30), jax.random.key(3), noise=1.0, background=4.0
    ).image


@pytest.fixture(scope="module")
def points(blend):
    return Prior.from_image(blend, extended_fraction=0.0)


def assert_same(first, second):
    for group in ("sources", "scalars", "stats"):
        for name, values in getattr(first, group).items():
            np.testing.assert_array_equal(values, getattr(second, group)[name], err_msg=name)


def test_same_seed_same_draws_and_no_second_compilation(blend, points):
    first = sample(blend, points, rng_key=5, settings=SETTINGS, **COUNTS)
    compiled = num_compilations()
    second = sample(blend, points, rng_key=5, settings=SETTINGS, **COUNTS)
    other = sample(blend, points, rng_key=6, settings=SETTINGS, **COUNTS)
    assert num_compilations() == compiled
    assert_same(first, second)
    assert np.any(first.scalars["background"] != other.scalars["background"])
    assert first.scalars["num_sources"].shape == (2, 9)


def test_images_of_one_shape_share_a_compilation():
    compiled = []
    for seed, fwhm, flux in ((1, 2.80, 900.0), (2, 2.83, 1300.0), (3, 2.77, 700.0)):
        sources = {"x": [9.0, 12.0 + seed], "y": [10.0, 11.0], "flux": [flux, 500.0]}
        psf, key = PSF.moffat(fwhm, 3.0, size=15), jax.random.key(seed)
        image = simulate_image(sources, psf, (28, 30), key, noise=1.0 + 0.1 * seed).image
        counts = {**COUNTS, "num_warmup": 2, "num_samples": 1}
        prior = Prior.from_image(image, extended_fraction=0.0)
        sample(image, prior, settings=SETTINGS, **counts)
        compiled.append(num_compilations())
    assert len(set(compiled)) == 1


def test_killed_run_goes_on_to_the_same_draws(blend, points, tmp_path, monkeypatch):
    whole = sample(blend, points, rng_key=5, settings=SETTINGS, **COUNTS)
    save, saved = Checkpoint.save, []

    def stop(self, *arguments):
        save(self, *arguments)
        saved.append(1)
        if len(saved) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            sample(blend, points, rng_key=5, settings=SETTINGS, directory=tmp_path, **COUNTS)
    resumed = sample(blend, points, rng_key=5, settings=SETTINGS, directory=tmp_path, **COUNTS)
    assert_same(whole, resumed)
    with pytest.raises(InputError, match="another seed"):
        sample(blend, points, rng_key=6, settings=SETTINGS, directory=tmp_path, **COUNTS)
    wider = dataclasses.replace(blend, psf=PSF.moffat(2.9, 3.0, size=15))
    with pytest.raises(InputError, match="another data, PSF and prior"):
        sample(wider, points, rng_key=5, settings=SETTINGS, directory=tmp_path, **COUNTS)


def test_full_arrays_grow_and_are_reported(blend, points, monkeypatch):
    from probcat.sampler import sample as sampling
    from probcat.sampler.geometry import plan as planning

    build = planning.build_layout

    def tiny(*arguments):
        layout = build(*arguments)
        plans = tuple(
            planning.PassPlan(**{**vars(plan), "point_slots": 2}) for plan in layout.plans
        )
        return type(layout)(**{**vars(layout), "plans": plans, "point_capacity": 2})

    monkeypatch.setattr(sampling, "build_layout", tiny)
    samples = sample(blend, points, rng_key=5, settings=SETTINGS, **COUNTS)
    grown = samples.attrs["grown"]
    assert {"point"} == {event["kind"] for event in grown}
    assert "catalog" in {event["array"] for event in grown}
    assert all(event["draw"] < 15 for event in grown)
    assert len(samples.attrs["notes"]) == len(grown)
    assert samples.scalars["num_sources"].max() >= 3


def test_finds_three_stars(blend, points):
    counts = {**COUNTS, "num_warmup": 60, "num_samples": 60}
    settings = SamplerSettings(checkpoint_interval=10)
    samples = sample(blend, points, rng_key=1, settings=settings, **counts)
    number = samples.scalars["num_sources"]
    # Three stars of at least 50 sigma; the prior allows faint ones at the limit besides.
    assert np.mean(number == 3) > 0.5
    assert number.min() >= 3
    assert abs(samples.scalars["background"].mean() - 4.0) < 0.25
    assert samples.scalars["chi2_per_pixel"].mean() == pytest.approx(1.0, abs=0.2)


def test_prior_only_follows_the_prior(blend):
    prior = Prior.from_image(blend, parsimony=0.2, flux_slope=2.0, extended_fraction=0.0)
    settings = SamplerSettings(
        window_interior=12,
        birth_death=2,
        split_merge=2,
        merge_and_split=0,
        companion=2,
        passes=6,
        checkpoint_interval=20,
        border=0.0,
    )
    samples = sample(
        blend,
        prior,
        rng_key=2,
        settings=settings,
        prior_only=True,
        num_chains=48,
        num_warmup=20,
        num_samples=20,
        progress_bar=False,
    )
    last = samples.scalars["num_sources"][:, -1]
    # p(N) is geometric with ratio exp(-0.2); chains are independent, started empty.
    expected = stats.geom(1.0 - np.exp(-0.2), loc=-1)
    assert abs(last.mean() - expected.mean()) < 4.5 * expected.std() / np.sqrt(len(last))
    active = samples.sources["active"][:, -1]
    flux = samples.sources["flux"][:, -1][active]
    low, high = map(float, prior.flux_limits)
    cdf = (1.0 - low / flux) / (1.0 - low / high)
    assert stats.kstest(cdf, "uniform").pvalue > 1e-5


@pytest.mark.slow
def test_running_residual_equals_a_fresh_render_after_ten_thousand_moves():
    layout = make_layout(ALL_MOVES * 3, 1, num_chains=3, passes=1)
    scene = make_scene(layout, make_prior(), 0.07)
    truth = 40.0 * jax.random.normal(jax.random.key(1), scene.data[0].shape)
    scene = scene._replace(data=(jnp.where(scene.weight[0] > 0, jnp.abs(truth), 0.0),))
    kernel = CatalogKernel(layout, EXTENDED_RADIUS)
    state = initial_state(jax.random.key(2), scene, layout)
    residual = scene.data[0][None] - state.sample.background[:, :, None]
    state = state._replace(residual=(residual,))

    @jax.jit
    def run(state, keys):
        def body(state, key):
            state = kernel.sweep(
                state, key, scene=scene, plan=layout.plans[0], number=0, warming=False
            )
            return state, None

        return jax.lax.scan(body, state, keys)[0]

    # 280 visits of 36 moves and a trajectory a chain: 10,000 steps.
    state = run(state, jax.random.split(jax.random.key(3), 280))
    assert float(state.sample.points.active.sum()) > 3
    for chain in range(3):
        draw = jax.tree.map(lambda values, chain=chain: values[chain], state.sample)
        (fresh,) = fresh_residual(draw, scene, layout, EXTENDED_RADIUS)
        error = jnp.abs(fresh - state.residual[0][chain]) * jnp.sqrt(scene.weight[0])
        assert float(error.max()) < 1e-3


def test_kernel_runs_under_the_numpyro_driver():
    layout = make_layout(["birth_death_point"] * 2, 1, num_chains=2)
    scene = make_scene(layout, make_prior(), 0.07)
    mcmc = MCMC(
        CatalogKernel(layout, EXTENDED_RADIUS),
        num_warmup=2,
        num_samples=3,
        num_chains=2,
        chain_method="vectorized",
        progress_bar=False,
        jit_model_args=True,
    )
    mcmc.run(jax.random.key(0), scene)
    draws = mcmc.get_samples(group_by_chain=True)
    assert draws.mu.shape == (2, 3)
    assert draws.points.marks.shape == (2, 3, layout.point_capacity, 3)


def test_all_masked_is_refused(points):
    image = Image.from_arrays(
        np.zeros((20, 20), np.float32),
        np.ones((20, 20), np.float32),
        mask=np.zeros((20, 20), bool),
        psf=PSF.gaussian(2.5),
    )
    hidden = dataclasses.replace(image, mask=np.ones((20, 20), bool))
    with pytest.raises(InputError, match="no pixel has weight"):
        sample(hidden, points, **COUNTS)
