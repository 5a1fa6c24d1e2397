"""What every move shares: the window, the two kinds of sources, one accept step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.extended import ExtendedTables, repeated_image
from probcat.points import PointTables, point_patch
from probcat.prior import Prior, sample_flux_prior, sample_shape

POINT, EXTENDED = 0, 1
X, Y, FLUX = 0, 1, 2
NUM_UNIFORMS = 14
NUM_TRIES = 4
SIGNAL_EDGES = (5.0, 10.0, 20.0, 50.0, 200.0)
"""Edges of the bins of signal-to-noise ratio in which moves are counted."""
EMPTY_SHAPE = np.array([1.0, 0.0, 0.0, 1.0], dtype=np.float32)


class Search(NamedTuple):
    """Matched filter on the half-pixel grid, used to propose positions.

    Attributes
    ----------
    rows, cols : Array, shape (rank, 2 * interior, window)
        Leading PSF factors centred on every half-pixel cell of the interior.
    """

    rows: Array
    cols: Array


class Model(NamedTuple):
    """What is fixed during a run and common to all windows.

    Attributes
    ----------
    point_tables : PointTables
    extended_tables : tuple of ExtendedTables
        For sources of the smaller and of the larger footprint, or for all; empty in models
        without extended sources.
    extended_radius, large_radius : Array, shape (), int32
        Half sides of the footprints of extended sources in pixels.
    large_size : Array, shape ()
        Half-light radius in pixels beyond which a source has the larger footprint.
    prior : Prior
    fwhm : Array, shape ()
        Of the PSF, in pixels; sets the scale of displacements.
    point_norm, point_slope_norm, point_bend_norm : Array, shape ()
        Sums over pixels of ``P^2``, ``(dP/dx)^2`` and ``(d2P/dx2)^2``.
    """

    point_tables: PointTables
    extended_tables: tuple[ExtendedTables, ...]
    extended_radius: Array
    large_radius: Array
    large_size: Array
    prior: Prior
    fwhm: Array
    point_norm: Array
    point_slope_norm: Array
    point_bend_norm: Array


class Window(NamedTuple):
    """What is fixed during the visit of one window.

    Attributes
    ----------
    weight : Array, shape (W, W)
        Inverse variance times the inverse temperature; zero where masked.
    lower, upper : Array, shape (2,)
        Bounds (x, y) in window pixels of the area where sources may move.
    density : Array, shape (2,)
        Intensity of point and of extended sources per square pixel.
    search_precision : Array, shape (2 * interior, 2 * interior)
        ``sum w P^2`` on the half-pixel grid, before tempering.
    temperature : Array, shape ()
        Inverse temperature of the likelihood.
    largest : Array, shape ()
        Half-light radius in pixels of the largest source that fits the window.
    step_size : Array, shape ()
        Of the Hamiltonian moves.
    """

    weight: Array
    lower: Array
    upper: Array
    density: Array
    search_precision: Array
    temperature: Array
    largest: Array
    step_size: Array


class Draws(NamedTuple):
    """Randomness of one move, drawn for all moves at once.

    Attributes
    ----------
    uniform : Array, shape (NUM_UNIFORMS,)
        In (0, 1].
    flux : Array, shape (2,)
        From the prior.
    shapes : Array, shape (NUM_TRIES, 4)
        From the prior.
    """

    uniform: Array
    flux: Array
    shapes: Array


class WindowState(NamedTuple):
    """What moves change.

    Attributes
    ----------
    residual : Array, shape (W, W)
        Data minus background minus all sources.
    points : Array, shape (S_p, 3)
        x, y in window pixels and flux of movable point sources; flux 0 is empty.
    extended : Array, shape (S_e, 7)
        The same with half-light radius, two ellipticity components, Sersic index.
    overflow : Array, shape (2,), bool
        A birth of this kind found no empty slot.
    """

    residual: Array
    points: Array
    extended: Array
    overflow: Array


class Outcome(NamedTuple):
    """Bookkeeping of one move: what was tried and what was accepted, up and down.

    Attributes
    ----------
    tried, accepted : Array, shape (2,), bool
    signal_bin : Array, int32
        Bin of `SIGNAL_EDGES` of the source that appears, vanishes or moves.
    """

    tried: Array
    accepted: Array
    signal_bin: Array


class Proposal(NamedTuple):
    """A pair of states that differ by a move, and how to get from one to the other.

    `lower` is the state of lower dimension (before a birth, after a death).

    Attributes
    ----------
    upward : Array, bool
        Whether the current state is the lower one.
    possible : Array, bool
        Whether the proposal exists at all.
    log_ratio : Array
        Of prior, proposal densities and Jacobian, upper over lower state,
        without the likelihood.
    residual : tuple of Array
        Residuals of the lower and of the upper state.
    sources : tuple of (Array, Array)
        (points, extended) of the proposed state.
    signal : Array
        Signal-to-noise ratio of the (fainter) source that the move is about.
    """

    upward: Array
    possible: Array
    log_ratio: Array
    residual: tuple[Array, Array]
    sources: tuple[Array, Array]
    signal: Array


def sources_of(state: WindowState, kind: int) -> Array:
    """Array of the sources of a kind."""
    return state.points if kind == POINT else state.extended


def active(sources: Array) -> Array:
    """Which slots hold a source."""
    return sources[:, FLUX] > 0.0


def patch(model: Model, kind: int, source: Array, size: int) -> Array:
    """Unit-flux image of one source in a window, shape (size, size)."""
    if kind == POINT:
        return point_patch(model.point_tables, source[X], source[Y], size)
    return extended_patch(model, source[X], source[Y], source[3:], size)


def extended_patch(model: Model, x: Array, y: Array, shape: Array, size: int) -> Array:
    """Unit-flux image of an extended source, cut to its square footprint."""
    shape = jnp.where(shape[0] > 0.0, shape, EMPTY_SHAPE)  # empty slots must stay finite
    # Always on the grid of its class, as images of a source on two grids differ a little.
    images = [repeated_image(tables, x, y, shape, size) for tables in model.extended_tables]
    image = jnp.where(shape[0] > model.large_size, images[-1], images[0])
    pixel = jnp.arange(size, dtype=jnp.int32)
    radius = half_side(model, shape[0])
    in_row = jnp.abs(pixel - jnp.round(y).astype(jnp.int32)) <= radius
    in_col = jnp.abs(pixel - jnp.round(x).astype(jnp.int32)) <= radius
    return jnp.where(in_row[:, None] & in_col[None, :], image, 0.0)


def half_side(model: Model, half_light_radius: Array) -> Array:
    """Half side of the footprint of an extended source in pixels, by its class."""
    large = half_light_radius > model.large_size
    return jnp.where(large, model.large_radius, model.extended_radius)


def all_fit(window: Window, extended: Array) -> Array:
    """Whether no extended source is too large for the window."""
    return jnp.all(extended[:, FLUX + 1] <= window.largest)


def contains(window: Window, x: Array, y: Array) -> Array:
    """Whether a position is where sources of this window may be."""
    return (
        (x >= window.lower[0])
        & (x <= window.upper[0])
        & (y >= window.lower[1])
        & (y <= window.upper[1])
    )


def one_hot(index: Array | int, length: int) -> Array:
    """Booleans (length,), true at an index.

    Values put in their places by selection compile and run much faster than by scatter.
    """
    return jnp.arange(length, dtype=jnp.int32) == index


def put(values: Array, index: Array, value: Array | float) -> Array:
    """Copy of an array with the entry at an index of the first axis replaced."""
    here = one_hot(index, values.shape[0])
    return jnp.where(here.reshape(-1, *[1] * (values.ndim - 1)), _raised(value, values), values)


def _raised(value: Array | float, like: Array) -> Array:
    return jnp.broadcast_to(jnp.asarray(value, like.dtype), like.shape[1:])[None]


def with_position(source: Array, position: Array) -> Array:
    """Copy of a source at another position (x, y)."""
    return jnp.concatenate([position, source[FLUX:]])


def with_flux(source: Array, flux: Array) -> Array:
    """Copy of a source with another flux."""
    return jnp.concatenate([source[:FLUX], flux[None], source[FLUX + 1 :]])


def with_shape(source: Array, shape: Array) -> Array:
    """Copy of a source with another shape."""
    return jnp.concatenate([source[: FLUX + 1], shape])


def total(image: Array) -> Array:
    """Sum of an image; columns first, which vectorises."""
    return jnp.sum(jnp.sum(image, axis=0))


def log_likelihood_gain(window: Window, lower: Array, upper: Array) -> Array:
    """Log likelihood of the upper minus that of the lower state.

    Written as a product of difference and sum so that it stays exact in single
    precision for sources of any brightness.
    """
    return 0.5 * total(window.weight * (lower - upper) * (lower + upper))


def draw(rng_key: Array, prior: Prior, number: int, with_shapes: bool) -> Draws:
    """Randomness of a number of moves, with a leading axis of that length.

    Samplers of a prior may be long to compile, so there is one of each.
    """
    key_uniform, key_flux, key_shape = jax.random.split(rng_key, 3)
    shapes = jnp.zeros((number, NUM_TRIES, 4), jnp.float32)
    if with_shapes:
        shapes = sample_shape(prior, key_shape, shapes.shape[:2])
    return Draws(
        1.0 - jax.random.uniform(key_uniform, (number, NUM_UNIFORMS)),
        sample_flux_prior(prior, key_flux, (number, 2)),
        shapes,
    )


def decide(
    uniform: Array, window: Window, state: WindowState, proposal: Proposal
) -> tuple[WindowState, Outcome]:
    """Metropolis-Hastings-Green step; the only place where anything is accepted."""
    lower, upper = proposal.residual
    log_ratio = proposal.log_ratio + log_likelihood_gain(window, lower, upper)
    log_ratio = jnp.where(proposal.upward, log_ratio, -log_ratio)
    fits = all_fit(window, proposal.sources[EXTENDED])
    accepted = proposal.possible & fits & (jnp.log(uniform) < log_ratio)
    residual = jnp.where(proposal.upward, upper, lower)
    state = state._replace(
        residual=jnp.where(accepted, residual, state.residual),
        points=jnp.where(accepted, proposal.sources[POINT], state.points),
        extended=jnp.where(accepted, proposal.sources[EXTENDED], state.extended),
    )
    direction = jnp.stack([proposal.upward, ~proposal.upward])
    tried = direction & proposal.possible
    above = proposal.signal > jnp.asarray(SIGNAL_EDGES)
    return state, Outcome(tried, tried & accepted, jnp.sum(above, dtype=jnp.int32))
