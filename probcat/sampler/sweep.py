"""One pass: cut the plane into windows, visit them all, put everything back.

Given all else windows are independent, so that those of all chains advance together.
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.pixel_noise import Noise
from probcat.sampler.geometry.layout import Layout, PassPlan
from probcat.sampler.geometry.tiling import (
    Tiling,
    WindowMembers,
    add,
    cut,
    draw_tiling,
    load_members,
    paste,
    store_members,
    with_frames,
)
from probcat.sampler.moves import MOVES, POINT_MOVES
from probcat.sampler.moves.accept import random_numbers
from probcat.sampler.moves.hmc import hmc
from probcat.sampler.moves.types import Outcome
from probcat.sampler.scene.calibration import widened, window_calibration
from probcat.sampler.scene.scene import Scene
from probcat.sampler.state import COUNTS_SHAPE, MOVE_NAMES, CatalogState, ChainSample, chain_keys
from probcat.sampler.window.batching import group_images, group_slice
from probcat.sampler.window.light import stack, unstack
from probcat.sampler.window.structures import Model, RandomNumbers, Search, Window, WindowState


class Visit(NamedTuple):
    """What the visit of one window starts from; stacked over chains and windows.

    Attributes
    ----------
    rng_key : Array
    flux_slope : Array, shape ()
    psf_width_change : Array or None, shape (I, 2)
        Where it is sampled.
    window : Window
    state : WindowState
    """

    rng_key: Array
    flux_slope: Array
    psf_width_change: Array | None
    window: Window
    state: WindowState


def make_pass(
    state: CatalogState,
    rng_key: Array,
    scene: Scene,
    layout: Layout,
    number: int,
    step_size: Array,
    order: Array | None = None,
) -> tuple[CatalogState, Array]:
    """Visit all windows of one placement, in every chain.

    Parameters
    ----------
    state : CatalogState
    rng_key : Array
    scene : Scene
    layout : Layout
    number : int
        Of the plan in the layout.
    step_size : Array, shape (C,)
        Of the Hamiltonian moves.
    order : Array, shape (any,), int32, optional
        Moves of a visit, as positions in the distinct names of the plan's schedule; by
        default the schedule itself. It is data, so that another order compiles nothing.

    Returns
    -------
    state : CatalogState
    acceptance : Array, shape (C,)
        Mean acceptance of the Hamiltonian moves; NaN where there was nothing to move.
    """
    key_tiling, key_visit = jax.random.split(rng_key)
    plan, sizes = layout.plans[number], layout.window_sizes(number)
    tiling = with_frames(draw_tiling(key_tiling, layout, plan), scene.maps, sizes)
    weight = _cut_all(scene.weight, tiling, sizes)
    precision = _cut_search(scene.search_precision, tiling, plan)
    base = _cut_all(scene.variance, tiling, sizes) if scene.variance else None

    def prepare(
        sample: ChainSample,
        residual: tuple[Array, ...],
        sky_subtracted: tuple[Array, ...],
        step: Array,
        key: Array,
    ) -> tuple[Visit, list[WindowMembers]]:
        maps = (weight, precision, base)
        return _prepare(
            sample, (residual, sky_subtracted), step, key, scene, plan, tiling, sizes, maps
        )

    keys = chain_keys(key_visit, state)
    visits, held = jax.vmap(prepare)(
        state.sample, state.residual, state.sky_subtracted, step_size, keys
    )

    # One flat axis of windows: nested ones take much longer to trace.
    shape = (state.chain.shape[0], weight.shape[0])
    flat = jax.tree.map(lambda a: a.reshape(shape[0] * shape[1], *a.shape[2:]), visits)
    model, search = group_images(_of_sizes(scene.model, plan), sizes, scene.searches[number])
    results = visit_windows(flat, model, search, plan, layout.num_leapfrog, order)
    results = jax.tree.map(lambda a: a.reshape(*shape, *a.shape[1:]), results)
    finish = partial(_finish, tiling=tiling, sizes=sizes)
    sample, residual, acceptance = jax.vmap(finish)(state.sample, state.residual, held, results)
    return state._replace(sample=sample, residual=residual), acceptance


def _of_sizes(model: Model, plan: PassPlan) -> Model:
    """Model without what only sources need that are too large for the windows."""
    if not math.isfinite(plan.largest):
        return model
    images = (image._replace(extended_tables=image.extended_tables[:1]) for image in model.images)
    return replace(model, images=tuple(images))


def _prepare(
    sample: ChainSample,
    planes: tuple[tuple[Array, ...], tuple[Array, ...]],
    step_size: Array,
    rng_key: Array,
    scene: Scene,
    plan: PassPlan,
    tiling: Tiling,
    sizes: tuple[int, ...],
    maps: tuple[Array, Array, Array | None],
) -> tuple[Visit, list[WindowMembers]]:
    """Gather what the windows of one chain need; every array has their axis first."""
    weight, precision, base = maps
    residual, sky_subtracted = planes
    shift, flux_factor = window_calibration(scene, sample, tiling.shift)
    number = weight.shape[0]
    held = [
        load_members(sample.points, tiling, plan.size, plan.point_slots),
        load_members(sample.extended, tiling, plan.size, plan.extended_slots, plan.largest),
    ]

    def alike(value: Array) -> Array:
        return jnp.broadcast_to(value, (number, *value.shape))

    fraction = jnp.stack([1.0 - sample.extended_fraction, sample.extended_fraction])
    window = Window(
        weight=weight * sample.beta,
        lower_bound=tiling.lower_bound,
        upper_bound=tiling.upper_bound,
        density=alike((sample.mu / scene.area) * fraction),
        search_precision=precision,
        beta=alike(sample.beta),
        largest=alike(jnp.float32(plan.largest)),
        step_size=alike(step_size),
        shift=shift,
        flux_factor=alike(flux_factor),
        corner=jnp.stack(tiling.corners, axis=1).astype(jnp.float32),
        noise=None if base is None else _noise(scene, sample, sky_subtracted, base, tiling, sizes),
    )
    state = WindowState(
        residual=_cut_all(residual, tiling, sizes),
        points=held[0].marks,
        extended=held[1].marks,
        overflow=jnp.zeros((number, 2), bool),
    )
    keys = jax.random.split(rng_key, number)
    sampled = scene.model.prior.psf_width_change is not None
    width = alike(sample.psf_width_change) if sampled else None
    return Visit(keys, alike(sample.flux_slope), width, window, state), held


def _noise(
    scene: Scene,
    sample: ChainSample,
    sky_subtracted: tuple[Array, ...],
    base: Array,
    tiling: Tiling,
    sizes: tuple[int, ...],
) -> Noise:
    """Gather what the variances in the windows of one chain are made of."""

    def by_row(value: Array) -> Array:
        parts = [jnp.broadcast_to(value[i], (size,)) for i, size in enumerate(sizes)]
        column = jnp.concatenate(parts)[:, None]
        return jnp.broadcast_to(column, (base.shape[0], *column.shape))

    square = sample.noise_scale**2
    return Noise(
        sky_subtracted=_cut_all(sky_subtracted, tiling, sizes),
        # Filled up with zeros where windows of several images are of different width.
        base=jnp.where(base > 0.0, base * by_row(square), 1.0),
        photon=by_row(square * scene.photon),
        floor=by_row(sample.psf_error_floor**2),
    )


def _finish(
    sample: ChainSample,
    residual: tuple[Array, ...],
    held: list[WindowMembers],
    results: tuple[WindowState, Array, Array, Array],
    tiling: Tiling,
    sizes: tuple[int, ...],
) -> tuple[ChainSample, tuple[Array, ...], Array]:
    """Put the windows of one chain back."""
    windows, moves, acceptance, occupied = results
    points, full_points = store_members(sample.points, tiling, held[0], windows.points)
    extended, full_extended = store_members(sample.extended, tiling, held[1], windows.extended)
    full = jnp.stack([full_points, full_extended], axis=1)
    full = jnp.stack([full[0], full[1] | jnp.any(windows.overflow, axis=0)])
    number = jnp.sum(occupied.astype(jnp.float32))
    mean = jnp.sum(jnp.where(occupied, acceptance, 0.0)) / number
    sample = sample._replace(
        points=points,
        extended=extended,
        overflow=sample.overflow | full.reshape(-1),
        moves=sample.moves + jnp.sum(moves, axis=0),
        hmc_acceptance=jnp.where(number > 0, mean, sample.hmc_acceptance),
    )
    parts = unstack(windows.residual, sizes)
    updated = [paste(residual[0], parts[0], tiling.corners[0])]
    for plane, part, corners in zip(residual[1:], parts[1:], tiling.corners[1:], strict=True):
        # Windows of other images may overlap, where footprints do not.
        updated.append(add(plane, part - cut(plane, corners, part.shape[-1]), corners))
    return sample, tuple(updated), mean


def _cut_all(planes: tuple[Array, ...], tiling: Tiling, sizes: tuple[int, ...]) -> Array:
    """Windows of all images, those of one place below each other."""
    parts = zip(planes, tiling.corners, sizes, strict=True)
    return stack([cut(*part) for part in parts])


def visit_windows(
    visits: Visit,
    model: Model,
    search: tuple[Search, ...],
    plan: PassPlan,
    num_leapfrog: int,
    order: Array | None = None,
) -> tuple[WindowState, Array, Array, Array]:
    """All moves of one visit: the schedule, then the Hamiltonian trajectories.

    Parameters
    ----------
    visits : Visit
        Stacked along a first axis of windows, as all results are.
    model : Model
    search : tuple of Search
    plan : PassPlan
    num_leapfrog : int
    order : Array, shape (any,), int32, optional
        As in `make_pass`.

    Returns
    -------
    state : WindowState
    counts : Array
        Of moves tried and accepted.
    acceptance : Array
        Of the trajectories.
    occupied : Array, bool
        Whether these had anything to move.
    """
    prior = model.prior

    def own(visit: Visit) -> Model:
        stacks = model.stacks
        if visit.psf_width_change is not None:
            stacks = widened(
                stacks, [visit.psf_width_change[group_slice(group)] for group in model.groups]
            )
        return replace(model, prior=prior.with_slope(visit.flux_slope), stacks=stacks)

    keys = jax.vmap(jax.random.split)(visits.rng_key)
    state, counts = visits.state, jnp.zeros((keys.shape[0], *COUNTS_SHAPE), jnp.float32)
    names = tuple(dict.fromkeys(plan.schedule))

    def apply(name: str, draws: RandomNumbers, state: WindowState) -> tuple[WindowState, Outcome]:
        def one(
            visit: Visit, draws: RandomNumbers, state: WindowState
        ) -> tuple[WindowState, Outcome]:
            result: tuple[WindowState, Outcome]
            result = MOVES[name](draws, own(visit), search, visit.window, state)
            return result

        return jax.vmap(one)(visits, draws, state)

    # Moves are mapped over windows one by one, as a mapped scan is slow to trace.
    def step(state: WindowState, inputs: tuple) -> tuple[WindowState, Outcome]:
        index, draws = inputs
        branches = [partial(apply, name) for name in names]
        state, outcome = jax.lax.switch(index, branches, draws, state)
        return state, outcome

    if plan.schedule:
        if order is None:
            order = jnp.asarray([names.index(name) for name in plan.schedule], dtype=jnp.int32)
        with_shapes = not POINT_MOVES.issuperset(names)

        def drawn(visit: Visit, key: Array) -> RandomNumbers:
            return random_numbers(key, own(visit).prior, order.shape[0], with_shapes)

        draws = jax.vmap(drawn, out_axes=1)(visits, keys[:, 0])
        state, outcomes = jax.lax.scan(step, state, (order, draws))
        rows = jnp.asarray([MOVE_NAMES.index(name) for name in names], dtype=jnp.int32)
        counts = _count(outcomes, rows[order])

    def trajectory(state: WindowState, keys: Array) -> tuple[WindowState, tuple]:
        def one(visit: Visit, key: Array, state: WindowState) -> tuple:
            return hmc(key, own(visit), visit.window, state, num_leapfrog)

        state, acceptance, occupied = jax.vmap(one)(visits, keys, state)
        return state, (acceptance, occupied)

    if plan.num_hmc == 0:
        nothing = jnp.zeros(keys.shape[0], jnp.float32)
        return state, counts, nothing, nothing > 0.0
    hmc_keys = jax.vmap(lambda key: jax.random.split(key, plan.num_hmc), out_axes=1)(keys[:, 1])
    state, (acceptance, occupied) = jax.lax.scan(trajectory, state, hmc_keys)
    return state, counts, jnp.mean(acceptance, axis=0), jnp.any(occupied, axis=0)


def _count(outcomes: Outcome, rows: Array) -> Array:
    """Count moves (their axis comes first) by name and bin of signal, shape (windows, ...)."""
    names, bins = (jnp.arange(length, dtype=jnp.int32) for length in COUNTS_SHAPE[:2])
    by_name = (rows[:, None] == names[None]).astype(jnp.float32)
    by_bin = (outcomes.signal_bin[..., None] == bins[None, None]).astype(jnp.float32)
    both = jnp.stack([outcomes.tried, outcomes.accepted], axis=-1).astype(jnp.float32)
    return jnp.einsum("mr,mwb,mwda->wrbda", by_name, by_bin, both)


def _cut_search(precision: Array, tiling: Any, plan: PassPlan) -> Array:
    side = 2 * plan.interior
    return jax.vmap(
        lambda corner: jax.lax.dynamic_slice(
            precision,
            (0, 2 * (corner[1] + plan.margin), 2 * (corner[0] + plan.margin)),
            (precision.shape[0], side, side),
        )
    )(tiling.origin)
