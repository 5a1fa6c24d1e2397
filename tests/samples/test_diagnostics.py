"""Convergence diagnostics on chains whose state is known."""

import numpy as np
import pytest

from probcat.samples.diagnostics import diagnose, label_free
from probcat.samples.samples import FLOAT_NAMES, Samples


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
    one, other = label_free(samples), label_free(Samples(shuffled, samples.scalars))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-12)
    flux = samples.sources["flux"].astype(float)
    active = samples.sources["active"]
    median = np.median(flux[active])
    np.testing.assert_array_equal(one["num_above_50"], ((flux > median) & active).sum(-1))
    np.testing.assert_allclose(one["total_flux"], np.where(active, flux, 0).sum(-1))


def test_too_few_draws_or_nothing_that_moves_is_said():
    rng = np.random.default_rng(6)
    few = diagnose(samples_with(rng.normal(size=(2, 3))))
    assert few.reasons == ("too few draws to judge",)
    assert few.worst_rhat[0] == "none"
    still = samples_with(np.zeros((2, 10)), num_active=np.zeros((2, 10), int))
    assert diagnose(still).reasons == ("nothing varies between draws",)
