r"""Masses of Hamiltonian trajectories in which extended sources move.

Flux, radius and Sersic index of a galaxy are strongly correlated, and so are the fluxes of sources
that overlap. With one mass for each coordinate a trajectory needs dozens of steps to cross such a
posterior; with the Fisher matrix of all sources that move as mass a few are enough.

The matrix must not depend on where a trajectory goes. It is therefore evaluated at an *anchor*,
auxiliary coordinates drawn from :math:`N(q, D)` around the coordinates q at the start. The anchor
and D stay fixed along the trajectory, and the density of the anchor given q is part of the
potential energy, so that the trajectory leaves the joint distribution of q and the anchor
unchanged. D follows from the auxiliary scales of `hmc_mass`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.model.prior.densities import to_shape
from probcat.numerics.triangular import cholesky, inverse_of_root
from probcat.sampler.moves.hmc_coordinates import Coordinates, band_fluxes
from probcat.sampler.moves.hmc_mass import Trajectory
from probcat.sampler.window.light import extended_unit_image, unit_image_per_band
from probcat.sampler.window.structures import FLUX, NUM_SHAPE, POINT, Model, Window

ANCHOR = 5.0
"""Standard deviation of an anchor's coordinate, in units of the error of an isolated source."""
POSITION_LIMITS = (0.05, 0.5)
"""Limits of that standard deviation in pixels, for positions."""
FLUX_LIMITS = (0.15, 0.5)
"""The same in natural logarithms, for fluxes."""
SHAPE_LIMITS = ((0.15, 0.5), (0.1, 0.5), (0.1, 0.5), (0.6, 1.0))
"""The same in unconstrained coordinates, for radius, ellipticity and Sersic index. The index is
strongly correlated with flux and radius, and the Fisher matrix depends little on it."""
JITTER = 1e-4
"""Number added to the diagonal of the matrix of correlations, so that it is positive definite."""
BOUNCES = 12
"""Largest number of reflections within one step; trajectories with more are rejected."""


class Anchor(NamedTuple):
    """Auxiliary coordinates that the Fisher matrix belongs to.

    Attributes
    ----------
    at : Coordinates
        Coordinates of the anchor.
    precision : Coordinates
        Inverse variances of the coordinates at the start around those of the anchor.
    """

    at: Coordinates
    precision: Coordinates

    def log_density(self, mask: Coordinates, at: Coordinates) -> Array:
        """Log density of the anchor given coordinates, up to a constant."""
        terms = jax.tree.map(
            lambda anchor, here, precision, occupied: (
                -0.5 * jnp.sum(jnp.where(occupied, precision * (anchor - here) ** 2, 0.0))
            ),
            self.at,
            at,
            self.precision,
            mask,
        )
        return terms.points + terms.extended


class DenseMass(NamedTuple):
    """A mass matrix over all coordinates of a trajectory, those of point sources first.

    Attributes
    ----------
    root : Array, shape (n, n)
        Lower triangular root of the mass matrix.
    inverse : Array, shape (n, n)
        Inverse of the mass matrix.
    """

    root: Array
    inverse: Array


def draw_anchor(model: Model, normal: Coordinates, path: Trajectory, start: Coordinates) -> Anchor:
    """Draw the anchor around the start of a trajectory.

    Parameters
    ----------
    model : Model
        Model, which has the number of bands.
    normal : Coordinates
        Random numbers from the standard normal distribution.
    path : Trajectory
        Trajectory, whose masses follow from its auxiliary scales alone.
    start : Coordinates
        Coordinates at the start.
    """
    bands = model.num_colours + 1
    limits = jnp.array([POSITION_LIMITS] * FLUX + [FLUX_LIMITS] * bands, jnp.float32)
    shape_limits = jnp.array(SHAPE_LIMITS, jnp.float32)
    both = Coordinates(limits, jnp.concatenate([limits, shape_limits]))
    width = jax.tree.map(
        lambda mass, limits: jnp.clip(
            ANCHOR * jax.lax.rsqrt(mass), limits[None, :, 0], limits[None, :, 1]
        ),
        path.mass,
        both,
    )
    at = jax.tree.map(lambda q, w, z: q + w * z, start, width, normal)
    return Anchor(at, jax.tree.map(lambda w: w**-2, width))


def fisher_mass(model: Model, window: Window, path: Trajectory, anchor: Anchor) -> DenseMass:
    """Return the Fisher matrix of all sources at the anchor, with the curvature of the prior.

    Parameters
    ----------
    model : Model
        Model of the images and the prior.
    window : Window
        Window, which has the weights of pixels.
    path : Trajectory
        Trajectory, whose mask says which coordinates are occupied.
    anchor : Anchor
        Auxiliary coordinates.
    """
    light = jnp.concatenate(
        [
            _point_columns(model, window, anchor.at.points, path.mask.points),
            _extended_columns(model, window, anchor.at.extended, path.mask.extended),
        ]
    )
    light = (light * jnp.sqrt(window.weight)[None]).reshape(light.shape[0], -1)
    matrix = jnp.matmul(light, light.T, precision="highest")
    mask, curvature = flatten(path.mask), flatten(_curvature(model, path, anchor.precision))
    matrix = jnp.where(mask[:, None] & mask[None], matrix, 0.0)
    diagonal = jnp.where(mask, jnp.diagonal(matrix) + curvature, 1.0)
    scale = jnp.sqrt(diagonal)
    correlation = matrix / (scale[:, None] * scale[None])
    unit = jnp.eye(scale.shape[0], dtype=jnp.float32)
    correlation = jnp.where(unit > 0.0, 1.0 + JITTER, correlation)
    root = cholesky(correlation)
    half = inverse_of_root(root)
    inverse = jnp.matmul(half.T, half, precision="highest")
    return DenseMass(scale[:, None] * root, inverse / (scale[:, None] * scale[None]))


def _curvature(model: Model, path: Trajectory, precision: Coordinates) -> Coordinates:
    """Curvature of everything but the likelihood, in every coordinate."""
    flux, bands = FLUX, model.num_colours + 1

    def one(precision: Array, is_extended: bool) -> Array:
        prior = np.full(precision.shape[1], 1.0 if is_extended else 0.0, np.float32)
        prior[:flux] = 0.05
        prior[flux : flux + bands] = 1.0
        has_scale = np.zeros_like(prior)
        has_scale[flux : flux + bands] = 1.0
        if is_extended:
            has_scale[-NUM_SHAPE] = 1.0
        return precision + (prior + has_scale * jnp.float32(path.tau) ** -2)[None]

    return Coordinates(one(precision.points, False), one(precision.extended, True))


def _point_columns(model: Model, window: Window, at: Array, mask: Array) -> Array:
    """Derivatives (coordinates, rows, W) of the light by all coordinates of point sources."""

    def unit(position: Array) -> Array:
        return unit_image_per_band(model, window, POINT, position)

    image, slope = jax.vmap(partial(_with_slopes, unit))(at[:, :FLUX])
    return _columns(model, image, slope, band_fluxes(model, at, mask))


def _extended_columns(model: Model, window: Window, at: Array, mask: Array) -> Array:
    """Derivatives (coordinates, rows, W) of the light by all coordinates of extended sources."""

    def unit(marks: Array) -> Array:
        shape, _ = to_shape(model.prior, marks[FLUX:])
        return extended_unit_image(model, window, marks[0], marks[1], shape)

    marks = jnp.concatenate([at[:, :FLUX], at[:, -NUM_SHAPE:]], axis=1)
    image, slope = jax.vmap(partial(_with_slopes, unit))(marks)
    return _columns(model, image, slope, band_fluxes(model, at, mask))


def _with_slopes(function, at: Array) -> tuple[Array, Array]:  # type: ignore[no-untyped-def]
    """Value of a function of a vector, and its derivatives by all of its elements."""
    basis = jnp.eye(at.shape[0], dtype=jnp.float32)
    value, slopes = jax.vmap(
        lambda tangent: jax.jvp(function, (at,), (tangent,)), out_axes=(None, 0)
    )(basis)
    return value, slopes


def _columns(model: Model, image: Array, slope: Array, fluxes: Array) -> Array:
    """Derivatives of the light, in the order of the coordinates, with all sources on one axis.

    Parameters
    ----------
    model : Model
        Model, which has the bands of the images.
    image : Array, shape (S, rows, W)
        Images of unit flux in every band.
    slope : Array, shape (S, k, rows, W)
        Their derivatives by x, y and the shape.
    fluxes : Array, shape (S, B)
        Fluxes in every band.
    """
    rows = zip(model.bands, model.sizes, strict=True)
    band = np.concatenate([np.full(size, number) for number, size in rows])
    is_band = np.arange(model.num_colours + 1)[:, None] == band[None]
    in_rows = jnp.matmul(fluxes, jnp.asarray(is_band, jnp.float32), precision="highest")
    image = image * in_rows[:, :, None]
    slope = slope * in_rows[:, None, :, None]
    by_flux = jnp.where(jnp.asarray(is_band)[None, :, :, None], image[:, None], 0.0)
    columns = jnp.concatenate([slope[:, :FLUX], by_flux, slope[:, FLUX:]], axis=1)
    return columns.reshape(-1, *image.shape[1:])


def flatten(coordinates: Coordinates) -> Array:
    """All coordinates in one axis, those of point sources first."""
    return jnp.concatenate([coordinates.points.reshape(-1), coordinates.extended.reshape(-1)])


def unflatten(flat: Array, like: Coordinates) -> Coordinates:
    """The inverse of `flatten`, with the shapes of other coordinates."""
    points, extended = jnp.split(flat, [like.points.size])
    return Coordinates(points.reshape(like.points.shape), extended.reshape(like.extended.shape))


def dense_momentum(mass: DenseMass, normal: Coordinates, mask: Coordinates) -> Coordinates:
    """Draw momenta from standard normal numbers."""
    flat = jnp.matmul(mass.root, jnp.where(flatten(mask), flatten(normal), 0.0))
    return unflatten(flat, normal)


def dense_kinetic(mass: DenseMass, momentum: Coordinates) -> Array:
    """Return the kinetic energy."""
    flat = flatten(momentum)
    return 0.5 * jnp.dot(flat, jnp.matmul(mass.inverse, flat, precision="highest"))


def dense_drift(
    mass: DenseMass, path: Trajectory, at: Coordinates, momentum: Coordinates, time: Array
) -> tuple[Coordinates, Coordinates, Array]:
    """Move freely for some time, with reflections at the bounds.

    At a bound the momentum of that coordinate changes so that its velocity turns round and the
    kinetic energy stays (Afshar & Domke 2015, NIPS 28).

    Returns
    -------
    at, momentum : Coordinates
        Coordinates and momenta afterwards.
    arrived : Array, shape (), bool
        Whether `BOUNCES` reflections were enough.
    """
    lower, upper = _bounds(path, at)
    diagonal = jnp.diagonal(mass.inverse)

    def bounce(_: int, state: tuple[Array, Array, Array, Array]) -> tuple:
        place, momentum, velocity, left = state
        bound = jnp.where(velocity > 0.0, upper, lower)
        moves = velocity != 0.0
        until = jnp.where(moves, (bound - place) / jnp.where(moves, velocity, 1.0), jnp.inf)
        until = jnp.maximum(until, 0.0)
        first = jnp.argmin(until)
        here = jnp.arange(until.shape[0], dtype=jnp.int32) == first
        span = jnp.minimum(until[first], left)
        hits = until[first] < left
        place = place + velocity * span
        change = jnp.where(hits, -2.0 * velocity[first] / diagonal[first], 0.0)
        place = jnp.where(hits & here, bound, place)
        momentum = momentum + jnp.where(here, change, 0.0)
        velocity = velocity + change * mass.inverse[first]
        return place, momentum, velocity, left - span

    start = flatten(momentum)
    velocity = jnp.matmul(mass.inverse, start, precision="highest")
    begin = (flatten(at), start, velocity, time)
    place, moved, _, left = jax.lax.fori_loop(0, BOUNCES, bounce, begin)
    place = jnp.where(flatten(path.mask), jnp.clip(place, lower, jnp.maximum(upper, lower)), place)
    return unflatten(place, at), unflatten(moved, at), left <= 0.0


def _bounds(path: Trajectory, at: Coordinates) -> tuple[Array, Array]:
    """Bounds of all coordinates; those of colours and shapes are infinite."""

    def one(bound: Array, infinite: float) -> Array:
        def spread(values: Array) -> Array:
            free = jnp.full(values.shape[1] - bound.shape[0], infinite, jnp.float32)
            return jnp.broadcast_to(jnp.concatenate([bound, free]), values.shape)

        return flatten(Coordinates(spread(at.points), spread(at.extended)))

    return one(path.lower_bound, -jnp.inf), one(path.upper_bound, jnp.inf)
