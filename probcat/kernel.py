"""The trans-dimensional sampler as a numpyro kernel.

One `sample` is one draw of every chain: passes over freshly placed windows, each
visited with many moves, then the parameters common to the whole image.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.infer.mcmc import MCMCKernel

from probcat.common import update_common
from probcat.exchange import exchange
from probcat.layout import Layout, PassPlan
from probcat.moves import MOVES, POINT_MOVES
from probcat.moves.base import Model, Search, Window, WindowState, draw
from probcat.moves.hmc import hmc
from probcat.scene import Scene, render_extended, render_points
from probcat.state import COUNTS_SHAPE, MOVE_NAMES, CatalogState, Draw, chain_keys, initial_state
from probcat.windows import cut, draw_tiling, hold, paste, release

TARGET_ACCEPTANCE = 0.8
REFRESH = 8
"""Draws between two computations of the residual from scratch."""


class CatalogKernel(MCMCKernel):
    """Sampler of catalogs under `numpyro.infer.MCMC`.

    Runs as an ensemble kernel: all chains advance together and one key drives them.
    The scene is the only argument of ``MCMC.run``.

    Parameters
    ----------
    layout : Layout
        Static sizes.
    extended_radius : int
        Half side in pixels of the largest footprint of extended sources.
    num_warmup : int, optional
        Draws in which the step size adapts and the likelihood is tempered; None takes
        that of the driver, a number serves a driver that runs block by block.
    first_temperature : float
        Inverse temperature of the likelihood at the start of warm-up.
    tempered_share : float
        Share of the warm-up in which it rises to one.
    """

    model = None
    sample_field = "draw"

    def __init__(
        self,
        layout: Layout,
        extended_radius: int,
        num_warmup: int | None = None,
        first_temperature: float = 1.0,
        tempered_share: float = 0.4,
    ) -> None:
        self.layout = layout
        self.extended_radius = extended_radius
        self.first_temperature = first_temperature
        self.tempered_share = tempered_share
        self._fixed_warmup = num_warmup
        self._num_warmup = num_warmup or 0
        self._sample_fn: Any = None

    def _settings(self) -> tuple:
        return (
            self.layout,
            self.extended_radius,
            self.first_temperature,
            self.tempered_share,
            self._fixed_warmup,
            self._num_warmup,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CatalogKernel) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(self._settings())

    @property
    def is_ensemble_kernel(self) -> bool:
        """All chains advance in one call."""
        return True

    def get_diagnostics_str(self, state: CatalogState) -> str:
        """Short text for numpyro's own progress bar."""
        count = jnp.mean(jnp.sum(state.draw.points.active, axis=-1, dtype=jnp.float32))
        return f"N={float(count):.0f}"

    def init(
        self,
        rng_key: Array,
        num_warmup: int,
        init_params: Any = None,
        model_args: tuple = (),
        model_kwargs: dict | None = None,
    ) -> CatalogState:
        """Empty catalogs, with mu, background and the rest drawn from their priors."""
        del init_params, model_kwargs
        if self._fixed_warmup is None:
            self._num_warmup = num_warmup
        self._sample_fn = self.sample
        (scene,) = model_args
        key = rng_key[0] if rng_key.ndim > (0 if _is_typed(rng_key) else 1) else rng_key
        return initial_state(key, scene, self.layout)

    def sample(self, state: CatalogState, model_args: tuple, model_kwargs: Any) -> CatalogState:
        """One draw of every chain."""
        del model_kwargs
        (scene,) = model_args
        warming = state.i < self._num_warmup
        temperature = self._temperature(state.i)
        key, key_passes, key_globals, key_exchange = jax.random.split(state.rng_key, 4)
        state = jax.lax.cond(
            state.i % REFRESH == 0,
            lambda state: refresh(state, scene, self.layout, self.extended_radius),
            lambda state: state,
            state,
        )
        state = _reset_counts(state, temperature, self.layout.ladder)
        for number, plan in enumerate(self.layout.plans):
            keys = jax.random.split(jax.random.fold_in(key_passes, number), plan.passes)
            run = partial(self._pass, scene=scene, plan=plan, number=number, warming=warming)

            def body(
                carry: CatalogState, key: Array, run: Callable[..., CatalogState] = run
            ) -> tuple[CatalogState, None]:
                return run(carry, key), None

            state, _ = jax.lax.scan(body, state, keys)
        update = jax.vmap(partial(update_common, scene=scene))
        draw, residual = update(state.draw, state.residual, chain_keys(key_globals, state))
        state = state._replace(draw=draw, residual=residual)
        if len(self.layout.ladder) > 1:
            state = exchange(key_exchange, state, len(self.layout.ladder))
        return state._replace(i=state.i + 1, rng_key=key)

    def _temperature(self, i: Array) -> Array:
        span = max(1.0, self.tempered_share * self._num_warmup)
        progress = jnp.minimum(i.astype(jnp.float32) / span, 1.0)
        tempered = jnp.exp((1.0 - progress) * jnp.log(jnp.float32(self.first_temperature)))
        return jnp.where(i < self._num_warmup, tempered, 1.0)

    def _pass(
        self,
        state: CatalogState,
        rng_key: Array,
        scene: Scene,
        plan: PassPlan,
        number: int,
        warming: Array,
    ) -> CatalogState:
        """Visit all windows of one placement."""
        key_tiling, key_visit = jax.random.split(rng_key)
        tiling = draw_tiling(key_tiling, self.layout, plan)
        weight = cut(scene.weight, tiling, plan.size)
        precision = _cut_search(scene.search_precision, tiling, plan)
        visit = partial(visit_window, search=scene.searches[number], plan=plan)
        visit = partial(visit, num_leapfrog=self.layout.num_leapfrog)
        log_step = jnp.where(warming, state.log_step, state.log_step_mean)
        step_size = jnp.exp(log_step[:, number])

        def one_chain(draw: Draw, residual: Array, step: Array, rng_key: Array) -> tuple:
            keys = jax.random.split(rng_key, weight.shape[0])
            held = [
                hold(draw.points, tiling, plan.size, plan.point_slots),
                hold(draw.extended, tiling, plan.size, plan.extended_slots, plan.largest),
            ]
            windows = WindowState(
                residual=cut(residual, tiling, plan.size),
                points=held[0].marks,
                extended=held[1].marks,
                overflow=jnp.zeros((weight.shape[0], 2), bool),
            )
            prior = scene.model.prior.with_slope(draw.flux_slope)
            model = scene.model._replace(prior=prior)
            density = (draw.mu / scene.area) * jnp.stack(
                [1.0 - draw.extended_fraction, draw.extended_fraction]
            )

            def one_window(key, window_state, weight, precision, lower, upper):
                window = Window(
                    weight=weight * draw.temperature,
                    lower=lower,
                    upper=upper,
                    density=density,
                    search_precision=precision,
                    temperature=draw.temperature,
                    largest=jnp.float32(plan.largest),
                    step_size=step,
                )
                return visit(key, window, window_state, model=model)

            windows, moves, acceptance, occupied = jax.vmap(one_window)(
                keys, windows, weight, precision, tiling.lower, tiling.upper
            )
            residual = paste(residual, windows.residual, tiling)
            points, full_points = release(draw.points, tiling, held[0], windows.points)
            extended, full_extended = release(draw.extended, tiling, held[1], windows.extended)
            full = jnp.stack([full_points, full_extended], axis=1)
            full = full.at[1].set(full[1] | jnp.any(windows.overflow, axis=0))
            overflow = draw.overflow | full.reshape(-1)
            weight_sum = jnp.sum(occupied.astype(jnp.float32))
            mean = jnp.sum(jnp.where(occupied, acceptance, 0.0)) / jnp.maximum(weight_sum, 1.0)
            draw = draw._replace(
                points=points,
                extended=extended,
                overflow=overflow,
                moves=draw.moves + jnp.sum(moves, axis=0),
                hmc_acceptance=jnp.where(weight_sum > 0, mean, draw.hmc_acceptance),
            )
            return draw, residual, jnp.where(weight_sum > 0, mean, TARGET_ACCEPTANCE)

        draw, residual, acceptance = jax.vmap(one_chain)(
            state.draw, state.residual, step_size, chain_keys(key_visit, state)
        )
        state = state._replace(draw=draw, residual=residual)
        settled = state.i.astype(jnp.float32) - self.tempered_share * self._num_warmup
        gain = 0.3 / (1.0 + jnp.maximum(settled, 0.0)) ** 0.6
        return _adapt(state, acceptance, warming, gain, number)


def _adapt(
    state: CatalogState, acceptance: Array, warming: Array, gain: Array, number: int
) -> CatalogState:
    """Robbins-Monro update of a step size during warm-up, with a running mean."""
    shift = jnp.zeros_like(state.log_step)
    shift = shift.at[:, number].set(gain * (acceptance - TARGET_ACCEPTANCE))
    log_step = jnp.clip(state.log_step + shift, -7.0, 0.5)
    mean = state.log_step_mean + 0.05 * (log_step - state.log_step_mean)
    return state._replace(
        log_step=jnp.where(warming, log_step, state.log_step),
        log_step_mean=jnp.where(warming, mean, state.log_step_mean),
    )


def visit_window(
    rng_key: Array,
    window: Window,
    state: WindowState,
    *,
    model: Model,
    search: Search,
    plan: PassPlan,
    num_leapfrog: int,
) -> tuple[WindowState, Array, Array, Array]:
    """All moves of one visit: the schedule, then the Hamiltonian trajectories."""
    names = tuple(dict.fromkeys(plan.schedule))
    key_moves, key_hmc = jax.random.split(rng_key)
    counts = jnp.zeros(COUNTS_SHAPE, jnp.float32)

    def step(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        state, counts = carry
        index, draws = inputs
        branches = [partial(_apply, name, model, search, window) for name in names]
        state, outcome = jax.lax.switch(index, branches, draws, state)
        row = jnp.asarray([MOVE_NAMES.index(name) for name in names])[index]
        both = jnp.stack([outcome.tried, outcome.accepted], axis=-1).astype(jnp.float32)
        return (state, counts.at[row, outcome.signal_bin].add(both)), None

    if plan.schedule:
        order = jnp.asarray([names.index(name) for name in plan.schedule], dtype=jnp.int32)
        with_shapes = not POINT_MOVES.issuperset(names)
        draws = draw(key_moves, model.prior, len(plan.schedule), with_shapes)
        (state, counts), _ = jax.lax.scan(step, (state, counts), (order, draws))

    def trajectory(state: WindowState, key: Array) -> tuple[WindowState, tuple]:
        state, acceptance, occupied = hmc(key, model, window, state, num_leapfrog)
        return state, (acceptance, occupied)

    if plan.num_hmc == 0:
        return state, counts, jnp.float32(0.0), jnp.bool_(False)
    state, (acceptance, occupied) = jax.lax.scan(
        trajectory, state, jax.random.split(key_hmc, plan.num_hmc)
    )
    return state, counts, jnp.mean(acceptance), jnp.any(occupied)


def _apply(name, model, search, window, draws, state):
    return MOVES[name](draws, model, search, window, state)


def _cut_search(precision: Array, tiling: Any, plan: PassPlan) -> Array:
    side = 2 * plan.interior
    return jax.vmap(
        lambda corner: jax.lax.dynamic_slice(
            precision, (2 * (corner[1] + plan.margin), 2 * (corner[0] + plan.margin)), (side, side)
        )
    )(tiling.origin)


def refresh(
    state: CatalogState, scene: Scene, layout: Layout, extended_radius: int
) -> CatalogState:
    """Compute the residual afresh, so that rounding never accumulates."""

    def one(draw: Draw) -> Array:
        return fresh_residual(draw, scene, layout, extended_radius)

    return state._replace(residual=jax.vmap(one)(state.draw))


def fresh_residual(draw: Draw, scene: Scene, layout: Layout, extended_radius: int) -> Array:
    """Render one chain from scratch: data minus background minus all sources."""
    shape = layout.padded_shape
    image = render_points(scene.model.point_tables, draw.points, shape)
    if scene.model.extended_tables is not None:
        image = image + render_extended(scene.model, extended_radius, draw.extended, shape)
    return scene.data - draw.background - image


def _reset_counts(
    state: CatalogState, temperature: Array, ladder: tuple[float, ...]
) -> CatalogState:
    rungs = jnp.asarray(ladder, jnp.float32)[state.chain % len(ladder)]
    draw = state.draw._replace(
        moves=jnp.zeros_like(state.draw.moves),
        overflow=jnp.zeros_like(state.draw.overflow),
        temperature=temperature * rungs,
        step_size=jnp.exp(state.log_step_mean[:, 0]),
    )
    return state._replace(draw=draw)


def _is_typed(key: Array) -> bool:
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
