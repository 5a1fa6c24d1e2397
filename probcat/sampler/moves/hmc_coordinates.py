"""Coordinates of the sources along a Hamiltonian trajectory."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import from_shape, to_shape
from probcat.model.prior.prior import Prior
from probcat.sampler.window.slots import active
from probcat.sampler.window.structures import FLUX, NUM_SHAPE, Model, WindowState


class Coordinates(NamedTuple):
    """Coordinates of all sources along a trajectory, or anything with an entry for each of them.

    Attributes
    ----------
    points : Array, shape (S_p, 2 + B)
        x and y in window pixels, and the log flux in every band, of point sources.
    extended : Array, shape (S_e, 6 + B)
        The same of extended sources, followed by the shape in free coordinates.
    """

    points: Array
    extended: Array


def colour_columns(model: Model) -> slice:
    """Return the columns of colours in catalogs, and of other bands' log fluxes in coordinates."""
    return slice(FLUX + 1, FLUX + 1 + model.num_colours)


def coordinates_of(model: Model, state: WindowState) -> Coordinates:
    """Return the coordinates of sources along a trajectory."""

    def with_log_fluxes(sources: Array) -> Array:
        flux = jnp.where(active(sources), sources[:, FLUX], 1.0)
        log_flux = jnp.log(flux)[:, None]
        colours = sources[:, colour_columns(model)]
        return jnp.concatenate([sources[:, :FLUX], log_flux, log_flux + colours], axis=1)

    extended = with_log_fluxes(state.extended)
    if state.extended.shape[0] > 0:
        free = from_shape(model.prior, state.extended[:, -NUM_SHAPE:])
        free = jnp.where(active(state.extended)[:, None], free, 0.0)
        extended = jnp.concatenate([extended, free], axis=1)
    else:
        extended = jnp.zeros_like(state.extended)
    return Coordinates(with_log_fluxes(state.points), extended)


def bounded_flux(prior: Prior, log_flux: Array) -> Array:
    """Return the flux, clipped to the limits in case rounding puts it outside."""
    low, high = prior.flux_limits
    return jnp.clip(jnp.exp(log_flux), low, high)


def band_fluxes(model: Model, at: Array, mask: Array) -> Array:
    """Return the fluxes of sources in every band, shape (S, B); zero in empty slots."""
    first = bounded_flux(model.prior, at[:, FLUX])[:, None]
    others = jnp.exp(jnp.clip(at[:, colour_columns(model)], -60.0, 60.0))
    return jnp.where(mask[:, :1], jnp.concatenate([first, others], axis=1), 0.0)


def sources_at(model: Model, mask: Coordinates, at: Coordinates) -> tuple[Array, Array]:
    """Return the point sources and the extended sources at coordinates of a trajectory."""

    def with_fluxes(at: Array, occupied: Array) -> Array:
        flux = band_fluxes(model, at, occupied)[:, :1]
        colours = at[:, colour_columns(model)] - at[:, FLUX : FLUX + 1]
        return jnp.concatenate([at[:, :FLUX], flux, colours], axis=1)

    points = with_fluxes(at.points, mask.points)
    points = jnp.where(mask.points, points, 0.0)
    if at.extended.shape[0] == 0:
        return points, jnp.zeros_like(at.extended)
    shapes, _ = to_shape(model.prior, at.extended[:, -NUM_SHAPE:])
    marks = with_fluxes(at.extended, mask.extended)
    extended = jnp.concatenate([marks, shapes], axis=1)
    return points, jnp.where(mask.extended, extended, 0.0)
