r"""Pairs of sources and the one galaxy they may look like: as they are fitted.

A pair is two stars or a galaxy and a star. Its free coordinates are both positions, the shape of
the galaxy as `probcat.model.prior.densities.from_shape` gives it, and the logit of the first one's share of the
flux.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import from_shape, to_shape
from probcat.model.prior.prior import Prior
from probcat.numerics.shape_matrices import to_matrix
from probcat.sampler.proposals.laplace_fit import Fit, fit, log_fit_density, misfit
from probcat.sampler.window.light import apply_colours, extended_unit_image, unit_image
from probcat.sampler.window.slots import star
from probcat.sampler.window.structures import EXTENDED, POINT, Model, Window, X, Y

ANCHOR_CELL = 1.0
"""Side of the cells of the grid that anchors are on, in FWHM."""
NUM_STEPS = 8
TYPICAL_RADIUS, TYPICAL_INDEX = 0.35, 1.5
"""Of galaxies, where fits of shapes start: in FWHM of the PSF, and without unit."""
FREE_WIDTH = (1.5, 0.7, 0.7, 1.0)
"""How far fits of shapes may go in one step, and what holds them, in free coordinates."""
LOGIT_WIDTH = 2.0
FIRST_FLUX_FRACTIONS = (0.5, 0.8, 0.2)
"""Of one star of a pair, from which the best is fitted."""
DIRECTIONS, DISTANCES = 8, (0.4, 0.9)
"""Where a star beside a galaxy is looked for, distances in FWHM."""
MOMENT = 0.72
"""Second moment of a Gaussian of unit half-light radius."""


class Pair(NamedTuple):
    """Two sources of unit total flux.

    Attributes
    ----------
    places : Array, shape (2, 2)
        Of the first and the second.
    shape : Array, shape (4,)
        Of the first, if it is a galaxy.
    fraction : Array
        Of the first.
    """

    places: Array
    shape: Array
    fraction: Array

    @property
    def centroid(self) -> Array:
        """Of the light, shape (2,)."""
        return self.fraction * self.places[0] + (1.0 - self.fraction) * self.places[1]


def typical_shape(model: Model) -> Array:
    """Shape that fits start from, within what the prior allows."""

    def within(value: Array, support: object) -> Array:
        low, high = (getattr(support, f"{end}_bound", None) for end in ("lower", "upper"))
        value = value if low is None else jnp.maximum(value, low + 0.05 * (value + low))
        return value if high is None else jnp.minimum(value, 0.9 * high)

    radius = within(TYPICAL_RADIUS * model.fwhm, model.prior.half_light_radius.support)
    index = within(jnp.float32(TYPICAL_INDEX), model.prior.sersic_n.support)
    zero = jnp.float32(0.0)
    return jnp.stack([radius, zero, zero, index]).astype(jnp.float32)


def to_pair(prior: Prior, free: Array, kind: int) -> Pair:
    """Pair of a galaxy (or, if `kind` is POINT, a star) and a star, from free coordinates."""
    shape = to_shape(prior, free[4:8])[0] if kind == EXTENDED else jnp.zeros(4, jnp.float32)
    return Pair(free[:4].reshape(2, 2), shape, jax.nn.sigmoid(free[-1]))


def from_pair(prior: Prior, pair: Pair, kind: int) -> Array:
    """Free coordinates of a pair, shape (5,) of stars and (9,) with a galaxy."""
    fraction = jnp.clip(pair.fraction, 1e-6, 1.0 - 1e-6)
    logit = (jnp.log(fraction) - jnp.log1p(-fraction))[None]
    shape = [from_shape(prior, pair.shape)] if kind == EXTENDED else []
    return jnp.concatenate([pair.places.reshape(-1), *shape, logit])


def image_of_pair(
    model: Model, window: Window, pair: Pair, colours: tuple[Array, Array], kind: int
) -> Array:
    """Image of a pair of unit flux in the first band."""
    one = jnp.float32(1.0)
    if kind == EXTENDED:
        x, y = pair.places[0, X], pair.places[0, Y]
        plain = extended_unit_image(model, window, x, y, pair.shape)
        first = apply_colours(model, plain, colours[0])
    else:
        first = unit_image(model, window, POINT, star(pair.places[0], one, colours[0]))
    second = unit_image(model, window, POINT, star(pair.places[1], one, colours[1]))
    return pair.fraction * first + (1.0 - pair.fraction) * second


def exchanged(free: Array) -> Array:
    """Free coordinates of two stars in the other order."""
    return jnp.concatenate([free[2:4], free[:2], -free[4:]])


def log_pair_density(prior: Prior, found: Fit, free: Array, kind: int) -> Array:
    """Log density of a pair in positions, shape and share."""
    log_density = log_fit_density(found, free)
    if kind == POINT:
        other = log_fit_density(found, exchanged(free))
        log_density = jnp.logaddexp(log_density, other) - jnp.log(2.0)
    else:
        log_density = log_density - to_shape(prior, free[4:8])[1]
    slope = jax.nn.log_sigmoid(free[-1]) + jax.nn.log_sigmoid(-free[-1])
    return log_density - slope


def anchor_near(model: Model, uniform: Array, centre: Array) -> Array:
    """Nearest point of a grid placed at random; the same for all states with that cell."""
    cell = ANCHOR_CELL * model.fwhm
    offset = sample_offset(uniform, cell)
    return jnp.round((centre - offset) / cell) * cell + offset


def sample_offset(uniform: Array, cell: Array) -> Array:
    """Draw where the grid of anchors begins, (x, y)."""
    return uniform * cell


def fit_both(
    model: Model,
    window: Window,
    bare: Array,
    anchor: Array,
    joined: Array,
    kind: int,
) -> tuple[Fit, Fit]:
    """Fit one galaxy and, from there, two sources; all have the joined colours."""

    def image_of_one(free: Array) -> Array:
        shape = to_shape(model.prior, free[2:])[0]
        return apply_colours(
            model, extended_unit_image(model, window, free[X], free[Y], shape), joined
        )

    def image_of_two(free: Array) -> Array:
        pair = to_pair(model.prior, free, kind)
        return image_of_pair(model, window, pair, (joined, joined), kind)

    free = from_shape(model.prior, typical_shape(model))
    here = jnp.stack([model.fwhm, model.fwhm])
    middle = jnp.concatenate([anchor, free])
    width = jnp.concatenate([0.5 * here, jnp.asarray(FREE_WIDTH, jnp.float32)])
    one = fit(image_of_one, window, bare, middle, middle, width, NUM_STEPS)

    starts = _starts(model, one.best, kind)
    losses = jax.vmap(lambda start: misfit(window, bare, image_of_two(start)))(starts)
    start = starts[jnp.argmin(losses)]
    shape = [free] if kind == EXTENDED else []
    wide = [width[2:]] if kind == EXTENDED else []
    middle = jnp.concatenate([anchor, anchor, *shape, jnp.zeros(1, jnp.float32)])
    width = jnp.concatenate([0.7 * here, 0.7 * here, *wide, jnp.full(1, LOGIT_WIDTH, jnp.float32)])
    return one, fit(image_of_two, window, bare, start, middle, width, NUM_STEPS)


def _starts(model: Model, one: Array, kind: int) -> Array:
    """Pairs to start from, in free coordinates, given the fit of one galaxy."""
    shape = to_shape(model.prior, one[2:])[0]
    if kind == POINT:
        xx, xy, yy = MOMENT * to_matrix(shape)
        root = jnp.sqrt(0.25 * (xx - yy) ** 2 + xy**2)
        angle = 0.5 * jnp.arctan2(2.0 * xy, xx - yy)
        axis = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        fraction = jnp.asarray(FIRST_FLUX_FRACTIONS, jnp.float32)
        length = jnp.sqrt((0.5 * (xx + yy) + root) / (fraction * (1.0 - fraction)))
        length = jnp.clip(length, 0.3 * model.fwhm, 1.5 * model.fwhm)
        step = length[:, None] * axis[None]
        first = one[None, :2] + (1.0 - fraction)[:, None] * step
        logit = (jnp.log(fraction) - jnp.log1p(-fraction))[:, None]
        return jnp.concatenate([first, first - step, logit], axis=1)
    angle = jnp.arange(DIRECTIONS, dtype=jnp.float32) * (2.0 * jnp.pi / DIRECTIONS)
    ring = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    step = jnp.concatenate([distance * model.fwhm * ring for distance in DISTANCES])
    number = step.shape[0]
    galaxy = jnp.broadcast_to(one[None], (number, one.shape[0]))
    logit = jnp.full((number, 1), 1.0, jnp.float32)
    parts = [galaxy[:, :2], galaxy[:, :2] + step, galaxy[:, 2:], logit]
    return jnp.concatenate(parts, axis=1)
