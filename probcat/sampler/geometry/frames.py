"""Sizes of the images beyond the first, and the margins that keep stamps apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from probcat.image.alignment import Alignment
from probcat.sampler.geometry.layout import Frame, Layout

LARGEST_OFFSET = 1.0
"""Largest offset of an image along an axis from its mapped position, in its pixels."""
ROUND = 4
"""Number of which the sides of padded images are multiples, so that few shapes are compiled."""
SPARE = 4
"""Number of pixels by which a padded image extends beyond the mapped first image on every side."""


def least_margin(links: Sequence[Alignment], radii: Sequence[int]) -> int:
    """Smallest margin in pixels of the first image that keeps stamps in all images apart.

    Parameters
    ----------
    links : sequence of Alignment
        Relation of every image to the first one.
    radii : sequence of int
        Half-widths in pixels of the stamps in every image.
    """
    others = [
        math.ceil((radius + 0.5) * link.inverse_reach)
        for link, radius in zip(links[1:], radii[1:], strict=True)
    ]
    return max([radii[0], *others])


def build_frames(
    links: Sequence[Alignment],
    layout: Layout,
    radii: Sequence[Sequence[int]],
    largest: Sequence[int],
) -> tuple[Frame, ...]:
    """Compute the sizes of all images but the first.

    Parameters
    ----------
    links : sequence of Alignment
        Relation of every image to the first one.
    layout : Layout
        Sizes of the run, without frames.
    radii : sequence of sequence of int
        Half-widths in pixels of the stamps in every image, for every plan.
    largest : sequence of int
        Half-widths in pixels of the largest stamps of extended sources in every image.

    Returns
    -------
    tuple of Frame
    """
    frames = []
    for number, link in enumerate(links[1:], start=1):
        sizes = tuple(
            2 * math.ceil(0.5 * link.reach * plan.interior + of_plan[number] + 1.5 + LARGEST_OFFSET)
            + 1
            for plan, of_plan in zip(layout.plans, radii, strict=True)
        )
        low, high = _extent(link, layout)
        # One pixel more, as the pixel that an array starts at may differ by one between fields.
        sides = [ROUND * math.ceil((b - a + 1) / ROUND) for a, b in zip(low, high, strict=True)]
        frames.append(Frame((sides[1], sides[0]), link.band, sizes, largest[number]))
    return tuple(frames)


def frame_origin(link: Alignment, layout: Layout) -> tuple[int, int]:
    """Pixel (x, y) of an image that its padded array starts at."""
    low, _ = _extent(link, layout)
    return low[0], low[1]


def _extent(link: Alignment, layout: Layout) -> tuple[list[int], list[int]]:
    """First and last pixel (x, y) of an image under the padded first image, with a border."""
    ny, nx = layout.padded_shape
    corners = np.array([[x, y, 1.0] for x in (0.0, nx - 1.0) for y in (0.0, ny - 1.0)])
    corners[:, :2] -= layout.pad
    # Not `to_image`, whose last digit differs: offsets by whole pixels may round to another one.
    seen = corners @ link.affine.T
    low = [math.floor(value) - SPARE for value in seen.min(axis=0)]
    high = [math.ceil(value) + SPARE for value in seen.max(axis=0)]
    return low, high
