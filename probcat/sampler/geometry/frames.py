"""Sizes of the images beyond the first, and the margins that keep footprints apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from probcat.image.alignment import Alignment
from probcat.sampler.geometry.layout import Frame, Layout

LARGEST_OFFSET = 1.0
"""Greatest offset along an axis of an image from where its map has it, in its pixels."""


ROUND = 4
"""Padded arrays have sides that are multiples of this, so that few shapes are compiled."""


def least_margin(links: Sequence[Alignment], radii: Sequence[int]) -> int:
    """Margin in pixels of the first image that keeps footprints in all images apart.

    Parameters
    ----------
    links : sequence of Alignment
    radii : sequence of int
        Half side of the footprint in pixels of every image.
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
    """Sizes of all images but the first.

    Parameters
    ----------
    links : sequence of Alignment
    layout : Layout
    radii : sequence of sequence of int
        For every plan the half side of the footprint in pixels of every image.
    largest : sequence of int
        Largest half side of the footprint of an extended source in pixels of every image.
    """
    frames = []
    for number, link in enumerate(links[1:], start=1):
        sizes = tuple(
            2 * math.ceil(0.5 * link.reach * plan.interior + of_plan[number] + 1.5 + LARGEST_OFFSET)
            + 1
            for plan, of_plan in zip(layout.plans, radii, strict=True)
        )
        low, high = _extent(link, layout)
        # Which pixel an array starts at may differ by one between fields.
        sides = [ROUND * math.ceil((b - a + 1) / ROUND) for a, b in zip(low, high, strict=True)]
        frames.append(Frame((sides[1], sides[0]), link.band, sizes, largest[number]))
    return tuple(frames)


def frame_origin(link: Alignment, layout: Layout) -> tuple[int, int]:
    """Pixel (x, y) of an image that its padded array starts at."""
    low, _ = _extent(link, layout)
    return low[0], low[1]


def _extent(link: Alignment, layout: Layout) -> tuple[list[int], list[int]]:
    """Pixels (x, y) of an image that the padded first image spans, with some to spare."""
    ny, nx = layout.padded_shape
    corners = np.array([[x, y, 1.0] for x in (0.0, nx - 1.0) for y in (0.0, ny - 1.0)])
    corners[:, :2] -= layout.pad
    seen = corners @ link.affine.T
    spare = 4
    low = [math.floor(value) - spare for value in seen.min(axis=0)]
    high = [math.ceil(value) + spare for value in seen.max(axis=0)]
    return low, high
