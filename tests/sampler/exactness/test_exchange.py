"""Exchange between temperatures keeps the joint of catalog and data, galaxies included.

At an inverse temperature of zero the posterior is the prior. So a catalog and data from their
joint, and another catalog from the prior, are an exact draw of a pair of chains with the same data.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat.sampler.replica_exchange import coldest, exchange
from probcat.sampler.residual import fresh_residual
from probcat.sampler.updates.shared import evaluate_fit
from tests.sampler.exactness.harness import (
    EXTENDED_RADIUS,
    compare_with_prior,
    exact_state,
    make_joint,
    make_layout,
    make_prior,
    make_scene,
)

NUM_PAIRS = 800
# About 40 p values a test and two tests: a false alarm has probability 1e-4.
LEAST_P = 1e-4 / (40 * 2)
COLOURS = {
    "colours": dist.Normal(np.array([0.4], np.float32), np.array([0.5], np.float32)),
    "background": (dist.Normal(5.0, 0.2), dist.Normal(1.0, 0.2), 3.0),
}


def exact_pairs(scene, layout):
    """Pairs of chains with the same data: a draw of the joint, and a catalog from the prior."""
    state = exact_state(jax.random.key(71), scene, layout)
    # Minus background and light of every catalog, as the scene's data are zero.
    removed = jax.jit(jax.vmap(lambda draw: fresh_residual(draw, scene, layout, EXTENDED_RADIUS)))(
        state.sample
    )
    hot = jnp.arange(layout.num_chains) % 2 == 1
    residual = tuple(
        jnp.where(hot[:, None, None], jnp.roll(noise - minus, 1, axis=0) + minus, noise)
        for noise, minus in zip(state.residual, removed, strict=True)
    )
    _, log_likelihood = jax.vmap(partial(evaluate_fit, scene))(state.sample, residual, ())
    sample = state.sample._replace(
        beta=jnp.where(hot, 0.0, 1.0), log_likelihood=log_likelihood.astype(jnp.float32)
    )
    return state._replace(sample=sample, residual=residual)


@pytest.mark.slow
@pytest.mark.parametrize("images", ["one_image", "several_images"])
def test_exchange_keeps_the_joint(images):
    faint = {"flux": dist.DoublyTruncatedPowerLaw(-1.8, 20.0, 300.0)}
    if images == "one_image":
        prior = make_prior(**faint, background=dist.Normal(5.0, 0.2))
        layout = make_layout((), 0, 2 * NUM_PAIRS)
        scene = make_scene(layout, prior, 0.02)
    else:
        prior = make_prior(**faint, **COLOURS)
        layout, scene = make_joint((), 0, 2 * NUM_PAIRS, 0.002, prior)
    start = exact_pairs(scene, layout)
    end = exchange(jax.random.key(72), start, 2)
    moved = np.asarray(end.sample.mu != start.sample.mu)
    assert 0.05 < moved.mean() < 0.95
    cold = end._replace(
        sample=coldest(end.sample, 2), residual=tuple(plane[::2] for plane in end.residual)
    )
    p_values = compare_with_prior(cold, scene, replace(layout, num_chains=NUM_PAIRS))
    assert min(p_values.values()) > LEAST_P, p_values
