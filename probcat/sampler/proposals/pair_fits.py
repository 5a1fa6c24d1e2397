r"""Fits of one galaxy and of a pair of sources to the same light.

A pair is two stars, or a galaxy and a star, with a total flux of one. It is fitted in *free
coordinates*: both positions, the shape of the galaxy as `probcat.model.prior.densities.from_shape`
returns it, and the logit of the fraction :math:`\varphi` of the flux that the first source has.
The free coordinates of a single galaxy are its position and its shape.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import from_shape, to_shape
from probcat.model.prior.prior import Prior
from probcat.numerics.robust import HALF_LIGHT_MOMENT
from probcat.numerics.shape_matrices import to_matrix
from probcat.sampler.proposals.laplace_fit import Fit, fit_parameters, log_fit_density, misfit
from probcat.sampler.window.light import apply_colours, extended_unit_image, unit_image
from probcat.sampler.window.slots import star
from probcat.sampler.window.structures import EXTENDED, POINT, Model, Window, X, Y

ANCHOR_CELL = 1.0
"""Side of the cells of the grid of anchors in units of the FWHM of the PSF."""
NUM_FIT_STEPS = 8
"""Number of Levenberg-Marquardt steps of a fit."""
TYPICAL_RADIUS = 0.35
"""Half-light radius that fits start from in units of the FWHM of the PSF."""
TYPICAL_INDEX = 1.5
"""Sersic index that fits start from."""
SHAPE_WIDTH = (1.5, 0.7, 0.7, 1.0)
"""Width of the constraint on a shape in free coordinates, also the longest step of a fit."""
LOGIT_WIDTH = 2.0
"""Width of the constraint on the logit of the flux fraction, also the longest step of a fit."""
FIRST_FLUX_FRACTIONS = (0.5, 0.8, 0.2)
"""Fractions of the flux in the first of two stars; the best of them starts the fit."""
NUM_DIRECTIONS = 8
"""Number of directions from a galaxy in which a fit may start to look for a star."""
START_DISTANCES = (0.4, 0.9)
"""Distances from a galaxy at which a fit may start to look for a star, in FWHM of the PSF."""


class Pair(NamedTuple):
    """Two sources with a total flux of one in the first band.

    Attributes
    ----------
    positions : Array, shape (2, 2)
        Positions (x, y) of the first and of the second source in pixels.
    shape : Array, shape (4,)
        Shape of the first source if it is a galaxy.
    fraction : Array, shape ()
        Fraction of the flux in the first band that the first source has.
    """

    positions: Array
    shape: Array
    fraction: Array

    @property
    def centroid(self) -> Array:
        """Centroid of the light in the first band, shape (2,)."""
        return self.fraction * self.positions[0] + (1.0 - self.fraction) * self.positions[1]


def typical_shape(model: Model) -> Array:
    """Return the shape (4,) that fits start from, moved into the support of the prior."""

    def within(value: Array, support: object) -> Array:
        low, high = (getattr(support, f"{end}_bound", None) for end in ("lower", "upper"))
        value = value if low is None else jnp.maximum(value, low + 0.05 * (value + low))
        return value if high is None else jnp.minimum(value, 0.9 * high)

    radius = within(TYPICAL_RADIUS * model.fwhm, model.prior.half_light_radius.support)
    index = within(jnp.float32(TYPICAL_INDEX), model.prior.sersic_n.support)
    zero = jnp.float32(0.0)
    return jnp.stack([radius, zero, zero, index]).astype(jnp.float32)


def to_pair(prior: Prior, free: Array, kind: int) -> Pair:
    """Return the pair of given free coordinates.

    Parameters
    ----------
    prior : Prior
        Prior of shapes, whose support the free coordinates are mapped to.
    free : Array, shape (5,) or (9,)
        Free coordinates of two stars, or of a galaxy and a star.
    kind : int
        Kind of the first source; the second one is a star.
    """
    shape = to_shape(prior, free[4:8])[0] if kind == EXTENDED else jnp.zeros(4, jnp.float32)
    return Pair(free[:4].reshape(2, 2), shape, jax.nn.sigmoid(free[-1]))


def from_pair(prior: Prior, pair: Pair, kind: int) -> Array:
    """Return the free coordinates of a pair: the inverse of `to_pair`."""
    fraction = jnp.clip(pair.fraction, 1e-6, 1.0 - 1e-6)
    logit = (jnp.log(fraction) - jnp.log1p(-fraction))[None]
    shape = [from_shape(prior, pair.shape)] if kind == EXTENDED else []
    return jnp.concatenate([pair.positions.reshape(-1), *shape, logit])


def image_of_pair(
    model: Model, window: Window, pair: Pair, colours: tuple[Array, Array], kind: int
) -> Array:
    """Return the image of a pair.

    Parameters
    ----------
    model : Model
        Model of the images.
    window : Window
        Window that the image fills.
    pair : Pair
        Two sources with a total flux of one.
    colours : tuple of Array, shape (B - 1,)
        Colours of the first and of the second source.
    kind : int
        Kind of the first source; the second one is a star.
    """
    one = jnp.float32(1.0)
    if kind == EXTENDED:
        x, y = pair.positions[0, X], pair.positions[0, Y]
        image = extended_unit_image(model, window, x, y, pair.shape)
        first = apply_colours(model, image, colours[0])
    else:
        first = unit_image(model, window, POINT, star(pair.positions[0], one, colours[0]))
    second = unit_image(model, window, POINT, star(pair.positions[1], one, colours[1]))
    return pair.fraction * first + (1.0 - pair.fraction) * second


def exchanged(free: Array) -> Array:
    """Return the free coordinates (5,) of two stars in the other order."""
    return jnp.concatenate([free[2:4], free[:2], -free[4:]])


def log_pair_density(prior: Prior, fit: Fit, free: Array, kind: int) -> Array:
    r"""Return the log density of proposing a pair, in positions, shape and :math:`\varphi`.

    Two stars are proposed in either order with equal probability.

    Parameters
    ----------
    prior : Prior
        Prior of shapes.
    fit : Fit
        Fit of a pair, which `laplace_fit.sample_fit` draws around.
    free : Array, shape (5,) or (9,)
        Free coordinates of the pair.
    kind : int
        Kind of the first source; the second one is a star.
    """
    log_density = log_fit_density(fit, free)
    if kind == POINT:
        other_order = log_fit_density(fit, exchanged(free))
        log_density = jnp.logaddexp(log_density, other_order) - jnp.log(2.0)
    else:
        log_density = log_density - to_shape(prior, free[4:8])[1]
    # The derivative of the fraction by its logit.
    log_slope = jax.nn.log_sigmoid(free[-1]) + jax.nn.log_sigmoid(-free[-1])
    return log_density - log_slope


def anchor_near(model: Model, uniform: Array, centre: Array) -> Array:
    """Return the anchor of a position: the centre of its cell in a randomly placed grid.

    All states whose light has its centroid in one cell have the same anchor.

    Parameters
    ----------
    model : Model
        Model, which has the FWHM of the PSF.
    uniform : Array, shape (2,)
        Uniform random numbers that the grid is placed by.
    centre : Array, shape (2,)
        Position (x, y) in pixels.
    """
    cell = ANCHOR_CELL * model.fwhm
    offset = sample_offset(uniform, cell)
    return jnp.round((centre - offset) / cell) * cell + offset


def sample_offset(uniform: Array, cell: Array) -> Array:
    """Draw the offset (x, y) of the grid of anchors, uniform within a cell."""
    return uniform * cell


def fit_galaxy_and_pair(
    model: Model,
    window: Window,
    bare: Array,
    anchor: Array,
    joined_colours: Array,
    kind: int,
) -> tuple[Fit, Fit]:
    """Fit one galaxy and, starting from there, a pair of sources.

    Parameters
    ----------
    model : Model
        Model of the images.
    window : Window
        Window, which has the weights of pixels.
    bare : Array, shape (W, W)
        Residual that contains the light to be fitted.
    anchor : Array, shape (2,)
        Position that the fits start from, and that constrains them.
    joined_colours : Array, shape (B - 1,)
        Colours of the galaxy and of both sources of the pair.
    kind : int
        Kind of the first source of the pair; the second one is a star.

    Returns
    -------
    galaxy, pair : Fit
        Fits in free coordinates.
    """

    def image_of_one(free: Array) -> Array:
        shape = to_shape(model.prior, free[2:])[0]
        return apply_colours(
            model, extended_unit_image(model, window, free[X], free[Y], shape), joined_colours
        )

    def image_of_two(free: Array) -> Array:
        pair = to_pair(model.prior, free, kind)
        return image_of_pair(model, window, pair, (joined_colours, joined_colours), kind)

    shape = from_shape(model.prior, typical_shape(model))
    fwhm = jnp.stack([model.fwhm, model.fwhm])
    centre = jnp.concatenate([anchor, shape])
    width = jnp.concatenate([0.5 * fwhm, jnp.asarray(SHAPE_WIDTH, jnp.float32)])
    galaxy = fit_parameters(image_of_one, window, bare, centre, centre, width, NUM_FIT_STEPS)

    starts = _starts(model, galaxy.best, kind)
    losses = jax.vmap(lambda start: misfit(window, bare, image_of_two(start)))(starts)
    start = starts[jnp.argmin(losses)]
    shape_centre = [shape] if kind == EXTENDED else []
    shape_width = [width[2:]] if kind == EXTENDED else []
    logit_width = jnp.full(1, LOGIT_WIDTH, jnp.float32)
    centre = jnp.concatenate([anchor, anchor, *shape_centre, jnp.zeros(1, jnp.float32)])
    width = jnp.concatenate([0.7 * fwhm, 0.7 * fwhm, *shape_width, logit_width])
    pair = fit_parameters(image_of_two, window, bare, start, centre, width, NUM_FIT_STEPS)
    return galaxy, pair


def _starts(model: Model, galaxy: Array, kind: int) -> Array:
    """Return the pairs, in free coordinates, among which a fit chooses its start."""
    if kind == POINT:
        return _two_stars_like(model, galaxy)
    return _galaxy_with_stars_around(model, galaxy)


def _two_stars_like(model: Model, galaxy: Array) -> Array:
    """Return pairs of stars along the major axis of a galaxy with the same second moments."""
    shape = to_shape(model.prior, galaxy[2:])[0]
    xx, xy, yy = HALF_LIGHT_MOMENT * to_matrix(shape)
    root = jnp.sqrt(0.25 * (xx - yy) ** 2 + xy**2)
    angle = 0.5 * jnp.arctan2(2.0 * xy, xx - yy)
    axis = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    fraction = jnp.asarray(FIRST_FLUX_FRACTIONS, jnp.float32)
    length = jnp.sqrt((0.5 * (xx + yy) + root) / (fraction * (1.0 - fraction)))
    length = jnp.clip(length, 0.3 * model.fwhm, 1.5 * model.fwhm)
    separation = length[:, None] * axis[None]
    first = galaxy[None, :2] + (1.0 - fraction)[:, None] * separation
    logit = (jnp.log(fraction) - jnp.log1p(-fraction))[:, None]
    return jnp.concatenate([first, first - separation, logit], axis=1)


def _galaxy_with_stars_around(model: Model, galaxy: Array) -> Array:
    """Return pairs of a galaxy and a star in several directions and distances from it."""
    angle = jnp.arange(NUM_DIRECTIONS, dtype=jnp.float32) * (2.0 * jnp.pi / NUM_DIRECTIONS)
    ring = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    step = jnp.concatenate([distance * model.fwhm * ring for distance in START_DISTANCES])
    number = step.shape[0]
    repeated = jnp.broadcast_to(galaxy[None], (number, galaxy.shape[0]))
    logit = jnp.full((number, 1), 1.0, jnp.float32)
    parts = [repeated[:, :2], repeated[:, :2] + step, repeated[:, 2:], logit]
    return jnp.concatenate(parts, axis=1)
