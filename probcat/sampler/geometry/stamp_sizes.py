"""Sizes of the stamps of extended sources: how far their light is followed in every image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from probcat.image.alignment import Alignment
from probcat.model.renderer import default_extended_radius

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.model.prior.prior import Prior
    from probcat.sampler.settings import SamplerSettings

ENOUGH = 1.5
"""Smallest half-width of a stamp, in half-light radii along the major axis."""
AMPLE = 2.5
"""Half-width of a large stamp, in half-light radii along the major axis of the largest source."""
STRETCH = 1.5
"""Ratio of the major axis to the geometric mean of the axes, for an axis ratio of 0.44."""
SMALL_IMAGE = 80
"""If the first image is at most this many pixels wide and high, and no other image has pixels more
than `ALIKE` times finer, every extended source gets the large stamp. It costs little, and a source
never has to jump between stamp sizes as it grows."""
ALIKE = 1.5
"""Largest ratio of pixel sizes for which all sources of a small image get the large stamp."""
MAX_STAMP_RADIUS = 64
"""Largest half-width of a stamp in pixels of the first image."""


class StampSizes(NamedTuple):
    """Sizes of the stamps of extended sources.

    Attributes
    ----------
    radii : list of (int, int)
        Half-widths in pixels of every image, of the stamps of small and of large sources.
    large_size : float
        Half-light radius along the major axis, in pixels of the first image, above which a
        source is large; infinite if all sources have the same stamps.
    """

    radii: list[tuple[int, int]]
    large_size: float


def extended_radius(image: Image, settings: SamplerSettings, scale: float = 1.0) -> int:
    """Half-width in pixels of the stamp of a small extended source.

    Parameters
    ----------
    image : Image
        The image that is rendered.
    settings : SamplerSettings
        Settings, with the half-width in pixels of the first image, or 0.
    scale : float
        Pixels of the image along the side of a pixel of the first image.

    Returns
    -------
    int
    """
    radius = settings.extended_radius
    own = int(np.ceil(scale * radius)) if radius else default_extended_radius(image.psf)
    return max(own, image.psf.radius)


def large_stamp_radius(
    prior: Prior, radius: int, reach: int = MAX_STAMP_RADIUS
) -> tuple[int, float]:
    """Choose the stamp of the largest extended sources, and the size from which they have it.

    Parameters
    ----------
    prior : Prior
        Prior of the half-light radius.
    radius : int
        Half-width in pixels of the stamp of all other extended sources.
    reach : int
        Longer side of the image in pixels, beyond which nothing is seen of a source.

    Returns
    -------
    large_radius : int
        Half-width in pixels; `radius` if one size of stamps serves all sources.
    large_size : float
        Half-light radius along the major axis in pixels; infinite if one size serves all.
    """
    largest = STRETCH * float(getattr(prior.half_light_radius.support, "upper_bound", np.inf))
    wide = int(min(AMPLE * largest + 1.0, reach, MAX_STAMP_RADIUS))
    if not prior.has_extended or ENOUGH * largest <= radius or wide <= radius:
        return radius, np.inf
    return wide, radius / AMPLE


def stamp_radii(
    images: Sequence[Image], links: Sequence[Alignment], prior: Prior, settings: SamplerSettings
) -> StampSizes:
    """Choose the sizes of the stamps of extended sources in every image.

    Parameters
    ----------
    images : sequence of Image
        The image that positions are given in comes first.
    links : sequence of Alignment
        Relation of every image to the first one.
    prior : Prior
        Prior of the half-light radius.
    settings : SamplerSettings
        Settings, with the half-width of small stamps if it is given.

    Returns
    -------
    StampSizes
    """
    small = [
        extended_radius(image, settings, link.scale)
        for image, link in zip(images, links, strict=True)
    ]
    # Images of one pixel size share the grids that galaxies are rendered on.
    small = shared_radii(small, links)
    # A source is as wide on the sky in all images, but for the PSF.
    small = _at_least(small, small[0], links)
    large, large_size = large_stamp_radius(prior, small[0], max(images[0].shape))
    if not np.isfinite(large_size):
        return StampSizes([(radius, radius) for radius in small], large_size)
    wide = _at_least(small, large, links)
    if max(images[0].shape) <= SMALL_IMAGE and max(link.scale for link in links) <= ALIKE:
        return StampSizes([(radius, radius) for radius in wide], np.inf)
    return StampSizes(list(zip(small, wide, strict=True)), large_size)


def _at_least(radii: Sequence[int], first: int, links: Sequence[Alignment]) -> list[int]:
    """Radii in pixels of every image, none smaller on the sky than `first` in the first image."""
    return [
        max(radius, int(np.ceil(first * link.scale)))
        for radius, link in zip(radii, links, strict=True)
    ]


def shared_radii(radii: Sequence[int], links: Sequence[Alignment]) -> list[int]:
    """Radius of every image, replaced by the largest among all images of one pixel size."""
    scales = [link.scale for link in links]
    return [
        max(radius for radius, other in zip(radii, scales, strict=True) if np.isclose(other, own))
        for own in scales
    ]
