"""Choose the sizes of the windows of one class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probcat.image.alignment import Alignment
from probcat.sampler.geometry.frames import least_margin
from probcat.sampler.geometry.layout import PassPlan, round_up

UNEVEN = 1.7
"""Ratio of the density of sources where it is crowded to the mean density."""
WHOLE = 1.25
"""A region no wider than `WHOLE` window sides is covered by one window with a margin of `SEAM`
pixels, if that needs few enough point slots."""
SEAM = 2
"""Margin in pixels of the window that covers a whole region; no light is missed beyond it."""
FULL = 96
"""Largest number of point slots of a window for point sources alone that covers a whole region;
every slot adds to the cost of each step of a Hamiltonian trajectory."""
FULL_OF_ALL = 256
"""The same of a window for all sources, in which trajectories move some of the point sources."""
MIN_POINT_SLOTS = 16.0
"""Smallest number of point slots of a window."""
MIN_POINT_SLOTS_OF_WHOLE = 40.0
"""Smallest number of point slots of a window that covers a whole region; fields of few objects
then share compiled programs."""


@dataclass(frozen=True)
class WindowSize:
    """Size of the windows of one class.

    Parameters
    ----------
    interior : int
        Side in pixels of the square in which sources may move.
    margin : int
        Width in pixels of the border around the interior.
    point_slots : int
        Number of point sources that a window can hold.
    radii : tuple of int
        Half-widths in pixels of the stamps that the margin has room for, in every image.
    """

    interior: int
    margin: int
    point_slots: int
    radii: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether one window covers the whole region."""
        return self.margin == SEAM

    def plan(
        self,
        schedule: tuple[str, ...],
        passes: int,
        extended_slots: int = 0,
        largest: float = math.inf,
    ) -> PassPlan:
        """Plan of a pass over these windows, with the moves in a shuffled order."""
        return PassPlan(
            interior=self.interior,
            margin=self.margin,
            point_slots=self.point_slots,
            extended_slots=extended_slots,
            schedule=_shuffled(schedule),
            num_hmc=1,
            passes=passes,
            largest=largest,
        )


def choose_windows(
    interior: int,
    radii: Sequence[int],
    region: tuple[int, int],
    links: Sequence[Alignment],
    crowding: float,
    full: int = FULL,
) -> WindowSize:
    """Choose windows with a margin for stamps, or one window for all of a small region.

    Parameters
    ----------
    interior : int
        Side in pixels of the square in which sources may move.
    radii : sequence of int
        Half-widths in pixels of the stamps in every image.
    region : (int, int)
        Pixels along y and x that the centre of a source may fall on.
    links : sequence of Alignment
        Relation of every image to the first one.
    crowding : float
        Expected number of sources per pixel.
    full : int
        Largest number of point slots of a window that covers the whole region.

    Returns
    -------
    WindowSize
    """
    margin = least_margin(links, radii)
    small = max(region) <= WHOLE * (interior + 2 * margin)
    whole = point_slots(crowding * math.prod(region), MIN_POINT_SLOTS_OF_WHOLE)
    if small and whole <= full:
        seams = tuple(math.ceil(SEAM * link.scale) for link in links)
        # One pixel more, as a window's walls cannot be reached from inside.
        return WindowSize(max(region) + 1, SEAM, whole, seams)
    area = math.prod(min(interior, side) for side in region)
    return WindowSize(interior, margin, point_slots(UNEVEN * crowding * area), tuple(radii))


def point_slots(expected: float, fewest: float = MIN_POINT_SLOTS) -> int:
    """Slots of a window for point sources, whose number varies as a Poisson variable does.

    Few sizes are used, so that images of one shape share compiled programs.
    """
    needed = max(fewest, expected + 3.0 * expected**0.5)
    # Crowded windows cost more, so that their slots are fitted more closely.
    steps = 2.0 if needed <= 64.0 else 4.0
    return round_up(16.0 * 2.0 ** (np.ceil(steps * np.log2(needed / 16.0)) / steps) - 1e-3)


def _shuffled(schedule: tuple[str, ...]) -> tuple[str, ...]:
    """Moves in a fixed order that spreads each kind over the visit."""
    order = np.random.default_rng(len(schedule)).permutation(len(schedule))
    return tuple(schedule[index] for index in order)
