"""Every move alone, and all together, leave the joint of catalog and data unchanged."""

import sys

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat.sampler.moves import MOVES
from tests.sampler.exactness.harness import (
    ALL_MOVES,
    COMMON_MOVES,
    ONE_WAY,
    advance,
    advance_by,
    balance_of_flows,
    check_running_residuals,
    compare_with_prior,
    exact_state,
    make_layout,
    make_prior,
    make_scene,
    make_shared_layout,
    make_work,
    with_twice_the_galaxies,
)

# Up to 30 p values a test and 70 tests: a false alarm of the whole file has probability 1e-4.
LEAST_P = 1e-4 / (30 * 70)
LONG = {"refit_two_stars": 3, "refit_star_and_galaxy": 3}
"""Passes of moves that take long; they run without data only in slow tests."""
FEWEST_ACCEPTED = dict.fromkeys(LONG, 3)
"""Fits find something to propose in few draws of the prior."""
WORK = {name: make_work([name], LONG.get(name, 5)) for name in MOVES}
WORK["hmc"] = make_work([], 5, with_hmc=True)
WORK["all"] = make_work(ALL_MOVES, 5, with_hmc=True, with_shared=True)
STEP_SIZE = 0.25
"""Step size of Hamiltonian trajectories."""
RESIDUAL_ERROR = 2e-4
"""Rounding of the running residual in standard deviations, after 65 moves."""
BRIGHT_MOVES = (
    "birth_death_point",
    "split_merge",
    "companion_point",
    "companion_extended",
    "absorb_point",
    "retype",
)
"""Moves that are tested with bright sources."""
BRIGHT_WEIGHT = 0.0014
"""Inverse variance of pixels in the tests of bright sources."""
BRIGHT_RESIDUAL_ERROR = 5e-3
"""Rounding of the running residual beside sources of signal-to-noise ratios up to 3000."""


def check_acceptance(name, moves):
    """Without acceptances in both directions the test of a move would prove nothing.

    `moves` has axes (chain, move, signal, direction, tried and accepted).
    """
    accepted = moves[..., 1].sum(axis=(0, 2))
    if name == "all":
        # A visit of each move is too few for all to be accepted, but all are tried.
        tried = moves[..., 0].sum(axis=(0, 2, 3))
        assert (tried > 0).all(), dict(zip(MOVES, tried, strict=False))
        return
    if name in MOVES:
        ways = accepted[ALL_MOVES.index(name)][: 1 if name in ONE_WAY else 2]
        assert ways.min() > FEWEST_ACCEPTED.get(name, 10), f"{name}: accepted {ways} up and down"


def run_moves(name, weight, num_chains, *, beta=1.0, prior=None, residual_error=RESIDUAL_ERROR):
    """P values after some passes of a move from exact draws of the joint."""
    layout = make_shared_layout(num_chains)
    scene = make_scene(layout, prior or make_prior(), weight)
    start = exact_state(jax.random.key(11), scene, layout, beta)
    end = advance_by(WORK[name], jax.random.key(12), start, scene, layout, STEP_SIZE)
    assert not np.asarray(end.sample.overflow).any()
    # Step sizes adapt in the warm-up only.
    for kept in (end.log_step, end.log_step_mean):
        np.testing.assert_allclose(kept, np.log(STEP_SIZE), rtol=1e-6)
    check_acceptance(name, np.asarray(end.sample.moves)[:, : len(MOVES)])
    if bool(WORK[name].with_hmc):
        assert np.mean(end.sample.hmc_acceptance) > 0.3
    check_running_residuals(start, end, scene, layout, residual_error)
    flows = balance_of_flows(end.sample.moves) if name in MOVES else {}
    return compare_with_prior(end, scene, layout) | flows


def cases():
    """Every move alone and all together, without and with data."""
    for name in WORK:
        for weight, label in ((0.0, "prior_only"), (0.07, "with_data")):
            long = name == "refit_star_and_galaxy" or (name in LONG and weight == 0.0)
            marks = [pytest.mark.slow] if long else []
            yield pytest.param(name, weight, id=f"{name}-{label}", marks=marks)


@pytest.mark.parametrize(("name", "weight"), list(cases()))
def test_move_leaves_the_joint_unchanged(name, weight):
    p_values = run_moves(name, weight, num_chains=600)
    assert min(p_values.values()) > LEAST_P, p_values


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 0.07], ids=["prior_only", "with_data"])
@pytest.mark.parametrize("name", list(WORK))
def test_move_leaves_the_joint_unchanged_many_chains(name, weight):
    p_values = run_moves(name, weight, num_chains=1500)
    assert min(p_values.values()) > LEAST_P, p_values


@pytest.mark.parametrize(
    "name",
    ["all", *(pytest.param(name, marks=pytest.mark.slow) for name in (*COMMON_MOVES, "hmc"))],
)
def test_move_leaves_the_tempered_joint_unchanged(name):
    """At an inverse temperature of 0.3 noise is as large as the likelihood says."""
    p_values = run_moves(name, 0.07, num_chains=600, beta=0.3)
    assert min(p_values.values()) > LEAST_P, p_values


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LONG))
def test_refits_leave_the_tempered_joint_unchanged(name):
    p_values = run_moves(name, 0.2, num_chains=600, beta=0.3)
    assert min(p_values.values()) > LEAST_P, p_values


def bright_prior():
    """Prior whose sources have signal-to-noise ratios from 6 to 3000 at `BRIGHT_WEIGHT`."""
    return make_prior(
        flux=dist.DoublyTruncatedPowerLaw(-1.1, 600.0, 3e5), flux_slope=dist.Normal(1.1, 0.1)
    )


@pytest.mark.parametrize(
    "name",
    [*BRIGHT_MOVES, *(pytest.param(name, marks=pytest.mark.slow) for name in ("hmc", *LONG))],
)
def test_move_of_bright_sources_leaves_the_joint_unchanged(name):
    p_values = run_moves(
        name,
        BRIGHT_WEIGHT,
        num_chains=600,
        prior=bright_prior(),
        residual_error=BRIGHT_RESIDUAL_ERROR,
    )
    assert min(p_values.values()) > LEAST_P, p_values


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_one_kind_of_sources(fraction):
    """A model of points alone, and of extended sources alone, is exact too."""
    schedule = ["birth_death_point", "split_merge", "companion_point"]
    if fraction == 1.0:
        schedule = ["birth_death_extended", "companion_extended"]
    slots = 16 if fraction == 1.0 else 0
    layout = make_layout(schedule * 3, 1, num_chains=500, extended_slots=slots)
    scene = make_scene(layout, make_prior(extended_fraction=fraction), 0.07)
    start = exact_state(jax.random.key(21), scene, layout)
    end = advance(jax.random.key(22), start, scene, layout, 5, with_globals=True)
    p_values = compare_with_prior(end, scene, layout)
    assert min(p_values.values()) > LEAST_P, p_values


def test_flows_find_a_wrong_density():
    """Births and deaths of galaxies with twice the density are out of balance."""
    layout = make_shared_layout(600)
    scene = make_scene(layout, make_prior(), 0.07)
    start = with_twice_the_galaxies(exact_state(jax.random.key(41), scene, layout))
    # Once a pass, since chains adapt to the wrong density where they are.
    work = make_work(["birth_death_extended", *["split_merge"] * (len(MOVES) - 1)], 8)
    end = advance_by(work, jax.random.key(42), start, scene, layout)
    assert balance_of_flows(end.sample.moves)["flow_birth_death_extended"] < 1e-6


def test_harness_finds_a_wrong_move(monkeypatch):
    """A missing factor of two in one ratio is found, so the tests above can fail."""
    # The package's name of the module is its function.
    module = sys.modules["probcat.sampler.moves.birth_death"]
    right = module.log_flux_density
    monkeypatch.setattr(
        module, "log_flux_density", lambda *arguments: right(*arguments) + np.float32(0.69)
    )
    layout = make_layout(["birth_death_point"] * 9, 0, num_chains=800)
    scene = make_scene(layout, make_prior(), 0.0)
    start = exact_state(jax.random.key(31), scene, layout)
    end = advance(jax.random.key(32), start, scene, layout, 10)
    assert min(compare_with_prior(end, scene, layout).values()) < 1e-6
