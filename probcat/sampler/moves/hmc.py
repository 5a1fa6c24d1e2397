r"""Joint Hamiltonian move of the sources in a window.

Positions, log fluxes and shapes move together along a leapfrog trajectory that is reflected at the
bounds of the window and at the flux limits (Neal 2011, Handbook of Markov Chain Monte Carlo, sec.
5.5.1.5). The number of sources stays, so that the acceptance probability is the usual
:math:`\min(1, e^{-\Delta H})`.

The best step of a source depends on its signal-to-noise ratio, its flux times the square root of
the local inverse variance of fluxes. To keep the masses fixed along a trajectory, auxiliary scales
:math:`s \sim N(\ln \mathrm{signal}, \tau^2)`, one for each band, and
:math:`N(\ln \mathrm{radius}, \tau^2)` are drawn first. They set the masses (`hmc_mass`), and their
densities are part of the potential energy.

Where extended sources move too, the mass is a matrix over all sources (`hmc_metric`). These sources
are expensive to render, so each trajectory moves only a few; the selection depends on nothing the
trajectory changes.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.model.point_sources import points_image
from probcat.model.prior.densities import (
    log_colour_prior,
    log_flux_prior,
    log_shape_prior,
    to_shape,
)
from probcat.sampler.moves.accept import light_score, log_likelihood_change
from probcat.sampler.moves.hmc_coordinates import (
    Coordinates,
    band_fluxes,
    bounded_flux,
    colour_columns,
    coordinates_of,
    sources_at,
)
from probcat.sampler.moves.hmc_mass import (
    NUM_POINTS,
    Trajectory,
    diagonal_drift,
    log_signal,
    prepare_trajectory,
    put_back,
    select_moving,
    take_selected,
)
from probcat.sampler.moves.hmc_metric import (
    Anchor,
    DenseMass,
    dense_drift,
    dense_kinetic,
    dense_momentum,
    draw_anchor,
    fisher_mass,
    unflatten,
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
from probcat.sampler.window.structures import (
    EXTENDED,
    FLUX,
    NUM_SHAPE,
    POINT,
    Model,
    Window,
    WindowState,
    X,
    Y,
)


class _Phase(NamedTuple):
    """A point of a trajectory in phase space.

    Attributes
    ----------
    at, momentum : Coordinates
        Coordinates of the sources and their momenta.
    bare : Array, shape (W, W)
        Residual without the sources that move.
    residual : Array, shape (W, W)
        Residual at these coordinates.
    log_prior_change : Array, shape ()
        Log prior at the end of the trajectory minus that at its start, once both are known.
    failed : Array, shape (), bool
        Whether a step had too many reflections.
    """

    at: Coordinates
    momentum: Coordinates
    bare: Array
    residual: Array
    log_prior_change: Array
    failed: Array


class _Metric(NamedTuple):
    """Mass of a trajectory in which extended sources move.

    Attributes
    ----------
    mass : DenseMass
        Mass matrix.
    anchor : Anchor
        Auxiliary coordinates that the matrix belongs to.
    """

    mass: DenseMass
    anchor: Anchor


def hmc(
    rng_key: Array,
    model: Model,
    window: Window,
    state: WindowState,
    num_steps: int,
    num_moving: int,
) -> tuple[WindowState, Array, Array]:
    """Make one trajectory of all point sources and of those extended sources that are selected.

    Parameters
    ----------
    rng_key : Array
        Key of the random numbers.
    model : Model
        What is fixed during a run: images and prior.
    window : Window
        Window, which has the step size.
    state : WindowState
        Residual and sources of the window.
    num_steps : int
        Number of leapfrog steps.
    num_moving : int
        Largest number of extended sources that move.

    Returns
    -------
    state : WindowState
        End of the trajectory or, if it is rejected, its start.
    acceptance : Array, shape ()
        Acceptance probability.
    occupied : Array, bool
        Whether there was anything to move.
    """
    key_normal, key_uniform = jax.random.split(rng_key)
    slots = [state.points.shape[0], state.extended.shape[0]]
    dense = slots[EXTENDED] > 0
    uniform = jax.random.uniform(key_uniform, (2 + sum(slots) if dense else 2,))
    u_step, u_accept, u_selection = uniform[0], uniform[1], uniform[2:]
    everything = state
    if dense:
        choices = [
            select_moving(u_selection[: slots[POINT]], state.points, NUM_POINTS),
            select_moving(u_selection[slots[POINT] :], state.extended, num_moving),
        ]
        state = state._replace(
            points=take_selected(choices[POINT], state.points),
            extended=take_selected(choices[EXTENDED], state.extended),
        )
    start = coordinates_of(model, state)
    bands = model.num_colours + 1
    sizes = [start.points.size, start.extended.size]
    scale_sizes = [bands * start.points.shape[0], (bands + 1) * start.extended.shape[0]]
    anchor_size = sum(sizes) if dense else 0
    normal = jax.random.normal(key_normal, (sum(sizes + scale_sizes) + anchor_size,))
    parts = jnp.split(normal, np.cumsum([*sizes, *scale_sizes]))
    path = prepare_trajectory(parts[2], parts[3], model, window, state, start)
    noise = Coordinates(
        parts[0].reshape(start.points.shape), parts[1].reshape(start.extended.shape)
    )
    metric = None
    if dense:
        anchor = draw_anchor(model, unflatten(parts[4], start), path, start)
        metric = _Metric(fisher_mass(model, window, path, anchor), anchor)
    momentum = _draw_momentum(path, metric, noise)
    step = window.step_size * (0.7 + 0.6 * u_step)
    end = _leapfrog(model, path, metric, start, momentum, state.residual, step, num_steps)

    energy = log_likelihood_change(window, state.residual, end.residual) + end.log_prior_change
    energy = energy + _kinetic(path, metric, momentum) - _kinetic(path, metric, end.momentum)
    possible = jnp.isfinite(energy) & ~end.failed
    acceptance = jnp.where(possible, jnp.exp(jnp.minimum(energy, 0.0)), 0.0)
    points, extended = sources_at(model, path.mask, end.at)
    accepted = all_fit(window, extended) & (u_accept < acceptance)
    occupied = jnp.any(active(state.points)) | jnp.any(active(state.extended))
    points = jnp.where(accepted, points, state.points)
    extended = jnp.where(accepted, extended, state.extended)
    if dense:
        points = put_back(choices[POINT], points, everything.points)
        extended = put_back(choices[EXTENDED], extended, everything.extended)
    state = state._replace(
        residual=jnp.where(accepted, end.residual, state.residual),
        points=points,
        extended=extended,
    )
    return state, acceptance, occupied


def _draw_momentum(path: Trajectory, metric: _Metric | None, noise: Coordinates) -> Coordinates:
    """Draw the momenta from standard normal numbers."""
    if metric is not None:
        return dense_momentum(metric.mass, noise, path.mask)
    return jax.tree.map(
        lambda z, mass, mask: jnp.where(mask, jnp.sqrt(mass) * z, 0.0), noise, path.mass, path.mask
    )


def _image(model: Model, path: Trajectory, at: Coordinates) -> Array:
    """Return the image (W, W) of all sources that move."""
    fluxes = _by_image(model, band_fluxes(model, at.points, path.mask.points))
    if at.extended.shape[0] == 0:
        return render_images(model, path.window, partial(_points, at.points), fluxes)
    shapes, _ = to_shape(model.prior, at.extended[:, -NUM_SHAPE:])
    profiles = jax.vmap(partial(profiles_of, model), out_axes=1)(shapes)
    extended_fluxes = _by_image(model, band_fluxes(model, at.extended, path.mask.extended))

    def render_one(
        seen: ImageInWindow, size: int, flux: Array, extended_flux: Array, profiles: list[Array]
    ) -> Array:
        xy = locate(seen, at.extended[:, X], at.extended[:, Y])
        one = partial(stamp_in_image, seen.image, model.large_size, size=size)
        stamps = jax.vmap(one)(*xy, profiles, shapes, psf_position(seen, *xy))
        fluxes_in_image = (seen.flux_factor * extended_flux)[:, None, None]
        points = _points(at.points, seen, size, flux)
        return points + jnp.sum(fluxes_in_image * stamps, axis=0)

    return render_images(model, path.window, render_one, fluxes, extended_fluxes, profiles)


def _points(at: Array, seen: ImageInWindow, size: int, flux: Array) -> Array:
    """Return the light of all point sources in one image."""
    xy = locate(seen, at[:, X], at[:, Y])
    tables, position = seen.image.point_tables, psf_position(seen, *xy)
    return points_image(tables, *xy, seen.flux_factor * flux, size, position)


def _by_image(model: Model, fluxes: Array) -> list[Array]:
    """Return the fluxes (images, S) of sources in every group of images."""
    bands = [[model.bands[index] for index in group] for group in model.groups]
    return [jnp.stack([fluxes[:, band] for band in own]) for own in bands]


def _log_prior(model: Model, path: Trajectory, at: Coordinates) -> Array:
    """Return the log prior in the coordinates of a trajectory, auxiliary scales included."""

    def log_flux_terms(at: Array, scale: Array) -> Array:
        deviation = (scale - log_signal(model, path.window, at)) / path.tau
        log_flux = at[:, FLUX]
        colours = at[:, colour_columns(model)] - log_flux[:, None]
        value = log_flux_prior(model.prior, bounded_flux(model.prior, log_flux)) + log_flux
        return value + log_colour_prior(model.prior, colours) - 0.5 * jnp.sum(deviation**2, axis=1)

    terms = log_flux_terms(at.points, path.scales.points)
    value = jnp.sum(jnp.where(path.mask.points[:, 0], terms, 0.0))
    if at.extended.shape[0] == 0:
        return value
    shapes, log_jacobian = to_shape(model.prior, at.extended[:, -NUM_SHAPE:])
    deviation = (path.scales.extended[:, -1] - jnp.log(shapes[:, 0])) / path.tau
    terms = log_flux_terms(at.extended, path.scales.extended[:, :-1])
    terms = terms + log_shape_prior(model.prior, shapes) + log_jacobian - 0.5 * deviation**2
    return value + jnp.sum(jnp.where(path.mask.extended[:, 0], terms, 0.0))


def _kinetic(path: Trajectory, metric: _Metric | None, momentum: Coordinates) -> Array:
    """Return the kinetic energy."""
    if metric is not None:
        return dense_kinetic(metric.mass, momentum)
    energy = jax.tree.map(lambda p, mass: 0.5 * jnp.sum(p**2 / mass), momentum, path.mass)
    return energy.points + energy.extended


def _leapfrog(
    model: Model,
    path: Trajectory,
    metric: _Metric | None,
    start: Coordinates,
    momentum: Coordinates,
    residual: Array,
    step: Array,
    num_steps: int,
) -> _Phase:
    """Return the end of a trajectory of leapfrog steps.

    The images are evaluated in one place of the loop so that they compile once: the first pass
    only evaluates the start, and the last one ends with half of a kick.
    """

    def drift_all(phase: _Phase, time: Array) -> tuple[Coordinates, Coordinates, Array | bool]:
        if metric is not None:
            return dense_drift(metric.mass, path, phase.at, phase.momentum, time)
        return *diagonal_drift(path, phase.at, phase.momentum, time), True

    def log_density(at: Coordinates) -> Array:
        value = _log_prior(model, path, at)
        return value if metric is None else value + metric.anchor.log_density(path.mask, at)

    def body(phase: _Phase, index: Array) -> tuple[_Phase, None]:
        first, last = index == 0, index == num_steps
        *drifted, arrived = drift_all(phase, jnp.where(first, 0.0, step))
        at, reflected = jax.tree.map(
            lambda new, old: jnp.where(first, old, new), drifted, [phase.at, phase.momentum]
        )
        image, pull_back = jax.vjp(lambda at: _image(model, path, at), at)
        bare = jnp.where(first, phase.residual + image, phase.bare)
        residual = jnp.where(first, phase.residual, bare - image)
        (force,) = pull_back(light_score(path.window, residual))
        log_prior, prior_force = jax.value_and_grad(log_density)(at)
        kick = step * jnp.where(first | last, 0.5, 1.0)
        momentum = jax.tree.map(
            lambda p, g, h, mask: jnp.where(mask, p + kick * (g + h), 0.0),
            reflected,
            force,
            prior_force,
            path.mask,
        )
        log_prior_change = jnp.where(first, -log_prior, phase.log_prior_change)
        log_prior_change = jnp.where(last, log_prior_change + log_prior, log_prior_change)
        failed = phase.failed | ~jnp.asarray(arrived)
        return _Phase(at, momentum, bare, residual, log_prior_change, failed), None

    begin = _Phase(
        start, momentum, residual, residual, jnp.zeros_like(step), jnp.zeros_like(step, bool)
    )
    indices = jnp.arange(num_steps + 1, dtype=jnp.int32)
    return jax.lax.scan(body, begin, indices)[0]
