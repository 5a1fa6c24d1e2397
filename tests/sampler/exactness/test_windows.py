"""Moves in several windows of one pass leave the joint of catalog and data unchanged.

A pass visits two windows, in which sources change at the same time. Their sources go back to one
catalog, and in other images their pixels may overlap.
"""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from tests.sampler.exactness.harness import (
    COMMON_MOVES,
    WIDE_INTERIOR,
    WIDE_SHAPE,
    advance_by,
    balance_of_flows,
    check_running_residuals,
    compare_with_prior,
    exact_state,
    make_joint,
    make_layout,
    make_prior,
    make_scene,
    make_work,
    with_trajectories_apart,
)

# About 45 p values a test and 20 tests: a false alarm of the whole file has probability 1e-4.
LEAST_P = 1e-4 / (45 * 20)
SIZES = {"shape": WIDE_SHAPE, "interior": WIDE_INTERIOR}
NUM_CHAINS = 400
DENSITY = {"expected_sources": dist.Gamma(36.0, 3.0)}
"""Prior of the number of sources in an image as wide as three of the usual ones."""
FEW_MOVES = ("birth_death_point", "birth_death_extended", "split_merge")
"""Moves of the program that is compiled in the fast tests."""
COLOURS = {
    "colours": dist.Normal(np.array([0.4], np.float32), np.array([0.5], np.float32)),
    "background": (dist.Normal(5.0, 2.0), dist.Normal(1.0, 1.0), 3.0),
}


def works(moves):
    """What is done, by name: each of a few moves, trajectories, and everything."""
    all_of_it = make_work(moves, 4, with_hmc=True, with_shared=True)
    single = {name: make_work([name], 4) for name in FEW_MOVES}
    return single | {"hmc": make_work([], 4, with_hmc=True), "all": all_of_it}


def check(name, work, layout, scene, residual_error):
    """The joint stays as it is, flows are in balance, and residuals belong to the catalogs."""
    plan = layout.plans[0]
    assert plan.num_windows(layout, 0) * plan.num_windows(layout, 1) == 2
    start = exact_state(jax.random.key(11), scene, layout)
    end = advance_by(work, jax.random.key(12), start, scene, layout)
    assert not np.asarray(end.sample.overflow).any()
    check_running_residuals(start, end, scene, layout, residual_error)
    flows = {} if name in ("hmc", "all") else balance_of_flows(end.sample.moves)
    p_values = compare_with_prior(end, scene, layout) | flows
    assert min(p_values.values()) > LEAST_P, p_values
    return end


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 0.07], ids=["prior_only", "with_data"])
@pytest.mark.parametrize("name", list(works(COMMON_MOVES)))
def test_two_windows_leave_the_joint_unchanged(name, weight):
    layout = with_trajectories_apart(make_layout((), 1, NUM_CHAINS, **SIZES), COMMON_MOVES)
    scene = make_scene(layout, make_prior(**DENSITY), weight)
    end = check(name, works(COMMON_MOVES)[name], layout, scene, 2e-4)
    if name in FEW_MOVES:
        accepted = np.asarray(end.sample.moves)[..., 1].sum(axis=(0, 2))
        assert accepted[COMMON_MOVES.index(name)].min() > 30


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 0.05], ids=["prior_only", "with_data"])
@pytest.mark.parametrize("name", list(works(COMMON_MOVES)))
def test_two_windows_of_several_images_leave_the_joint_unchanged(name, weight):
    prior = make_prior(**DENSITY, **COLOURS)
    layout, scene = make_joint((), 1, NUM_CHAINS, weight, prior, shared=COMMON_MOVES, **SIZES)
    check(name, works(COMMON_MOVES)[name], layout, scene, 1e-3)
