"""Joint Hamiltonian move of every source in a window.

Positions, log fluxes and shapes move together along a leapfrog trajectory that is
reflected at the walls of the window and at the flux limits (Neal 2011, Handbook of
MCMC, sec. 5.5.1.5).  A source's step scale depends on its signal-to-noise ratio, flux
times the root of the local inverse variance; to keep the mass fixed along a trajectory,
auxiliary scales ``s ~ N(log signal, tau^2)``, one a band, and ``N(log radius, tau^2)`` are
drawn first, set the mass, and enter the potential.  Of extended sources, which are dear to draw,
a few move at a time; which ones depends on nothing that a trajectory changes.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.model.point_sources import points_image
from probcat.model.prior.densities import (
    from_shape,
    log_colour_prior,
    log_flux_prior,
    log_shape_prior,
    to_shape,
)
from probcat.model.prior.prior import Prior
from probcat.sampler.moves.accept import light_score, log_likelihood_change
from probcat.sampler.moves.hmc_mass import (
    TAU,
    Coordinates,
    Trajectory,
    choose,
    log_signal,
    prepare,
    put_back,
    taken,
)
from probcat.sampler.window.light import (
    ImageInWindow,
    locate,
    profiles_of,
    psf_position,
    render_images,
    stamp_in_image,
)
from probcat.sampler.window.slots import active, all_fit
from probcat.sampler.window.structures import FLUX, NUM_SHAPE, Model, Window, WindowState, X, Y


class Phase(NamedTuple):
    """A point of a trajectory."""

    at: Coordinates
    momentum: Coordinates
    bare: Array
    residual: Array
    log_prior_change: Array


def hmc(
    rng_key: Array, model: Model, window: Window, state: WindowState, num_steps: int
) -> tuple[WindowState, Array, Array]:
    """One trajectory of all points and of extended sources that `choose` takes.

    Returns
    -------
    state : WindowState
    acceptance : Array
        Acceptance probability.
    occupied : Array, bool
        Whether there was anything to move.
    """
    key_normal, key_uniform = jax.random.split(rng_key)
    uniform = jax.random.uniform(key_uniform, (2 + state.extended.shape[0],))
    whole, chosen = state, choose(uniform[2:], state.extended)
    state = state._replace(extended=taken(chosen, state.extended))
    start = _coordinates(model, state)
    bands = model.num_colours + 1
    counts = [start.points.size, start.extended.size, bands * start.points.shape[0]]
    more = (bands + 1) * start.extended.shape[0]
    normal = jax.random.normal(key_normal, (sum(counts) + more,))
    parts = jnp.split(normal, np.cumsum(counts))
    path = prepare(parts[2], parts[3], model, window, state, start)
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

    energy = log_likelihood_change(window, state.residual, end.residual) + end.log_prior_change
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
    return (
        state._replace(extended=put_back(chosen, state.extended, whole.extended)),
        acceptance,
        occupied,
    )


def _coordinates(model: Model, state: WindowState) -> Coordinates:
    def with_log_fluxes(sources: Array) -> Array:
        flux = jnp.where(active(sources), sources[:, FLUX], 1.0)
        log_flux = jnp.log(flux)[:, None]
        colours = sources[:, FLUX + 1 : FLUX + 1 + model.num_colours]
        return jnp.concatenate([sources[:, :FLUX], log_flux, log_flux + colours], axis=1)

    extended = with_log_fluxes(state.extended)
    if state.extended.shape[0] > 0:
        free = from_shape(model.prior, state.extended[:, -NUM_SHAPE:])
        free = jnp.where(active(state.extended)[:, None], free, 0.0)
        extended = jnp.concatenate([extended, free], axis=1)
    else:
        extended = jnp.zeros_like(state.extended)
    return Coordinates(with_log_fluxes(state.points), extended)


def _bounded_flux(prior: Prior, log_flux: Array) -> Array:
    """Flux, held within the limits where rounding would put it outside."""
    low, high = prior.flux_limits
    return jnp.clip(jnp.exp(log_flux), low, high)


def _fluxes(model: Model, at: Array, mask: Array) -> Array:
    """Fluxes of sources in every band, shape (S, B); zero where there is none."""
    first = _bounded_flux(model.prior, at[:, FLUX])[:, None]
    others = jnp.exp(jnp.clip(at[:, FLUX + 1 : FLUX + 1 + model.num_colours], -60.0, 60.0))
    return jnp.where(mask[:, :1], jnp.concatenate([first, others], axis=1), 0.0)


def _image(model: Model, path: Trajectory, at: Coordinates) -> Array:
    fluxes = _by_image(model, _fluxes(model, at.points, path.mask.points))
    if at.extended.shape[0] == 0:
        return render_images(model, path.window, partial(_points, at.points), fluxes)
    shapes, _ = to_shape(model.prior, at.extended[:, -NUM_SHAPE:])
    profiles = jax.vmap(partial(profiles_of, model), out_axes=1)(shapes)
    extended_fluxes = _by_image(model, _fluxes(model, at.extended, path.mask.extended))

    def render_one(
        seen: ImageInWindow, size: int, flux: Array, other: Array, profiles: list[Array]
    ) -> Array:
        where = locate(seen, at.extended[:, X], at.extended[:, Y])
        one = partial(stamp_in_image, seen.image, model.large_size, size=size)
        light = jax.vmap(one)(*where, profiles, shapes, psf_position(seen, *where))
        both = _points(at.points, seen, size, flux)
        return both + jnp.sum((seen.flux_factor * other)[:, None, None] * light, axis=0)

    return render_images(model, path.window, render_one, fluxes, extended_fluxes, profiles)


def _points(at: Array, seen: ImageInWindow, size: int, flux: Array) -> Array:
    """Light of all point sources in one image."""
    where = locate(seen, at[:, X], at[:, Y])
    tables, place = seen.image.point_tables, psf_position(seen, *where)
    return points_image(tables, *where, seen.flux_factor * flux, size, place)


def _by_image(model: Model, fluxes: Array) -> list[Array]:
    """Fluxes (images, S) of sources in every group of images."""
    bands = [[model.bands[index] for index in group] for group in model.groups]
    return [jnp.stack([fluxes[:, band] for band in own]) for own in bands]


def _log_prior(model: Model, path: Trajectory, at: Coordinates) -> Array:
    """Log prior in the coordinates of the trajectory, auxiliary scales included."""

    def log_flux_terms(at: Array, scale: Array) -> Array:
        slack = (scale - log_signal(model, path.window, at)) / TAU
        log_flux = at[:, FLUX]
        colours = at[:, FLUX + 1 : FLUX + 1 + model.num_colours] - log_flux[:, None]
        value = log_flux_prior(model.prior, _bounded_flux(model.prior, log_flux)) + log_flux
        return value + log_colour_prior(model.prior, colours) - 0.5 * jnp.sum(slack**2, axis=1)

    terms = log_flux_terms(at.points, path.scales.points)
    value = jnp.sum(jnp.where(path.mask.points[:, 0], terms, 0.0))
    if at.extended.shape[0] == 0:
        return value
    shapes, log_jacobian = to_shape(model.prior, at.extended[:, -NUM_SHAPE:])
    slack = (path.scales.extended[:, -1] - jnp.log(shapes[:, 0])) / TAU
    terms = log_flux_terms(at.extended, path.scales.extended[:, :-1])
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
        (force,) = pull_back(light_score(path.window, residual))
        log_prior, prior_force = jax.value_and_grad(lambda at: _log_prior(model, path, at))(at)
        kick = step * jnp.where(first | last, 0.5, 1.0)
        momentum = jax.tree.map(
            lambda p, g, h, mask: jnp.where(mask, p + kick * (g + h), 0.0),
            turned,
            force,
            prior_force,
            path.mask,
        )
        flux_factor = jnp.where(first, -log_prior, phase.log_prior_change)
        flux_factor = jnp.where(last, flux_factor + log_prior, flux_factor)
        return Phase(at, momentum, bare, residual, flux_factor), None

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
    def with_fluxes(at: Array, mask: Array) -> Array:
        flux = _fluxes(model, at, mask)[:, :1]
        colours = at[:, FLUX + 1 : FLUX + 1 + model.num_colours] - at[:, FLUX : FLUX + 1]
        return jnp.concatenate([at[:, :FLUX], flux, colours], axis=1)

    points = with_fluxes(at.points, path.mask.points)
    points = jnp.where(path.mask.points, points, 0.0)
    if at.extended.shape[0] == 0:
        return points, jnp.zeros_like(at.extended)
    shapes, _ = to_shape(model.prior, at.extended[:, -NUM_SHAPE:])
    marks = with_fluxes(at.extended, path.mask.extended)
    extended = jnp.concatenate([marks, shapes], axis=1)
    return points, jnp.where(path.mask.extended, extended, 0.0)
