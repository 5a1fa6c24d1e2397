"""Pixel-assignment maps: in full, as stamps, as hard labels and as run-length masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.pixels.run_lengths import encode_mask

if TYPE_CHECKING:
    from astropy.nddata import NDData

LABEL_FOOTPRINT = 0.5


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
        `photon`: probability that a photon of the pixel is the object's, that is the mean over
        all draws of its light over that of all sources and the background.
    unassigned : mapping of str to float32 ndarray, shape (ny, nx)
        The same for sources of no object: their share of the light, the probability that one
        of them is the brightest, that their light together exceeds three standard deviations,
        and their photons. Shares of all objects and this one sum to one wherever there is
        light; dominance sums to the probability that the pixel has light.
    shape : tuple of int
        (ny, nx) of the image.
    band : str
    background : float32 ndarray, shape (ny, nx), optional
        Of kind `photon`, the background's share. All objects, unassigned sources and this one
        sum to one in every pixel.
    snr_squared : float32 ndarray, shape (ny, nx), optional
        Squared signal-to-noise ratio of the pixel: the mean light of all sources squared over
        the variance of the noise; 0 where the pixel weighs nothing.
    wcs : astropy.wcs.WCS, optional
        Of the image.
    """

    object_ids: np.ndarray
    origins: np.ndarray
    stamps: Mapping[str, np.ndarray]
    unassigned: Mapping[str, np.ndarray]
    shape: tuple[int, int]
    band: str = ""
    background: np.ndarray | None = None
    snr_squared: np.ndarray | None = None
    wcs: Any = None

    def map(self, object_id: int, kind: str = "light", band: str | None = None) -> np.ndarray:
        """Give one object's map on the pixels of the image.

        Parameters
        ----------
        object_id : int
        kind : {"light", "dominant", "footprint", "photon"}
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
        row = self.row(object_id)
        self._check_kind(kind)
        if band is not None and band != self.band:
            raise InputError(f"no maps of band {band!r}: these are of band {self.band!r}")
        canvas = np.zeros(self.shape, dtype=np.float32)
        self.add_to(canvas, row, kind)
        return canvas

    def stamp(self, object_id: int, kind: str = "light") -> NDData:
        """Cut out one object's map.

        Parameters
        ----------
        object_id : int
        kind : {"light", "dominant", "footprint", "photon"}

        Returns
        -------
        astropy.nddata.NDData
            Data of shape (S, S), zero where the stamp reaches beyond the image, with the WCS of
            these pixels where the image has one. `meta` holds `object_id`, `kind`, `band`, and
            as `origin` the image pixel (row, column) of its first pixel.

        Raises
        ------
        InputError
            If there is no such object or kind.
        """
        from astropy.nddata import NDData

        row = self.row(object_id)
        self._check_kind(kind)
        (y0, x0), size = (int(value) for value in self.origins[row]), self.stamps[kind].shape[-1]
        data = np.zeros((size, size), dtype=np.float32)
        inside = overlap((y0, x0), size, self.shape)
        if inside is not None:
            data[inside[0]] = self.stamps[kind][row][inside[0]]
        wcs = None if self.wcs is None else _shifted(self.wcs, x0, y0)
        about = {"object_id": int(object_id), "kind": kind, "band": self.band, "origin": (y0, x0)}
        return NDData(data, wcs=wcs, meta=about)

    def to_labels(
        self, kind: str = "light", threshold: float = 0.0, min_footprint: float = LABEL_FOOTPRINT
    ) -> np.ndarray:
        """Give every pixel to one object, or to none.

        A pixel goes to the object of the largest value, the first of several, unless sources
        of no object, or of kind `photon` the background, hold more.

        Parameters
        ----------
        kind : {"light", "dominant", "footprint", "photon"}
        threshold : float
            Values at or below it own nothing.
        min_footprint : float
            Pixels count only where the footprint of some object has at least this probability,
            since shares say nothing of how much light there is; 0 takes all.

        Returns
        -------
        ndarray of int64, shape (ny, nx)
            Object identifiers; 0 for no object.

        Raises
        ------
        InputError
            If there is no such kind, or threshold or probability are not in [0, 1].
        """
        self._check_kind(kind)
        for name, value in (("threshold", threshold), ("min_footprint", min_footprint)):
            if not 0 <= value <= 1:
                raise InputError(f"{name} must be in [0, 1], got {value}")
        labels = np.zeros(self.shape, dtype=np.int64)
        best = np.maximum(self.unassigned[kind], np.float32(threshold))
        if kind == "photon" and self.background is not None:
            best = np.maximum(best, self.background)
        seen = np.zeros(self.shape, dtype=np.float32)
        for row, object_id in enumerate(self.object_ids):
            size = self.stamps[kind].shape[-1]
            inside = overlap(self.origins[row], size, self.shape)
            if inside is None:
                continue
            own, place = inside
            values = self.stamps[kind][row][own]
            more = values > best[place]
            best[place] = np.where(more, values, best[place])
            labels[place] = np.where(more, object_id, labels[place])
            if min_footprint > 0 and "footprint" in self.stamps:
                seen[place] = np.maximum(seen[place], self.stamps["footprint"][row][own])
        if min_footprint > 0 and "footprint" in self.stamps:
            labels[seen < min_footprint] = 0
        return labels

    def to_segmentation(self, **options: Any) -> Any:
        """Give `to_labels` as a segmentation image of photutils.

        Parameters
        ----------
        **options
            As in `to_labels`.

        Returns
        -------
        photutils.segmentation.SegmentationImage

        Raises
        ------
        InputError
            As `to_labels`, or if photutils is not installed.
        """
        try:
            from photutils.segmentation import SegmentationImage
        except ImportError:
            raise InputError(
                "a segmentation image needs photutils: pip install photutils"
            ) from None
        return SegmentationImage(self.to_labels(**options))

    def to_coco(self, threshold: float = 0.5, kind: str = "footprint") -> dict[int, dict[str, Any]]:
        """Give every object's mask as run lengths, compressed as COCO does.

        Parameters
        ----------
        threshold : float
            The mask is where the map exceeds it.
        kind : {"light", "dominant", "footprint", "photon"}

        Returns
        -------
        dict of int to dict
            By object identifier: `size`, [ny, nx], and `counts`, a string; what goes under
            `segmentation` in a COCO annotation, see `probcat.pixels.run_lengths.encode_mask`.

        Raises
        ------
        InputError
            If there is no such kind.
        """
        return {
            int(object_id): encode_mask(self.map(object_id, kind) > threshold)
            for object_id in self.object_ids
        }

    def add_to(self, canvas: np.ndarray, row: int, kind: str, scale: Any = 1.0) -> None:
        """Add `scale` times the map in a row to `canvas`, shape (ny, nx) or (ny, nx, channels)."""
        stamp = self.stamps[kind][row]
        inside = overlap(self.origins[row], stamp.shape[0], self.shape)
        if inside is not None:
            part = stamp[inside[0]] if canvas.ndim == 2 else stamp[inside[0]][..., None]
            canvas[inside[1]] += part * scale

    def row(self, object_id: int) -> int:
        """Row of an object; an `InputError` if there is none of this identifier."""
        row = np.flatnonzero(np.asarray(self.object_ids) == object_id)
        if not row.size:
            raise InputError(f"no object {object_id} among {len(self.object_ids)} assigned objects")
        return int(row[0])

    def _check_kind(self, kind: str) -> None:
        if kind not in self.stamps:
            raise InputError(f"no map of kind {kind!r}: there are {', '.join(self.stamps)}")


def overlap(
    origin: Any, size: int, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Pixels of a stamp that lie on the image: in the stamp, and in the image."""
    own, place = [], []
    for first, extent in zip(map(int, origin), shape, strict=True):
        low, high = max(first, 0), min(first + size, extent)
        if low >= high:
            return None
        own.append(slice(low - first, high - first))
        place.append(slice(low, high))
    return (own[0], own[1]), (place[0], place[1])


def _shifted(wcs: Any, x0: int, y0: int) -> Any:
    """Copy of a WCS for pixels that are counted from (x0, y0)."""
    from astropy.wcs import Sip

    moved = wcs.deepcopy()
    shift = np.array([x0, y0], dtype=np.float64)
    moved.wcs.crpix = moved.wcs.crpix - shift
    if moved.sip is not None:
        sip = moved.sip
        moved.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, sip.crpix - shift)
    return moved
