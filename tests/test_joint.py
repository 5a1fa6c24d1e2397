"""Several images at once: exact in every move, and images mean what they should."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from harness import (
    EXTENDED_RADIUS,
    advance,
    compare_with_prior,
    exact_state,
    make_joint,
    make_prior,
)

from probcat.kernel import fresh_residual
from probcat.moves import MOVES

LEAST_P = 1e-6
PRIOR = {
    "colours": dist.Normal(np.array([0.4], np.float32), np.array([0.5], np.float32)),
    "background": (dist.Normal(5.0, 2.0), dist.Normal(1.0, 1.0), 3.0),
}
SCHEDULES = {name: [name] * 6 for name in MOVES} | {"hmc": [], "all": list(MOVES)}


def run_moves(name, weight, num_chains):
    prior = make_prior(**PRIOR)
    layout, scene = make_joint(
        SCHEDULES[name], int(name in ("hmc", "all")), num_chains, weight, prior
    )
    start = exact_state(jax.random.key(11), scene, layout)
    end = advance(jax.random.key(12), start, scene, layout, 4, with_globals=name == "all")
    moves = np.asarray(end.draw.moves).sum(axis=(0, 2))
    return start, end, scene, layout, moves


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 0.05], ids=["prior_only", "with_data"])
@pytest.mark.parametrize("name", list(SCHEDULES))
def test_every_move_leaves_the_joint_unchanged(name, weight):
    _, end, scene, layout, moves = run_moves(name, weight, 1000)
    if name != "hmc":
        assert moves[..., 1].sum() > 20
    p_values = compare_with_prior(end, scene, layout)
    assert min(p_values.values()) > LEAST_P, p_values


@pytest.mark.parametrize("weight", [0.0, 0.05], ids=["prior_only", "with_data"])
def test_all_moves_leave_the_joint_unchanged(weight):
    _, end, scene, layout, _ = run_moves("all", weight, 400)
    p_values = compare_with_prior(end, scene, layout)
    assert min(p_values.values()) > LEAST_P, p_values


def test_running_residuals_equal_fresh_renders():
    """The noise that a residual is of stays what it was."""
    start, end, scene, layout, _ = run_moves("all", 0.05, 3)

    def noise(state, chain):
        draw = jax.tree.map(lambda values: values[chain], state.draw)
        fresh = fresh_residual(draw, scene, layout, EXTENDED_RADIUS)
        return [plane[chain] - own for plane, own in zip(state.residual, fresh, strict=True)]

    for chain in range(3):
        for weight, before, after in zip(
            scene.weight, noise(start, chain), noise(end, chain), strict=True
        ):
            error = np.abs(np.asarray(after - before)) * np.sqrt(np.asarray(weight))
            assert error.max() < 1e-3
