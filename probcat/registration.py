r"""Where images beyond the first lie, the scale of their fluxes, and the widths of PSFs.

All are moved given the sources.  The light m of all sources in an image is proportional to
its flux scale, whose conditional under fixed weights is Gaussian.  An offset o shifts it,
:math:`m(o + h) \approx m(o) - h \cdot \nabla m`, which gives a Gaussian to propose from at
every state (a Newton step, Qi & Minka 2002); what is proposed is rendered and accepted or not.
The same goes for the width of the PSF, with second derivatives.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.frames import LARGEST_OFFSET
from probcat.layout import Layout
from probcat.moves.sources import total
from probcat.nuisances import calibrated, plane_noise
from probcat.rendering import render_one
from probcat.scene import Scene
from probcat.state import Draw
from probcat.variance import log_gain

LEAST_SCALE = 0.1
WIDEST = 0.15
"""Greatest relative change of the width of a PSF."""


class Parameter(NamedTuple):
    """A parameter of an image that its light depends on.

    Attributes
    ----------
    name : str
        Of the field of a draw and of the prior.
    image : int
        Its number.
    largest : float
        Bound of both components.
    slopes : callable
        From the light of all sources to its derivatives by both components, about.
    """

    name: str
    image: int
    largest: float
    slopes: Callable[[Array], list[Array]]


def register(
    rng_key: Array,
    scene: Scene,
    draw: Draw,
    residual: tuple[Array, ...],
    light: tuple[Array, ...],
    layout: Layout,
    extended_radius: int,
) -> tuple[Draw, tuple[Array, ...]]:
    """Move offset, flux scale and PSF of every image, of one chain.

    The flux scale of the only image of a band is one: it could not be told from colours.
    """
    planes, prior, bands = list(residual), scene.model.prior, scene.model.bands
    for index in range(len(planes)):
        keys = jax.random.split(jax.random.fold_in(rng_key, index), 3)
        if prior.flux_scale is not None and bands[index] in bands[:index]:
            draw, planes[index] = _move_scale(keys[0], scene, draw, planes[index], light, index)

        def rendered(draw: Draw, index: int = index) -> Array:
            own = calibrated(scene, draw)
            return render_one(own, layout, index, draw.points, draw.extended, extended_radius)

        parameters = []
        if prior.offset is not None and index > 0:
            parameters.append(Parameter("offset", index, LARGEST_OFFSET, offset_slopes))
        if prior.psf_width is not None:
            slopes = partial(width_slopes, spread=scene.model.images[index].spread)
            parameters.append(Parameter("psf_width", index, WIDEST, slopes))
        for key, parameter in zip(keys[1:], parameters, strict=False):
            here = (draw, planes[index], light[index], parameter)
            draw, planes[index] = _move_by_newton(key, scene, *here, rendered)
    return draw, tuple(planes)


def _gain(scene: Scene, draw: Draw, lower: Array, upper: Array, light: Array, index: int) -> Array:
    """Tempered log likelihood of one image with the upper minus with the lower residual."""
    weight = scene.weight[index]
    if not scene.variance:
        return 0.5 * draw.temperature * total(weight * (lower - upper) * (lower + upper))
    gain = log_gain(plane_noise(scene, draw, light, index), lower, upper)
    return draw.temperature * total(jnp.where(weight > 0.0, gain, 0.0))


def _move_scale(
    rng_key: Array,
    scene: Scene,
    draw: Draw,
    residual: Array,
    light: tuple[Array, ...],
    index: int,
) -> tuple[Draw, Array]:
    prior = scene.model.prior.flux_scale
    assert prior is not None
    key_normal, key_accept = jax.random.split(rng_key)
    current, weight = draw.flux_scale[index], scene.weight[index] * draw.temperature
    unit = (light[index] - residual) / current
    precision = total(weight * unit**2) + 1.0 / prior.scale**2
    mean = (total(weight * unit * light[index]) + prior.loc / prior.scale**2) / precision
    proposed = mean + jax.random.normal(key_normal) * jax.lax.rsqrt(precision)
    changed = residual - (proposed - current) * unit

    def log_rest(value: Array) -> Array:
        own = -0.5 * ((value - prior.loc) / prior.scale) ** 2
        return own + 0.5 * precision * (value - mean) ** 2

    log_ratio = _gain(scene, draw, residual, changed, light[index], index)
    log_ratio = log_ratio + log_rest(proposed) - log_rest(current)
    accepted = (proposed > LEAST_SCALE) & (-jax.random.exponential(key_accept) < log_ratio)
    scale = jnp.where(accepted, proposed, current)
    draw = draw._replace(flux_scale=draw.flux_scale.at[index].set(scale))
    return draw, jnp.where(accepted, changed, residual)


def _move_by_newton(
    rng_key: Array,
    scene: Scene,
    draw: Draw,
    residual: Array,
    light: Array,
    parameter: Parameter,
    rendered: Callable[[Draw], Array],
) -> tuple[Draw, Array]:
    """Propose two components of a parameter from a Gaussian about a Newton step."""
    index, prior = parameter.image, getattr(scene.model.prior, parameter.name)
    key_normal, key_accept = jax.random.split(rng_key)
    values, weight = getattr(draw, parameter.name), scene.weight[parameter.image]
    current, weight = values[index], weight * draw.temperature
    spread = 1.0 / prior.scale**2

    def newton(value: Array, residual: Array) -> tuple[Array, Array]:
        """Mean and root of the precision of the Gaussian proposed from a state."""
        slopes = parameter.slopes(light - residual)
        across = total(weight * slopes[0] * slopes[1])
        own = [total(weight * slope**2) + spread for slope in slopes]
        pull = [total(weight * residual * slope) for slope in slopes]
        precision = jnp.stack([jnp.stack([own[0], across]), jnp.stack([across, own[1]])])
        root = jnp.linalg.cholesky(precision)
        pull = jnp.stack(pull) - (value - prior.loc) * spread
        return value + jax.scipy.linalg.cho_solve((root, True), pull), root

    def log_density(value: Array, mean: Array, root: Array) -> Array:
        turned = root.T @ (value - mean)
        return jnp.sum(jnp.log(jnp.diagonal(root))) - 0.5 * jnp.sum(turned**2)

    mean, root = newton(current, residual)
    normal = jax.random.normal(key_normal, (2,))
    proposed = mean + jax.scipy.linalg.solve_triangular(root.T, normal, lower=False)
    inside = jnp.all(jnp.abs(proposed) < parameter.largest)
    proposed = jnp.where(inside, proposed, current)
    moved = draw._replace(**{parameter.name: values.at[index].set(proposed)})
    changed = light - rendered(moved)
    back_mean, back_root = newton(proposed, changed)
    log_ratio = (
        _gain(scene, draw, residual, changed, light, index)
        - 0.5 * spread * jnp.sum((proposed - prior.loc) ** 2 - (current - prior.loc) ** 2)
        + log_density(current, back_mean, back_root)
        - log_density(proposed, mean, root)
    )
    accepted = inside & (-jax.random.exponential(key_accept) < log_ratio)
    new = jnp.where(accepted, proposed, current)
    draw = draw._replace(**{parameter.name: values.at[index].set(new)})
    return draw, jnp.where(accepted, changed, residual)


def offset_slopes(light: Array) -> list[Array]:
    """Differentiate light by its displacement along x and y."""
    return [0.5 * (jnp.roll(light, 1, axis) - jnp.roll(light, -1, axis)) for axis in (1, 0)]


def width_slopes(light: Array, spread: Array) -> list[Array]:
    """Differentiate light by the relative width of the PSF, of variance `spread`."""
    return [
        spread * (jnp.roll(light, 1, axis) + jnp.roll(light, -1, axis) - 2.0 * light)
        for axis in (1, 0)
    ]
