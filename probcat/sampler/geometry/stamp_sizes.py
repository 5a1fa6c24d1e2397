"""Footprints of extended sources: how far their light is followed in every image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from probcat.image.alignment import Alignment
from probcat.model.renderer import default_extended_radius

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.model.prior.prior import Prior
    from probcat.sampler.settings import SamplerSettings

ENOUGH, AMPLE = 1.5, 2.5
"""Half sides of footprints in half-light radii along the major axis: the least, and what larger
ones are given."""
STRETCH = 1.5
"""Major axis over the geometric mean of the axes, of a source with an axis ratio of 0.44."""
SMALL_IMAGE, ALIKE = 80, 1.5
"""Longer side of the first image in pixels, and pixels of any image along the side of one of its
own, up to which all sources have the larger footprint: it costs little, and no change of size has
to leap from one to the other."""
WIDEST = 64
"""Largest half side of a footprint in pixels."""


def extended_radius(image: Image, settings: SamplerSettings, scale: float = 1.0) -> int:
    """Half side in pixels of the footprint of extended sources.

    Parameters
    ----------
    image : Image
    settings : SamplerSettings
    scale : float
        Pixels of the image along the side of one of the first image.
    """
    radius = settings.extended_radius
    own = int(np.ceil(scale * radius)) if radius else default_extended_radius(image.psf)
    return max(own, image.psf.radius)


def large_stamp_radius(prior: Prior, radius: int, reach: int = WIDEST) -> tuple[int, float]:
    """Footprint of the largest extended sources, and the size from which they have it.

    Parameters
    ----------
    prior : Prior
    radius : int
        Half side in pixels of the footprint of all others.
    reach : int
        Pixels along the longer side of the image: nothing is seen further from a source.

    Returns
    -------
    large_radius : int
        Half side in pixels; `radius` where one class of footprints serves all sources.
    large_size : float
        Half-light radius along the major axis in pixels, infinite with one class.
    """
    largest = STRETCH * float(getattr(prior.half_light_radius.support, "upper_bound", np.inf))
    wide = int(min(AMPLE * largest + 1.0, reach, WIDEST))
    if not prior.has_extended or ENOUGH * largest <= radius or wide <= radius:
        return radius, np.inf
    return wide, radius / AMPLE


def stamp_radii(
    images: Sequence[Image], links: Sequence[Alignment], prior: Prior, settings: SamplerSettings
) -> tuple[list[tuple[int, int]], float]:
    """Footprints of extended sources in every image, and where the larger ones begin.

    Returns
    -------
    radii : list of (int, int)
        Half sides in pixels of every image, of the smaller and of the larger class.
    large_size : float
        Half-light radius along the major axis, in pixels of the first image, beyond which a
        source is of the larger.
    """
    small = [
        extended_radius(image, settings, link.scale)
        for image, link in zip(images, links, strict=True)
    ]
    # Images of one pixel size share the grids that galaxies are drawn on.
    small = shared_radii(small, links)
    # A source is as wide on the sky in all images, but for the PSF.
    small = [
        max(radius, int(np.ceil(small[0] * link.scale)))
        for radius, link in zip(small, links, strict=True)
    ]
    large, large_size = large_stamp_radius(prior, small[0], max(images[0].shape))
    if not np.isfinite(large_size):
        return [(radius, radius) for radius in small], large_size
    wide = [
        max(radius, int(np.ceil(large * link.scale)))
        for radius, link in zip(small, links, strict=True)
    ]
    if max(images[0].shape) <= SMALL_IMAGE and max(link.scale for link in links) <= ALIKE:
        return [(radius, radius) for radius in wide], np.inf
    return list(zip(small, wide, strict=True)), large_size


def shared_radii(radii: Sequence[int], links: Sequence[Alignment]) -> list[int]:
    """Largest half side among all images of one pixel size, for each of them."""
    scales = [link.scale for link in links]
    return [
        max(radius for radius, other in zip(radii, scales, strict=True) if np.isclose(other, own))
        for own in scales
    ]
