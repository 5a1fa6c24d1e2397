"""Convergence diagnostics on chains whose state is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from probcat.samples.diagnostics import diagnose, label_free
from probcat.samples.samples import FLOAT_NAMES, Samples

PRIOR = {"flux_min": 0.5}


def samples_with(log_likelihood, num_active=None, seed=0):
    """Samples whose only moving scalar is given; sources are independent draws."""
    rng = np.random.default_rng(seed)
    dims = (*log_likelihood.shape, 12)
    sources = {name: rng.uniform(1, 2, dims).astype(np.float32) for name in FLOAT_NAMES}
    count = rng.integers(4, 12, dims[:2]) if num_active is None else num_active
    sources["active"] = np.arange(12) < count[..., None]
    sources["is_extended"] = np.zeros(dims, bool)
    fixed = np.full(dims[:2], 3.0)
    return Samples(sources, {"log_likelihood": log_likelihood, "background": fixed})


def test_independent_draws_are_converged():
    rng = np.random.default_rng(1)
    found = diagnose(samples_with(rng.normal(size=(4, 250))))
    assert found.converged
    assert "background" not in found.names
    index = found.names.index("log_likelihood")
    # ESS of 1,000 independent draws has a scatter of about 5 %.
    assert 700 < found.ess[index] < 1300
    assert found.rhat[index] < 1.02
    assert abs(found.drift[index]) < 0.35
    assert "log_likelihood" in str(found)


def test_chains_in_different_places_are_not_converged():
    rng = np.random.default_rng(2)
    chains = rng.normal(size=(4, 250)) + np.array([0, 0, 0, 3.0])[:, None]
    found = diagnose(samples_with(chains))
    assert not found.converged
    assert found.worst_rhat[0] == "log_likelihood"
    assert found.least_ess[0] == "log_likelihood"
    assert any(reason.startswith("log_likelihood: R-hat") for reason in found.reasons)


def test_drifting_chains_are_not_converged():
    rng = np.random.default_rng(3)
    found = diagnose(samples_with(rng.normal(size=(4, 250)) + np.linspace(0, 4, 250)))
    assert found.drift[found.names.index("log_likelihood")] == pytest.approx(2.0 / 1.53, rel=0.1)
    assert any("drift" in reason for reason in found.reasons)


def test_a_single_chain_is_compared_in_halves():
    rng = np.random.default_rng(4)
    steady = rng.normal(size=(1, 600))
    assert diagnose(samples_with(steady)).converged
    jump = steady + 4.0 * (np.arange(600) >= 300)
    assert diagnose(samples_with(jump)).worst_rhat[1] > 1.5


def test_counts_do_not_depend_on_the_order_of_sources():
    rng = np.random.default_rng(5)
    samples = samples_with(rng.normal(size=(2, 10)))
    order = np.argsort(rng.random(samples.sources["active"].shape), axis=-1)
    shuffled = {n: np.take_along_axis(v, order, axis=-1) for n, v in samples.sources.items()}
    samples = replace(samples, attrs={"prior": PRIOR})
    one, other = label_free(samples), label_free(replace(samples, sources=shuffled))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-12)
    flux = samples.sources["flux"].astype(float)
    active = samples.sources["active"]
    cut = 3 * PRIOR["flux_min"]
    soft = stats.norm.cdf(np.log(flux / cut) / 0.2)
    np.testing.assert_allclose(one["num_above_3_flux_min"], np.where(active, soft, 0).sum(-1))
    # No draw reaches the higher cuts.
    assert not {"num_above_10_flux_min", "num_above_30_flux_min"} & one.keys()
    np.testing.assert_allclose(one["total_flux"], np.where(active, flux, 0).sum(-1))


def test_too_few_draws_or_nothing_that_moves_is_said():
    rng = np.random.default_rng(6)
    few = diagnose(samples_with(rng.normal(size=(2, 3))))
    assert few.reasons == ("too few draws to judge",)
    assert few.worst_rhat[0] == "none"
    still = samples_with(np.zeros((2, 10)), num_active=np.zeros((2, 10), int))
    assert diagnose(still).reasons == ("nothing varies between draws",)


NUM_STARS = 40


def field(num_draws, offsets=None, flux_min=5.0):
    """Samples of 4 chains of isolated stars on 80 x 80 pixels, whose fluxes scatter by 5 %.

    The offsets, shape (chain, star), are in units of this scatter.
    """
    rng = np.random.default_rng(0)
    dims = (4, num_draws, NUM_STARS)
    x, y = 10.0 * (np.arange(NUM_STARS) % 8) + 5, 10.0 * (np.arange(NUM_STARS) // 8) + 5
    sources = {name: np.full(dims, np.nan, np.float32) for name in FLOAT_NAMES}
    sources["x"], sources["y"] = (c + 0.05 * rng.normal(size=dims) for c in (x, y))
    shift = np.zeros((4, NUM_STARS)) if offsets is None else offsets
    scatter = rng.normal(size=dims) + shift[:, None]
    sources["flux"] = 100.0 * (1.0 + 0.05 * scatter)
    sources |= {"active": np.ones(dims, bool), "is_extended": np.zeros(dims, bool)}
    attrs = {"psf_fwhm": 4.0, "image_shapes": [[80, 80]], "prior": {"flux_min": flux_min}}
    return Samples(sources, {"log_likelihood": rng.normal(size=dims[:2])}, {}, attrs)


def test_chains_that_agree_everywhere_are_converged():
    # 40 stars in some 350 blocks: with 400 independent draws in 8 half chains R-hat^2 - 1 is
    # 0.02 chi^2 / 7, above 0.21 with a probability of 3e-13. Scalars exceed an R-hat of 1.05 with
    # 8e-6 each, and a drift of 0.5 (5 sd) with 6e-7: less than 1e-4 in all, and the seed is fixed.
    found = diagnose(field(100))
    assert found.converged, found.reasons
    assert found.names[-1].startswith("light_at_")
    assert 1.0 < found.rhat[-1] <= found.worst_block[2] < 1.05
    np.testing.assert_allclose(found.limits, [*[1.05] * (len(found.names) - 1), 1.1])
    assert next(iter(found.light.values())).shape == (4, 100)


def test_chains_that_differ_in_one_place_are_caught_there():
    """Two chains swap the light of two stars; no quantity of the whole catalog sees it."""
    offsets = np.zeros((4, NUM_STARS))
    offsets[:2, 12], offsets[:2, 30] = 4.0, -4.0
    found = diagnose(field(100, offsets))
    # False alarms and misses are as improbable as in the test above.
    (reason,) = found.reasons
    assert reason.startswith("light_at_")
    assert "99 % quantile of the light in" in reason
    assert found.worst_rhat[0] == found.names[-1]
    assert found.least_ess[0] != found.names[-1]
    x, y, rhat = found.worst_block
    places = np.array([(45.0, 15.0), (65.0, 35.0)])
    assert np.abs(places - (x, y)).max(axis=1).min() < 4.0
    assert rhat > 1.3
    assert f"at ({x:.1f}, {y:.1f})" in str(found)
    assert diagnose(field(100, offsets), max_rhat_of_light=10.0).converged


def test_one_bad_block_of_hundreds_is_chance():
    """Of 100 blocks and more, one in a hundred may exceed the limit."""
    samples = field(100)
    offsets = np.zeros((4, NUM_STARS))
    offsets[:2, 12] = 4.0
    bad = field(100, offsets)
    # Copies of the field beside each other: 16 times as many blocks, and one star of 640 is bad.
    parts = [bad, *[samples] * 15]
    sources = {
        name: np.concatenate([part.sources[name] for part in parts], axis=-1)
        for name in samples.sources
    }
    sources["x"] = sources["x"] + 80.0 * np.repeat(np.arange(16), NUM_STARS)
    attrs = {**samples.attrs, "image_shapes": [[80, 16 * 80]]}
    found = diagnose(replace(samples, sources=sources, attrs=attrs), max_blocks=10**6)
    assert not [reason for reason in found.reasons if reason.startswith("light")]
    assert found.worst_block[2] > 1.3 > 1.1 > found.rhat[-1]


def test_count_above_a_cut_does_not_flap():
    """A flux that scatters about a cut: a hard count would be 0 in one chain and 1 in another."""
    rng = np.random.default_rng(7)
    samples = field(100, flux_min=20.0)
    flux = np.full(samples.sources["flux"].shape, 100.0)
    # Chains whose means differ by a fifth of a standard deviation, as by chance.
    middle = 60.0 * (1.0 + 0.0004 * np.array([-1, -1, 1, 1])[:, None])
    flux[..., 0] = middle * (1.0 + 0.002 * rng.normal(size=(4, 100)))
    samples = replace(samples, sources={**samples.sources, "flux": flux})
    assert np.ptp((flux > 60.0).sum(-1)) == 1
    # The soft count is one half, with a scatter of 0.004, and is constant for any purpose.
    assert "num_above_3_flux_min" not in label_free(samples)
    flux[..., 0] = 60.0 * np.exp(0.2 * rng.normal(size=(4, 100)))
    count = label_free(samples)["num_above_3_flux_min"]
    assert count.std() == pytest.approx(1 / np.sqrt(12), rel=0.2)  # uniform; 4 sd are 12 %
    others = (NUM_STARS - 1) * stats.norm.cdf(np.log(100.0 / 60.0) / 0.2)
    assert count.mean() == pytest.approx(others + 0.5, abs=0.07)  # 4.8 sd: 2e-6


def test_rare_bright_sources_are_not_counted():
    samples = field(100, flux_min=20.0)
    flux = samples.sources["flux"].copy()
    flux[0, :10, 0] = 1e4
    names = label_free(replace(samples, sources={**samples.sources, "flux": flux})).keys()
    assert not any(name.startswith(("num_above_10", "num_above_30")) for name in names)
