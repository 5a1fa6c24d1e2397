"""The trans-dimensional sampler as a numpyro kernel.

One call of `CatalogKernel.sample` makes one draw of every chain: sweeps over freshly placed
windows, each of which is visited with many moves, and then an update of the parameters that all
sources share.
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
from probcat.sampler.residual import refresh
from probcat.sampler.scene.scene import Scene
from probcat.sampler.state import CatalogState, initial_state
from probcat.sampler.sweep import make_pass
from probcat.sampler.updates.shared import update_background, update_shared
from probcat.sampler.window.slots import one_hot

TARGET_ACCEPTANCE = 0.8
"""Mean acceptance of Hamiltonian moves that the step size is adapted to."""
TARGET_WITH_GALAXIES = 0.65
"""The same where galaxies move, whose trajectories would otherwise be too short."""
REFRESH = 8
"""Number of draws between two computations of the residual from scratch."""


class CatalogKernel(MCMCKernel):
    """Sampler of catalogs for `numpyro.infer.MCMC`.

    It is an ensemble kernel: all chains advance together, driven by one random key. The scene is
    the only argument of ``MCMC.run``.

    Parameters
    ----------
    layout : Layout
        Static sizes of the run.
    extended_radius : int
        Half-width in pixels of the largest stamp of an extended source in the first image.
    num_warmup : int, optional
        Number of draws in which the step size adapts and the likelihood is tempered; None takes
        the number of the driver. A driver that runs block by block needs it.
    tempering_fraction : float
        Fraction of the warm-up in which the inverse temperature of the likelihood rises to one,
        from ``scene.start_beta``.
    density_penalty : float
        Decrease of the log density of sources at the start of the warm-up, so that a single source
        is not fitted by several fragments; it falls to zero as the inverse temperature rises.
    fresh_at : int
        Number of a draw at which the residual is also computed from scratch.
    points_alone : float
        Fraction of the warm-up in which windows for all sources are left out.

    Examples
    --------
    Two chains for an image, 100 draws each after a warm-up of 50:

    >>> import jax
    >>> from numpyro.infer import MCMC
    >>> from probcat import Prior, SamplerSettings
    >>> from probcat.sampler.sample import Run
    >>> settings = SamplerSettings()
    >>> counts = (2, 50, 100)
    >>> run = Run(image, Prior.from_image(image), settings, jax.random.key(0), counts)
    >>> mcmc = MCMC(
    ...     run.kernel,
    ...     num_warmup=50,
    ...     num_samples=100,
    ...     num_chains=2,
    ...     chain_method="vectorized",
    ...     jit_model_args=True,
    ... )
    >>> mcmc.run(jax.random.key(1), run.scene)
    >>> draws = mcmc.get_samples(group_by_chain=True)
    >>> draws.points.active.sum(axis=-1)  # number of point sources, shape (2, 100)
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
        points_alone: float = 0.0,
    ) -> None:
        self.layout = layout
        self.extended_radius = extended_radius
        self.tempering_fraction = tempering_fraction
        self.density_penalty = density_penalty
        self.fresh_at = fresh_at
        self.points_alone = points_alone
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
            self.points_alone,
            self._fixed_warmup,
            self._num_warmup,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CatalogKernel) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(self._settings())

    def of_layout(self, layout: Layout) -> "CatalogKernel":
        """Kernel that is the same but for its layout."""
        return CatalogKernel(
            layout,
            self.extended_radius,
            self._fixed_warmup,
            self.tempering_fraction,
            self.density_penalty,
            self.fresh_at,
            self.points_alone,
        )

    @property
    def is_ensemble_kernel(self) -> bool:
        """Whether all chains advance in one call."""
        return True

    def get_diagnostics_str(self, state: CatalogState) -> str:
        """Mean number of sources, for numpyro's own progress bar."""
        kinds = (state.sample.points, state.sample.extended)
        count = sum(jnp.sum(sources.active, axis=-1, dtype=jnp.float32) for sources in kinds)
        return f"N={float(jnp.mean(count)):.0f}"

    def init(
        self,
        rng_key: Array,
        num_warmup: int,
        init_params: Any = None,
        model_args: tuple = (),
        model_kwargs: dict | None = None,
    ) -> CatalogState:
        """State with empty catalogs; shared parameters are drawn from their priors.

        Parameters
        ----------
        rng_key : Array
            Random key, or one key for each chain, of which the first is used.
        num_warmup : int
            Number of warm-up draws of the driver.
        init_params, model_kwargs
            Ignored.
        model_args : tuple of Scene
            The scene.

        Returns
        -------
        CatalogState
        """
        del init_params, model_kwargs
        if self._fixed_warmup is None:
            self._num_warmup = num_warmup
        self._sample_fn = self.sample
        (scene,) = model_args
        key = rng_key[0] if rng_key.ndim > (0 if _is_typed(rng_key) else 1) else rng_key
        return initial_state(key, scene, self.layout)

    def sample(self, state: CatalogState, model_args: tuple, model_kwargs: Any) -> CatalogState:
        """Make one draw of every chain.

        Parameters
        ----------
        state : CatalogState
            State after the draw before.
        model_args : tuple of Scene
            The scene.
        model_kwargs
            Ignored.

        Returns
        -------
        CatalogState
        """
        del model_kwargs
        (scene,) = model_args
        warming = state.i < self._num_warmup
        beta = self._beta(state.i, scene)
        key, key_sweeps, key_shared, key_exchange = jax.random.split(state.rng_key, 4)
        state = jax.lax.cond(
            (state.i % REFRESH == 0) | (state.i == self.fresh_at),
            lambda state: refresh(state, scene, self.layout, self.extended_radius),
            lambda state: state,
            state,
        )
        state = _reset_counts(state, beta, self.layout.ladder)
        fewer = jnp.exp(self.density_penalty * (1.0 - self._progress(state.i)))
        settled = state.i >= int(self.tempering_fraction * self._num_warmup)
        sparse = scene._replace(area=scene.area * jnp.where(warming, fewer, 1.0))
        for number, plan in enumerate(self.layout.plans):
            keys = jax.random.split(jax.random.fold_in(key_sweeps, number), plan.passes)
            run = partial(self.sweep, scene=sparse, plan=plan, number=number, warming=warming)

            def body(
                carry: CatalogState,
                key: Array,
                run: Callable[..., CatalogState] = run,
                plan: PassPlan = plan,
            ) -> tuple[CatalogState, None]:
                carry = run(carry, key)
                if plan.extended_slots and plan.num_hmc:
                    # Extended light and the background are strongly correlated.
                    # The sweep itself has used the keys 0 and 1.
                    carry = update_background(jax.random.fold_in(key, 2), carry, scene)
                return carry, None

            def all_passes(
                state: CatalogState, body: Callable = body, keys: Array = keys
            ) -> CatalogState:
                return jax.lax.scan(body, state, keys)[0]

            if self.points_alone and plan.extended_slots and self.layout.has_point_plan:
                complete = state.i >= int(self.points_alone * self._num_warmup)
                state = jax.lax.cond(complete, all_passes, lambda state: state, state)
            else:
                state = all_passes(state)
        state = update_shared(key_shared, state, scene, self.layout, self.extended_radius, settled)
        if len(self.layout.ladder) > 1:
            state = exchange(key_exchange, state, len(self.layout.ladder))
        return state._replace(i=state.i + 1, rng_key=key)

    def _progress(self, i: Array) -> Array:
        """Completed fraction of the tempered part of the warm-up."""
        span = max(1.0, self.tempering_fraction * self._num_warmup)
        return jnp.minimum(i.astype(jnp.float32) / span, 1.0)

    def _beta(self, i: Array, scene: Scene) -> Array:
        """Inverse temperature of the likelihood, but for replica exchange."""
        tempered = jnp.exp((1.0 - self._progress(i)) * jnp.log(scene.start_beta))
        return jnp.where(i < self._num_warmup, tempered, 1.0)

    def sweep(
        self,
        state: CatalogState,
        rng_key: Array,
        scene: Scene,
        plan: PassPlan,
        number: int,
        warming: Array | bool,
        order: Array | None = None,
    ) -> CatalogState:
        """Visit all windows of one placement, and adapt the step size during warm-up.

        Parameters
        ----------
        state : CatalogState
            State of all chains.
        rng_key : Array
            Random key of this sweep.
        scene : Scene
            Images and prior.
        plan : PassPlan
            Plan of the windows.
        number : int
            Number of the plan in the layout.
        warming : Array, shape (), bool
            Whether the chains are in their warm-up.
        order : Array, shape (any,), int32, optional
            Moves of a visit, as in `probcat.sampler.sweep.make_pass`.

        Returns
        -------
        CatalogState
        """
        log_step = jnp.where(warming, state.log_step, state.log_step_mean)
        step_size = jnp.exp(log_step[:, number])
        state, acceptance = make_pass(state, rng_key, scene, self.layout, number, step_size, order)
        settled = state.i.astype(jnp.float32) - self.tempering_fraction * self._num_warmup
        learning_rate = 0.3 / (1.0 + jnp.maximum(settled, 0.0)) ** 0.6
        target = TARGET_WITH_GALAXIES if plan.extended_slots else TARGET_ACCEPTANCE
        return _adapt(state, acceptance - target, warming, learning_rate, number)


def _adapt(
    state: CatalogState,
    excess: Array,
    warming: Array | bool,
    learning_rate: Array,
    number: int,
) -> CatalogState:
    """Update a step size and its running mean during warm-up (Robbins & Monro 1951).

    The excess is the mean acceptance minus its target, NaN if there was nothing to move.
    """
    change = jnp.where(jnp.isnan(excess), 0.0, learning_rate * excess)
    shift = jnp.where(one_hot(number, state.log_step.shape[1])[None], change[:, None], 0.0)
    log_step = jnp.clip(state.log_step + shift, -7.0, 0.5)
    mean = state.log_step_mean + 0.05 * (log_step - state.log_step_mean)
    return state._replace(
        log_step=jnp.where(warming, log_step, state.log_step),
        log_step_mean=jnp.where(warming, mean, state.log_step_mean),
    )


def _reset_counts(state: CatalogState, beta: Array, ladder: tuple[float, ...]) -> CatalogState:
    """State at the start of a draw, with the inverse temperatures of its chains."""
    rungs = jnp.asarray(ladder, jnp.float32)[state.chain % len(ladder)]
    sample = state.sample._replace(
        moves=jnp.zeros_like(state.sample.moves),
        overflow=jnp.zeros_like(state.sample.overflow),
        beta=beta * rungs,
        step_size=jnp.exp(state.log_step_mean[:, 0]),
    )
    return state._replace(sample=sample)


def _is_typed(key: Array) -> bool:
    """Whether a random key is typed."""
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
