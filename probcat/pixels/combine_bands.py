"""Combination of the pixel assignments of several bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.pixels.assignment import Assignment, Kind, overlap

if TYPE_CHECKING:
    from astropy.wcs import WCS

_MAX_DISTANCE = 0.05
"""Largest distance in pixels between the grids of two bands; resampled images agree much better."""


def combine(
    assignments: Sequence[Assignment], weights: Sequence[Any] | None = None, band: str | None = None
) -> Assignment:
    r"""Combine the maps of bands that have the same pixel grid.

    The combined map is the mean over bands b

        p_k = sum_b W_b p_kb / sum_b W_b,    W_b = L_b^2 / sigma_b^2,

    with the mean light L_b of all sources and the variance sigma_b^2 of the noise in the pixel.
    W_b is the squared signal-to-noise ratio, which is the Fisher information on the logarithm of
    the light and does not depend on the units of the bands. Weights are the same for all owners of
    a pixel, so sums over owners stay one. Bands in which the pixel is masked do not contribute; if
    all weights of a pixel are zero, all bands contribute equally. Shares of kind `light` are
    averaged only over bands in which the pixel is lit.

    Parameters
    ----------
    assignments : sequence of Assignment
        At least one, all of the same catalog.
    weights : sequence of float or array_like, shape (ny, nx), optional
        W of every band, not negative; by default `snr_squared` of the maps.
    band : str, optional
        Name of the result; by default those of the bands, joined by "+".

    Returns
    -------
    Assignment
        Maps of the kinds that all bands have. Its `snr_squared` is the sum over the bands.

    Raises
    ------
    InputError
        If there are no assignments; if objects, shapes or WCS differ; or if weights are missing or
        do not fit.
    """
    assignments = list(assignments)
    if not assignments:
        raise InputError("there are no assignments to combine")
    _check_alike(assignments)
    first = assignments[0]
    given = [one.snr_squared for one in assignments] if weights is None else list(weights)
    fractions = _normalised(_planes(given, assignments))
    lit = [_total(one, "light") > 0.5 for one in assignments]
    of_light = _normalised([part * has for part, has in zip(fractions, lit, strict=True)])
    kinds = [kind for kind in first.stamps if all(kind in one.stamps for one in assignments)]
    origins, size = _common_windows(assignments)
    stamps, unassigned = {}, {}
    for kind in kinds:
        use = of_light if kind == "light" else fractions
        stamps[kind] = _mean_stamps(assignments, use, kind, origins, size)
        unassigned[kind] = _mean(use, [one.unassigned[kind] for one in assignments])
    skies = [one.background for one in assignments if one.background is not None]
    known = [one.snr_squared for one in assignments if one.snr_squared is not None]
    return Assignment(
        object_ids=np.asarray(first.object_ids),
        origins=origins,
        stamps=stamps,
        unassigned=unassigned,
        shape=first.shape,
        band="+".join(one.band for one in assignments) if band is None else band,
        background=_mean(fractions, skies) if len(skies) == len(assignments) else None,
        snr_squared=np.sum(known, axis=0) if len(known) == len(assignments) else None,
        wcs=first.wcs,
    )


def _check_alike(assignments: Sequence[Assignment]) -> None:
    """Refuse maps whose objects or pixels differ from those of the first."""
    first = assignments[0]
    for one in assignments[1:]:
        names = f"bands {first.band!r} and {one.band!r}"
        if not np.array_equal(one.object_ids, first.object_ids):
            raise InputError(f"{names} assign different objects; use one catalog for all")
        if one.shape != first.shape:
            raise InputError(
                f"{names} have shapes {first.shape} and {one.shape}; resample all bands to one "
                "pixel grid before sampling"
            )
        if first.wcs is not None and one.wcs is not None:
            apart = _distance(first.wcs, one.wcs, first.shape)
            if apart > _MAX_DISTANCE:
                raise InputError(
                    f"{names} are up to {apart:.2f} px apart by their WCS; resample all bands to "
                    "one pixel grid before sampling"
                )


def _distance(one: WCS, other: WCS, shape: tuple[int, int]) -> float:
    """Largest distance in pixels between the corners of two grids."""
    x, y = (np.array(values, float) for values in zip(*_corners(shape), strict=True))
    moved = other.world_to_pixel_values(*one.pixel_to_world_values(x, y))
    return float(np.hypot(moved[0] - x, moved[1] - y).max())


def _corners(shape: tuple[int, int]) -> list[tuple[int, int]]:
    return [(x, y) for x in (0, shape[1] - 1) for y in (0, shape[0] - 1)]


def _planes(given: Sequence[Any], assignments: Sequence[Assignment]) -> list[np.ndarray]:
    """Weights of the pixels of every band."""
    shape = assignments[0].shape
    if len(given) != len(assignments):
        raise InputError(f"{len(given)} weights for {len(assignments)} assignments")
    planes = []
    for weight, one in zip(given, assignments, strict=True):
        if weight is None:
            raise InputError(f"maps of band {one.band!r} have no snr_squared; give weights")
        plane = np.asarray(weight, dtype=np.float64)
        if plane.shape not in ((), shape):
            raise InputError(f"a weight has shape {plane.shape}, the maps {shape}")
        if not np.isfinite(plane).all() or (plane < 0).any():
            raise InputError(f"weights of band {one.band!r} must be finite and not negative")
        planes.append(np.broadcast_to(plane, shape))
    return planes


def _normalised(planes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Weights that sum to one in every pixel; equal ones where all are zero."""
    total = np.sum(planes, axis=0)
    safe = np.where(total > 0, total, 1.0)
    return [np.where(total > 0, plane / safe, 1.0 / len(planes)) for plane in planes]


def _total(assignment: Assignment, kind: Kind) -> np.ndarray:
    """Sum of maps over all owners except the background."""
    total = assignment.unassigned[kind].astype(np.float64)
    for row in range(len(assignment.object_ids)):
        assignment.add_to(total, row, kind)
    return total


def _mean(fractions: Sequence[np.ndarray], planes: Sequence[np.ndarray]) -> np.ndarray:
    mean = sum(part * plane for part, plane in zip(fractions, planes, strict=True))
    return np.asarray(mean, dtype=np.float32)


def _common_windows(assignments: Sequence[Assignment]) -> tuple[np.ndarray, int]:
    """Origins and side of stamps that contain those of all bands."""
    low = np.min([one.origins for one in assignments], axis=0)
    sides = [next(iter(one.stamps.values())).shape[-1] for one in assignments]
    ends = [one.origins + side for one, side in zip(assignments, sides, strict=True)]
    size = int((np.max(ends, axis=0) - low).max(initial=0)) if len(low) else max(sides)
    return low, size


def _mean_stamps(
    assignments: Sequence[Assignment],
    fractions: Sequence[np.ndarray],
    kind: str,
    origins: np.ndarray,
    size: int,
) -> np.ndarray:
    """Average the stamps of every object; pixels beyond the image stay zero."""
    stamps = np.zeros((len(origins), size, size), np.float32)
    shape = assignments[0].shape
    for row, origin in enumerate(origins):
        inside = overlap(origin, size, shape)
        if inside is None:
            continue
        own, there = inside
        for one, fraction in zip(assignments, fractions, strict=True):
            part = np.zeros((size, size), np.float32)
            values = one.stamps[kind][row]
            start = one.origins[row] - origin
            part[start[0] : start[0] + len(values), start[1] : start[1] + len(values)] = values
            stamps[row][own] += (fraction[there] * part[own]).astype(np.float32)
    return stamps
