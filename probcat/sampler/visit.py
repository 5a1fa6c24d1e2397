"""The visit of windows: their moves in the order of the schedule, then Hamiltonian trajectories.

Windows are independent given everything else, so that those of all chains advance together.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.sampler.geometry.layout import PassPlan
from probcat.sampler.moves import MOVES, POINT_MOVES
from probcat.sampler.moves.accept import random_numbers
from probcat.sampler.moves.hmc import hmc
from probcat.sampler.moves.types import Outcome
from probcat.sampler.scene.calibration import widened
from probcat.sampler.state import COUNTS_SHAPE, MOVE_NAMES
from probcat.sampler.window.batching import group_slice
from probcat.sampler.window.structures import Model, RandomNumbers, Search, Window, WindowState


class Visit(NamedTuple):
    """Start of the visit of one window; stacked over chains and windows.

    Attributes
    ----------
    rng_key : Array
        Random key of the window.
    flux_slope : Array, shape ()
        Slope of the flux distribution.
    psf_width_change : Array or None, shape (I, 2)
        Relative change of the PSF's width along x and y in every image, if it is sampled.
    window : Window
        Everything that is fixed during the visit.
    state : WindowState
        Sources and residual.
    """

    rng_key: Array
    flux_slope: Array
    psf_width_change: Array | None
    window: Window
    state: WindowState


class VisitResult(NamedTuple):
    """Result of the visit of one window; stacked as `Visit` is.

    Attributes
    ----------
    state : WindowState
        Sources and residual.
    counts : Array, shape (num_moves, num_bins, 2, 2)
        Numbers of moves that were tried and accepted, as in `ChainSample`.
    acceptance : Array, shape ()
        Mean acceptance probability of the trajectories.
    occupied : Array, shape (), bool
        Whether a trajectory had any sources to move.
    """

    state: WindowState
    counts: Array
    acceptance: Array
    occupied: Array


def visit_windows(
    visits: Visit,
    model: Model,
    search: tuple[Search, ...],
    plan: PassPlan,
    num_leapfrog: int,
    order: Array | None = None,
) -> VisitResult:
    """Make all moves of one visit.

    Parameters
    ----------
    visits : Visit
        Windows, stacked along a first axis.
    model : Model
        Model with groups of images.
    search : tuple of Search
        Matched filters of every group of images.
    plan : PassPlan
        Plan of the windows, with the schedule.
    num_leapfrog : int
        Number of leapfrog steps of a trajectory.
    order : Array, shape (any,), int32, optional
        Moves of a visit, as positions in the distinct names of the plan's schedule; by default
        the schedule itself. It is data, so that another order needs no compilation.

    Returns
    -------
    VisitResult
        Results, stacked along a first axis of windows.
    """
    keys = jax.vmap(jax.random.split)(visits.rng_key)
    state, counts = visits.state, jnp.zeros((keys.shape[0], *COUNTS_SHAPE), jnp.float32)
    if plan.schedule:
        state, counts = _make_moves(visits, keys[:, 0], model, search, plan, order)
    if plan.num_hmc == 0:
        nothing = jnp.zeros(keys.shape[0], jnp.float32)
        return VisitResult(state, counts, nothing, nothing > 0.0)

    def trajectory(state: WindowState, keys: Array) -> tuple[WindowState, tuple]:
        def one(visit: Visit, key: Array, state: WindowState) -> tuple:
            own = _own_model(model, visit)
            return hmc(key, own, visit.window, state, num_leapfrog, plan.num_moving)

        state, acceptance, occupied = jax.vmap(one)(visits, keys, state)
        return state, (acceptance, occupied)

    hmc_keys = jax.vmap(lambda key: jax.random.split(key, plan.num_hmc), out_axes=1)(keys[:, 1])
    state, (acceptance, occupied) = jax.lax.scan(trajectory, state, hmc_keys)
    return VisitResult(state, counts, jnp.mean(acceptance, axis=0), jnp.any(occupied, axis=0))


def _own_model(model: Model, visit: Visit) -> Model:
    """Model with the flux slope and the PSFs of a window's chain."""
    stacks = model.stacks
    if visit.psf_width_change is not None:
        widths = [visit.psf_width_change[group_slice(group)] for group in model.groups]
        stacks = widened(stacks, widths)
    return replace(model, prior=model.prior.with_slope(visit.flux_slope), stacks=stacks)


def _make_moves(
    visits: Visit,
    rng_keys: Array,
    model: Model,
    search: tuple[Search, ...],
    plan: PassPlan,
    order: Array | None,
) -> tuple[WindowState, Array]:
    """Make the moves of the schedule; returns the state, and counts of tries and acceptances."""
    names = tuple(dict.fromkeys(plan.schedule))
    if order is None:
        order = jnp.asarray([names.index(name) for name in plan.schedule], dtype=jnp.int32)
    number, with_shapes = order.shape[0], not POINT_MOVES.issuperset(names)

    def numbers_of(visit: Visit, key: Array) -> RandomNumbers:
        return random_numbers(key, _own_model(model, visit).prior, number, with_shapes)

    def apply(name: str, numbers: RandomNumbers, state: WindowState) -> tuple[WindowState, Outcome]:
        def one(
            visit: Visit, numbers: RandomNumbers, state: WindowState
        ) -> tuple[WindowState, Outcome]:
            result: tuple[WindowState, Outcome]
            own = _own_model(model, visit)
            result = MOVES[name](numbers, own, search, visit.window, state)
            return result

        return jax.vmap(one)(visits, numbers, state)

    # Moves are mapped over windows one by one, as a mapped scan is slow to trace.
    def step(state: WindowState, inputs: tuple) -> tuple[WindowState, Outcome]:
        index, numbers = inputs
        branches = [partial(apply, name) for name in names]
        state, outcome = jax.lax.switch(index, branches, numbers, state)
        return state, outcome

    numbers = jax.vmap(numbers_of, out_axes=1)(visits, rng_keys)
    state, outcomes = jax.lax.scan(step, visits.state, (order, numbers))
    rows = jnp.asarray([MOVE_NAMES.index(name) for name in names], dtype=jnp.int32)
    return state, _count(outcomes, rows[order])


def _count(outcomes: Outcome, rows: Array) -> Array:
    """Count moves, which are the first axis, by name and bin of signal, shape (windows, ...)."""
    names, bins = (jnp.arange(length, dtype=jnp.int32) for length in COUNTS_SHAPE[:2])
    by_name = (rows[:, None] == names[None]).astype(jnp.float32)
    by_bin = (outcomes.signal_bin[..., None] == bins[None, None]).astype(jnp.float32)
    both = jnp.stack([outcomes.tried, outcomes.accepted], axis=-1).astype(jnp.float32)
    return jnp.einsum("mr,mwb,mwda->wrbda", by_name, by_bin, both)
