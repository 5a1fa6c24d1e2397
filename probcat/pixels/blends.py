"""Footprints of objects on the pixels, the blends that they form, and blendedness."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from probcat.catalog.catalog import CondensedCatalog
    from probcat.image.image import Image
    from probcat.pixels.assignment import Assignment
    from probcat.samples.samples import Samples

_SURE = 0.5
"""Objects that exist with a smaller probability do not connect others to a blend."""
_MIN_OVERLAP = 1.0
"""Overlap of two objects in pixels from which they count as blended."""


class Footprints(NamedTuple):
    """Footprints of objects in one image.

    Parameters
    ----------
    share : scipy.sparse.csr_array, shape (objects, ny * nx)
        Its structure gives the pixels of each object, its values the object's mean share of the
        light in the draws that contain the object.
    x, y : ndarray of int, shape (nnz,)
        Column and row of each pixel of `share`, in its order.
    """

    share: csr_array
    x: np.ndarray
    y: np.ndarray

    def any_of(self, pixels: np.ndarray) -> np.ndarray:
        """Return which objects cover any of some pixels, bool (objects,).

        Parameters
        ----------
        pixels : ndarray of bool, shape (ny, nx)
            Where the pixels are.
        """
        hit = pixels[self.y, self.x]
        row = np.repeat(np.arange(self.share.shape[0]), np.diff(self.share.indptr))
        return np.bincount(row[hit], minlength=self.share.shape[0]) > 0


def positions(samples: Samples, catalog: CondensedCatalog) -> np.ndarray:
    """Return the mean positions of objects in the pixels of an image.

    Parameters
    ----------
    samples : Samples
        Samples in the pixels of the image, see `probcat.samples.per_image`.
    catalog : CondensedCatalog
        Objects and their members.

    Returns
    -------
    ndarray, shape (objects, 2)
        Positions (x, y).
    """
    means = catalog.member_means(samples)
    return np.stack([means["x"], means["y"]], axis=1)


def find_footprints(
    catalog: CondensedCatalog, assignment: Assignment, image: Image, position: np.ndarray
) -> Footprints:
    """Find the footprints of objects.

    A footprint is where the object's own light exceeds three standard deviations of the noise with
    a probability above one half, given that the object exists. If there is no such pixel, it is
    the area within the half-light radius of the object as the image shows it.

    Parameters
    ----------
    catalog : CondensedCatalog
        Objects.
    assignment : Assignment
        Maps of these objects in the image.
    image : Image
        Gives shape and PSF.
    position : ndarray, shape (objects, 2)
        Positions (x, y) of the objects in the image.

    Returns
    -------
    Footprints
    """
    rows, columns, shares, count = [], [], [], np.zeros(len(catalog), dtype=np.int64)
    extended = np.where(catalog["prob_star"] < 0.5, catalog["half_light_radius"], 0.0)
    radius = np.hypot(np.nan_to_num(extended), 0.5 * image.psf.fwhm)
    footprint, light = (assignment.stamps[kind] for kind in ("footprint", "light"))
    (height, width), size = image.shape, footprint.shape[-1] if len(catalog) else 1
    y, x = np.mgrid[:size, :size]
    for index, prob in enumerate(catalog["prob_exist"]):
        y0, x0 = assignment.origins[index]
        inside = (y + y0 >= 0) & (y + y0 < height) & (x + x0 >= 0) & (x + x0 < width)
        covered = inside & (footprint[index] > 0.5 * prob)
        if not covered.any():
            away = np.hypot(x + x0 - position[index, 0], y + y0 - position[index, 1])
            covered = inside & (away <= radius[index])
        rows.append(y[covered] + y0)
        columns.append(x[covered] + x0)
        shares.append(np.clip(light[index][covered] / prob, 0.0, 1.0))
        count[index] = len(shares[-1])
    none = np.zeros(0, dtype=np.int64)
    row, column = (np.concatenate([*parts, none]).astype(np.int64) for parts in (rows, columns))
    start = np.concatenate([[0], np.cumsum(count)])
    share = csr_array(
        (np.concatenate([*shares, np.zeros(0)]), row * width + column, start),
        shape=(len(catalog), height * width),
    )
    return Footprints(share, column, row)


def blend_columns(
    catalog: CondensedCatalog, footprints: Footprints, light: np.ndarray
) -> dict[str, np.ndarray]:
    r"""Compute the columns `blend_id` and `blendedness`.

    Objects that exist with a probability of at least one half and share a pixel of their
    footprints are one blend, as are objects that are alternatives of each other; any other object
    belongs to the blend with which it shares most pixels. A blend has the number of its brightest
    object. Blendedness is the other objects' share of the light,

        b_k = 1 - sum_F s_k L / sum_F L

    over the footprint F, with the share s_k of the object and the mean light L of all sources.

    Parameters
    ----------
    catalog : CondensedCatalog
        Objects.
    footprints : Footprints
        Their footprints in one image.
    light : ndarray, shape (ny, nx)
        L, posterior mean without the background.

    Returns
    -------
    dict of str to ndarray, shape (objects,)
        Blendedness is in [0, 1], and 0 if there is no light at all.
    """
    share = footprints.share
    covers = csr_array((np.ones(share.nnz), share.indices, share.indptr), shape=share.shape)
    flat = np.maximum(light, 0.0).ravel().astype(np.float64)
    own, total = share @ flat, covers @ flat
    blended = 1.0 - np.divide(own, total, out=np.ones(len(catalog)), where=total > 0)
    overlap = (covers @ covers.T).tocoo()
    brightest = _brightest_of_blends(catalog, overlap.row, overlap.col, overlap.data)
    return {
        "blend_id": catalog["object_id"][brightest],
        "blendedness": np.clip(blended, 0.0, 1.0),
    }


def _brightest_of_blends(
    catalog: CondensedCatalog, one: np.ndarray, other: np.ndarray, pixels: np.ndarray
) -> np.ndarray:
    """Row of the brightest object of each object's blend; probable objects come first."""
    size = len(catalog)
    if not size:
        return np.zeros(0, dtype=np.int64)
    sure = catalog["prob_exist"] >= _SURE
    both = sure[one] & sure[other]
    links = [np.stack([one[both], other[both]])]
    group = catalog["alternative_group"]
    grouped = np.flatnonzero(group > 0)
    links.append(np.stack([grouped, group[grouped] - 1]))
    # The largest overlap is written last.
    loose = ~sure[one] & sure[other]
    order = np.argsort(pixels[loose], kind="stable")
    nearest = np.full(size, -1)
    nearest[one[loose][order]] = other[loose][order]
    attached = np.flatnonzero((nearest >= 0) & (group == 0))
    links.append(np.stack([attached, nearest[attached]]))
    edges = np.concatenate(links, axis=1)
    graph = csr_array((np.ones(edges.shape[1]), (edges[0], edges[1])), shape=(size, size))
    component = connected_components(graph, directed=False)[1]
    order = np.lexsort((np.arange(size), ~sure, component))
    first = order[np.diff(component[order], prepend=-1) != 0]
    return first[component]


def find_brightest_blend(
    catalog: CondensedCatalog, assignment: Assignment, *, min_prob: float = 0.5, most: int = 3
) -> tuple[int, ...]:
    """Find the brightest object whose footprint overlaps others, and these others.

    The overlap of two objects is the sum over pixels of the product of their footprint
    probabilities times twice the smaller of their shares of the light: a pixel that both own
    equally counts as one, a pixel that only one of them owns as zero.

    Parameters
    ----------
    catalog : CondensedCatalog
        Objects.
    assignment : Assignment
        Maps of these objects.
    min_prob : float
        Objects that exist with a smaller probability are not considered.
    most : int
        Largest number of objects to return.

    Returns
    -------
    tuple of int
        Numbers of objects, the brightest first, then by overlap with it. If none overlap, the
        brightest object alone; empty if there are no objects.
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
        blended = [key for key, value in overlaps.items() if value >= _MIN_OVERLAP]
        if blended:
            ranked = sorted(blended, key=lambda key: -overlaps[key])
            return (object_id, *ranked[: most - 1])
    return (int(catalog["object_id"][rows[0]]),)
