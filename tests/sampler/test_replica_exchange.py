"""Tempered chains exchange catalogs with the right probability, and change no posterior."""

import jax
import jax.numpy as jnp
import numpy as np

from probcat import PSF, Prior, sample, simulate_image
from probcat.sampler.geometry.layout import ladder
from probcat.sampler.replica_exchange import coldest, exchange
from probcat.sampler.settings import SamplerSettings
from probcat.sampler.state import MOVE_NAMES, initial_state
from tests.sampler.exactness.harness import make_layout, make_prior, make_scene


def pairs(num_pairs, beta, log_likelihood):
    layout = make_layout([], 0, num_chains=2 * num_pairs)
    scene = make_scene(layout, make_prior(), 0.07)
    state = initial_state(jax.random.key(0), scene, layout)
    draw = state.sample._replace(
        beta=jnp.tile(jnp.asarray(beta, jnp.float32), num_pairs),
        log_likelihood=jnp.tile(jnp.asarray(log_likelihood, jnp.float32), num_pairs),
        mu=jnp.arange(2 * num_pairs, dtype=jnp.float32),
    )
    return state._replace(sample=draw)


def test_exchange_has_the_metropolis_probability():
    number = 20000
    start = pairs(number, [1.0, 0.4], [-3.0, -4.5])
    end = jax.jit(exchange, static_argnums=2)(jax.random.key(1), start, 2)
    mu = np.asarray(end.sample.mu).reshape(-1, 2)
    swapped = mu[:, 0] > mu[:, 1]
    expected = np.exp((1.0 - 0.4) * (-4.5 + 3.0))
    # Four and a half standard deviations: false alarms below 1e-5.
    assert abs(swapped.mean() - expected) < 4.5 * np.sqrt(expected * (1 - expected) / number)
    assert np.array_equal(np.sort(mu, axis=1).ravel(), np.arange(2 * number))
    np.testing.assert_array_equal(end.sample.beta, start.sample.beta)
    lnl = np.asarray(end.sample.log_likelihood).reshape(-1, 2)
    assert np.all(np.where(swapped, lnl[:, 0] == -4.5, lnl[:, 0] == -3.0))
    counts = np.asarray(end.sample.moves)[:, MOVE_NAMES.index("exchange")].sum(axis=(0, 1, 2))
    assert counts.tolist() == [number, swapped.sum()]


def test_a_better_fit_always_goes_to_the_colder_chain():
    end = exchange(jax.random.key(1), pairs(50, [1.0, 0.4], [-9.0, -2.0]), 2)
    assert np.all(np.asarray(coldest(end.sample, 2).log_likelihood) == -2.0)


def test_ladder_is_geometric():
    np.testing.assert_allclose(ladder(3, 0.25), [1.0, 0.5, 0.25])
    assert ladder(1, 0.25) == (1.0,)


def test_tempered_chains_give_the_same_posterior():
    sources = {"x": [8.0, 10.2], "y": [9.0, 9.6], "flux": [120.0, 90.0]}
    psf = PSF.moffat(2.8, 3.0, size=11)
    image = simulate_image(sources, psf, (18, 18), jax.random.key(3), noise=1.5).image
    prior = Prior.from_image(image, extended_fraction=0.0, background=0.0, flux_slope=2.0)
    counts = {"num_chains": 16, "num_warmup": 40, "num_samples": 60, "progress_bar": False}
    found = []
    for number in (1, 3):
        settings = SamplerSettings(
            window_interior=12,
            passes=2,
            border=0.0,
            num_temperatures=number,
            checkpoint_interval=20,
        )
        samples = sample(image, prior, rng_key=number, settings=settings, **counts)
        assert samples.num_chains == 16
        found.append(samples)
    assert "tried_exchange_up" in found[1].stats
    assert found[1].stats["accepted_exchange_up"].sum() > 50
    for name in ("num_sources", "log_likelihood", "total_flux"):
        means = [each.scalars[name].mean(axis=1) for each in found]
        error = np.hypot(*(mean.std(ddof=1) / 4.0 for mean in means))
        # Six standard errors, as they come from 16 chains: false alarms below 1e-4.
        assert abs(means[0].mean() - means[1].mean()) < 6.0 * error + 1e-3
