"""Choose window sizes, slots and schedules from the images, their PSFs and the settings.

There are up to four classes of windows: for point sources alone, for all sources, for fits, and
for large sources. One function plans each of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from probcat.image.alignment import Alignment
from probcat.image.peaks import count_peaks
from probcat.sampler.geometry.frames import build_frames, least_margin
from probcat.sampler.geometry.layout import Layout, PassPlan, ladder
from probcat.sampler.geometry.stamp_sizes import StampSizes, shared_radii, stamp_radii
from probcat.sampler.geometry.window_sizes import (
    FULL,
    FULL_OF_ALL,
    UNEVEN,
    WindowSize,
    choose_windows,
    point_slots,
)
from probcat.sampler.settings import SamplerSettings

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.model.prior.prior import Prior

EXTENDED_ALONE = {
    "birth_death_extended": 2.0 / 3.0,
    "companion_extended": 1.0 / 2.0,
    "absorb_extended": 1.0 / 3.0,
}
"""Moves of extended sources that need no point sources in the model, and how often they are made in
a visit, in units of the setting `extended_moves`. In the demonstration, types of sources mix
slowest, so that `retype` is made most often; it costs half as much as a birth of a galaxy."""
WITH_POINTS = {
    "companion_point_of_any": 2.0 / 3.0,
    "absorb_point": 1.0 / 6.0,
    "retype": 5.0,
    "galaxy_to_stars": 1.0 / 3.0,
}
"""The same for moves of extended sources that involve point sources."""
LARGE_MOVES = (*EXTENDED_ALONE, "companion_point_of_any", "absorb_point")
"""Moves in the windows of large sources; all other moves reach large sources through smaller
sizes."""
LARGE_REPEATS = 3
"""Number of times that each of `LARGE_MOVES` is in the schedule."""

VISITS = 2.0
"""Mean number of visits of an extended source in a draw."""
ENOUGH_VISITS = 0.1
"""Fraction of a sweep that may be missing from that number."""
WHOLE_PASSES = 3
"""Number of visits in a draw of a window that covers the whole region."""
POINT_PASSES = 4
"""Largest number of placements of windows for point sources in a draw where a window for all
sources covers the region, and smallest number for all sources where points have no windows of
their own."""
SPARSE_INTERIOR = 64
"""Side in pixels of the interior of windows for all sources, in fields that are not crowded."""
CROWDED_INTERIOR = 32
"""Side in pixels of the interior of windows for all sources, in crowded fields."""
MANY_MOVING = 10
"""Largest number of extended sources that move along one trajectory, in fields that are not
crowded: all of them if possible, as neighbours are correlated."""
FEW_MOVING = 4
"""The same in crowded fields, where nearly all sources are points."""
LARGE_INTERIOR = 32
"""Side in pixels of the interior of windows for large sources."""

PER_PEAK = 4.0
"""Number of sources expected for every peak of the first image, for the sizes of arrays."""
ROOM = 1.5
"""Capacity of a catalog, in units of the number of sources expected."""
SPARSE = 32
"""Largest number of point slots of a window in a field that is not crowded."""
CLOSE = 6
"""Smallest difference in pixels between the stamps of point and of extended sources for which
point sources get a class of windows of their own."""

FEW = 32
"""Number of extended slots of a window in a crowded field."""
SOME = 32
"""Number of extended slots of a window in a field that is not crowded."""
MANY = 48
"""Number of extended slots of a window that covers a whole region."""


@dataclass(frozen=True)
class Field:
    """Everything that the plans of all classes of windows depend on.

    Parameters
    ----------
    prior : Prior
        Prior of the catalog.
    settings : SamplerSettings
        Settings of the sampler.
    links : sequence of Alignment
        Relation of every image to the first one.
    region : (int, int)
        Pixels along y and x that the centre of a source may fall on.
    crowding : float
        Expected number of sources per pixel.
    point_radii : tuple of int
        Half-widths in pixels of the stamps of point sources in every image.
    stamps : StampSizes
        Stamps of extended sources in every image.
    """

    prior: "Prior"
    settings: SamplerSettings
    links: Sequence[Alignment]
    region: tuple[int, int]
    crowding: float
    point_radii: tuple[int, ...]
    stamps: StampSizes

    @property
    def small_radii(self) -> tuple[int, ...]:
        """Half-widths in pixels of the stamps of small extended sources in every image."""
        return tuple(small for small, _ in self.stamps.radii)

    @property
    def is_apart(self) -> bool:
        """Whether point sources, if there are any, have a class of windows of their own."""
        small, points = (
            least_margin(self.links, radii) for radii in (self.small_radii, self.point_radii)
        )
        return not self.prior.has_extended or small - points >= CLOSE

    @property
    def is_sparse(self) -> bool:
        """Whether the field is not crowded."""
        return point_slots(UNEVEN * self.crowding * self.settings.window_interior**2) <= SPARSE

    @property
    def point_moves(self) -> tuple[str, ...]:
        """Schedule of the moves of point sources alone."""
        return (
            ("birth_death_point",) * self.settings.birth_death
            + ("split_merge",) * self.settings.split_merge
            + ("merge_and_split",) * self.settings.merge_and_split
            + ("companion_point",) * self.settings.companion
        )

    def num_passes(self, plan: PassPlan) -> int:
        """Number of sweeps in which every source is visited `VISITS` times on average."""
        return math.ceil(VISITS / math.prod(map(plan.coverage, self.region)) - ENOUGH_VISITS)

    def windows(self, interior: int, radii: Sequence[int], full: int = FULL_OF_ALL) -> WindowSize:
        """Windows with room for stamps; see `choose_windows`."""
        return choose_windows(interior, radii, self.region, self.links, self.crowding, full)


def build_layout(
    images: "Image | Sequence[Image]",
    prior: "Prior",
    settings: SamplerSettings,
    num_chains: int,
    links: Sequence[Alignment] = (Alignment(np.eye(2, 3)),),
    stamps: StampSizes | None = None,
) -> Layout:
    """Choose the sizes of a run; arrays that turn out too small grow later.

    Parameters
    ----------
    images : Image or sequence of Image
        The image that positions are given in comes first.
    prior : Prior
        Prior of the catalog.
    settings : SamplerSettings
        Settings of the sampler.
    num_chains : int
        Number of chains at inverse temperature one.
    links : sequence of Alignment
        Relation of every image to the first one (`probcat.image.alignment.align_images`).
    stamps : StampSizes, optional
        Stamps of extended sources, if they are known already.

    Returns
    -------
    Layout
    """
    images = [images] if not isinstance(images, Sequence) else images
    stamps = stamps or stamp_radii(images, links, prior, settings)
    image = images[0]
    # In steps, so that images whose PSFs hardly differ share one compiled program.
    border = settings.border if settings.border >= 0 else np.ceil(2.0 * image.psf.fwhm) / 2.0
    ny, nx = (side + 2 * math.ceil(border) for side in image.shape)
    expected = PER_PEAK * count_peaks(image)
    field = Field(
        prior,
        settings,
        links,
        (ny, nx),
        expected / image.data.size,
        tuple(shared_radii([one.psf.radius for one in images], links)),
        stamps,
    )
    classes = _plan_classes(field)
    plans = tuple(plan for _, plan in classes)
    few = max(plan.extended_slots for plan in plans)
    capacity = _power_of_two(ROOM * expected, 64)
    layout = Layout(
        image_shape=image.shape,
        pad=int(np.ceil(border)) + max(plan.interior + plan.margin for plan in plans) + 2,
        border=float(border),
        point_capacity=capacity,
        extended_capacity=max(1, 8 * min(few, SOME), capacity // 4 if few else 1),
        plans=plans,
        num_leapfrog=settings.leapfrog_steps,
        num_chains=num_chains * settings.num_temperatures,
        ladder=ladder(settings.num_temperatures, settings.min_beta),
    )
    radii, largest = [windows.radii for windows, _ in classes], [large for _, large in stamps.radii]
    return replace(layout, frames=build_frames(links, layout, radii, largest))


def _plan_classes(field: Field) -> list[tuple[WindowSize, PassPlan]]:
    """Windows and plans of all classes, in the order of their passes."""
    classes = [_plan_points(field)] if field.prior.has_points and field.is_apart else []
    if not field.prior.has_extended:
        return classes
    windows, plan = _plan_all_sources(field)
    if windows.is_whole and classes:
        ((of_points, points),) = classes
        classes = [(of_points, replace(points, passes=min(points.passes, POINT_PASSES)))]
    classes.append((windows, plan))
    if refits := _refits(field):
        # Fits cost as much as the rest of a visit: one pass, and nothing else there.
        own = windows.plan(refits, 1, plan.extended_slots, plan.largest)
        classes.append((windows, replace(own, num_hmc=0)))
    if np.isfinite(field.stamps.large_size):
        classes.append(_plan_large_sources(field, plan))
    return classes


def _plan_points(field: Field) -> tuple[WindowSize, PassPlan]:
    """Windows in which point sources alone move."""
    windows = field.windows(field.settings.window_interior, field.point_radii, FULL)
    return windows, windows.plan(field.point_moves, field.settings.passes)


def _plan_all_sources(field: Field) -> tuple[WindowSize, PassPlan]:
    """Windows in which all sources move whose stamps are small."""
    settings, prior = field.settings, field.prior
    interior = SPARSE_INTERIOR if field.is_sparse else CROWDED_INTERIOR
    windows = field.windows(settings.window_interior_extended or interior, field.small_radii)
    slots = SOME if field.is_sparse else FEW
    slots = MANY if windows.is_whole else slots
    # Interiors are smaller in crowded fields, and are visited more often.
    number = settings.extended_moves if field.is_sparse else -(-settings.extended_moves // 2)
    moves = _repeated(EXTENDED_ALONE, number)
    if prior.has_points:
        moves += _repeated(WITH_POINTS, number)
    if prior.has_points and not field.is_apart:
        # Companions of any host include those of points.
        moves += tuple(name for name in field.point_moves if name != "companion_point")
    plan = windows.plan(moves, 1, slots, float(field.stamps.large_size))
    if windows.is_whole:
        passes = settings.extended_passes or WHOLE_PASSES
    else:
        passes = settings.extended_passes or field.num_passes(plan)
    if not field.is_apart:
        # Points have no windows of their own.
        passes = max(passes, min(settings.passes, POINT_PASSES))
    moving = MANY_MOVING if field.is_sparse else FEW_MOVING
    return windows, replace(plan, passes=passes, num_moving=moving)


def _repeated(rates: dict[str, float], number: int) -> tuple[str, ...]:
    """Schedule in which every move is made at least once, unless `number` is zero."""
    counts = {name: max(1, round(rate * number)) if number else 0 for name, rate in rates.items()}
    return tuple(name for name, count in counts.items() for _ in range(count))


def _refits(field: Field) -> tuple[str, ...]:
    """Schedule of the moves that fit sources, in windows of their own."""
    if not field.prior.has_points:
        return ()
    settings = field.settings
    stars = ("refit_two_stars",) * settings.refit_two_stars
    return stars + ("refit_star_and_galaxy",) * settings.refit_star_and_galaxy


def _plan_large_sources(field: Field, others: PassPlan) -> tuple[WindowSize, PassPlan]:
    """Windows that hold the whole light of large sources: one pass, as these are few."""
    windows = field.windows(LARGE_INTERIOR, [large for _, large in field.stamps.radii])
    moves = tuple(name for name in LARGE_MOVES if name in others.schedule)
    return windows, windows.plan(moves * LARGE_REPEATS, 1, max(others.extended_slots, SOME))


def _power_of_two(number: float, least: int) -> int:
    """Smallest power of two that is at least a number and at least `least`."""
    return max(least, 1 << int(np.ceil(np.log2(max(number, 1.0)))))
