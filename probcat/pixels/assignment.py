"""Pixel-assignment maps: as images, stamps, labels and run-length masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from probcat.errors import InputError
from probcat.pixels.run_lengths import encode_mask

if TYPE_CHECKING:
    from astropy.nddata import NDData

LABEL_FOOTPRINT = 0.5
"""Probability of a footprint from which a pixel can be given to an object."""
Kind = Literal["light", "dominant", "footprint", "photon"]
"""What a map tells of a pixel; see `Assignment`."""
KINDS: tuple[Kind, ...] = get_args(Kind)
"""All kinds of maps."""


@dataclass(frozen=True, eq=False, repr=False)
class Assignment:
    """Pixel-assignment maps of every object, stored as stamps.

    Parameters
    ----------
    object_ids : ndarray of int, shape (n,)
        Numbers of the objects.
    origins : ndarray of int, shape (n, 2)
        Row and column of the image pixel at which an object's stamp starts; may lie outside the
        image.
    stamps : mapping of str to float32 ndarray, shape (n, S, S)
        Maps by kind. `light`: mean share of the sources' light in the pixel, over the draws in
        which the pixel is lit (all sources together give at least 0.1 standard deviations of
        the noise). `dominant`: probability that the pixel is lit and the object is its brightest
        source. `footprint`: probability that the object's own light exceeds three standard
        deviations of the noise. `photon`: probability that a photon of the pixel comes from
        the object, which is the mean over all draws of its light divided by that of all sources
        and the background.
    unassigned : mapping of str to float32 ndarray, shape (ny, nx)
        The same maps for sources that belong to no object: their share of the light, the
        probability that one of them is the brightest, the probability that their light together
        exceeds three standard deviations, and their share of the photons. With these, shares of
        the light sum to one wherever there is light, and probabilities of dominance sum to the
        probability that the pixel is lit.
    shape : tuple of int
        Shape (ny, nx) of the image.
    band : str
        Band of the image.
    background : float32 ndarray, shape (ny, nx), optional
        The background's share of the photons. Shares of all objects, unassigned sources and
        background sum to one in every pixel.
    snr_squared : float32 ndarray, shape (ny, nx), optional
        Squared signal-to-noise ratio of the pixel: the squared mean light of all sources divided
        by the variance of the noise; 0 where the pixel has zero weight.
    wcs : astropy.wcs.WCS, optional
        WCS of the image.
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

    def __repr__(self) -> str:
        ny, nx = self.shape
        band = f", band {self.band!r}" if self.band else ""
        return (
            f"<Assignment: {len(self.object_ids)} objects on {ny} x {nx} pixels{band}; "
            f"kinds {', '.join(self.stamps)}>"
        )

    def map(self, object_id: int, kind: Kind = "light") -> np.ndarray:
        """Return one object's map on the pixels of the image.

        Parameters
        ----------
        object_id : int
            Number of the object.
        kind : {"light", "dominant", "footprint", "photon"}
            What the map tells of a pixel; see `Assignment`.

        Returns
        -------
        ndarray of float32, shape (ny, nx)
            Zero outside of the object's stamp.

        Raises
        ------
        InputError
            If there is no such object or kind.
        """
        row = self.row(object_id)
        self._check_kind(kind)
        canvas = np.zeros(self.shape, dtype=np.float32)
        self.add_to(canvas, row, kind)
        return canvas

    def stamp(self, object_id: int, kind: Kind = "light") -> NDData:
        """Return one object's map on the pixels of its stamp.

        Parameters
        ----------
        object_id : int
            Number of the object.
        kind : {"light", "dominant", "footprint", "photon"}
            What the map tells of a pixel; see `Assignment`.

        Returns
        -------
        astropy.nddata.NDData
            Data of shape (S, S), zero where the stamp extends beyond the image, with a WCS if the
            image has one. `meta` holds `object_id`, `kind`, `band`, and as `origin` the image
            pixel (row, column) of the first pixel.

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
        self, kind: Kind = "light", threshold: float = 0.0, min_footprint: float = LABEL_FOOTPRINT
    ) -> np.ndarray:
        """Assign every pixel to one object, or to none.

        A pixel belongs to the object with the largest value, the first of several equal ones,
        unless sources that belong to no object, or the background if the kind is `photon`, have a
        larger one.

        Parameters
        ----------
        kind : {"light", "dominant", "footprint", "photon"}
            Maps to compare.
        threshold : float
            Pixels without a value above this belong to no object.
        min_footprint : float
            Pixels outside of all footprints of at least this probability belong to no object,
            since a share does not tell how much light there is; 0 takes all pixels.

        Returns
        -------
        ndarray of int64, shape (ny, nx)
            Numbers of objects; 0 for none.

        Raises
        ------
        InputError
            If there is no such kind, or the threshold or the probability is not in [0, 1].
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
            own, there = inside
            values = self.stamps[kind][row][own]
            more = values > best[there]
            best[there] = np.where(more, values, best[there])
            labels[there] = np.where(more, object_id, labels[there])
            if min_footprint > 0 and "footprint" in self.stamps:
                seen[there] = np.maximum(seen[there], self.stamps["footprint"][row][own])
        if min_footprint > 0 and "footprint" in self.stamps:
            labels[seen < min_footprint] = 0
        return labels

    def to_segmentation(self, **options: Any) -> Any:
        """Return the labels as a segmentation image of photutils.

        Parameters
        ----------
        **options
            Options of `to_labels`.

        Returns
        -------
        photutils.segmentation.SegmentationImage

        Raises
        ------
        InputError
            For the reasons of `to_labels`, or if photutils is not installed.
        """
        try:
            from photutils.segmentation import SegmentationImage
        except ImportError:
            raise InputError(
                "a segmentation image needs photutils: pip install photutils"
            ) from None
        return SegmentationImage(self.to_labels(**options))

    def to_coco(
        self, threshold: float = 0.5, kind: Kind = "footprint"
    ) -> dict[int, dict[str, Any]]:
        """Return the masks of all objects as compressed run lengths of COCO.

        Parameters
        ----------
        threshold : float
            A pixel is in the mask if the map exceeds this.
        kind : {"light", "dominant", "footprint", "photon"}
            Maps to use.

        Returns
        -------
        dict of int to dict
            By the number of the object: `size`, [ny, nx], and `counts`, a string. This is the value
            of `segmentation` in a COCO annotation, see `probcat.pixels.run_lengths.encode_mask`.

        Raises
        ------
        InputError
            If there is no such kind.
        """
        return {
            int(object_id): encode_mask(self.map(object_id, kind) > threshold)
            for object_id in self.object_ids
        }

    def add_to(self, canvas: np.ndarray, row: int, kind: Kind, scale: Any = 1.0) -> None:
        """Add one object's map to an image.

        Parameters
        ----------
        canvas : ndarray, shape (ny, nx) or (ny, nx, channels)
            Image, which is changed.
        row : int
            Row of the object.
        kind : {"light", "dominant", "footprint", "photon"}
            Map to add.
        scale : float or array_like, shape (channels,)
            Factor of the map.
        """
        stamp = self.stamps[kind][row]
        inside = overlap(self.origins[row], stamp.shape[0], self.shape)
        if inside is not None:
            part = stamp[inside[0]] if canvas.ndim == 2 else stamp[inside[0]][..., None]
            canvas[inside[1]] += part * scale

    def row(self, object_id: int) -> int:
        """Return the row of an object, or raise `InputError` if there is no such object."""
        row = np.flatnonzero(np.asarray(self.object_ids) == object_id)
        if not row.size:
            raise InputError(
                f"no object {object_id} among the {len(self.object_ids)} objects with maps"
            )
        return int(row[0])

    def _check_kind(self, kind: str) -> None:
        if kind not in self.stamps:
            raise InputError(f"no map of kind {kind!r}: there are {', '.join(self.stamps)}")


def overlap(
    origin: Any, size: int, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return the pixels of a stamp that lie on an image, as slices of the stamp and of the image.

    Parameters
    ----------
    origin : sequence of int
        Image pixel (row, column) at which the stamp starts.
    size : int
        Side of the stamp.
    shape : tuple of int
        Shape (ny, nx) of the image.

    Returns
    -------
    tuple of tuple of slice, or None
        None if the stamp misses the image.
    """
    own, there = [], []
    for first, extent in zip(map(int, origin), shape, strict=True):
        low, high = max(first, 0), min(first + size, extent)
        if low >= high:
            return None
        own.append(slice(low - first, high - first))
        there.append(slice(low, high))
    return (own[0], own[1]), (there[0], there[1])


def _shifted(wcs: Any, x0: int, y0: int) -> Any:
    """Copy of a WCS for pixels counted from (x0, y0)."""
    from astropy.wcs import Sip

    moved = wcs.deepcopy()
    shift = np.array([x0, y0], dtype=np.float64)
    moved.wcs.crpix = moved.wcs.crpix - shift
    if moved.sip is not None:
        sip = moved.sip
        moved.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, sip.crpix - shift)
    return moved
