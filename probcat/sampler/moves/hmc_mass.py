"""Masses of Hamiltonian trajectories, from the information on every source."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.sampler.proposals.colours import mean_colours
from probcat.sampler.proposals.matched_filter import interpolate
from probcat.sampler.window.light import band_factors
from probcat.sampler.window.slots import active
from probcat.sampler.window.structures import FLUX, RADIUS, Model, Window, WindowState, X, Y

TAU = 0.3
"""Standard deviation of the auxiliary scales, in log."""
NUM_EXTENDED = 6
"""Extended sources that move along one trajectory."""


class Coordinates(NamedTuple):
    """Coordinates of a trajectory: x, y, log flux in every band, a free shape if extended."""

    points: Array
    extended: Array


class Trajectory(NamedTuple):
    """What stays fixed along a trajectory."""

    window: Window
    mask: Coordinates
    scales: Coordinates
    mass: Coordinates
    lower: Array
    upper: Array


def choose(uniform: Array, extended: Array) -> Array:
    """Choose extended sources that move: rows (`NUM_EXTENDED` or fewer, S) of one true each.

    Held slots in random order, then empty ones.
    """
    slots = extended.shape[0]
    rank = jnp.argsort(jnp.argsort(jnp.where(active(extended), uniform, 2.0 + uniform)))
    row = jnp.arange(min(slots, NUM_EXTENDED), dtype=jnp.int32)
    return row[:, None] == rank.astype(jnp.int32)[None]


def taken(chosen: Array, extended: Array) -> Array:
    """Gather the sources in chosen slots."""
    return jnp.sum(jnp.where(chosen[..., None], extended[None], 0.0), axis=1)


def put_back(chosen: Array, moved: Array, extended: Array) -> Array:
    """Gather all sources, those in chosen slots as they have moved."""
    spread = jnp.sum(jnp.where(chosen[..., None], moved[:, None], 0.0), axis=0)
    return jnp.where(jnp.any(chosen, axis=0)[:, None], spread, extended)


def prepare(
    point_noise: Array,
    extended_noise: Array,
    model: Model,
    window: Window,
    state: WindowState,
    start: Coordinates,
) -> Trajectory:
    """Draw the auxiliary scales around their means, from standard normal noise; set the mass."""
    in_points = active(state.points)
    in_extended = active(state.extended)
    mask = Coordinates(
        jnp.broadcast_to(in_points[:, None], start.points.shape),
        jnp.broadcast_to(in_extended[:, None], start.extended.shape),
    )
    scale = log_signal(model, window, start.points)
    scale += TAU * point_noise.reshape(scale.shape)
    radius = jnp.where(in_extended, state.extended[:, RADIUS], 1.0)
    signal = log_signal(model, window, start.extended)
    extended_scale = jnp.concatenate([signal, jnp.log(radius)[:, None]], axis=1)
    extended_scale += TAU * extended_noise.reshape(extended_scale.shape)

    low, high = model.prior.flux_limits
    huge = jnp.float32(1e30)
    mass = Coordinates(_point_mass(model, scale), _extended_mass(model, extended_scale))
    return Trajectory(
        window=window,
        mask=mask,
        scales=Coordinates(scale, extended_scale),
        mass=mass,
        lower=jnp.append(window.lower_bound, jnp.log(low)),
        upper=jnp.append(window.upper_bound, jnp.log(jnp.minimum(high, huge))),
    )


def log_signal(model: Model, window: Window, at: Array) -> Array:
    """Log signal-to-noise ratio of isolated stars in every band, shape (S, B)."""
    low, _ = model.prior.flux_limits
    factor = band_factors(model, mean_colours(model))
    signals = []
    for band in range(model.num_colours + 1):
        floor = 1e-2 / (low * factor[band]) ** 2
        level = window.search_precision[band] * window.beta + floor
        local = interpolate(model, level, at[:, X], at[:, Y])
        signals.append(at[:, FLUX + band] + 0.5 * jnp.log(local))
    return jnp.stack(signals, axis=1)


def _flux_floor(model: Model) -> Array:
    """Information on the log flux of every band from the prior, shape (B,)."""
    one = jnp.ones(1, jnp.float32)
    if model.num_colours == 0:
        return one
    colour = 1.0 / model.prior.colour_variance
    return jnp.concatenate([one + jnp.sum(colour), colour])


def _point_mass(model: Model, scale: Array) -> Array:
    """Fisher information of position and log fluxes of isolated stars, floored."""
    signal = jnp.exp(2.0 * scale)
    position = jnp.sum(signal * model.band_slope[None], axis=1, keepdims=True) + 0.05
    return jnp.concatenate([position, position, signal + _flux_floor(model)[None]], axis=1)


def _extended_mass(model: Model, scale: Array) -> Array:
    """Do the same for Gaussian galaxies, whose size adds to the PSF's in quadrature."""
    psf_square = (model.fwhm / 2.355) ** 2
    fraction = psf_square / (psf_square + 0.72 * jnp.exp(2.0 * scale[:, -1:]))
    signal = jnp.exp(2.0 * scale[:, :-1]) * fraction
    slope = jnp.sum(signal * model.band_slope[None], axis=1, keepdims=True)
    position = slope * fraction + 0.05
    bend = jnp.sum(signal, axis=1, keepdims=True) * (1.0 - fraction) ** 2
    shape, index = bend + 1.0, 0.1 * bend + 1.0
    fluxes = signal + _flux_floor(model)[None]
    return jnp.concatenate([position, position, fluxes, shape, shape, shape, index], axis=1)
