"""Which objects overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from probcat.assign import Assignment
    from probcat.condensing import CondensedCatalog

# Overlap, in pixels, from which two objects count as blended.
_LEAST_OVERLAP = 1.0


def find_brightest_blend(
    catalog: CondensedCatalog, assignment: Assignment, *, min_prob: float = 0.5, most: int = 3
) -> tuple[int, ...]:
    """Find the brightest object whose footprint others share, and those others.

    Two objects overlap by the sum over pixels of the product of their footprint
    probabilities, weighted with twice the smaller of their light shares: a pixel that both
    own half of counts as one, a pixel that one of them owns as none.

    Parameters
    ----------
    catalog : CondensedCatalog
    assignment : Assignment
        Maps of these objects.
    min_prob : float
        Objects that exist with a smaller probability are not considered.
    most : int
        Largest number of objects to give.

    Returns
    -------
    tuple of int
        Object ids, the brightest first, then by overlap with it. The brightest object alone
        if none overlap; empty if there is no object.
    """
    if not len(catalog):
        return ()
    rows = np.flatnonzero(catalog["prob_exist"] >= min_prob)
    if not rows.size:
        return (int(catalog["object_id"][0]),)
    position = np.stack([catalog["x"][rows], catalog["y"][rows]], axis=1)
    near = cKDTree(position).query_ball_point(position, assignment.stamps["light"].shape[-1])
    for row, others in zip(rows, near, strict=True):
        object_id = int(catalog["object_id"][row])
        light, footprint = (assignment.map(object_id, kind) for kind in ("light", "footprint"))
        overlaps = {}
        for other in rows[np.sort(others)]:
            if other == row:
                continue
            other_id = int(catalog["object_id"][other])
            shared = np.minimum(light, assignment.map(other_id, "light"))
            both = footprint * assignment.map(other_id, "footprint")
            overlaps[other_id] = 2.0 * float((shared * both).sum())
        blended = [key for key, value in overlaps.items() if value >= _LEAST_OVERLAP]
        if blended:
            ranked = sorted(blended, key=lambda key: -overlaps[key])
            return (object_id, *ranked[: most - 1])
    return (int(catalog["object_id"][rows[0]]),)
