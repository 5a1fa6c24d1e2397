"""Warm-up on the first image alone, if several images are expensive to render.

While the likelihood is tempered, sources find their positions and shapes, for which one image is
enough. States keep their form: the parameters of all other images stay as they began, and colours
are at the means of their priors.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
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

FRACTION = 0.5
"""Fraction of the warm-up run on the first image alone. Used only with galaxies and at least
`SEVERAL` images: for fewer, compiling a second program costs more than it saves."""
SEVERAL = 3
"""Smallest number of images for which the first one is sampled alone by default."""
AXES = {
    "psf_error_floor": -1,
    "noise_scale": -1,
    "flux_scale": -1,
    "psf_width_change": -2,
    "offset": -2,
    "background": -1,
}
"""Fields of a draw with entries for every image, and the axis of these entries."""


def draws_alone(settings: "SamplerSettings", prior: Prior, num_images: int, num_warmup: int) -> int:
    """Count the draws of the warm-up, in whole blocks, that use the first image alone."""
    fraction = settings.first_image_fraction
    if fraction < 0.0:
        fraction = FRACTION if prior.has_extended and num_images >= SEVERAL else 0.0
    blocks = int(fraction * num_warmup) // settings.checkpoint_interval if num_images > 1 else 0
    return blocks * settings.checkpoint_interval


def prior_alone(prior: Prior) -> Prior:
    """Prior of the first image, without anything that only other images need."""
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
    """Sampler of the first image that takes and returns states of all images.

    Parameters
    ----------
    kernel : CatalogKernel
        Kernel with the layout of the first image.
    scene : Scene
        Scene of the first image.
    colour_mean : Array, shape (B - 1,)
        Means of the priors of the colours.
    num_pixels : float
        Number of pixels with positive weight in all images.
    """

    kernel: CatalogKernel
    scene: Scene
    colour_mean: Array
    num_pixels: float

    @classmethod
    def of(
        cls, plane: Plane, kernel: CatalogKernel, scene: Scene, tolerance: float
    ) -> "FirstImage":
        """Make the sampler of the first image from that of all images.

        Parameters
        ----------
        plane : Plane
            The first image.
        kernel : CatalogKernel
            Kernel of all images.
        scene : Scene
            Scene of all images.
        tolerance : float
            Largest error of the low-rank form of the PSF, relative to its peak.

        Returns
        -------
        FirstImage
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
        """Make a block of draws; state and draws have the form that they have for all images.

        Parameters
        ----------
        length : int
            Number of draws.
        state : CatalogState
            State of all images.

        Returns
        -------
        state : CatalogState
            State after the last draw.
        draws : ChainSample
            Draws, with leading axes (chain, draw).
        """
        young, draws = run_block(self.kernel, length, self.without_others(state), self.scene)
        sky_subtracted = young.sky_subtracted if young.sky_subtracted else state.sky_subtracted[:1]
        whole = young._replace(
            sample=self.with_others(young.sample, state.sample),
            residual=(*young.residual, *state.residual[1:]),
            sky_subtracted=(*sky_subtracted, *state.sky_subtracted[1:]),
        )
        # Draws are those of the coldest chains, with an axis of draws after that of the chains.
        step = len(self.kernel.layout.ladder)
        before = {name: getattr(state.sample, name)[::step, None] for name in AXES}
        return whole, self.with_others(draws, state.sample._replace(**before))

    def without_others(self, state: CatalogState) -> CatalogState:
        """State of the first image alone."""
        sample = state.sample
        counts = dict.fromkeys(AXES, 1) | {"background": self.scene.background[0].rows.shape[0]}
        first = {
            name: jax.lax.slice_in_dim(getattr(sample, name), 0, counts[name], axis=axis)
            for name, axis in AXES.items()
        }
        return state._replace(
            sample=sample._replace(
                points=_without_colours(sample.points, 0),
                extended=_without_colours(sample.extended, NUM_SHAPE),
                **first,
            ),
            residual=state.residual[:1],
            sky_subtracted=state.sky_subtracted[:1] if self.scene.keeps_sky_subtracted else (),
        )

    def with_others(self, young: ChainSample, before: ChainSample) -> ChainSample:
        """Draw of the first image, completed with the parameters that other images had before.

        Parameters
        ----------
        young : ChainSample
            Draw of the first image.
        before : ChainSample
            Draw of all images, which may have axes of length one where `young` has longer ones.

        Returns
        -------
        ChainSample
        """
        joined = {}
        for name, axis in AXES.items():
            first, whole = getattr(young, name), getattr(before, name)
            rest = jax.lax.slice_in_dim(whole, first.shape[axis], None, axis=axis)
            shape = list(first.shape)
            shape[axis] = rest.shape[axis]
            joined[name] = jnp.concatenate([first, jnp.broadcast_to(rest, shape)], axis=axis)
        return young._replace(
            points=self._with_colours(young.points, 0),
            extended=self._with_colours(young.extended, NUM_SHAPE),
            # The chi-square per pixel is then that of the first image.
            chi2=young.chi2 * (self.num_pixels / float(self.scene.num_pixels)),
            **joined,
        )

    def _with_colours(self, sources: Sources, num_shape: int) -> Sources:
        """Sources with mean colours between their fluxes and the columns of their shapes."""
        marks = sources.marks
        middle = marks.shape[-1] - num_shape
        colours = jnp.where(sources.active[..., None], self.colour_mean, 0.0)
        parts = [marks[..., :middle], colours, marks[..., middle:]]
        return sources._replace(marks=jnp.concatenate(parts, axis=-1))


def _without_colours(sources: Sources, num_shape: int) -> Sources:
    """Sources without the columns of their colours."""
    marks = sources.marks
    parts = [marks[..., : FLUX + 1], marks[..., marks.shape[-1] - num_shape :]]
    return sources._replace(marks=jnp.concatenate(parts, axis=-1))
