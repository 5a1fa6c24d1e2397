"""Background, offset, flux scale, PSF and noise of every image, as a draw has them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from probcat.model.pixel_noise import Noise
from probcat.sampler.scene.scene import Scene
from probcat.sampler.window.structures import ImageModel


def calibrated(scene: Scene, sample: Any) -> Scene:
    """Scene with the offsets, flux scales and PSFs of a draw of one chain."""
    if not scene.calibrates:
        return scene
    images = scene.model.images
    if scene.model.prior.psf_width_change is not None:
        images = widened(images, sample.psf_width_change)
    return scene._replace(
        offsets=scene.offsets + sample.offset,
        flux_factor=scene.flux_factor * sample.flux_scale,
        model=replace(scene.model, images=images),
    )


def widened(images: tuple[ImageModel, ...], widths: Iterable[Array]) -> tuple[ImageModel, ...]:
    """Images, or stacks of images, with PSFs of changed width.

    Parameters
    ----------
    images : tuple of ImageModel
        Images, or groups of images stacked along a first axis.
    widths : iterable of Array, shape (2,) or (images, 2)
        Relative changes of the widths along x and y.

    Returns
    -------
    tuple of ImageModel
    """
    return tuple(
        image._replace(
            point_tables=image.point_tables._replace(width=own),
            extended_tables=tuple(table._replace(width=own) for table in image.extended_tables),
        )
        for image, own in zip(images, widths, strict=True)
    )


def background_priors(scene: Scene) -> list[tuple[Array, Array | None]]:
    """Prior mean and standard deviation of the coefficients of every image's background.

    The standard deviation is None if the background is fixed.
    """
    found: list[tuple[Array, Array | None]] = []
    for terms, level in zip(scene.background, scene.model.prior.backgrounds, strict=True):
        number = terms.rows.shape[0]
        if not isinstance(level, dist.Distribution):
            found.append((jnp.full(number, level, jnp.float32), None))
            continue
        mean = jnp.broadcast_to(jnp.asarray(level.loc, jnp.float32), (number,))
        if number == 3 and not level.batch_shape:
            # The slopes of a plane have mean zero.
            mean = mean * jnp.asarray([1.0, 0.0, 0.0], jnp.float32)
        scale = jnp.broadcast_to(jnp.asarray(level.scale, jnp.float32), (number,))
        found.append((mean, scale))
    return found


def background_images(scene: Scene, coefficients: Array) -> list[Array]:
    """Background (Hp, Wp) of every image, from the coefficients (K,) of all images."""
    images, first = [], 0
    for terms in scene.background:
        last = first + terms.rows.shape[0]
        images.append(terms.image(coefficients[first:last]))
        first = last
    return images


def window_calibration(scene: Scene, sample: Any, shift: Array) -> tuple[Array, Array]:
    """Shifts (windows, I, 2) and flux factors (I,) of windows in a draw of one chain."""
    if not scene.calibrates:
        return shift, scene.flux_factor
    return shift + sample.offset[None], scene.flux_factor * sample.flux_scale


def plane_noise(scene: Scene, sample: Any, sky_subtracted: Array, index: int) -> Noise:
    """Noise of one image in a draw of one chain."""
    square = sample.noise_scale[index] ** 2
    base = scene.variance[index]
    return Noise(
        sky_subtracted=sky_subtracted,
        base=jnp.where(base > 0.0, base * square, 1.0),
        photon=square * scene.photon[index],
        floor=sample.psf_error_floor[index] ** 2,
    )
