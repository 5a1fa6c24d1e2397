"""What every image has of its own: background, offset, flux scale, and its noise."""

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from probcat.scene import Scene
from probcat.variance import Noise


def calibrated(scene: Scene, draw: Any) -> Scene:
    """Scene as a draw of one chain has it: with its offsets and flux scales."""
    if not scene.calibrates:
        return scene
    return scene._replace(offsets=scene.offsets + draw.offset, gain=scene.gain * draw.flux_scale)


def background_priors(scene: Scene) -> list[tuple[Array, Array | None]]:
    """Mean and standard deviation of the coefficients of every image; None where fixed."""
    found: list[tuple[Array, Array | None]] = []
    for terms, level in zip(scene.background, scene.model.prior.backgrounds, strict=True):
        number = terms.rows.shape[0]
        if not isinstance(level, dist.Distribution):
            found.append((jnp.full(number, level, jnp.float32), None))
            continue
        mean = jnp.broadcast_to(jnp.asarray(level.loc, jnp.float32), (number,))
        if number == 3 and not level.batch_shape:
            # The rises of a plane are about zero.
            mean = mean * jnp.asarray([1.0, 0.0, 0.0], jnp.float32)
        scale = jnp.broadcast_to(jnp.asarray(level.scale, jnp.float32), (number,))
        found.append((mean, scale))
    return found


def background_images(scene: Scene, coefficients: Array) -> list[Array]:
    """Background of every image for the coefficients of all, each (Hp, Wp)."""
    images, first = [], 0
    for terms in scene.background:
        last = first + terms.rows.shape[0]
        images.append(terms.image(coefficients[first:last]))
        first = last
    return images


def window_calibration(scene: Scene, draw: Any, shift: Array) -> tuple[Array, Array]:
    """Shifts (windows, I, 2) and gains (I,) of windows as a draw of one chain has them."""
    if not scene.calibrates:
        return shift, scene.gain
    return shift + draw.offset[None], scene.gain * draw.flux_scale


def plane_noise(scene: Scene, draw: Any, light: Array, index: int) -> Noise:
    """Gather what the variances of one image are made of in a draw of one chain."""
    square = draw.noise_scale[index] ** 2
    base = scene.variance[index]
    return Noise(
        light=light,
        base=jnp.where(base > 0.0, base * square, 1.0),
        photon=square * scene.photon[index],
        floor=draw.psf_error[index] ** 2,
    )
