r"""Where images beyond the first lie, and the scale of their fluxes.

Both are moved given the sources.  The light m of all sources in an image is proportional to
its flux scale, whose conditional under fixed weights is Gaussian.  An offset o shifts it,
:math:`m(o + h) \approx m(o) - h \cdot \nabla m`, which gives a Gaussian to propose from at
every state (a Newton step, Qi & Minka 2002); what is proposed is rendered and accepted or not.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from probcat.frames import LARGEST_OFFSET
from probcat.layout import Layout
from probcat.moves.base import total
from probcat.nuisances import calibrated, plane_noise
from probcat.rendering import render_one
from probcat.scene import Scene
from probcat.state import Draw
from probcat.variance import log_gain

LEAST_SCALE = 0.1


def register(
    rng_key: Array,
    scene: Scene,
    draw: Draw,
    residual: tuple[Array, ...],
    light: tuple[Array, ...],
    layout: Layout,
    extended_radius: int,
) -> tuple[Draw, tuple[Array, ...]]:
    """Move offset and flux scale of every image beyond the first, of one chain.

    The flux scale of the only image of a band is one: it could not be told from colours.
    """
    planes = list(residual)
    bands = scene.model.bands
    for index in range(1, len(planes)):
        keys = jax.random.split(jax.random.fold_in(rng_key, index))
        if scene.model.prior.flux_scale is not None and bands[index] in bands[:index]:
            draw, planes[index] = _move_scale(keys[0], scene, draw, planes[index], light, index)
        if scene.model.prior.offset is not None:

            def rendered(draw: Draw, index: int = index) -> Array:
                own = calibrated(scene, draw)
                return render_one(own, layout, index, draw.points, draw.extended, extended_radius)

            here = (draw, planes[index], light[index], index)
            draw, planes[index] = _move_offset(keys[1], scene, *here, rendered)
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


def _move_offset(
    rng_key: Array,
    scene: Scene,
    draw: Draw,
    residual: Array,
    light: Array,
    index: int,
    rendered: Callable[[Draw], Array],
) -> tuple[Draw, Array]:
    prior = scene.model.prior.offset
    assert prior is not None
    key_normal, key_accept = jax.random.split(rng_key)
    current, weight = draw.offset[index], scene.weight[index] * draw.temperature
    spread = 1.0 / prior.scale**2

    def newton(offset: Array, residual: Array) -> tuple[Array, Array]:
        """Mean and root of the precision of the Gaussian proposed from a state."""
        model = light - residual
        slopes = [0.5 * (jnp.roll(model, 1, axis) - jnp.roll(model, -1, axis)) for axis in (1, 0)]
        across = total(weight * slopes[0] * slopes[1])
        own = [total(weight * slope**2) + spread for slope in slopes]
        pull = [total(weight * residual * slope) for slope in slopes]
        precision = jnp.stack([jnp.stack([own[0], across]), jnp.stack([across, own[1]])])
        root = jnp.linalg.cholesky(precision)
        pull = jnp.stack(pull) - (offset - prior.loc) * spread
        return offset + jax.scipy.linalg.cho_solve((root, True), pull), root

    def log_density(value: Array, mean: Array, root: Array) -> Array:
        turned = root.T @ (value - mean)
        return jnp.sum(jnp.log(jnp.diagonal(root))) - 0.5 * jnp.sum(turned**2)

    mean, root = newton(current, residual)
    normal = jax.random.normal(key_normal, (2,))
    proposed = mean + jax.scipy.linalg.solve_triangular(root.T, normal, lower=False)
    inside = jnp.all(jnp.abs(proposed) < LARGEST_OFFSET)
    proposed = jnp.where(inside, proposed, current)
    moved = draw._replace(offset=draw.offset.at[index].set(proposed))
    changed = light - rendered(moved)
    back_mean, back_root = newton(proposed, changed)
    log_ratio = (
        _gain(scene, draw, residual, changed, light, index)
        - 0.5 * spread * jnp.sum((proposed - prior.loc) ** 2 - (current - prior.loc) ** 2)
        + log_density(current, back_mean, back_root)
        - log_density(proposed, mean, root)
    )
    accepted = inside & (-jax.random.exponential(key_accept) < log_ratio)
    offset = jnp.where(accepted, proposed, current)
    draw = draw._replace(offset=draw.offset.at[index].set(offset))
    return draw, jnp.where(accepted, changed, residual)
