r"""Masses of Hamiltonian trajectories, from the Fisher information on every source.

The information depends on the flux and the size of a source, which change along a trajectory,
while the mass must not. Auxiliary scales are therefore drawn around the logarithms of the
signal-to-noise ratio in every band and of the half-light radius at the start, and the masses
follow from the scales. See `hmc` for the part that the scales have in the potential energy.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.numerics.robust import HALF_LIGHT_MOMENT, ROUNDED_FWHM_PER_SIGMA
from probcat.sampler.moves.hmc_coordinates import Coordinates
from probcat.sampler.proposals.colours import mean_colours
from probcat.sampler.proposals.matched_filter import interpolate
from probcat.sampler.window.light import band_factors
from probcat.sampler.window.slots import active
from probcat.sampler.window.structures import FLUX, RADIUS, Model, Window, WindowState, X, Y

TAU = 0.3
"""Standard deviation of the auxiliary scales, which are natural logarithms."""
TAU_WITH_MATRIX = 1.0
"""The same where the mass is a matrix; the scales then set only the widths of its anchor."""
NUM_POINTS = 16
"""Largest number of point sources that move along one trajectory with extended sources."""


class Trajectory(NamedTuple):
    """What stays fixed along a trajectory.

    Attributes
    ----------
    window : Window
        Window of the sources.
    mask : Coordinates of bool
        Whether the slot of a coordinate is occupied.
    scales : Coordinates
        Auxiliary scales: log signal-to-noise ratio in every band and, of extended sources, the
        log half-light radius.
    mass : Coordinates
        Mass of every coordinate.
    lower_bound, upper_bound : Array, shape (3,)
        Bounds of x, y and the log flux in the first band.
    tau : float
        Standard deviation of the auxiliary scales.
    """

    window: Window
    mask: Coordinates
    scales: Coordinates
    mass: Coordinates
    lower_bound: Array
    upper_bound: Array
    tau: float


def select_moving(uniform: Array, sources: Array, number: int) -> Array:
    """Select the sources that move along a trajectory: occupied slots in random order.

    Parameters
    ----------
    uniform : Array, shape (S,)
        Uniform random numbers.
    sources : Array, shape (S, columns)
        Sources of one kind.
    number : int
        Largest number of sources.

    Returns
    -------
    Array of bool, shape (rows, S)
        As many rows, or fewer, each true at one slot. Empty slots come last.
    """
    slots = sources.shape[0]
    rank = jnp.argsort(jnp.argsort(jnp.where(active(sources), uniform, 2.0 + uniform)))
    row = jnp.arange(min(slots, number), dtype=jnp.int32)
    return row[:, None] == rank.astype(jnp.int32)[None]


def take_selected(selected: Array, sources: Array) -> Array:
    """Return the sources in the slots that `select_moving` selected, one for each row."""
    return jnp.sum(jnp.where(selected[..., None], sources[None], 0.0), axis=1)


def put_back(selected: Array, moved: Array, sources: Array) -> Array:
    """Return all sources, with those in selected slots replaced by the moved ones."""
    spread = jnp.sum(jnp.where(selected[..., None], moved[:, None], 0.0), axis=0)
    return jnp.where(jnp.any(selected, axis=0)[:, None], spread, sources)


def prepare_trajectory(
    normal_points: Array,
    normal_extended: Array,
    model: Model,
    window: Window,
    state: WindowState,
    start: Coordinates,
) -> Trajectory:
    """Draw the auxiliary scales, and return the masses that follow from them.

    Parameters
    ----------
    normal_points, normal_extended : Array
        Random numbers from the standard normal distribution, one for each scale.
    model : Model
        Model, which has the prior and the sums over the PSF.
    window : Window
        Window of the sources.
    state : WindowState
        Sources that move.
    start : Coordinates
        Their coordinates.
    """
    tau = TAU_WITH_MATRIX if state.extended.shape[0] else TAU
    in_points = active(state.points)
    in_extended = active(state.extended)
    mask = Coordinates(
        jnp.broadcast_to(in_points[:, None], start.points.shape),
        jnp.broadcast_to(in_extended[:, None], start.extended.shape),
    )
    point_scale = log_signal(model, window, start.points)
    point_scale += tau * normal_points.reshape(point_scale.shape)
    radius = jnp.where(in_extended, state.extended[:, RADIUS], 1.0)
    signal = log_signal(model, window, start.extended)
    extended_scale = jnp.concatenate([signal, jnp.log(radius)[:, None]], axis=1)
    extended_scale += tau * normal_extended.reshape(extended_scale.shape)

    low, high = model.prior.flux_limits
    huge = jnp.float32(1e30)
    mass = Coordinates(_point_mass(model, point_scale), _extended_mass(model, extended_scale))
    return Trajectory(
        window=window,
        mask=mask,
        scales=Coordinates(point_scale, extended_scale),
        mass=mass,
        lower_bound=jnp.append(window.lower_bound, jnp.log(low)),
        upper_bound=jnp.append(window.upper_bound, jnp.log(jnp.minimum(high, huge))),
        tau=tau,
    )


def log_signal(model: Model, window: Window, at: Array) -> Array:
    """Return the log signal-to-noise ratio of isolated stars in every band.

    Parameters
    ----------
    model : Model
        Model, whose flux limit sets a floor of the precision of fluxes.
    window : Window
        Window, which has ``sum(w P**2)`` of every band.
    at : Array, shape (S, columns)
        Coordinates x, y and log fluxes.

    Returns
    -------
    Array, shape (S, B)
        Logarithms of flux over its standard deviation.
    """
    low, _ = model.prior.flux_limits
    factor = band_factors(model, mean_colours(model))
    signals = []
    for band in range(model.num_colours + 1):
        floor = 1e-2 / (low * factor[band]) ** 2
        precision = window.search_precision[band] * window.beta + floor
        local = interpolate(model, precision, at[:, X], at[:, Y])
        signals.append(at[:, FLUX + band] + 0.5 * jnp.log(local))
    return jnp.stack(signals, axis=1)


def _flux_floor(model: Model) -> Array:
    """Return the prior's information on the log flux in every band, shape (B,)."""
    one = jnp.ones(1, jnp.float32)
    if model.num_colours == 0:
        return one
    colour = 1.0 / model.prior.colour_variance
    return jnp.concatenate([one + jnp.sum(colour), colour])


def _point_mass(model: Model, scale: Array) -> Array:
    """Return the Fisher information on position and log fluxes of isolated stars, with a floor."""
    snr_squared = jnp.exp(2.0 * scale)
    position = jnp.sum(snr_squared * model.band_slope[None], axis=1, keepdims=True) + 0.05
    return jnp.concatenate([position, position, snr_squared + _flux_floor(model)[None]], axis=1)


def _extended_mass(model: Model, scale: Array) -> Array:
    """Return the information on Gaussian galaxies, whose size adds to the PSF's in quadrature."""
    psf_variance = (model.fwhm / ROUNDED_FWHM_PER_SIGMA) ** 2
    variance = HALF_LIGHT_MOMENT * jnp.exp(2.0 * scale[:, -1:])
    psf_fraction = psf_variance / (psf_variance + variance)
    snr_squared = jnp.exp(2.0 * scale[:, :-1]) * psf_fraction
    slope = jnp.sum(snr_squared * model.band_slope[None], axis=1, keepdims=True)
    position = slope * psf_fraction + 0.05
    bend = jnp.sum(snr_squared, axis=1, keepdims=True) * (1.0 - psf_fraction) ** 2
    shape, index = bend + 1.0, 0.1 * bend + 1.0
    fluxes = snr_squared + _flux_floor(model)[None]
    return jnp.concatenate([position, position, fluxes, shape, shape, shape, index], axis=1)


def diagonal_drift(
    path: Trajectory, at: Coordinates, momentum: Coordinates, time: Array
) -> tuple[Coordinates, Coordinates]:
    """Move freely for some time with a mass for each coordinate, reflected at the bounds.

    Parameters
    ----------
    path : Trajectory
        Trajectory, which has the masses and the bounds.
    at, momentum : Coordinates
        Coordinates and momenta.
    time : Array, shape ()
        Duration.

    Returns
    -------
    at, momentum : Coordinates
        Coordinates and momenta afterwards.
    """

    def drift(at: Array, momentum: Array, mass: Array) -> tuple[Array, Array]:
        moved = at + time * momentum / mass
        bounded, sign = _reflect(
            moved[:, : FLUX + 1], path.lower_bound[None], path.upper_bound[None]
        )
        reflected = momentum[:, : FLUX + 1] * sign
        at = jnp.concatenate([bounded, moved[:, FLUX + 1 :]], axis=1)
        return at, jnp.concatenate([reflected, momentum[:, FLUX + 1 :]], axis=1)

    pairs = map(drift, at, momentum, path.mass)
    (points, point_momentum), (extended, extended_momentum) = pairs
    return Coordinates(points, extended), Coordinates(point_momentum, extended_momentum)


def _reflect(value: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Fold values into [lower, upper]; the sign is negative after an odd number of reflections."""
    width = jnp.maximum(upper - lower, 1e-6)
    phase = jnp.mod(value - lower, 2.0 * width)
    folded = jnp.where(phase <= width, phase, 2.0 * width - phase)
    sign = jnp.where(phase <= width, 1.0, -1.0)
    return jnp.clip(lower + folded, lower, jnp.maximum(upper, lower)), sign
