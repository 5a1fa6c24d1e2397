"""Joint Hamiltonian move of every source in a window.

Positions, log fluxes and shapes move together along a leapfrog trajectory that is
reflected at the walls of the window and at the flux limits (Neal 2011, Handbook of
MCMC, sec. 5.5.1.5).  A source's step scale depends on its signal-to-noise ratio, flux
times the root of the local inverse variance; to keep the mass fixed along a trajectory,
auxiliary scales ``s ~ N(log signal, tau^2)`` and ``N(log radius, tau^2)`` are drawn
first, set the mass, and enter the potential.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.moves.base import (
    FLUX,
    Model,
    Window,
    WindowState,
    X,
    Y,
    active,
    all_fit,
    extended_patch,
    log_likelihood_gain,
)
from probcat.moves.search import interpolate
from probcat.points import points_image
from probcat.prior import Prior, from_shape, log_flux_prior, log_shape_prior, to_shape

TAU = 0.3


class Coordinates(NamedTuple):
    """Coordinates of a trajectory: x, y, log flux and, if extended, a free shape."""

    points: Array
    extended: Array


class Phase(NamedTuple):
    """A point of a trajectory."""

    at: Coordinates
    momentum: Coordinates
    bare: Array
    residual: Array
    log_prior_gain: Array


class Trajectory(NamedTuple):
    """What stays fixed along a trajectory."""

    window: Window
    mask: Coordinates
    scales: Coordinates
    mass: Coordinates
    lower: Array
    upper: Array


def hmc(
    rng_key: Array, model: Model, window: Window, state: WindowState, num_steps: int
) -> tuple[WindowState, Array, Array]:
    """One trajectory of all sources.

    Returns
    -------
    state : WindowState
    acceptance : Array
        Acceptance probability.
    occupied : Array, bool
        Whether there was anything to move.
    """
    key_normal, key_uniform = jax.random.split(rng_key)
    uniform = jax.random.uniform(key_uniform, (2,))
    start = _coordinates(model, state)
    counts = [start.points.size, start.extended.size, start.points.shape[0]]
    normal = jax.random.normal(key_normal, (sum(counts) + 2 * start.extended.shape[0],))
    parts = jnp.split(normal, np.cumsum(counts))
    path = _prepare(parts[2], parts[3], model, window, state, start)
    noise = Coordinates(
        parts[0].reshape(start.points.shape), parts[1].reshape(start.extended.shape)
    )
    momentum = jax.tree.map(
        lambda z, mass, mask: jnp.where(mask, jnp.sqrt(mass) * z, 0.0),
        noise,
        path.mass,
        path.mask,
    )
    step = window.step_size * (0.7 + 0.6 * uniform[0])
    end = _leapfrog(model, path, start, momentum, state.residual, step, num_steps)

    energy = log_likelihood_gain(window, state.residual, end.residual) + end.log_prior_gain
    energy = energy + _kinetic(path, momentum) - _kinetic(path, end.momentum)
    acceptance = jnp.where(jnp.isfinite(energy), jnp.exp(jnp.minimum(energy, 0.0)), 0.0)
    points, extended = _sources(model, path, end.at)
    accepted = all_fit(window, extended) & (uniform[1] < acceptance)
    occupied = jnp.any(active(state.points)) | jnp.any(active(state.extended))
    state = state._replace(
        residual=jnp.where(accepted, end.residual, state.residual),
        points=jnp.where(accepted, points, state.points),
        extended=jnp.where(accepted, extended, state.extended),
    )
    return state, acceptance, occupied


def _coordinates(model: Model, state: WindowState) -> Coordinates:
    def with_log_flux(sources: Array) -> Array:
        flux = jnp.where(active(sources), sources[:, FLUX], 1.0)
        return jnp.concatenate([sources[:, :FLUX], jnp.log(flux)[:, None]], axis=1)

    extended = with_log_flux(state.extended)
    if state.extended.shape[0] > 0:
        free = from_shape(model.prior, state.extended[:, FLUX + 1 :])
        free = jnp.where(active(state.extended)[:, None], free, 0.0)
        extended = jnp.concatenate([extended, free], axis=1)
    else:
        extended = jnp.zeros_like(state.extended)
    return Coordinates(with_log_flux(state.points), extended)


def _prepare(
    point_noise: Array,
    extended_noise: Array,
    model: Model,
    window: Window,
    state: WindowState,
    start: Coordinates,
) -> Trajectory:
    in_points = active(state.points)
    in_extended = active(state.extended)
    mask = Coordinates(
        jnp.broadcast_to(in_points[:, None], start.points.shape),
        jnp.broadcast_to(in_extended[:, None], start.extended.shape),
    )
    scale = _log_signal(model, window, start.points) + TAU * point_noise
    radius = jnp.where(in_extended, state.extended[:, FLUX + 1], 1.0)
    signal = _log_signal(model, window, start.extended)
    extended_scale = jnp.stack([signal, jnp.log(radius)], axis=1)
    extended_scale += TAU * extended_noise.reshape(extended_scale.shape)

    low, high = model.prior.flux_limits
    huge = jnp.float32(1e30)
    mass = Coordinates(_point_mass(model, scale), _extended_mass(model, extended_scale))
    return Trajectory(
        window=window,
        mask=mask,
        scales=Coordinates(scale, extended_scale),
        mass=mass,
        lower=jnp.append(window.lower, jnp.log(low)),
        upper=jnp.append(window.upper, jnp.log(jnp.minimum(high, huge))),
    )


def _log_signal(model: Model, window: Window, at: Array) -> Array:
    """Log of flux times the root of the inverse variance around a source."""
    low, _ = model.prior.flux_limits
    floor = 1e-2 / low**2
    level = (window.search_precision * window.temperature + floor) / model.point_norm
    return at[:, FLUX] + 0.5 * jnp.log(interpolate(window, level, at[:, X], at[:, Y]))


def _point_mass(model: Model, scale: Array) -> Array:
    """Fisher information of position and log flux of isolated stars, floored."""
    signal = jnp.exp(2.0 * scale)
    position = signal * model.point_slope_norm + 0.05
    return jnp.stack([position, position, signal * model.point_norm + 1.0], axis=1)


def _extended_mass(model: Model, scale: Array) -> Array:
    """Do the same for Gaussian galaxies, whose size adds to the PSF's in quadrature."""
    signal = jnp.exp(2.0 * scale[:, 0])
    psf_square = (model.fwhm / 2.355) ** 2
    share = psf_square / (psf_square + 0.72 * jnp.exp(2.0 * scale[:, 1]))
    position = signal * model.point_slope_norm * share**2 + 0.05
    norm = signal * model.point_norm * share
    shape = norm * (1.0 - share) ** 2 + 1.0
    index = 0.1 * norm * (1.0 - share) ** 2 + 1.0
    columns = [position, position, norm + 1.0, shape, shape, shape, index]
    return jnp.stack(columns, axis=1)


def _bounded_flux(prior: Prior, log_flux: Array) -> Array:
    """Flux, held within the limits where rounding would put it outside."""
    low, high = prior.flux_limits
    return jnp.clip(jnp.exp(log_flux), low, high)


def _fluxes(model: Model, path: Trajectory, at: Coordinates) -> tuple[Array, Array]:
    point = _bounded_flux(model.prior, at.points[:, FLUX])
    extended = _bounded_flux(model.prior, at.extended[:, FLUX])
    return (
        jnp.where(path.mask.points[:, 0], point, 0.0),
        jnp.where(path.mask.extended[:, 0], extended, 0.0),
    )


def _image(model: Model, path: Trajectory, at: Coordinates) -> Array:
    size = path.window.weight.shape[-1]
    point_flux, extended_flux = _fluxes(model, path, at)
    image = points_image(model.point_tables, at.points[:, X], at.points[:, Y], point_flux, size)
    if at.extended.shape[0] == 0:
        return image
    shapes, _ = to_shape(model.prior, at.extended[:, FLUX + 1 :])
    patches = jax.vmap(lambda x, y, shape: extended_patch(model, x, y, shape, size))(
        at.extended[:, X], at.extended[:, Y], shapes
    )
    return image + jnp.sum(extended_flux[:, None, None] * patches, axis=0)


def _log_prior(model: Model, path: Trajectory, at: Coordinates) -> Array:
    """Log prior in the coordinates of the trajectory, auxiliary scales included."""

    def log_flux_terms(at: Array, scale: Array) -> Array:
        slack = (scale - _log_signal(model, path.window, at)) / TAU
        flux = _bounded_flux(model.prior, at[:, FLUX])
        return log_flux_prior(model.prior, flux) + at[:, FLUX] - 0.5 * slack**2

    terms = log_flux_terms(at.points, path.scales.points)
    value = jnp.sum(jnp.where(path.mask.points[:, 0], terms, 0.0))
    if at.extended.shape[0] == 0:
        return value
    shapes, log_jacobian = to_shape(model.prior, at.extended[:, FLUX + 1 :])
    slack = (path.scales.extended[:, 1] - jnp.log(shapes[:, 0])) / TAU
    terms = log_flux_terms(at.extended, path.scales.extended[:, 0])
    terms = terms + log_shape_prior(model.prior, shapes) + log_jacobian - 0.5 * slack**2
    return value + jnp.sum(jnp.where(path.mask.extended[:, 0], terms, 0.0))


def _kinetic(path: Trajectory, momentum: Coordinates) -> Array:
    energy = jax.tree.map(lambda p, mass: 0.5 * jnp.sum(p**2 / mass), momentum, path.mass)
    return energy.points + energy.extended


def _leapfrog(
    model: Model,
    path: Trajectory,
    start: Coordinates,
    momentum: Coordinates,
    residual: Array,
    step: Array,
    num_steps: int,
) -> Phase:
    """Leapfrog steps; images are evaluated in one place so that they compile once."""

    def drift(at: Array, momentum: Array, mass: Array, time: Array) -> tuple[Array, Array]:
        moved = at + time * momentum / mass
        bounded, sign = _reflect(moved[:, : FLUX + 1], path.lower[None], path.upper[None])
        turned = momentum[:, : FLUX + 1] * sign
        at = jnp.concatenate([bounded, moved[:, FLUX + 1 :]], axis=1)
        return at, jnp.concatenate([turned, momentum[:, FLUX + 1 :]], axis=1)

    def body(phase: Phase, index: Array) -> tuple[Phase, None]:
        first, last = index == 0, index == num_steps
        time = jnp.where(first, 0.0, step)
        points, point_turned = drift(phase.at.points, phase.momentum.points, path.mass.points, time)
        extended, extended_turned = drift(
            phase.at.extended, phase.momentum.extended, path.mass.extended, time
        )
        at = Coordinates(points, extended)
        at = jax.tree.map(lambda new, old: jnp.where(first, old, new), at, phase.at)
        turned = Coordinates(point_turned, extended_turned)
        turned = jax.tree.map(lambda new, old: jnp.where(first, old, new), turned, phase.momentum)

        image, pull_back = jax.vjp(lambda at: _image(model, path, at), at)
        bare = jnp.where(first, phase.residual + image, phase.bare)
        residual = jnp.where(first, phase.residual, bare - image)
        (force,) = pull_back(path.window.weight * residual)
        log_prior, prior_force = jax.value_and_grad(lambda at: _log_prior(model, path, at))(at)
        kick = step * jnp.where(first | last, 0.5, 1.0)
        momentum = jax.tree.map(
            lambda p, g, h, mask: jnp.where(mask, p + kick * (g + h), 0.0),
            turned,
            force,
            prior_force,
            path.mask,
        )
        gain = jnp.where(first, -log_prior, phase.log_prior_gain)
        gain = jnp.where(last, gain + log_prior, gain)
        return Phase(at, momentum, bare, residual, gain), None

    begin = Phase(start, momentum, residual, residual, jnp.zeros_like(step))
    steps = jnp.arange(num_steps + 1, dtype=jnp.int32)
    return jax.lax.scan(body, begin, steps)[0]


def _reflect(value: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Fold values into [lower, upper]; the sign flips with every odd reflection."""
    width = jnp.maximum(upper - lower, 1e-6)
    phase = jnp.mod(value - lower, 2.0 * width)
    folded = jnp.where(phase <= width, phase, 2.0 * width - phase)
    sign = jnp.where(phase <= width, 1.0, -1.0)
    return jnp.clip(lower + folded, lower, jnp.maximum(upper, lower)), sign


def _sources(model: Model, path: Trajectory, at: Coordinates) -> tuple[Array, Array]:
    point_flux, extended_flux = _fluxes(model, path, at)
    points = jnp.concatenate([at.points[:, :FLUX], point_flux[:, None]], axis=1)
    points = jnp.where(path.mask.points, points, 0.0)
    if at.extended.shape[0] == 0:
        return points, jnp.zeros_like(at.extended)
    shapes, _ = to_shape(model.prior, at.extended[:, FLUX + 1 :])
    extended = jnp.concatenate([at.extended[:, :FLUX], extended_flux[:, None], shapes], axis=1)
    return points, jnp.where(path.mask.extended, extended, 0.0)
