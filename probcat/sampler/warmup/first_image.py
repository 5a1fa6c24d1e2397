"""Warm-up on the first image alone, where several images are dear to draw.

While the likelihood is tempered sources find their places and shapes, for which one image serves.
States keep their form: what only the other images have stays as it began, colours at their means.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.prior import Prior
from probcat.sampler.compiled_block import run_block
from probcat.sampler.geometry.tiling import Sources
from probcat.sampler.kernel import CatalogKernel
from probcat.sampler.scene.plane import Plane
from probcat.sampler.scene.scene import Scene, build_scene
from probcat.sampler.state import CatalogState, ChainSample
from probcat.sampler.window.structures import FLUX, NUM_SHAPE

if TYPE_CHECKING:
    from probcat.sampler.settings import SamplerSettings

FRACTION, SEVERAL = 0.5, 3
"""Of the warm-up, from so many images on, if galaxies are part of the model: stars need no shapes,
and two images cost less to draw than a second program to compile."""
PER_IMAGE_FIELDS = ("psf_error_floor", "noise_scale", "flux_scale")
PER_IMAGE_PAIRS = ("psf_width_change", "offset")


def draws_alone(settings: "SamplerSettings", prior: Prior, num_images: int, num_warmup: int) -> int:
    """Count the draws of the warm-up, in whole blocks, that see the first image alone."""
    fraction = settings.first_image_fraction
    if fraction < 0.0:
        fraction = FRACTION if prior.has_extended and num_images >= SEVERAL else 0.0
    blocks = int(fraction * num_warmup) // settings.checkpoint_interval if num_images > 1 else 0
    return blocks * settings.checkpoint_interval


def prior_alone(prior: Prior) -> Prior:
    """Prior of the first image, with nothing that only others have."""
    return replace(
        prior,
        background=prior.backgrounds[0],
        background_model=prior.background_model[:1],
        colours=None,
        offset=None,
        flux_scale=None,
        parameters=(),
    )


@dataclass(frozen=True, eq=False)
class FirstImage:
    """The sampler of the first image, between states of all images.

    Parameters
    ----------
    kernel : CatalogKernel
    scene : Scene
    colour_mean : Array, shape (B - 1,)
    num_pixels : float
        Pixels with weight of all images.
    """

    kernel: CatalogKernel
    scene: Scene
    colour_mean: Array
    num_pixels: float

    @classmethod
    def of(
        cls, plane: Plane, kernel: CatalogKernel, scene: Scene, tolerance: float
    ) -> "FirstImage":
        """Make it from the sampler of all images.

        Parameters
        ----------
        plane : Plane
            The first image.
        kernel : CatalogKernel
        scene : Scene
        tolerance : float
            Of the low-rank form of a PSF.
        """
        layout, prior = replace(kernel.layout, frames=()), scene.model.prior
        alone = build_scene(
            [plane],
            prior_alone(prior),
            layout,
            tolerance=tolerance,
            large_size=float(scene.model.large_size),
            start_beta=float(scene.start_beta),
        )
        colours = prior.colour_mean if prior.num_colours else jnp.zeros(0, jnp.float32)
        return cls(kernel.of_layout(layout), alone, colours, float(scene.num_pixels))

    def advance(self, length: int, state: CatalogState) -> tuple[CatalogState, ChainSample]:
        """Make a block of draws; state and draws have the form that they have for all images."""
        young, draws = run_block(self.kernel, length, self._narrowed(state), self.scene)
        sky_subtracted = young.sky_subtracted if young.sky_subtracted else state.sky_subtracted[:1]
        whole = young._replace(
            sample=self._widened(young.sample, state.sample),
            residual=(*young.residual, *state.residual[1:]),
            sky_subtracted=(*sky_subtracted, *state.sky_subtracted[1:]),
        )
        # Draws are those of the coldest chains, and have their axis after that of the chains.
        step = len(self.kernel.layout.ladder)
        names = (*PER_IMAGE_FIELDS, *PER_IMAGE_PAIRS, "background")
        before = {name: getattr(state.sample, name)[::step, None] for name in names}
        return whole, self._widened(draws, state.sample._replace(**before))

    def _narrowed(self, state: CatalogState) -> CatalogState:
        """State without what only other images have."""
        sample = state.sample
        terms = self.scene.background[0].rows.shape[0]
        first = {name: getattr(sample, name)[..., :1] for name in PER_IMAGE_FIELDS}
        first |= {name: getattr(sample, name)[..., :1, :] for name in PER_IMAGE_PAIRS}
        return state._replace(
            sample=sample._replace(
                points=_without_colours(sample.points, 0),
                extended=_without_colours(sample.extended, NUM_SHAPE),
                background=sample.background[..., :terms],
                **first,
            ),
            residual=state.residual[:1],
            sky_subtracted=state.sky_subtracted[:1] if self.scene.keeps_sky_subtracted else (),
        )

    def _widened(self, young: ChainSample, before: ChainSample) -> ChainSample:
        """Draw with what other images have, as it was before."""

        def joined(name: str, axis: int) -> Array:
            first, rest = getattr(young, name), getattr(before, name)
            number = first.shape[axis]
            rest = jnp.moveaxis(jnp.moveaxis(rest, axis, 0)[number:], 0, axis)
            shape = list(first.shape)
            shape[axis] = rest.shape[axis]
            return jnp.concatenate([first, jnp.broadcast_to(rest, shape)], axis=axis)

        others = {name: joined(name, -1) for name in (*PER_IMAGE_FIELDS, "background")}
        others |= {name: joined(name, -2) for name in PER_IMAGE_PAIRS}
        return young._replace(
            points=self._with_colours(young.points, 0),
            extended=self._with_colours(young.extended, NUM_SHAPE),
            # Per pixel it then is what the first image has.
            chi2=young.chi2 * (self.num_pixels / float(self.scene.num_pixels)),
            **others,
        )

    def _with_colours(self, sources: Sources, last: int) -> Sources:
        """Put mean colours between the flux and the last columns."""
        marks = sources.marks
        middle = marks.shape[-1] - last
        colours = jnp.where(sources.active[..., None], self.colour_mean, 0.0)
        parts = [marks[..., :middle], colours, marks[..., middle:]]
        return sources._replace(marks=jnp.concatenate(parts, axis=-1))


def _without_colours(sources: Sources, last: int) -> Sources:
    marks = sources.marks
    parts = [marks[..., : FLUX + 1], marks[..., marks.shape[-1] - last :]]
    return sources._replace(marks=jnp.concatenate(parts, axis=-1))
