"""State of the chains: their catalogs and parameters, and the cache that the sampler keeps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from probcat.model.prior.densities import prior_mean
from probcat.sampler.geometry.layout import SOURCE_ARRAYS, Layout
from probcat.sampler.geometry.tiling import Sources
from probcat.sampler.moves import MOVES
from probcat.sampler.scene.calibration import background_priors
from probcat.sampler.scene.scene import Scene
from probcat.sampler.window.structures import EXTENDED, POINT, SIGNAL_EDGES, num_columns

FIRST_STEP_SIZE = 0.3
"""Step size of the Hamiltonian moves before it adapts."""
MOVE_NAMES = (*MOVES, "exchange")
"""Names of all moves that are counted."""
COUNTS_SHAPE = (len(MOVE_NAMES), len(SIGNAL_EDGES) + 1, 2, 2)
"""Shape of the counts: moves, bins of signal-to-noise ratio, directions, tried and accepted."""


class ChainSample(NamedTuple):
    """A draw of every chain; every array has a leading axis of C chains.

    Attributes
    ----------
    points, extended : Sources
        Point and extended sources.
    background : Array, shape (C, K)
        Coefficients of the backgrounds of all images, one image after the other.
    mu : Array, shape (C,)
        Expected number of sources.
    extended_fraction : Array, shape (C,)
        Fraction of extended sources that is expected.
    flux_slope : Array, shape (C,)
        Slope s of the flux distribution ``flux**-s``.
    psf_error_floor, noise_scale : Array, shape (C, I)
        Relative error of the PSF, and scale of all other noise, of every image.
    psf_width_change : Array, shape (C, I, 2)
        Relative change of the PSF's width along x and y in every image.
    offset : Array, shape (C, I, 2)
        Offset along x and y of every image from its mapped position, in its pixels.
    flux_scale : Array, shape (C, I)
        Factor of the fluxes in every image.
    chi2, log_likelihood : Array, shape (C,)
        Chi-square and log likelihood of all images.
    step_size, hmc_acceptance : Array, shape (C,)
        Step size and mean acceptance of the Hamiltonian moves.
    beta : Array, shape (C,)
        Inverse temperature of the likelihood.
    moves : Array, shape (C, num_moves, num_bins, 2, 2)
        Counts of moves by type, bin of signal-to-noise ratio, direction (up, down) and outcome
        (tried, accepted).
    overflow : Array, shape (C, 4), bool
        Whether each of `probcat.sampler.geometry.layout.SOURCE_ARRAYS` was full.
    """

    points: Sources
    extended: Sources
    background: Array
    mu: Array
    extended_fraction: Array
    flux_slope: Array
    psf_error_floor: Array
    noise_scale: Array
    psf_width_change: Array
    offset: Array
    flux_scale: Array
    chi2: Array
    log_likelihood: Array
    step_size: Array
    hmc_acceptance: Array
    beta: Array
    moves: Array
    overflow: Array


class CatalogState(NamedTuple):
    """State of all chains.

    Attributes
    ----------
    sample : ChainSample
        Current draw.
    residual : tuple of Array, shape (C, Hp, Wp)
        Data minus background minus all sources, in every image.
    sky_subtracted : tuple of Array, shape (C, Hp, Wp)
        Data minus background in every image, if the light of the model is needed; else empty.
    log_step, log_step_mean : Array, shape (C, num_plans)
        Logarithms of the step sizes of the Hamiltonian moves, and their means over the warm-up.
    chain : Array, shape (C,), int32
        Number of every chain, on which its random numbers depend.
    i : Array, shape (), int32
        Number of draws made so far, warm-up included.
    rng_key : Array
        Random key of the next draw.
    """

    sample: ChainSample
    residual: tuple[Array, ...]
    sky_subtracted: tuple[Array, ...]
    log_step: Array
    log_step_mean: Array
    chain: Array
    i: Array
    rng_key: Array


def chain_keys(rng_key: Array, state: CatalogState) -> Array:
    """Random key of every chain, which does not depend on how chains are spread over devices."""
    return jax.vmap(jax.random.fold_in, (None, 0))(rng_key, state.chain)


def initial_state(rng_key: Array, scene: Scene, layout: Layout) -> CatalogState:
    """State with empty catalogs; shared parameters are drawn from their priors.

    Parameters
    ----------
    rng_key : Array
        Random key.
    scene : Scene
        Images and prior.
    layout : Layout
        Sizes of the run.

    Returns
    -------
    CatalogState
    """
    keys = jax.random.split(rng_key, 4)
    sample = _initial_sample(keys, scene, layout)
    log_step = jnp.full(
        (layout.num_chains, len(layout.plans)), jnp.log(jnp.float32(FIRST_STEP_SIZE))
    )
    planes = tuple(
        jnp.zeros((layout.num_chains, *shape), jnp.float32) for shape in layout.padded_shapes
    )
    state = CatalogState(
        sample=sample,
        residual=planes,
        sky_subtracted=planes if scene.keeps_sky_subtracted else (),
        log_step=log_step,
        log_step_mean=log_step,
        chain=jnp.arange(layout.num_chains, dtype=jnp.int32),
        i=jnp.int32(0),
        rng_key=keys[3],
    )
    # Every array has a buffer of its own, as blocks of draws give up their buffers.
    return jax.tree.map(jnp.copy, state)


def _initial_sample(keys: Array, scene: Scene, layout: Layout) -> ChainSample:
    """Draw of every chain before the first one."""
    chains, number = layout.num_chains, len(scene.data)
    prior = scene.model.prior

    def empty(capacity: int, columns: int) -> Sources:
        return Sources(
            jnp.full((chains, capacity, 2), layout.pad, jnp.int32),
            jnp.zeros((chains, capacity, columns), jnp.float32),
        )

    def drawn(key: Array, value: Any) -> Array:
        if isinstance(value, dist.Distribution):
            return value.sample(key, (chains,)).astype(jnp.float32)
        return jnp.broadcast_to(jnp.asarray(value, jnp.float32), (chains,))

    def per_image(value: Any, default: float) -> Array:
        mean = jnp.asarray(prior_mean(value, default), jnp.float32)
        return jnp.broadcast_to(mean, (chains, number))

    background = jnp.concatenate([mean for mean, _ in background_priors(scene)])
    slope = prior.flux_slope
    if slope is None:
        slope = -getattr(prior.flux, "alpha", jnp.float32(jnp.nan))
    zeros = jnp.zeros((chains,), jnp.float32)
    return ChainSample(
        points=empty(layout.point_capacity, num_columns(POINT, prior.num_colours)),
        extended=empty(layout.extended_capacity, num_columns(EXTENDED, prior.num_colours)),
        background=jnp.broadcast_to(background, (chains, background.shape[0])),
        mu=jnp.maximum(drawn(keys[0], prior.expected_sources), 1e-3),
        extended_fraction=drawn(keys[1], prior.extended_fraction),
        flux_slope=drawn(keys[2], slope),
        psf_error_floor=per_image(prior.psf_error_floor, 0.0),
        noise_scale=per_image(prior.noise_scale, 1.0),
        psf_width_change=jnp.zeros((chains, number, 2), jnp.float32),
        offset=jnp.zeros((chains, number, 2), jnp.float32),
        flux_scale=jnp.ones((chains, number), jnp.float32),
        chi2=zeros,
        log_likelihood=zeros,
        step_size=zeros,
        hmc_acceptance=zeros,
        beta=zeros + 1.0,
        moves=jnp.zeros((chains, *COUNTS_SHAPE), jnp.float32),
        overflow=jnp.zeros((chains, len(SOURCE_ARRAYS)), bool),
    )


def grown_sources(state: CatalogState, layout: Layout, kind: str) -> CatalogState:
    """State whose catalogs have room for the sources of a kind that a layout has."""
    sources = state.sample.points if kind == "point" else state.sample.extended
    extra = ((0, 0), (0, layout.capacity(kind) - sources.marks.shape[1]), (0, 0))
    grown = Sources(
        jnp.pad(sources.pixel, extra, constant_values=layout.pad), jnp.pad(sources.marks, extra)
    )
    if kind == "point":
        return state._replace(sample=state.sample._replace(points=grown))
    return state._replace(sample=state.sample._replace(extended=grown))
