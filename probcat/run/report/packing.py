"""Compact arrays for the page: few bits per value, cut to pixels with values, and compressed."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from probcat.pixels.assignment import Assignment

LEVELS = 63
"""Number of steps of shares and probabilities, so that they compress to a few bits each."""
LARGEST_SIDE = 1500
"""Largest side of an image in the page, in pixels."""
_ALIGNMENT = 8
"""Arrays start at multiples of this number of bytes."""


class Stamps(NamedTuple):
    """Maps of all objects, cut to the pixels in which any of them is not zero.

    Attributes
    ----------
    boxes : ndarray of int32, shape (n, 4)
        First row and column, and numbers of rows and columns, which are 0 without a map.
    start : ndarray of uint32, shape (n,)
        Index of the first value of an object in every one of `values`.
    values : mapping of str to uint8 ndarray
        Maps by kind, those of all objects one after another, in steps of 1 / `LEVELS`.
    num_kept : int
        Number of objects, the first ones of the catalog, whose maps are kept.
    """

    boxes: np.ndarray
    start: np.ndarray
    values: Mapping[str, np.ndarray]
    num_kept: int


def pack(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, list[Any]], str]:
    """Join and compress arrays, and encode them as text.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Arrays by name.

    Returns
    -------
    index : dict of str to list
        Type, first byte, and number of elements of each array.
    text : str
        Base64 of a zlib stream.
    """
    index: dict[str, list[Any]] = {}
    parts: list[bytes] = []
    size = 0
    for name, values in arrays.items():
        little = np.ascontiguousarray(values, dtype=np.dtype(values.dtype).newbyteorder("<"))
        content = little.tobytes()
        content += b"\0" * (-len(content) % _ALIGNMENT)
        index[name] = [values.dtype.name, size, int(values.size)]
        parts.append(content)
        size += len(content)
    return index, base64.b64encode(zlib.compress(b"".join(parts), 9)).decode("ascii")


def quantise(values: np.ndarray, low: Any, high: Any, dtype: Any = np.uint16) -> np.ndarray:
    """Encode values as integers.

    Parameters
    ----------
    values : ndarray
        Values to encode.
    low, high : float or array_like
        Values that become 1 and the largest integer of the type; others are clipped.
    dtype : dtype
        Unsigned type of the integers.

    Returns
    -------
    ndarray of `dtype`
        0 stands for a value that is not finite.
    """
    steps = np.iinfo(dtype).max - 1
    finite = np.isfinite(values)
    width = np.where(np.subtract(high, low) > 0, np.subtract(high, low), 1.0)
    fraction = np.clip((np.where(finite, values, low) - low) / width, 0.0, 1.0)
    return np.where(finite, 1 + np.rint(steps * fraction), 0).astype(dtype)


def shrink_factor(shape: tuple[int, int]) -> int:
    """Return the number of pixels of an image along a side that the page averages into one."""
    return -(-max(shape) // LARGEST_SIDE)


def shrink(values: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of pixels without regard to NaN.

    Parameters
    ----------
    values : ndarray, shape (ny, nx) or (ny, nx, channels)
        Pixels.
    factor : int
        Side of a block; the last blocks of a side may be smaller.

    Returns
    -------
    ndarray of float64, shape (ceil(ny / factor), ceil(nx / factor), ...)
    """
    values = np.asarray(values, dtype=np.float64)
    if factor == 1:
        return values
    finite = np.isfinite(values)
    total, count = np.where(finite, values, 0.0), finite.astype(np.float64)
    for axis in (0, 1):
        edges = np.arange(0, values.shape[axis], factor)
        total, count = (np.add.reduceat(part, edges, axis=axis) for part in (total, count))
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)


def pack_stamps(assignment: Assignment, most: int) -> Stamps:
    """Cut the maps of objects to the pixels in which they are not zero.

    Parameters
    ----------
    assignment : Assignment
        Maps of an image.
    most : int
        Largest number of values of each kind; the last objects of the catalog have no map if
        there are more.

    Returns
    -------
    Stamps
    """
    shape, count = assignment.shape, len(assignment.object_ids)
    boxes, start = np.zeros((count, 4), np.int32), np.zeros(count, np.uint32)
    parts: dict[str, list[np.ndarray]] = {kind: [] for kind in assignment.stamps}
    size, num_kept = 0, count
    for row, origin in enumerate(np.asarray(assignment.origins)):
        coded = {
            kind: np.rint(LEVELS * np.clip(values[row], 0.0, 1.0)).astype(np.uint8)
            for kind, values in assignment.stamps.items()
        }
        lit = np.logical_or.reduce([values > 0 for values in coded.values()])
        y, x = np.nonzero(lit)
        inside = (y + origin[0] >= 0) & (y + origin[0] < shape[0])
        inside &= (x + origin[1] >= 0) & (x + origin[1] < shape[1])
        start[row] = size
        if not inside.any():
            continue
        y, x = y[inside], x[inside]
        cut = (slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1))
        height, width = cut[0].stop - cut[0].start, cut[1].stop - cut[1].start
        if size + height * width > most:
            num_kept = row
            break
        boxes[row] = origin[0] + y.min(), origin[1] + x.min(), height, width
        size += height * width
        for kind, values in coded.items():
            parts[kind].append(values[cut].ravel())
    joined = {kind: np.concatenate([np.zeros(0, np.uint8), *cuts]) for kind, cuts in parts.items()}
    return Stamps(boxes, start, joined, num_kept)
