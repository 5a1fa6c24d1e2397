"""Several images of one sky: where they lie, what their bands are, how they are calibrated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from probcat.errors import InputError

if TYPE_CHECKING:
    from probcat.image.image import Image

LARGEST_MISFIT = 0.02
"""Greatest departure in pixels of an affine map from the full coordinates."""
GRID = 9


@dataclass(frozen=True, eq=False)
class Alignment:
    """How an image relates to the first one.

    Parameters
    ----------
    affine : ndarray, shape (2, 3)
        From pixels (x, y, 1) of the first image to pixels of this one.
    band : int
        Number of its band; 0 is that of the first image.
    flux_factor : float
        Flux in the unit of the image for one unit of the first image of its band.
    """

    affine: np.ndarray
    band: int = 0
    flux_factor: float = 1.0

    @property
    def scale(self) -> float:
        """Pixels of this image along the side of one of the first."""
        return math.sqrt(abs(np.linalg.det(self.affine[:, :2])))

    @property
    def reach(self) -> float:
        """Most that a coordinate of this image changes where those of the first change by one."""
        return float(np.abs(self.affine[:, :2]).sum(axis=1).max())

    @property
    def inverse_reach(self) -> float:
        """The same, the other way round."""
        return float(np.abs(np.linalg.inv(self.affine[:, :2])).sum(axis=1).max())


def align_images(images: Sequence[Image]) -> tuple[Alignment, ...]:
    """Relate all images to the first one.

    Parameters
    ----------
    images : sequence of Image
        Those of one band are exposures of it and share fluxes. Either all have a WCS, or all
        share one grid of pixels.

    Returns
    -------
    tuple of Alignment

    Raises
    ------
    InputError
        If images do not overlap, or a WCS, a band or a zero point that is needed is missing.
    """
    names = band_names(images)
    links = []
    for image in images:
        band = names.index(image.band)
        leader = next(other for other in images if other.band == image.band)
        links.append(Alignment(_affine(images[0], image), band, _flux_factor(leader, image)))
    return tuple(links)


def band_names(images: Sequence[Image]) -> list[str]:
    """Names of the bands, in the order in which they come."""
    names = list(dict.fromkeys(image.band for image in images))
    if len(names) > 1 and "" in names:
        nameless = next(image for image in images if not image.band)
        raise InputError(
            f"{_name(nameless)}: has no band, others have ({', '.join(filter(None, names))}); "
            "set FILTER in its header, or band in the configuration"
        )
    return names


def image_labels(images: Sequence[Image]) -> list[str]:
    """Give every image a short label: its band, numbered where there are several of it."""
    bands = [image.band for image in images]
    labels = []
    for index, band in enumerate(bands):
        number = bands[:index].count(band) + 1
        labels.append(band if bands.count(band) == 1 and band else f"{band}{number}")
    return labels


def _flux_factor(leader: Image, image: Image) -> float:
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
    """Affine map from pixels of the first image to pixels of another."""
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
    axes = [np.linspace(-0.5, n - 0.5, GRID) for n in (nx, ny)]
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
    return image.name or "image"


def covered(link: Alignment, image: Image, first: Image) -> np.ndarray:
    """Pixels of an image, bool (ny, nx), that lie on the first image."""
    ny, nx = image.shape
    x, y = np.meshgrid(np.arange(nx), np.arange(ny))
    inverse = np.linalg.inv(link.affine[:, :2])
    place = np.stack([x - link.affine[0, 2], y - link.affine[1, 2]], axis=-1) @ inverse.T
    height, width = first.shape
    inside = (place > -0.5) & (place < np.array([width, height]) - 0.5)
    return np.asarray(inside.all(axis=-1))
