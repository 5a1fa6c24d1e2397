"""Which object owns which pixel: probabilities from samples and their condensed catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.ownership import KINDS, accumulate, stamp_corners
from probcat.posterior import choose_draws, default_renderer, thin_draws
from probcat.samples import Samples

if TYPE_CHECKING:
    from probcat.condensing import CondensedCatalog
    from probcat.image import Image
    from probcat.render import Renderer


@dataclass(frozen=True, eq=False)
class Assignment:
    """Pixel-assignment maps of every object, kept as stamps.

    Parameters
    ----------
    object_ids : ndarray of int, shape (n,)
    origins : ndarray of int, shape (n, 2)
        Row and column of the image pixel that a stamp starts at; may be outside the image.
    stamps : mapping of str to float32 ndarray, shape (n, S, S)
        By kind. `light`: mean share of the sources' light in the pixel, over the draws in
        which it has light (at least `LIT_SIGMA` of the noise). `dominant`: probability that
        the pixel has light and the object is the brightest source there. `footprint`:
        probability that the object's own light exceeds three standard deviations of the noise.
    unassigned : mapping of str to float32 ndarray, shape (ny, nx)
        The same for sources of no object: their share of the light, the probability that one
        of them is the brightest, and that their light together exceeds three standard
        deviations. Shares of all objects and this one sum to one wherever there is light;
        dominance sums to the probability that the pixel has light.
    shape : tuple of int
        (ny, nx) of the image.
    band : str
    """

    object_ids: np.ndarray
    origins: np.ndarray
    stamps: Mapping[str, np.ndarray]
    unassigned: Mapping[str, np.ndarray]
    shape: tuple[int, int]
    band: str = ""

    def map(self, object_id: int, kind: str = "light", band: str | None = None) -> np.ndarray:
        """Give one object's map on the pixels of the image.

        Parameters
        ----------
        object_id : int
        kind : {"light", "dominant", "footprint"}
        band : str, optional
            Must be the band of the maps where it is given.

        Returns
        -------
        ndarray of float32, shape (ny, nx)

        Raises
        ------
        InputError
            If there is no such object, kind or band.
        """
        row = np.flatnonzero(np.asarray(self.object_ids) == object_id)
        if not row.size:
            raise InputError(f"no object {object_id} among {len(self.object_ids)} assigned objects")
        if kind not in self.stamps:
            raise InputError(f"no map of kind {kind!r}: there are {', '.join(self.stamps)}")
        if band is not None and band != self.band:
            raise InputError(f"no maps of band {band!r}: these are of band {self.band!r}")
        canvas = np.zeros(self.shape, dtype=np.float32)
        self.add_to(canvas, int(row[0]), kind)
        return canvas

    def add_to(self, canvas: np.ndarray, row: int, kind: str, scale: Any = 1.0) -> None:
        """Add `scale` times the map in a row to `canvas`, shape (ny, nx) or (ny, nx, channels)."""
        stamp = self.stamps[kind][row]
        (y0, x0), size = self.origins[row], stamp.shape[0]
        low_y, low_x = max(y0, 0), max(x0, 0)
        high_y, high_x = min(y0 + size, self.shape[0]), min(x0 + size, self.shape[1])
        if low_y < high_y and low_x < high_x:
            part = stamp[low_y - y0 : high_y - y0, low_x - x0 : high_x - x0]
            part = part if canvas.ndim == 2 else part[..., None]
            canvas[low_y:high_y, low_x:high_x] += part * scale


def assign_pixels(
    samples: Samples,
    catalog: CondensedCatalog,
    image: Image,
    renderer: Renderer | None = None,
    *,
    max_draws: int = 200,
    max_memory: float = 1024.0,
) -> Assignment:
    """Compute who owns the light of every pixel.

    Every draw is rendered source by source; light that a stamp holds below zero is taken as
    none. A source's share of a pixel is its light over that of all sources, background aside.

    Parameters
    ----------
    samples : Samples
    catalog : CondensedCatalog
        Condensed from these very samples.
    image : Image
        Gives the pixels' noise. Where a variance cannot be used, the median of the others
        stands in.
    renderer : Renderer, optional
        By default that of the image's PSF.
    max_draws : int
        Evenly spaced draws that are used.
    max_memory : float
        MiB for the maps of one pass; more objects than fit take more passes.

    Returns
    -------
    Assignment

    Raises
    ------
    InputError
        If the catalog is not of these samples, or a setting is not positive.
    """
    if catalog.members.shape != samples.sources["active"].shape:
        raise InputError("these are not the samples that the catalog was condensed from")
    if max_draws < 1 or max_memory <= 0:
        raise InputError("max_draws and max_memory must be positive")
    renderer = default_renderer(samples, image) if renderer is None else renderer
    chosen = choose_draws(samples, max_draws)
    draws = thin_draws(samples, chosen)
    members = catalog.members.reshape(-1, samples.capacity)[chosen]
    active = np.asarray(draws.active)
    loose = _slots(np.where(active & (members < 0), 0, -1), None)
    noise = _noise(image)
    corners, side = stamp_corners(renderer, draws)
    origins, size = _windows(corners, side, members, len(catalog))

    # Light, dominance, footprint, and the member's own light at hand.
    per_object = 4 * (len(KINDS) + 1) * size * size
    chunk = max(1, int(max_memory * 2**20 // per_object))
    parts, unassigned = [], None
    for start in range(0, max(len(catalog), 1), chunk):
        rows = slice(start, min(start + chunk, len(catalog)))
        slots = _slots(members, (rows.start, rows.stop))
        tables = accumulate(renderer, draws, slots, loose, origins[rows], noise, (side, size))
        parts.append(tables[0])
        unassigned = tables[1]
    stamps = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    return Assignment(
        object_ids=np.asarray(catalog["object_id"]),
        origins=origins,
        stamps=dict(zip(KINDS, stamps, strict=True)),
        unassigned=dict(zip(KINDS, unassigned or (), strict=True)),
        shape=image.shape,
        band=image.band,
    )


def _windows(
    corners: np.ndarray, side: int, members: np.ndarray, num_objects: int
) -> tuple[np.ndarray, int]:
    """Choose where each object's stamp starts, and a side that holds all its members' stamps."""
    draw, source = np.nonzero(members >= 0)
    row, corner = members[draw, source], corners[draw, source].astype(np.int64)
    low = np.full((num_objects, 2), np.iinfo(np.int64).max)
    high = np.full((num_objects, 2), np.iinfo(np.int64).min)
    np.minimum.at(low, row, corner)
    np.maximum.at(high, row, corner)
    # An object may have no member among the draws that are used.
    low, high = np.where(low > high, 0, low), np.where(low > high, 0, high)
    return low, side + int((high - low).max(initial=0))


def _slots(members: np.ndarray, rows: tuple[int, int] | None) -> np.ndarray:
    """List where each draw holds each object.

    Parameters
    ----------
    members : ndarray of int, shape (draws, sources)
        Object of each source, -1 for none.
    rows : tuple of int, optional
        Range of objects; without it, members are packed to the front instead.

    Returns
    -------
    ndarray of int32, shape (draws, objects) or (draws, largest number of members)
        Source index; the number of sources where there is none.
    """
    draw, source = np.nonzero(members >= 0)
    if rows is None:
        place = (np.cumsum(members >= 0, axis=1) - 1)[draw, source]
        width, inside = int((members >= 0).sum(axis=1).max(initial=0)), np.ones(len(draw), bool)
    else:
        place = members[draw, source] - rows[0]
        width, inside = rows[1] - rows[0], (place >= 0) & (place < rows[1] - rows[0])
    slots = np.full((len(members), width), members.shape[1], dtype=np.int32)
    slots[draw[inside], place[inside]] = source[inside]
    return slots


def _noise(image: Image) -> np.ndarray:
    """Give every pixel a standard deviation, float32; the median where the weight is zero."""
    weight = np.asarray(image.weight)
    good = weight > 0
    sigma = np.ones(weight.shape, dtype=np.float32)
    sigma[good] = 1.0 / np.sqrt(weight[good])
    sigma[~good] = np.median(sigma[good]) if good.any() else np.inf
    return sigma
