"""Residuals of whole images, computed from scratch."""

import jax
from jax import Array

from probcat.sampler.geometry.layout import Layout
from probcat.sampler.scene.calibration import background_images, calibrated
from probcat.sampler.scene.render import render
from probcat.sampler.scene.scene import Scene
from probcat.sampler.state import CatalogState, ChainSample


def refresh(
    state: CatalogState, scene: Scene, layout: Layout, extended_radius: int
) -> CatalogState:
    """Compute the residual from scratch, so that rounding errors do not accumulate."""

    def one(sample: ChainSample) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        sky_subtracted = fresh_sky_subtracted(sample, scene)
        residual = fresh_residual(sample, scene, layout, extended_radius)
        return residual, sky_subtracted if scene.keeps_sky_subtracted else ()

    residual, sky_subtracted = jax.vmap(one)(state.sample)
    return state._replace(residual=residual, sky_subtracted=sky_subtracted)


def fresh_sky_subtracted(sample: ChainSample, scene: Scene) -> tuple[Array, ...]:
    """Data minus the background of one chain, in every image."""
    backgrounds = background_images(scene, sample.background)
    return tuple(data - level for data, level in zip(scene.data, backgrounds, strict=True))


def fresh_residual(
    sample: ChainSample, scene: Scene, layout: Layout, extended_radius: int
) -> tuple[Array, ...]:
    """Data minus background minus all sources of one chain, in every image."""
    own = calibrated(scene, sample)
    images = render(own, layout, sample.points, sample.extended, extended_radius)
    sky_subtracted = fresh_sky_subtracted(sample, scene)
    return tuple(plane - image for plane, image in zip(sky_subtracted, images, strict=True))
