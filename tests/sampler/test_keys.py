"""No random key is used for two purposes."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat.sampler.moves.accept import random_numbers
from probcat.sampler.updates import shared
from tests.sampler.exactness.harness import (
    EXTENDED_RADIUS,
    exact_state,
    make_layout,
    make_prior,
    make_scene,
)

SAMPLERS = ("uniform", "normal", "exponential", "gamma", "beta", "bernoulli", "randint", "bits")
"""Functions of `jax.random` that use up a key."""
COLOURS = dist.Normal(np.array([0.4], np.float32), np.array([0.5], np.float32))


@pytest.fixture
def purposes(monkeypatch):
    """Purposes of every key, by its data: sampling, splitting, or being derived from another."""
    used = {}

    def note(key, purpose):
        assert not isinstance(key, jax.core.Tracer), "keys are seen outside transformations only"
        used.setdefault(tuple(np.asarray(jax.random.key_data(key)).ravel().tolist()), []).append(
            purpose
        )

    def spied(function, name):
        def call(key, *args, **kwargs):
            if not isinstance(key, jax.core.Tracer):
                note(key, name)
            result = function(key, *args, **kwargs)
            if name in ("split", "fold_in") and not isinstance(key, jax.core.Tracer):
                for child in result if name == "split" else [result]:
                    note(child, "derived")
            return result

        return call

    for name in (*SAMPLERS, "split", "fold_in"):
        monkeypatch.setattr(jax.random, name, spied(getattr(jax.random, name), name))
    return used


def check(used, least):
    """Every key is derived once, and then used once."""
    assert len(used) >= least
    for key, purposes in used.items():
        uses = [purpose for purpose in purposes if purpose not in ("derived", "fold_in")]
        assert purposes.count("derived") <= 1, (key, purposes)
        assert len(uses) <= 1, (key, purposes)


def test_keys_of_moves_differ(purposes):
    prior = make_prior(colours=COLOURS)
    random_numbers(jax.random.key(1), prior, 3, with_shapes=True)
    check(purposes, 7)


def test_keys_of_shared_parameters_differ(purposes):
    prior = make_prior(
        psf_error_floor=dist.HalfNormal(0.1),
        noise_scale=dist.LogNormal(0.0, 0.2),
        psf_width_change=dist.Normal(0.0, 0.03),
    )
    layout = make_layout((), 1, 1)
    scene = make_scene(layout, prior, 0.07, photon=0.2)
    state = exact_state(jax.random.key(2), scene, layout)
    sample, residual, light = jax.tree.map(
        lambda values: values[0], (state.sample, state.residual, state.sky_subtracted)
    )
    purposes.clear()
    # One chain, since keys have no values within transformations.
    shared._update(
        sample,
        residual,
        light,
        jax.random.key(3),
        scene=scene,
        layout=layout,
        extended_radius=EXTENDED_RADIUS,
        settled=True,
    )
    check(purposes, 15)
