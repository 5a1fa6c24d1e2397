"""Choose window sizes, slots and schedules from the image, the PSF and the settings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from probcat.image.alignment import Alignment
from probcat.image.peaks import count_peaks
from probcat.sampler.geometry.frames import build_frames, least_margin
from probcat.sampler.geometry.layout import Layout, PassPlan, ladder, round_up
from probcat.sampler.geometry.stamp_sizes import shared_radii, stamp_radii
from probcat.sampler.settings import SamplerSettings

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.model.prior.prior import Prior

LARGE_INTERIOR = 32
EXTENDED_ALONE = ("birth_death_extended", "companion_extended", "absorb_extended")
WITH_POINTS = ("companion_point_of_any", "absorb_point", "retype", "galaxy_to_stars")
LARGE_MOVES = (*EXTENDED_ALONE, "companion_point_of_any", "absorb_point")
"""Those of the windows of large sources; the others reach them through smaller sizes."""
PER_PEAK, UNEVEN = 4.0, 1.7
"""Sources that arrays have room for, for every peak, and how many more where it is crowded."""
CLOSE = 6
"""Footprints that differ by less than this many pixels share one class of windows."""
WHOLE, SEAM, FULL = 1.25, 2, 96
"""A region up to this many times a window's side has one window for itself, with this margin, if
that needs no more slots for points than this: all slots move along a trajectory."""
FEW, SOME, MANY = 8, 16, 32
"""Slots for galaxies in windows of crowded fields, of others, and of whole images."""
FEWEST = 40
"""Slots for points in windows of whole images, so that those of few objects share programs."""
SPARSE = 32
"""Fields in which a window of points needs no more slots are not crowded."""


@dataclass(frozen=True)
class _Class:
    """Windows of one class: interior, margin, slots, and the footprints in every image."""

    interior: int
    margin: int
    point_slots: int
    radii: tuple[int, ...]

    def plan(self, schedule: tuple[str, ...], passes: int, few: int, largest: float) -> PassPlan:
        """Say what is done in them."""
        sides = (self.interior, self.margin, self.point_slots, few)
        return PassPlan(*sides, _shuffled(schedule), 1, passes, largest)


def _windows(
    interior: int,
    radii: Sequence[int],
    region: tuple[int, int],
    links: Sequence[Alignment],
    crowding: float,
) -> _Class:
    """Choose windows: with a margin for footprints, or one for all of a small image.

    No light is missed where a window holds every pixel that there is.
    """
    margin, held = least_margin(links, radii), tuple(radii)
    small = max(region) <= WHOLE * (interior + 2 * margin)
    whole = _slots(crowding * math.prod(region), FEWEST)
    if small and whole <= FULL:
        # One pixel more, as a window's walls cannot be reached from inside.
        held = tuple(math.ceil(SEAM * link.scale) for link in links)
        return _Class(max(region) + 1, SEAM, whole, held)
    area = math.prod(min(interior, side) for side in region)
    return _Class(interior, margin, _slots(UNEVEN * crowding * area), held)


def build_layout(
    images: "Image | Sequence[Image]",
    prior: "Prior",
    settings: SamplerSettings,
    num_chains: int,
    links: Sequence[Alignment] = (Alignment(np.eye(2, 3)),),
) -> Layout:
    """Sizes of a run; arrays that turn out too small grow later.

    Parameters
    ----------
    images : Image or sequence of Image
    prior : Prior
    settings : SamplerSettings
    num_chains : int
    links : sequence of Alignment
        As `probcat.image.alignment.align_images` gives them.
    """
    images = [images] if not isinstance(images, Sequence) else images
    image = images[0]
    radii, large_size = stamp_radii(images, links, prior, settings)
    # In steps, so that images whose PSFs hardly differ share one compiled program.
    border = settings.border if settings.border >= 0 else np.ceil(2.0 * image.psf.fwhm) / 2.0
    crowding = PER_PEAK * count_peaks(image) / image.data.size
    capacity = _power_of_two(1.5 * crowding * image.data.size, 64)
    plans, of_plans = [], []
    for windows, plan in _plans(images, prior, settings, links, (radii, large_size), border):
        plans.append(plan)
        of_plans.append(windows.radii)
    few = max(plan.extended_slots for plan in plans)
    layout = Layout(
        image_shape=image.shape,
        pad=int(np.ceil(border)) + max(plan.interior + plan.margin for plan in plans) + 2,
        border=float(border),
        point_capacity=capacity,
        extended_capacity=max(1, 8 * min(few, SOME), capacity // 4 if few else 1),
        plans=tuple(plans),
        num_leapfrog=settings.leapfrog_steps,
        num_chains=num_chains * settings.num_temperatures,
        ladder=ladder(settings.num_temperatures, settings.min_beta),
    )
    largest = [large for _, large in radii]
    return replace(layout, frames=build_frames(links, layout, of_plans, largest))


def _plans(
    images: "Sequence[Image]",
    prior: "Prior",
    settings: SamplerSettings,
    links: Sequence[Alignment],
    extended: tuple[list[tuple[int, int]], float],
    border: float,
) -> list[tuple[_Class, PassPlan]]:
    """Choose the classes of windows, and what is done in them."""
    radii, large_size = extended
    image = images[0]
    ny, nx = (side + 2 * math.ceil(border) for side in image.shape)
    crowding = PER_PEAK * count_peaks(image) / image.data.size
    of_points = shared_radii([image.psf.radius for image in images], links)
    small, large = ([pair[which] for pair in radii] for which in (0, 1))

    def windows(interior: int, footprint: Sequence[int]) -> _Class:
        return _windows(interior, footprint, (ny, nx), links, crowding)

    point_moves = (
        ("birth_death_point",) * settings.birth_death
        + ("split_merge",) * settings.split_merge
        + ("merge_and_split",) * settings.merge_and_split
        + ("companion_point",) * settings.companion
    )
    plans = []
    margins = [least_margin(links, footprint) for footprint in (small, of_points)]
    apart = not prior.has_extended or margins[0] - margins[1] >= CLOSE
    if prior.has_points and apart:
        own = windows(settings.window_interior, of_points)
        plans.append((own, own.plan(point_moves, settings.passes, 0, math.inf)))
    if not prior.has_extended:
        return plans
    sparse = _slots(UNEVEN * crowding * settings.window_interior**2) <= SPARSE
    own = windows(settings.window_interior_extended or (32 if sparse else 16), small)
    few = SOME if sparse else FEW
    few = MANY if own.margin == SEAM else few
    moves = EXTENDED_ALONE * settings.extended_moves
    if prior.has_points:
        moves += WITH_POINTS * settings.extended_moves
    if prior.has_points and not apart:
        # Companions of any host include those of points.
        moves += tuple(name for name in point_moves if name != "companion_point")
    passes = settings.extended_passes if apart else settings.passes
    plans.append((own, own.plan(moves, passes, few, float(large_size))))
    refits = ("refit_two_stars",) * settings.refit_two_stars + (
        "refit_star_and_galaxy",
    ) * settings.refit_star_and_galaxy
    if prior.has_points and refits:
        # Fits cost as much as the rest of a visit: one pass, and nothing else there.
        plans.append((own, replace(own.plan(refits, 1, few, float(large_size)), num_hmc=0)))
    if np.isfinite(large_size):
        # Few sources are large: one pass of windows that hold their whole light.
        own = windows(LARGE_INTERIOR, large)
        of_large = tuple(name for name in LARGE_MOVES if name in moves)
        plans.append((own, own.plan(of_large * 3, 1, max(few, SOME), math.inf)))
    return plans


def _slots(expected: float, fewest: float = 16.0) -> int:
    """Slots of a window for points, whose number varies as a Poisson variable does.

    Few sizes are used, so that images of one shape share compiled programs.
    """
    needed = max(fewest, expected + 3.0 * expected**0.5)
    # Crowded windows cost more, so that theirs are fitted closer.
    steps = 2.0 if needed <= 64.0 else 4.0
    return round_up(16.0 * 2.0 ** (np.ceil(steps * np.log2(needed / 16.0)) / steps) - 1e-3)


def _power_of_two(number: float, least: int) -> int:
    return max(least, 1 << int(np.ceil(np.log2(max(number, 1.0)))))


def _shuffled(schedule: tuple[str, ...]) -> tuple[str, ...]:
    """Put moves in a fixed order that spreads each kind over the visit."""
    order = np.random.default_rng(len(schedule)).permutation(len(schedule))
    return tuple(schedule[index] for index in order)
