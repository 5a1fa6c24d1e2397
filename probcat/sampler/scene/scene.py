"""Scene: images and prior in the form that the sampler works on."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.model.background import Terms, background_terms
from probcat.model.extended_sources import extended_tables, grid_size
from probcat.model.prior.prior import Prior
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.proposals.matched_filter import build_search, search_at
from probcat.sampler.scene.fixed_weights import depends_on_model, reference_weights
from probcat.sampler.scene.flux_information import band_precision, proposal_norms
from probcat.sampler.scene.plane import Plane
from probcat.sampler.window.structures import ImageModel, Model, Search


class Scene(NamedTuple):
    """Arrays of a run, passed to the kernel as its only argument.

    Attributes
    ----------
    data, weight : tuple of Array, shape (Hp, Wp)
        Padded images and inverse variances; both zero where masked. If variances depend on the
        model, these weights are fixed approximations for proposals.
    variance : tuple of Array, shape (Hp, Wp)
        Variances without sources, zero where masked, if variances depend on the model; else empty.
    photon : Array, shape (I,)
        Variance that one unit of light adds in every image.
    background : tuple of Terms
        Terms of the background of every image.
    search_precision : Array, shape (B, 2 Hp, 2 Wp)
        ``sum w P^2`` of every band for a source at the centre of every half-pixel cell of the
        first image.
    model : Model
        How sources appear, and the prior.
    searches : tuple of tuple of Search
        Matched filters of every class of windows in every image.
    offsets : Array, shape (I, 2)
        Position (x, y) of the first image's padded pixel (0, 0) in padded pixels of every image.
    flux_factor : Array, shape (I,)
        Flux in the unit of an image for one unit of that of its band.
    area : Array, shape ()
        Area of the region in square pixels.
    log_norm : Array, shape ()
        Constant term of the log likelihood, if variances do not depend on the model.
    num_pixels : Array, shape ()
        Number of pixels with positive weight.
    start_beta : Array, shape ()
        Inverse temperature of the likelihood at the start of the warm-up.
    """

    data: tuple[Array, ...]
    weight: tuple[Array, ...]
    variance: tuple[Array, ...]
    photon: Array
    background: tuple[Terms, ...]
    search_precision: Array
    model: Model
    searches: tuple[tuple[Search, ...], ...]
    offsets: Array
    flux_factor: Array
    area: Array
    log_norm: Array
    num_pixels: Array
    start_beta: Array

    @property
    def maps(self) -> list[tuple[Array, Array]]:
        """Affine maps from padded pixels of the first image to those of every image."""
        images = self.model.images
        return [(image.affine, self.offsets[index]) for index, image in enumerate(images)]

    @property
    def keeps_sky_subtracted(self) -> bool:
        """Whether the sampler needs the light of the model in addition to the residual."""
        return bool(self.variance) or self.calibrates

    @property
    def calibrates(self) -> bool:
        """Whether offsets, flux scales or widths of PSFs are sampled."""
        prior, several = self.model.prior, len(self.data) > 1
        aligned = prior.offset is not None or prior.flux_scale is not None
        return prior.psf_width_change is not None or (several and aligned)


def build_scene(
    planes: Sequence[Plane],
    prior: Prior,
    layout: Layout,
    *,
    tolerance: float = 2e-3,
    large_size: float = math.inf,
    start_beta: float = 1.0,
) -> Scene:
    """Build the scene of a run.

    Parameters
    ----------
    planes : sequence of Plane
        The image that positions and fluxes are given in comes first.
    prior : Prior
        Prior of the catalog.
    layout : Layout
        Sizes of the run.
    tolerance : float
        Largest error of the low-rank form of a PSF, relative to its peak.
    large_size : float
        Half-light radius along the major axis, in pixels of the first image, above which a
        source is large.
    start_beta : float
        Inverse temperature of the likelihood at the start of the warm-up.

    Returns
    -------
    Scene
    """
    # A PSF that varies is a function of padded pixels.
    origins = [(-layout.pad, -layout.pad), *(plane.origin for plane in planes[1:])]
    images = tuple(
        _image_model(plane, plane.psf.in_frame(origin), prior, tolerance)
        for plane, origin in zip(planes, origins, strict=True)
    )
    flux_factor = np.array([plane.flux_factor for plane in planes])
    offsets = _offsets(planes, layout)
    arrays = [_padded(plane, index, layout) for index, plane in enumerate(planes)]
    given = tuple(weight for _, weight in arrays)
    noisy = depends_on_model(planes, prior)
    near = reference_weights(planes, prior, arrays) if noisy else given
    weights = tuple(map(jnp.asarray, near))
    precision = band_precision(images, weights, offsets, flux_factor, layout)
    norms = proposal_norms(planes, layout, prior, np.asarray(precision).max(axis=(1, 2)))
    good = [weight[weight > 0].astype(np.float64) for weight in given]
    model = Model(
        images=images,
        prior=prior,
        large_size=jnp.float32(large_size),
        bands=layout.bands,
        shared_shape_of=_shared_shapes(images),
        **norms,
    )
    return Scene(
        data=tuple(jnp.asarray(data) for data, _ in arrays),
        weight=weights,
        variance=tuple(map(_variance, given)) if noisy else (),
        photon=jnp.asarray([plane.photon for plane in planes], jnp.float32),
        background=_backgrounds(planes, prior, layout),
        search_precision=precision,
        model=model,
        searches=tuple(_searches(images, layout, number) for number in range(len(layout.plans))),
        offsets=jnp.asarray(offsets, jnp.float32),
        flux_factor=jnp.asarray(flux_factor, jnp.float32),
        area=jnp.float32(layout.area),
        log_norm=jnp.float32(sum(0.5 * np.sum(np.log(w / (2.0 * np.pi))) for w in good)),
        num_pixels=jnp.float32(sum(len(w) for w in good)),
        start_beta=jnp.float32(start_beta),
    )


def _image_model(plane: Plane, psf: Any, prior: Prior, tolerance: float) -> ImageModel:
    """How sources appear in one image."""
    large_radius = max(plane.large_radius, plane.extended_radius)
    radii = sorted({plane.extended_radius, large_radius}) if prior.has_extended else []
    return ImageModel(
        point_tables=psf.point_tables(tolerance=tolerance),
        extended_tables=tuple(extended_tables(psf, grid_size(size)) for size in radii),
        extended_radius=jnp.int32(plane.extended_radius),
        large_radius=jnp.int32(large_radius),
        affine=jnp.asarray(plane.affine[:, :2], jnp.float32),
    )


def _shared_shapes(images: tuple[ImageModel, ...]) -> tuple[int, ...]:
    """First image in which extended sources look the same before the PSF blurs them, for each."""
    kinds = [
        (np.asarray(image.affine).tobytes(), tuple(table.size for table in image.extended_tables))
        for image in images
    ]
    return tuple(kinds.index(kind) for kind in kinds)


def _offsets(planes: Sequence[Plane], layout: Layout) -> np.ndarray:
    """Positions (I, 2) of the first image's padded pixel (0, 0) in padded pixels of every image."""
    offsets = [np.zeros(2)]
    for plane in planes[1:]:
        # Not `to_image`, whose last digit differs: the chains of a given seed would change.
        corner = plane.affine @ np.array([-layout.pad, -layout.pad, 1.0])
        offsets.append(corner - plane.origin)
    return np.stack(offsets)


def _padded(plane: Plane, index: int, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Padded data and weights of an image, both zero where masked."""
    good = plane.weight > 0
    arrays = (np.where(good, plane.data, 0.0), np.where(good, plane.weight, 0.0))
    if index == 0:
        data, weight = (np.pad(array.astype(np.float32), layout.pad) for array in arrays)
        return data, weight
    shape = layout.frames[index - 1].shape
    first = (plane.origin[1], plane.origin[0])
    low = [max(start, 0) for start in first]
    high = [min(start + n, size) for start, n, size in zip(first, shape, good.shape, strict=True)]
    padded = []
    for array in arrays:
        canvas = np.zeros(shape, np.float32)
        if all(a < b for a, b in zip(low, high, strict=True)):
            there = tuple(
                slice(a - start, b - start) for a, b, start in zip(low, high, first, strict=True)
            )
            canvas[there] = array[low[0] : high[0], low[1] : high[1]]
        padded.append(canvas)
    return padded[0], padded[1]


def _variance(weight: np.ndarray) -> Array:
    """Variances of pixels, zero where masked."""
    good = weight > 0.0
    return jnp.asarray(np.where(good, 1.0 / np.where(good, weight, 1.0), 0.0), jnp.float32)


def _backgrounds(planes: Sequence[Plane], prior: Prior, layout: Layout) -> tuple[Terms, ...]:
    """Terms of the background of every image on its padded pixels."""
    return tuple(
        background_terms(
            prior.background_model_of(number),
            plane.data.shape,
            prior.background_mesh,
            (-layout.pad, -layout.pad) if number == 0 else plane.origin,
            layout.padded_shapes[number],
        )
        for number, plane in enumerate(planes)
    )


def _searches(images: tuple[ImageModel, ...], layout: Layout, number: int) -> tuple[Search, ...]:
    """Matched filters of one class of windows in every image."""
    plan, sizes = layout.plans[number], layout.window_sizes(number)
    searches = [build_search(images[0].point_tables, plan.interior, plan.margin)]
    for image, size in zip(images[1:], sizes[1:], strict=True):
        affine = np.asarray(image.affine, float)
        spacing = 0.5 * math.sqrt(abs(np.linalg.det(affine)))
        reach = 0.5 * np.abs(affine).sum(axis=1).max() * plan.interior + 1.0
        half = math.ceil(reach / spacing)
        centre = 0.5 * (size - 1) + spacing * np.arange(-half, half + 1)
        searches.append(search_at(image.point_tables, centre, size))
    return tuple(searches)
