"""Step sizes adapt during the warm-up, and stay as they are afterwards."""

import jax
import jax.numpy as jnp
import numpy as np

from probcat.sampler.kernel import _adapt
from probcat.sampler.state import initial_state
from tests.sampler.exactness.harness import (
    make_prior,
    make_scene,
    make_shared_layout,
)


def adapted(warming, excess):
    layout = make_shared_layout(3)
    state = initial_state(jax.random.key(0), make_scene(layout, make_prior(), 0.07), layout)
    return state, _adapt(state, jnp.asarray(excess, jnp.float32), warming, 0.1, 1)


def test_step_sizes_follow_the_acceptance_in_the_warm_up():
    start, end = adapted(True, [-0.1, 0.1, np.nan])
    change = np.asarray(end.log_step - start.log_step)
    np.testing.assert_allclose(change[:, 1], [-0.01, 0.01, 0.0], atol=1e-6)
    # The step size of the other plan of windows stays.
    np.testing.assert_array_equal(change[:, 0], 0.0)


def test_step_sizes_stay_after_the_warm_up():
    start, end = adapted(False, [-0.6, 0.4, np.nan])
    np.testing.assert_array_equal(end.log_step, start.log_step)
    np.testing.assert_array_equal(end.log_step_mean, start.log_step_mean)
