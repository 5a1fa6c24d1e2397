"""Images of a scene before they are put into the sampler's arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.image.alignment import Alignment, covered
from probcat.sampler.geometry.frames import frame_origin
from probcat.sampler.geometry.layout import Layout

if TYPE_CHECKING:
    from probcat.image.image import Image


@dataclass(frozen=True, eq=False)
class Plane:
    """One image of a scene.

    Parameters
    ----------
    data, weight : ndarray, shape (ny, nx)
        Pixel values and inverse variances; pixels of zero weight are ignored.
    psf : PSF or VaryingPSF
        Point-spread function.
    extended_radius, large_radius : int
        Half-widths in pixels of the stamps of small and of large extended sources.
    affine : ndarray, shape (2, 3)
        Map from pixels (x, y, 1) of the first image to pixels of this one.
    origin : tuple of int
        Pixel (x, y) of the image that its padded array starts at.
    flux_factor : float
        Flux in the unit of the image for one unit of that of its band.
    photon : float
        Variance that one unit of light adds; `weight` is then that of pixels without sources.
    """

    data: np.ndarray
    weight: np.ndarray
    psf: Any
    extended_radius: int = 24
    large_radius: int = 0
    affine: np.ndarray = field(default_factory=lambda: np.eye(2, 3))
    origin: tuple[int, int] = (0, 0)
    flux_factor: float = 1.0
    photon: float = 0.0


def make_planes(
    images: "Sequence[Image]",
    alignments: Sequence[Alignment],
    radii: Sequence[tuple[int, int]],
    layout: Layout,
    prior_only: bool = False,
) -> list[Plane]:
    """Planes of all images.

    Parameters
    ----------
    images : sequence of Image
        The image that positions are given in comes first.
    alignments : sequence of Alignment
        Relation of every image to the first one.
    radii : sequence of (int, int)
        Half-widths in pixels of the stamps of small and of large extended sources, in every image.
    layout : Layout
        Sizes of the run.
    prior_only : bool
        Whether to give all pixels zero weight.

    Returns
    -------
    list of Plane
    """
    planes: list[Plane] = []
    for image, alignment, (small, large) in zip(images, alignments, radii, strict=True):
        weight = np.zeros_like(image.weight) if prior_only else image.weight
        origin = (0, 0)
        if planes:
            # Beyond the first image there is light of sources outside the model.
            weight = np.where(covered(alignment, image, images[0]), weight, 0.0)
            origin = frame_origin(alignment, layout)
        planes.append(
            Plane(
                image.clean_data,
                weight,
                image.psf,
                extended_radius=small,
                large_radius=large,
                affine=alignment.affine,
                origin=origin,
                flux_factor=alignment.flux_factor,
                photon=image.photon_variance,
            )
        )
    return planes
