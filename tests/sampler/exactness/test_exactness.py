"""Every move alone, and all together, leave the joint of catalog and data unchanged."""

import sys

import jax
import numpy as np
import pytest

from probcat.sampler.moves import MOVES
from tests.sampler.exactness.harness import (
    DRAW_MOVES,
    advance,
    compare_with_prior,
    exact_state,
    make_layout,
    make_prior,
    make_scene,
)

# About 20 p values a test and 20 tests: a false alarm of the whole file has probability 1e-4.
LEAST_P = 1e-4 / (20 * 20)
SCHEDULES = {name: ([name] * 8, 0) for name in MOVES}
LONG = {"refit_two_stars", "refit_star_and_galaxy"}
"""Fits take long: fewer chains with data, and without data only in slow tests."""
SCHEDULES["hmc"] = ([], 1)
SCHEDULES["all"] = (DRAW_MOVES, 1)


def run_moves(name, weight, num_chains):
    """P values after some passes of a move from exact draws of the joint."""
    schedule, num_hmc = SCHEDULES[name]
    layout = make_layout(schedule, num_hmc, num_chains)
    scene = make_scene(layout, make_prior(), weight)
    start = exact_state(jax.random.key(11), scene, layout)
    end = advance(jax.random.key(12), start, scene, layout, 5, with_globals=name == "all")
    assert not np.asarray(end.sample.overflow).any()

    tried, accepted = np.moveaxis(np.asarray(end.sample.moves).sum(axis=(0, 2)), -1, 0)
    for index, move in enumerate(MOVES):
        if move in schedule:
            # Without acceptances in both directions the test would prove nothing.
            assert accepted[index][tried[index] > 0].min() > (10 if name == move else -1)
    if num_hmc:
        assert np.mean(end.sample.hmc_acceptance) > 0.3
    return compare_with_prior(end, scene, layout)


def cases():
    """Every move alone and all together, without and with data."""
    for name in SCHEDULES:
        for weight, label in ((0.0, "prior_only"), (0.07, "with_data")):
            marks = [pytest.mark.slow] if name in LONG and weight == 0.0 else []
            yield pytest.param(name, weight, id=f"{name}-{label}", marks=marks)


@pytest.mark.parametrize(("name", "weight"), list(cases()))
def test_move_leaves_the_joint_unchanged(name, weight):
    p_values = run_moves(name, weight, num_chains=250 if name in LONG and weight > 0.0 else 600)
    assert min(p_values.values()) > LEAST_P, p_values


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 0.07], ids=["prior_only", "with_data"])
@pytest.mark.parametrize("name", list(SCHEDULES))
def test_move_leaves_the_joint_unchanged_many_chains(name, weight):
    p_values = run_moves(name, weight, num_chains=1500)
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
