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

from probcat.sampler.geometry.layout import Layout, PassPlan
from probcat.sampler.replica_exchange import exchange
from probcat.sampler.scene.calibration import background_images, calibrated
from probcat.sampler.scene.render import render
from probcat.sampler.scene.scene import Scene
from probcat.sampler.state import CatalogState, ChainSample, initial_state
from probcat.sampler.sweep import make_pass
from probcat.sampler.updates.shared import update_shared
from probcat.sampler.window.slots import one_hot

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
    tempering_fraction : float
        Share of the warm-up in which the likelihood's inverse temperature rises to one, from
        what the scene says.
    density_penalty : float
        By how much the log density of sources is lowered at the start of the warm-up; it rises
        with the temperature. What one source explains is then not found in pieces.
    fresh_at : int
        Number of a draw before which the residual is computed from scratch besides.
    """

    model = None
    sample_field = "sample"

    def __init__(
        self,
        layout: Layout,
        extended_radius: int,
        num_warmup: int | None = None,
        tempering_fraction: float = 0.4,
        density_penalty: float = 0.0,
        fresh_at: int = 0,
    ) -> None:
        self.layout = layout
        self.extended_radius = extended_radius
        self.tempering_fraction = tempering_fraction
        self.density_penalty = density_penalty
        self.fresh_at = fresh_at
        self._fixed_warmup = num_warmup
        self._num_warmup = num_warmup or 0
        self._sample_fn: Any = None

    def _settings(self) -> tuple:
        return (
            self.layout,
            self.extended_radius,
            self.tempering_fraction,
            self.density_penalty,
            self.fresh_at,
            self._fixed_warmup,
            self._num_warmup,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CatalogKernel) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(self._settings())

    def of_layout(self, layout: Layout) -> "CatalogKernel":
        """Make the same kernel for another layout."""
        return CatalogKernel(
            layout,
            self.extended_radius,
            self._fixed_warmup,
            self.tempering_fraction,
            self.density_penalty,
            self.fresh_at,
        )

    @property
    def is_ensemble_kernel(self) -> bool:
        """All chains advance in one call."""
        return True

    def get_diagnostics_str(self, state: CatalogState) -> str:
        """Short text for numpyro's own progress bar."""
        count = jnp.mean(jnp.sum(state.sample.points.active, axis=-1, dtype=jnp.float32))
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
        beta = self._beta(state.i, scene)
        key, key_passes, key_globals, key_exchange = jax.random.split(state.rng_key, 4)
        state = jax.lax.cond(
            (state.i % REFRESH == 0) | (state.i == self.fresh_at),
            lambda state: refresh(state, scene, self.layout, self.extended_radius),
            lambda state: state,
            state,
        )
        state = _reset_counts(state, beta, self.layout.ladder)
        fewer = jnp.exp(self.density_penalty * (1.0 - self._progress(state.i)))
        sparse = scene._replace(area=scene.area * jnp.where(warming, fewer, 1.0))
        for number, plan in enumerate(self.layout.plans):
            keys = jax.random.split(jax.random.fold_in(key_passes, number), plan.passes)
            run = partial(self.sweep, scene=sparse, plan=plan, number=number, warming=warming)

            def body(
                carry: CatalogState, key: Array, run: Callable[..., CatalogState] = run
            ) -> tuple[CatalogState, None]:
                return run(carry, key), None

            state, _ = jax.lax.scan(body, state, keys)
        settled = state.i >= int(self.tempering_fraction * self._num_warmup)
        state = update_shared(key_globals, state, scene, self.layout, self.extended_radius, settled)
        if len(self.layout.ladder) > 1:
            state = exchange(key_exchange, state, len(self.layout.ladder))
        return state._replace(i=state.i + 1, rng_key=key)

    def _progress(self, i: Array) -> Array:
        """How much of the tempered part of the warm-up is over, 0 to 1."""
        span = max(1.0, self.tempering_fraction * self._num_warmup)
        return jnp.minimum(i.astype(jnp.float32) / span, 1.0)

    def _beta(self, i: Array, scene: Scene) -> Array:
        tempered = jnp.exp((1.0 - self._progress(i)) * jnp.log(scene.start_beta))
        return jnp.where(i < self._num_warmup, tempered, 1.0)

    def sweep(
        self,
        state: CatalogState,
        rng_key: Array,
        scene: Scene,
        plan: PassPlan,
        number: int,
        warming: Array,
        order: Array | None = None,
    ) -> CatalogState:
        """Visit all windows of one placement, and adapt the step size in warm-up."""
        log_step = jnp.where(warming, state.log_step, state.log_step_mean)
        step_size = jnp.exp(log_step[:, number])
        state, acceptance = make_pass(state, rng_key, scene, self.layout, number, step_size, order)
        settled = state.i.astype(jnp.float32) - self.tempering_fraction * self._num_warmup
        learning_rate = 0.3 / (1.0 + jnp.maximum(settled, 0.0)) ** 0.6
        return _adapt(state, acceptance, warming, learning_rate, number)


def _adapt(
    state: CatalogState, acceptance: Array, warming: Array, learning_rate: Array, number: int
) -> CatalogState:
    """Robbins-Monro update of a step size during warm-up, with a running mean."""
    change = jnp.where(jnp.isnan(acceptance), 0.0, learning_rate * (acceptance - TARGET_ACCEPTANCE))
    shift = jnp.where(one_hot(number, state.log_step.shape[1])[None], change[:, None], 0.0)
    log_step = jnp.clip(state.log_step + shift, -7.0, 0.5)
    mean = state.log_step_mean + 0.05 * (log_step - state.log_step_mean)
    return state._replace(
        log_step=jnp.where(warming, log_step, state.log_step),
        log_step_mean=jnp.where(warming, mean, state.log_step_mean),
    )


def refresh(
    state: CatalogState, scene: Scene, layout: Layout, extended_radius: int
) -> CatalogState:
    """Compute the residual afresh, so that rounding never accumulates."""

    def one(sample: ChainSample) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        sky_subtracted = fresh_sky_subtracted(sample, scene)
        residual = fresh_residual(sample, scene, layout, extended_radius)
        return residual, sky_subtracted if scene.keeps_sky_subtracted else ()

    residual, sky_subtracted = jax.vmap(one)(state.sample)
    return state._replace(residual=residual, sky_subtracted=sky_subtracted)


def fresh_sky_subtracted(sample: ChainSample, scene: Scene) -> tuple[Array, ...]:
    """Take the background of one chain off the data of every image."""
    backgrounds = background_images(scene, sample.background)
    return tuple(data - level for data, level in zip(scene.data, backgrounds, strict=True))


def fresh_residual(
    sample: ChainSample, scene: Scene, layout: Layout, extended_radius: int
) -> tuple[Array, ...]:
    """Render one chain from scratch: data minus background minus all sources, every image."""
    own = calibrated(scene, sample)
    images = render(own, layout, sample.points, sample.extended, extended_radius)
    sky_subtracted = fresh_sky_subtracted(sample, scene)
    return tuple(plane - image for plane, image in zip(sky_subtracted, images, strict=True))


def _reset_counts(state: CatalogState, beta: Array, ladder: tuple[float, ...]) -> CatalogState:
    rungs = jnp.asarray(ladder, jnp.float32)[state.chain % len(ladder)]
    sample = state.sample._replace(
        moves=jnp.zeros_like(state.sample.moves),
        overflow=jnp.zeros_like(state.sample.overflow),
        beta=beta * rungs,
        step_size=jnp.exp(state.log_step_mean[:, 0]),
    )
    return state._replace(sample=sample)


def _is_typed(key: Array) -> bool:
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
