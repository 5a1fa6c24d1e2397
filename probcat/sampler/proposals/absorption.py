r"""Geometry of the absorption of a source by a galaxy.

A galaxy, the host h, absorbs a source b, which has the fraction :math:`\varphi` of the flux of
both and lies at the displacement d from h. The merged galaxy m has the Sersic index of h, lies at
the centroid and has the shape matrix

.. math:: S_m = (1 - \varphi)\, S_h + \varphi\, S_b + \varphi (1 - \varphi)\, d d^T / c,

where c turns shape matrices into second moments, and :math:`S_b` is zero for a star. To release b
the equation is solved for :math:`S_h`, which exists only if the result is positive definite.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.numerics.robust import HALF_LIGHT_MOMENT, ROUNDED_FWHM_PER_SIGMA
from probcat.numerics.shape_matrices import from_matrix, to_matrix
from probcat.sampler.proposals.colours import (
    divide_colours,
    join_colours,
    sample_colour_difference,
)
from probcat.sampler.proposals.displacements import sample_separation
from probcat.sampler.window.slots import colours_of
from probcat.sampler.window.structures import (
    EMPTY_SHAPE,
    EXTENDED,
    FLUX,
    NUM_SHAPE,
    RADIUS,
    Model,
    RandomNumbers,
)


class Geometry(NamedTuple):
    """Positions, shapes and colours of the merged galaxy, the host and the absorbed source.

    Attributes
    ----------
    fraction : Array, shape ()
        Fraction of the flux that the absorbed source has.
    separation : Array, shape (2,)
        Position of the absorbed source minus that of the host in pixels.
    positions : Array, shape (3, 2)
        Positions of the three, in the order of above.
    shapes : Array, shape (3, 4)
        Shapes of the three.
    colours : Array, shape (3, B - 1)
        Colours of the three.
    difference : Array, shape (B - 1,)
        Colours of the host minus those of the absorbed source.
    allowed : Array, bool
        Whether the prior allows the current shape of the galaxy and the new one.
    """

    fraction: Array
    separation: Array
    positions: Array
    shapes: Array
    colours: Array
    difference: Array
    allowed: Array


def geometry_of(
    uniform: Array,
    numbers: RandomNumbers,
    model: Model,
    pair: tuple[Array, Array],
    kind: int,
    upward: Array,
    fraction: Array,
) -> Geometry:
    """Return the geometry of both states.

    Parameters
    ----------
    uniform : Array, shape (3,)
        Uniform random numbers, by which a released source is displaced.
    numbers : RandomNumbers
        Random numbers of the move, which have the shape of a released galaxy and the difference
        of colours.
    model : Model
        Model, which has the prior.
    pair : tuple of Array
        In the current state, the merged galaxy and an empty slot, upward, or host and absorbed
        source, downward.
    kind : int
        Kind of the absorbed source.
    upward : Array, bool
        Whether the source is to be released.
    fraction : Array, shape ()
        Fraction of the flux that the absorbed source has.
    """
    galaxy, other = pair
    shape_now = jnp.where(galaxy[RADIUS] > 0.0, galaxy[-NUM_SHAPE:], EMPTY_SHAPE)
    own_matrix, other_shape = jnp.zeros(3, jnp.float32), shape_now
    if kind == EXTENDED:
        exists = ~upward & (other[FLUX] > 0.0)
        other_shape = jnp.where(exists, other[-NUM_SHAPE:], numbers.shapes[0])
        own_matrix = to_matrix(other_shape)

    new_separation = sample_separation(uniform, separation_scale(model, shape_now))
    separation = jnp.where(upward, new_separation, other[:FLUX] - galaxy[:FLUX])
    x, y = separation[0], separation[1]
    spread = fraction * (1.0 - fraction) / HALF_LIGHT_MOMENT
    added = fraction * own_matrix + spread * jnp.stack([x**2, x * y, y**2])
    matrix = to_matrix(shape_now)
    matrix = jnp.where(
        upward, (matrix - added) / (1.0 - fraction), (1.0 - fraction) * matrix + added
    )
    new_shape, positive = from_matrix(matrix, shape_now[3])
    # What is asked of the new shape is asked of the current one too, so that a way back exists.
    proper = from_matrix(to_matrix(shape_now), shape_now[3])[1] & _is_allowed(model, shape_now)
    allowed = proper & positive & _is_allowed(model, new_shape)
    new_shape = jnp.where(allowed, new_shape, shape_now)
    merged_shape = jnp.where(upward, shape_now, new_shape)
    host_shape = jnp.where(upward, new_shape, shape_now)

    centre = galaxy[:FLUX] + jnp.where(upward, 0.0, fraction) * separation
    positions = [centre, centre - fraction * separation, centre + (1.0 - fraction) * separation]
    # The host is the first of the pair here, so that its fraction is that of the rest.
    colours_now = colours_of(model, galaxy)
    joined, difference = join_colours(1.0 - fraction, colours_now, colours_of(model, other))
    joined = jnp.where(upward, colours_now, joined)
    new_difference = sample_colour_difference(numbers.normal, model.prior)
    difference = jnp.where(upward, new_difference, difference)
    return Geometry(
        fraction=fraction,
        separation=separation,
        positions=jnp.stack(positions),
        shapes=jnp.stack([merged_shape, host_shape, other_shape]),
        colours=jnp.stack([joined, *divide_colours(1.0 - fraction, joined, difference)]),
        difference=difference,
        allowed=allowed,
    )


def separation_scale(model: Model, shape: Array) -> Array:
    """Return the standard deviation of a galaxy's image, the scale of separations in it."""
    return jnp.sqrt((model.fwhm / ROUNDED_FWHM_PER_SIGMA) ** 2 + HALF_LIGHT_MOMENT * shape[0] ** 2)


def _is_allowed(model: Model, shape: Array) -> Array:
    """Return whether the prior allows a shape; its density may not be finite otherwise."""
    support = model.prior.half_light_radius.support
    low = getattr(support, "lower_bound", 0.0)
    high = getattr(support, "upper_bound", jnp.inf)
    round_enough = shape[1] ** 2 + shape[2] ** 2 < 0.998
    return (shape[0] > low) & (shape[0] < high) & round_enough
