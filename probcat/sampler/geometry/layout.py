"""Static sizes of a run: the padded images, the windows, the slots.

Everything here is hashable and known before compilation.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np


class SourceArray(NamedTuple):
    """An array of sources that may become full.

    Attributes
    ----------
    kind : {"point", "extended"}
        Kind of its sources.
    array : {"catalog", "window"}
        Whether it is the whole catalog or the slots of a window.
    """

    kind: str
    array: str


SOURCE_ARRAYS = (
    SourceArray("point", "catalog"),
    SourceArray("extended", "catalog"),
    SourceArray("point", "window"),
    SourceArray("extended", "window"),
)
"""Arrays of sources in the order of `probcat.sampler.state.ChainSample.overflow`."""


@dataclass(frozen=True)
class PassPlan:
    """Plan of one class of windows: their sizes, and the moves of a visit.

    Attributes
    ----------
    interior : int
        Side in pixels of the square whose sources may move.
    margin : int
        Half-width in pixels of the stamps of these sources.
    point_slots, extended_slots : int
        Number of point and of extended sources that a window can hold.
    schedule : tuple of str
        Names of the moves of one visit, in order.
    num_hmc : int
        Number of Hamiltonian trajectories at the end of a visit.
    passes : int
        Number of sweeps over windows of this class in a draw.
    largest : float
        Half-light radius along the major axis, in pixels, of the largest source whose stamp fits.
    num_moving : int
        Largest number of extended sources that move along one trajectory.
    """

    interior: int
    margin: int
    point_slots: int
    extended_slots: int
    schedule: tuple[str, ...]
    num_hmc: int
    passes: int
    largest: float = math.inf
    num_moving: int = 6

    @property
    def size(self) -> int:
        """Side of a window in pixels."""
        return self.interior + 2 * self.margin

    def num_windows(self, layout: "Layout", axis: int) -> int:
        """Count the windows along an axis (0 is x)."""
        return self._num_along(layout.region_pixels(axis))

    def overhang(self, layout: "Layout", axis: int) -> int:
        """Count the pixels by which the first and last interior may leave the region.

        Usually half an interior, so that sources at the edge are visited often and few windows are
        empty. More if the row of windows must be able to shift by a full window; if the interior
        exceeds the region, exactly the difference.
        """
        return self._overhang_along(layout.region_pixels(axis))

    def coverage(self, length: int) -> float:
        """Mean fraction of a region's pixels along an axis that the interiors of a sweep cover."""
        count, overhang = self._num_along(length), self._overhang_along(length)
        slide = length + 2 * overhang - self.interior - self.size * (count - 1) + 1
        first = np.arange(slide)[:, None] - overhang + self.size * np.arange(count)
        inside = np.minimum(first + self.interior, length) - np.maximum(first, 0)
        return float(np.maximum(inside, 0).sum(axis=1).mean()) / length

    def _num_along(self, length: int) -> int:
        """Count the windows along an axis of a region."""
        return max(1, (length + self.interior - 1) // self.size)

    def _overhang_along(self, length: int) -> int:
        """Count the pixels by which interiors may leave a region along an axis."""
        if self.interior >= length:
            return self.interior - length
        further = self._num_along(length) - 1
        spare = self.size * (further + 1) - length + self.interior - 1
        needed = -(-spare // 2) if further else 0
        return max(self.interior // 2, needed)


@dataclass(frozen=True)
class Frame:
    """Sizes of an image beyond the first.

    Attributes
    ----------
    shape : tuple of int
        Shape of its padded arrays, which cover all windows of the first image.
    band : int
        Number of its band; 0 is that of the first image.
    sizes : tuple of int
        Side of a window of every plan, in pixels of this image.
    radius : int
        Half-width of the largest stamp of an extended source, in pixels of this image.
    """

    shape: tuple[int, int]
    band: int
    sizes: tuple[int, ...]
    radius: int


@dataclass(frozen=True)
class Layout:
    """Sizes of a run.

    Attributes
    ----------
    image_shape : tuple of int
        (ny, nx) of the first image.
    pad : int
        Width in pixels of the empty border of the padded first image.
    border : float
        Largest distance in pixels of the centre of a source outside the image.
    point_capacity, extended_capacity : int
        Number of point and of extended sources that a catalog can hold.
    plans : tuple of PassPlan
        Classes of windows, in the order of their sweeps.
    num_leapfrog : int
        Number of leapfrog steps of a Hamiltonian trajectory.
    num_chains : int
        Number of chains that advance together, those of every temperature included.
    ladder : tuple of float
        Inverse temperatures of the chains of a group; the first one is 1.
    frames : tuple of Frame
        Sizes of the images beyond the first.
    """

    image_shape: tuple[int, int]
    pad: int
    border: float
    point_capacity: int
    extended_capacity: int
    plans: tuple[PassPlan, ...]
    num_leapfrog: int
    num_chains: int
    ladder: tuple[float, ...] = (1.0,)
    frames: tuple[Frame, ...] = ()

    @property
    def has_point_plan(self) -> bool:
        """Whether point sources have a class of windows of their own."""
        return any(not plan.extended_slots for plan in self.plans)

    @property
    def bands(self) -> tuple[int, ...]:
        """Band of every image."""
        return (0, *(frame.band for frame in self.frames))

    @property
    def padded_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shapes of the padded arrays of all images."""
        return (self.padded_shape, *(frame.shape for frame in self.frames))

    def window_sizes(self, number: int) -> tuple[int, ...]:
        """Side of the windows of a plan, in pixels of every image."""
        return (self.plans[number].size, *(frame.sizes[number] for frame in self.frames))

    @property
    def padded_shape(self) -> tuple[int, int]:
        """Shape of the padded first image."""
        return (self.image_shape[0] + 2 * self.pad, self.image_shape[1] + 2 * self.pad)

    def region_bounds(self, axis: int) -> tuple[float, float]:
        """Limits of the centres of sources along an axis (0 is x), in padded pixels."""
        length = self.image_shape[1 - axis]
        return (self.pad - 0.5 - self.border, self.pad + length - 0.5 + self.border)

    def region_start(self, axis: int) -> int:
        """First padded pixel that a centre can fall on."""
        del axis
        return self.pad - math.ceil(self.border)

    def region_pixels(self, axis: int) -> int:
        """Count the pixels along an axis that a centre can fall on."""
        return self.image_shape[1 - axis] + 2 * math.ceil(self.border)

    @property
    def area(self) -> float:
        """Area of the region in square pixels."""
        sides = [upper - lower for lower, upper in map(self.region_bounds, (0, 1))]
        return sides[0] * sides[1]

    def capacity(self, kind: str) -> int:
        """Number of sources of a kind that a catalog can hold."""
        return self.point_capacity if kind == "point" else self.extended_capacity

    def grown(self, full: "SourceArray") -> "Layout":
        """Layout in which a full array of sources is larger.

        Catalogs double; the slots of windows, which cost time, grow by a quarter.
        """
        if full.array == "catalog":
            capacity: dict[str, Any] = {f"{full.kind}_capacity": 2 * self.capacity(full.kind)}
            return replace(self, **capacity)
        field = f"{full.kind}_slots"
        plans = tuple(
            replace(plan, **{field: round_up(1.25 * getattr(plan, field))})  # type: ignore[arg-type]
            for plan in self.plans
        )
        return replace(self, plans=plans)


def round_up(number: float) -> int:
    """Next multiple of eight."""
    return 8 * math.ceil(number / 8.0)


def ladder(num_temperatures: int, min_beta: float) -> tuple[float, ...]:
    """Inverse temperatures from one down to `min_beta`, in equal ratios."""
    steps = max(num_temperatures - 1, 1)
    return tuple(min_beta ** (level / steps) for level in range(num_temperatures))
