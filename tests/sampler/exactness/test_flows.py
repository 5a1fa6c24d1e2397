"""Every reversible move leads up as often as down, from exact draws of the joint.

A ratio that is wrong by a factor c makes acceptances upward and downward differ by that factor
(`harness.balance_of_flows`), so that n acceptances show it with ``sqrt(n) tanh(ln(c) / 2)``
standard deviations: the error that a test finds is given by `smallest_error`. The fields are
crowded and the PSF is wide, so that rare moves are accepted often. All moves share one compiled
program, and only a few are made from each exact draw, since wrong flows soon reach a balance of
their own.

`test_exactness.py` looks at the flows of every move alone, in fewer moves.
"""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from probcat.psf.psf import PSF
from tests.sampler.exactness.harness import (
    ALL_MOVES,
    COMMON_MOVES,
    ONE_WAY,
    advance_by,
    balance_of_flows,
    exact_state,
    make_prior,
    make_scene,
    make_shared_layout,
    make_work,
    with_twice_the_galaxies,
)

pytestmark = pytest.mark.slow

NUM_CHAINS = 600
WEIGHT = 0.07
COMMON = [name for name in COMMON_MOVES if name not in ONE_WAY]
ROUND = [*COMMON, "galaxy_to_stars", "galaxy_to_stars", "absorb_extended"]
"""Moves from one exact draw: each about once, rare ones more often."""
NUM_BATCHES = 80
"""Number of exact draws of all chains for the common moves together."""
FEWEST = 400
"""Acceptances that are needed of every common move."""
BATCHES_OF_REFITS = {"refit_two_stars": 6, "refit_star_and_galaxy": 7}
"""Number of exact draws of all chains for moves that are tested alone, as fits take long."""
FEWEST_OF_REFITS = 200
"""Acceptances that are needed of these."""
CHANGE_GALAXIES = [name for name in COMMON if name.endswith("_extended")] + [
    "retype",
    "galaxy_to_stars",
]
"""Moves that change the number of galaxies."""
LARGEST_PULL = 5.0
"""Limit of net flows in standard deviations: a false alarm in some 80 of them has p = 5e-5."""


def crowded_scene(layout):
    """Nine sources within 22 pixels, half of them galaxies, seen with a wide PSF."""
    prior = make_prior(
        expected_sources=dist.Gamma(36.0, 4.0), extended_fraction=dist.Beta(4.0, 4.0)
    )
    return make_scene(layout, prior, WEIGHT, psf=PSF.moffat(3.4, 3.0, size=13))


@pytest.fixture(scope="module")
def layout():
    return make_shared_layout(NUM_CHAINS)


def counted(order, scene, layout, batches, change=lambda state: state):
    """Counts of moves from batches of exact draws, with another move first in every batch."""
    counts = []
    for batch in range(batches):
        key_state, key_moves = jax.random.split(jax.random.fold_in(jax.random.key(51), batch))
        start = change(exact_state(key_state, scene, layout))
        work = make_work([*order[batch % len(order) :], *order[: batch % len(order)]], 1)
        end = advance_by(work, key_moves, start, scene, layout)
        assert not np.asarray(end.sample.overflow).any()
        counts.append(np.asarray(end.sample.moves))
    return np.concatenate(counts)


def accepted(counts, name):
    """Number of acceptances of a move, up and down."""
    return counts[:, ALL_MOVES.index(name), ..., 1].sum(axis=(0, 1))


def smallest_error(number):
    """Factor in a ratio that shifts the net flow of so many acceptances by `LARGEST_PULL`."""
    return np.exp(2.0 * np.arctanh(min(LARGEST_PULL / np.sqrt(number), 0.999)))


def check(counts, names, fewest):
    """Flows are in balance, and moves were accepted so often that this means something."""
    for name in names:
        number = accepted(counts, name)
        print(f"{name}: {number} up and down, finds a factor {smallest_error(number.sum()):.2f}")
        assert number.sum() > fewest, (name, number)
    p_values = balance_of_flows(counts)
    assert min(p_values.values()) > 2.0 * stats.norm.sf(LARGEST_PULL), p_values


def test_flows_of_common_moves_are_in_balance(layout):
    counts = counted(ROUND, crowded_scene(layout), layout, NUM_BATCHES)
    check(counts, COMMON, FEWEST)


@pytest.mark.parametrize("name", list(BATCHES_OF_REFITS))
def test_flows_of_refits_are_in_balance(name, layout):
    scene = crowded_scene(layout)
    check(counted([name], scene, layout, BATCHES_OF_REFITS[name]), [name], FEWEST_OF_REFITS)


@pytest.mark.parametrize("name", CHANGE_GALAXIES)
def test_wrong_density_shows_in_the_flows(name, layout):
    """A density of galaxies that changes between draw and move makes flows differ by a factor."""
    scene = crowded_scene(layout)
    order = [name, *["split_merge"] * (len(ALL_MOVES) - 1)]
    counts = counted(order, scene, layout, NUM_BATCHES, with_twice_the_galaxies)
    up, down = accepted(counts, name)
    # The lower state of this move has a galaxy more than the upper one.
    factor = 0.5 if name == "galaxy_to_stars" else 2.0
    error = np.sqrt(1.0 / up + 1.0 / down)
    assert abs(np.log(up / down / factor)) < 4.0 * error
    assert min(balance_of_flows(counts).values()) < 2.0 * stats.norm.sf(LARGEST_PULL)
