"""Several images of one sky: where they lie, what their bands are, how they are calibrated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from probcat.errors import InputError

if TYPE_CHECKING:
    from probcat.image.image import Image

LARGEST_MISFIT = 0.02
"""Greatest difference in pixels between an affine map and the map by the WCS."""
GRID_POINTS = 9
"""Number of points along each axis of an image that an affine map is fitted to."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Position and calibration of an image relative to the first one.

    Parameters
    ----------
    affine : ndarray, shape (2, 3)
        Matrix that maps pixels (x, y, 1) of the first image to pixels (x, y) of this one.
    band : int
        Index of the band of this image; 0 is that of the first image.
    flux_factor : float
        Flux in the unit of this image of a source that has a flux of one unit in the first
        image of the same band.
    """

    affine: np.ndarray
    band: int = 0
    flux_factor: float = 1.0

    @property
    def scale(self) -> float:
        """Side of a pixel of the first image in pixels of this one."""
        return math.sqrt(abs(np.linalg.det(self.affine[:, :2])))

    @property
    def reach(self) -> float:
        """Greatest change of x or y in this image if both change by up to 1 px in the first."""
        return float(np.abs(self.affine[:, :2]).sum(axis=1).max())

    @property
    def inverse_reach(self) -> float:
        """Greatest change of x or y in the first image if both change by up to 1 px in this one."""
        return float(np.abs(np.linalg.inv(self.affine[:, :2])).sum(axis=1).max())


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one sky with what relates them; build one with `ImageSet.of`.

    Parameters
    ----------
    images : tuple of Image
        The images. Positions and fluxes of sources refer to the first one.
    alignments : tuple of Alignment
        How each image relates to the first one.
    labels : tuple of str
        Short unique label of each image, as `image_labels` returns it.
    bands : tuple of str
        Names of the bands, in the order in which they first occur.
    """

    images: tuple[Image, ...]
    alignments: tuple[Alignment, ...]
    labels: tuple[str, ...]
    bands: tuple[str, ...]

    @classmethod
    def of(cls, images: Image | Iterable[Image] | ImageSet) -> ImageSet:
        """Relate images to the first of them.

        Parameters
        ----------
        images : Image, iterable of Image or ImageSet
            One or several images, as in `align_images`. A set is returned as it is.

        Returns
        -------
        ImageSet
            The images with their alignments, labels and bands.

        Raises
        ------
        InputError
            If there is no image, or the images do not go together, as in `align_images`.
        """
        if isinstance(images, ImageSet):
            return images
        several = tuple(images) if isinstance(images, Iterable) else (images,)
        if not several:
            raise InputError("no image; give one or several")
        return cls(
            images=several,
            alignments=align_images(several),
            labels=tuple(image_labels(several)),
            bands=tuple(band_names(several)),
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def first(self) -> Image:
        """The image that positions and fluxes of sources refer to."""
        return self.images[0]


def align_images(images: Sequence[Image]) -> tuple[Alignment, ...]:
    """Relate all images to the first one.

    Parameters
    ----------
    images : sequence of Image
        Images of one sky. Sources have the same flux in all images of one band. Either all
        images have a WCS, or all have the same grid of pixels.

    Returns
    -------
    tuple of Alignment
        The alignment of every image; that of the first one is the identity.

    Raises
    ------
    InputError
        If images do not overlap, or a WCS, a band or a zero point that is needed is missing.
    """
    names = band_names(images)
    alignments = []
    for image in images:
        band = names.index(image.band)
        leader = next(other for other in images if other.band == image.band)
        affine = _affine(images[0], image)
        alignments.append(Alignment(affine, band, _flux_factor(leader, image)))
    return tuple(alignments)


def band_names(images: Sequence[Image]) -> list[str]:
    """Return the names of the bands of images, in the order in which they first occur.

    Raises
    ------
    InputError
        If there are several bands, and an image has none.
    """
    names = list(dict.fromkeys(image.band for image in images))
    if len(names) > 1 and "" in names:
        nameless = next(image for image in images if not image.band)
        raise InputError(
            f"{_name(nameless)}: has no band, others have ({', '.join(filter(None, names))}); "
            "set FILTER in its header, or band in the configuration"
        )
    return names


def image_labels(images: Sequence[Image]) -> list[str]:
    """Return a short label of every image: its band, numbered if several images have it."""
    bands = [image.band for image in images]
    labels = []
    for index, band in enumerate(bands):
        number = bands[:index].count(band) + 1
        labels.append(band if bands.count(band) == 1 and band else f"{band}{number}")
    return labels


def covered(alignment: Alignment, image: Image, first: Image) -> np.ndarray:
    """Return the pixels of an image, bool (ny, nx), that lie on the first image."""
    ny, nx = image.shape
    x, y = np.meshgrid(np.arange(nx), np.arange(ny))
    affine = alignment.affine
    offset = np.stack([x - affine[0, 2], y - affine[1, 2]], axis=-1)
    position = offset @ np.linalg.inv(affine[:, :2]).T
    height, width = first.shape
    inside = (position > -0.5) & (position < np.array([width, height]) - 0.5)
    return np.asarray(inside.all(axis=-1))


def _flux_factor(leader: Image, image: Image) -> float:
    """Return the flux in the unit of an image for one unit of the first image of its band."""
    points = (leader.zero_point, image.zero_point)
    if points[0] is None and points[1] is None:
        units = [one.unit.strip() for one in (leader, image)]
        if all(units) and units[0].lower() != units[1].lower():
            raise InputError(
                f"{_name(image)}: is in {units[1]}, {_name(leader)} of the same band "
                f"'{image.band}' in {units[0]}, and none has a zero point; give both MAGZERO"
            )
        return 1.0
    if points[0] is None or points[1] is None:
        lacking = leader if points[0] is None else image
        raise InputError(
            f"{_name(lacking)}: has no zero point, another image of band '{image.band}' has; "
            "give it MAGZERO in its header"
        )
    return float(10.0 ** (0.4 * (points[1] - points[0])))


def _affine(first: Image, image: Image) -> np.ndarray:
    """Return the affine map (2, 3) from pixels of the first image to pixels of another."""
    if image is first:
        return np.eye(2, 3)
    if first.wcs is None and image.wcs is None:
        if first.shape != image.shape:
            raise InputError(
                f"{_name(image)}: without a WCS all images share one pixel grid, but it has shape "
                f"{image.shape}, {_name(first)} {first.shape}"
            )
        return np.eye(2, 3)
    if first.wcs is None or image.wcs is None:
        lacking = first if first.wcs is None else image
        raise InputError(f"{_name(lacking)}: has no WCS, which several images need")
    ny, nx = first.shape
    axes = [np.linspace(-0.5, n - 0.5, GRID_POINTS) for n in (nx, ny)]
    x, y = (axis.ravel() for axis in np.meshgrid(*axes))
    u, v = image.wcs.world_to_pixel(first.wcs.pixel_to_world(x, y))
    if not np.all(np.isfinite(u)) or not np.all(np.isfinite(v)):
        raise InputError(f"{_name(image)}: its WCS gives no pixels for all of {_name(first)}")
    design = np.stack([x, y, np.ones_like(x)], axis=1)
    solution = np.linalg.lstsq(design, np.stack([u, v], axis=1), rcond=None)[0]
    misfit = np.abs(design @ solution - np.stack([u, v], axis=1)).max()
    if misfit > LARGEST_MISFIT:
        raise InputError(
            f"{_name(image)}: the map from {_name(first)} departs from an affine one by "
            f"{misfit:.3f} px, more than {LARGEST_MISFIT}; cut both to a smaller field"
        )
    ny, nx = image.shape
    if u.max() < 0 or v.max() < 0 or u.min() > nx - 1 or v.min() > ny - 1:
        raise InputError(f"{_name(image)}: does not overlap {_name(first)} on the sky")
    affine: np.ndarray = solution.T
    return affine


def _name(image: Image) -> str:
    """Return the name of an image for messages."""
    return image.name or "image"
