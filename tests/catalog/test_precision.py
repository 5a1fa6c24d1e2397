"""Monte Carlo errors of single objects, against arviz and draws of known autocorrelation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from probcat import summarize
from probcat.catalog.condense import condense
from probcat.catalog.statistics import precision_of_objects
from probcat.pixels.flags import Flag, flag_run
from probcat.samples.chains import import_arviz
from probcat.samples.diagnostics import diagnose
from probcat.samples.precision import describe_imprecise, is_imprecise
from tests.builders import samples_from_draws

NUM_CHAINS, NUM_DRAWS = 4, 250


def precision_of(exists, flux):
    """Precision of objects with this existence and flux, shape (objects, chain, draw)."""
    index, chain, draw = np.nonzero(exists)
    return precision_of_objects(index, chain, draw, flux[exists], exists.shape)


def correlated(rho, shape, rng):
    """Stationary autoregressive draws of unit variance."""
    noise = rng.normal(size=(*shape[:-1], shape[-1] + 200))
    return np.sqrt(1 - rho**2) * lfilter([1.0], [1.0, -rho], noise)[..., 200:]


def test_error_of_a_probability_is_that_of_arviz():
    rng = np.random.default_rng(0)
    exists = correlated(0.7, (3, NUM_CHAINS, NUM_DRAWS), rng) > np.array([-1, 0, 1])[:, None, None]
    found = precision_of(exists, np.ones(exists.shape))
    arviz = import_arviz()
    expected = [arviz.mcse(each.astype(float)) for each in exists]
    np.testing.assert_allclose(found["prob_exist_mcse"], expected, rtol=2e-3)


def test_size_of_the_flux_follows_its_autocorrelation():
    rng = np.random.default_rng(1)
    shape = (30, NUM_CHAINS, NUM_DRAWS)
    exists = rng.random(shape) < 0.5
    for rho in (0.0, 0.8):
        found = precision_of(exists, 100.0 + correlated(rho, shape, rng))["ess_flux"]
        # The chain is seen in half of its draws: variance of the mean of I x over its square.
        n = NUM_CHAINS * NUM_DRAWS
        expected = n * 0.5 / (1.0 + 2.0 * 0.5 * rho / (1.0 - rho))
        # Each has a scatter of 10 to 15 %, so that the mean of 30 has 3 %; 15 % are 5 sd.
        assert found.mean() == pytest.approx(expected, rel=0.15)


def test_chains_that_differ_make_errors_large():
    exists = np.ones((1, NUM_CHAINS, NUM_DRAWS), bool)
    exists[0, 3] = False
    flux = np.full(exists.shape, 100.0) + np.random.default_rng(2).normal(size=exists.shape)
    found = precision_of(exists, flux)
    assert found["prob_exist_mcse"][0] > 0.15
    flux[0, 0] += 5.0
    assert precision_of(exists, flux)["ess_flux"][0] < 10


def test_an_object_that_never_changes_is_precise():
    exists = np.ones((1, NUM_CHAINS, NUM_DRAWS), bool)
    found = precision_of(exists, np.full(exists.shape, 3.0))
    assert found["prob_exist_mcse"][0] == 0.0
    assert found["ess_flux"][0] >= NUM_CHAINS * NUM_DRAWS
    few = precision_of(exists[..., :3], np.ones((1, NUM_CHAINS, 3)))
    assert np.isnan([few["prob_exist_mcse"][0], few["ess_flux"][0]]).all()


@pytest.fixture(scope="module")
def blinking():
    """Samples of a steady star, one that comes and goes at once, and one that does so slowly."""
    rng = np.random.default_rng(3)
    quick = rng.random((NUM_CHAINS, NUM_DRAWS)) < 0.6
    # Of 4 chains with a correlation time of 250 draws, no two agree.
    slow = correlated(0.992, (NUM_CHAINS, NUM_DRAWS), rng) > -0.3
    slow[0], slow[1] = True, False
    draws = []
    for here, there in zip(quick.ravel(), slow.ravel(), strict=True):
        draw = [(10.0, 10.0, 900 + 9 * rng.normal())]
        draw += [(30.0, 10.0, 500 + 9 * rng.normal())] * int(here)
        draw += [(10.0, 30.0, 300 + 9 * rng.normal())] * int(there)
        draws.append([(x + 0.05 * rng.normal(), y + 0.05 * rng.normal(), f) for x, y, f in draw])
    samples = samples_from_draws(draws, num_chains=NUM_CHAINS)
    return replace(samples, scalars={"log_likelihood": rng.normal(size=quick.shape)})


def test_imprecise_objects_are_named_and_flagged(blinking):
    catalog = condense(blinking)
    assert len(catalog) == 3
    # 1000 independent draws: an error of 0.015, and 600 draws of the flux.
    np.testing.assert_array_equal(is_imprecise(catalog), [False, False, True])
    (line,) = describe_imprecise(catalog)
    assert line.startswith("object 3 (10.0, 30.0): probability 0.")
    steady = replace(diagnose(blinking), reasons=())
    flags = flag_run(catalog, steady)
    np.testing.assert_array_equal(flags & Flag.IMPRECISE > 0, [False, False, True])
    assert not (flags & Flag.NOT_CONVERGED).any()
    summary = summarize(blinking, catalog, steady)
    assert summary.converged
    assert summary.rows()[0] == ("verdict", f"converged, but for {line}")
    assert summary.cards()["NIMPREC"][0] == 1
    assert summary.cards()["CONVERGD"][0] is True
    failed = summarize(blinking, catalog, replace(steady, reasons=("N: R-hat 2", "mu: R-hat 3")))
    assert failed.verdict == "NOT CONVERGED: N: R-hat 2; and 1 more reasons"
    assert summarize(blinking, None, steady).verdict == "converged"


def test_table_and_older_catalogs_are_judged_too(blinking):
    catalog = condense(blinking)
    assert describe_imprecise(catalog.to_table()) == describe_imprecise(catalog)
    older = catalog.to_table()
    older.remove_columns(["prob_exist_mcse", "ess_flux"])
    assert not is_imprecise(older).any()


def test_flux_of_an_improbable_object_may_be_imprecise():
    columns = {
        "prob_exist": np.array([0.9, 0.3]),
        "prob_exist_mcse": np.array([0.01, 0.01]),
        "ess_flux": np.array([20.0, 20.0]),
        "object_id": np.array([1, 2]),
        "x": np.array([1.0, 2.0]),
        "y": np.array([3.0, 4.0]),
    }
    np.testing.assert_array_equal(is_imprecise(columns), [True, False])
    assert describe_imprecise(columns) == ("object 1 (1.0, 3.0): flux from 20 effective draws",)
