"""What every move shares: the window, the two kinds of sources, one accept step."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.extended import ExtendedTables
from probcat.points import PointTables
from probcat.prior import Prior, sample_colour_prior, sample_flux_prior, sample_shape
from probcat.variance import Noise, log_gain, score

POINT, EXTENDED = 0, 1
X, Y, FLUX = 0, 1, 2
RADIUS, NUM_SHAPE = -4, 4
NUM_UNIFORMS = 15
NUM_TRIES = 4
SIGNAL_EDGES = (5.0, 10.0, 20.0, 50.0, 200.0)
"""Edges of the bins of signal-to-noise ratio in which moves are counted."""
EMPTY_SHAPE = np.array([1.0, 0.0, 0.0, 1.0], dtype=np.float32)


class Search(NamedTuple):
    """Matched filter on a grid of positions in a window, used to propose births.

    Attributes
    ----------
    rows, cols : Array, shape (rank, cells, size)
        Leading PSF factors centred on every position along an axis: in the first image the
        half-pixel cells of the interior, in others a grid about as fine around it.
    spacing : Array, shape ()
        Of the positions, in pixels of the image.
    """

    rows: Array
    cols: Array
    spacing: Array


class ImageModel(NamedTuple):
    """How sources appear in one image.

    Attributes
    ----------
    point_tables : PointTables
    extended_tables : tuple of ExtendedTables
        For sources of the smaller and of the larger footprint, or for all; empty in models
        without extended sources.
    extended_radius, large_radius : Array, shape (), int32
        Half sides of the footprints of extended sources in pixels of the image.
    affine : Array, shape (2, 2)
        From pixels of the first image to pixels of this one.
    spread : Array, shape ()
        Variance of a Gaussian of the width of the PSF.
    """

    point_tables: PointTables
    extended_tables: tuple[ExtendedTables, ...]
    extended_radius: Array
    large_radius: Array
    affine: Array
    spread: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Model:
    """What is fixed during a run and common to all windows of a class.

    Lengths are in pixels of the first image, fluxes in its unit.

    Parameters
    ----------
    images : tuple of ImageModel
    prior : Prior
    large_size : Array, shape ()
        Half-light radius beyond which a source has the larger footprint.
    fwhm : Array, shape ()
        Of the PSF; sets the scale of displacements.
    point_norm, point_slope_norm, point_bend_norm : Array, shape ()
        Sums over pixels of ``P^2``, ``(dP/dx)^2`` and ``(d2P/dx2)^2``.
    band_slope : Array, shape (B,)
        Ratio of the second to the first of them in every band.
    bands : tuple of int
        Band of every image; 0 is that of the first.
    sizes : tuple of int
        Side of a window in pixels of every image.
    """

    images: tuple[ImageModel, ...]
    prior: Prior
    large_size: Array
    fwhm: Array
    point_norm: Array
    point_slope_norm: Array
    point_bend_norm: Array
    band_slope: Array
    bands: tuple[int, ...] = field(metadata={"static": True})
    sizes: tuple[int, ...] = field(default=(), metadata={"static": True})

    @property
    def num_colours(self) -> int:
        """Number of bands besides the first."""
        return max(self.bands)


class Window(NamedTuple):
    """What is fixed during the visit of one window.

    Attributes
    ----------
    weight : Array, shape (W, W)
        Inverse variance times the inverse temperature; zero where masked. With several
        images their windows lie below each other, filled up with zeros to one width; so do
        all images of light in a window. Where variances depend on the model these are fixed
        ones near them, which proposals use.
    lower, upper : Array, shape (2,)
        Bounds (x, y) in window pixels of the area where sources may move.
    density : Array, shape (2,)
        Intensity of point and of extended sources per square pixel.
    search_precision : Array, shape (B, 2 * interior, 2 * interior)
        ``sum w P^2`` of every band on the half-pixel grid, before tempering.
    temperature : Array, shape ()
        Inverse temperature of the likelihood.
    largest : Array, shape ()
        Half-light radius in pixels of the largest source that fits the window.
    step_size : Array, shape ()
        Of the Hamiltonian moves.
    shift : Array, shape (I, 2)
        Where the window's pixel (0, 0) lies in that of every image, (x, y).
    gain : Array, shape (I,)
        Flux in the unit of an image for one unit of that of its band.
    place : Array, shape (I, 2)
        Padded pixel (x, y) of every image that the first pixel of its window is.
    noise : Noise or None
        What variances that depend on the model are made of.
    """

    weight: Array
    lower: Array
    upper: Array
    density: Array
    search_precision: Array
    temperature: Array
    largest: Array
    step_size: Array
    shift: Array
    gain: Array
    place: Array
    noise: Noise | None = None


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
    colours : Array, shape (B - 1,)
        From the prior.
    normal : Array, shape (B - 1,)
        From the standard normal distribution.
    """

    uniform: Array
    flux: Array
    shapes: Array
    colours: Array
    normal: Array


class WindowState(NamedTuple):
    """What moves change.

    Attributes
    ----------
    residual : Array, shape (W, W)
        Data minus background minus all sources.
    points : Array, shape (S_p, 2 + B)
        x, y in window pixels, flux and colours of movable point sources; flux 0 is empty.
        A colour is the logarithm of the flux in a band over that in the first.
    extended : Array, shape (S_e, 6 + B)
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


def all_fit(window: Window, extended: Array) -> Array:
    """Whether no extended source is too large for the window."""
    return jnp.all(extended[:, RADIUS] <= window.largest)


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
    return jnp.concatenate([source[:-NUM_SHAPE], shape])


def with_colours(source: Array, colours: Array) -> Array:
    """Copy of a source with other colours."""
    end = FLUX + 1 + colours.shape[0]
    return jnp.concatenate([source[: FLUX + 1], colours, source[end:]])


def star(position: Array, flux: Array, colours: Array) -> Array:
    """Point source at a position (x, y)."""
    return jnp.concatenate([position, flux[None], colours])


def colours_of(model: Model, source: Array) -> Array:
    """Colours of a source, shape (B - 1,)."""
    return source[FLUX + 1 : FLUX + 1 + model.num_colours]


def total(image: Array) -> Array:
    """Sum of an image; columns first, which vectorises."""
    return jnp.sum(jnp.sum(image, axis=0))


def log_likelihood_gain(window: Window, lower: Array, upper: Array) -> Array:
    """Log likelihood of the upper minus that of the lower state.

    Written as a product of difference and sum so that it stays exact in single
    precision for sources of any brightness.
    """
    if window.noise is None:
        return 0.5 * total(window.weight * (lower - upper) * (lower + upper))
    gain = jnp.where(window.weight > 0.0, log_gain(window.noise, lower, upper), 0.0)
    return window.temperature * total(gain)


def light_score(window: Window, residual: Array) -> Array:
    """Differentiate the log likelihood by the light in every pixel."""
    if window.noise is None:
        return window.weight * residual
    slope = jnp.where(window.weight > 0.0, score(window.noise, residual), 0.0)
    return window.temperature * slope


def draw(rng_key: Array, prior: Prior, number: int, with_shapes: bool) -> Draws:
    """Randomness of a number of moves, with a leading axis of that length.

    Samplers of a prior may be long to compile, so there is one of each.
    """
    key_uniform, key_flux, key_shape = jax.random.split(rng_key, 3)
    shapes = jnp.zeros((number, NUM_TRIES, NUM_SHAPE), jnp.float32)
    if with_shapes:
        shapes = sample_shape(prior, key_shape, shapes.shape[:2])
    colours = normal = jnp.zeros((number, 0), jnp.float32)
    if prior.num_colours:
        key_colour, key_normal = jax.random.split(jax.random.fold_in(rng_key, 1))
        colours = sample_colour_prior(prior, key_colour, (number,))
        normal = jax.random.normal(key_normal, colours.shape)
    return Draws(
        1.0 - jax.random.uniform(key_uniform, (number, NUM_UNIFORMS)),
        sample_flux_prior(prior, key_flux, (number, 2)),
        shapes,
        colours,
        normal,
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
