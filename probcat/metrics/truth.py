"""What is true of an image: sources, noise-free light of them, masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from probcat.errors import InputError

_OBJECT_COLUMNS = ("object_id", "object", "index", "source_id", "id")
_STARS = {"star", "stars", "psf", "point", "s"}
_GALAXIES = {"galaxy", "galaxies", "gal", "extended", "ext", "g"}


@dataclass(frozen=True, eq=False)
class Truth:
    """True objects of an image, as far as they are known.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Pixels of the first image, from 0.
    flux, mag : mapping of str to ndarray, shape (n,)
        By band; the band "" is the first image's.
    is_star : ndarray, shape (n,), optional
        1 for stars, 0 for galaxies, NaN where it is not known.
    light : mapping of str to ndarray, shape (n, ny, nx)
        Noise-free image of every object, by band.
    masks : ndarray of bool, shape (n, ny, nx), optional
        Pixels of every object.
    source : str
        The file, for messages.
    """

    x: np.ndarray
    y: np.ndarray
    flux: Mapping[str, np.ndarray] = field(default_factory=dict)
    mag: Mapping[str, np.ndarray] = field(default_factory=dict)
    is_star: np.ndarray | None = None
    light: Mapping[str, np.ndarray] = field(default_factory=dict)
    masks: np.ndarray | None = None
    source: str = "truth"

    def __len__(self) -> int:
        return len(self.x)


def truth_from_masks(
    array: Any, shape: tuple[int, int] | None = None, source: str = "truth"
) -> Truth:
    """Make a truth of masks or of a label image.

    Parameters
    ----------
    array : array_like
        Labels, shape (ny, nx), whole numbers, 0 for none; or masks, shape (n, ny, nx) or
        (ny, nx, n), true or 1 where the object is. Empty masks are left out.
    shape : tuple of int, optional
        (ny, nx) of the image.
    source : str
        For messages.

    Returns
    -------
    Truth
        Positions are centroids of the masks.

    Raises
    ------
    InputError
        If it is neither, or of another shape.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise InputError(f"{source}: masks must be numbers or booleans, found {array.dtype}")
    if array.ndim == 2:
        if (array != np.round(array)).any() or (array < 0).any():
            raise InputError(f"{source}: a label image holds whole numbers, 0 for no object")
        _check_shape(array.shape, shape, source)
        masks = array[None] == np.unique(array[array > 0])[:, None, None]
    elif array.ndim == 3:
        masks = _object_planes(array, shape, source)
        if not np.isin(masks, (0, 1)).all():
            raise InputError(f"{source}: masks hold 0 and 1, or true and false")
        masks = masks.astype(bool)
    else:
        raise InputError(
            f"{source}: has shape {array.shape}; give labels (ny, nx) or masks (objects, ny, nx)"
        )
    masks = masks[masks.any(axis=(1, 2))]
    x, y = _centroids(masks)
    return Truth(x, y, masks=masks, source=source)


def truth_from_light(
    light: Mapping[str, Any], table: Any = None, source: str = "truth", wcs: Any = None
) -> Truth:
    """Make a truth of noise-free images of components.

    Parameters
    ----------
    light : mapping of str to array_like, shape (components, ny, nx)
        By band; below zero is taken as none.
    table : astropy.table.Table, optional
        A row for each component.
    source : str
        For messages.
    wcs : astropy.wcs.WCS, optional

    Returns
    -------
    Truth
        Positions are the table's, or else centroids of the light of the first band.

    Raises
    ------
    InputError
        If numbers of components differ, or there are not three axes.
    """
    cubes = {band: np.maximum(np.asarray(cube, np.float64), 0.0) for band, cube in light.items()}
    counts = {cube.shape[0] if cube.ndim == 3 else -1 for cube in cubes.values()}
    if len(counts) != 1 or -1 in counts:
        shapes = ", ".join(str(cube.shape) for cube in cubes.values())
        raise InputError(f"{source}: noise-free images have shapes {shapes}; give equal numbers")
    number = counts.pop()
    if table is not None and len(table) != number:
        raise InputError(f"{source}: the table has {len(table)} rows for {number} components")
    group = np.arange(number)
    names = {} if table is None else {name.lower(): name for name in table.colnames}
    column = next((names[name] for name in _OBJECT_COLUMNS if name in names), None)
    if column is not None:
        _, group = np.unique(np.asarray(table[column]), return_inverse=True)
    size = int(group.max(initial=-1)) + 1
    joined = {}
    for band, cube in cubes.items():
        joined[band] = np.zeros((size, *cube.shape[1:]))
        np.add.at(joined[band], group, cube)
    flux = {band: cube.sum(axis=(1, 2)) for band, cube in joined.items()}
    # Any component's row stands for its object.
    row = np.unique(group, return_index=True)[1]
    if table is not None and ({"x", "y"} <= set(names) or {"ra", "dec"} <= set(names)):
        x, y = _positions(table, source, wcs)[row].T
        star = _types(table, source)
        star = None if star is None else star[row]
    else:
        x, y = _centroids(next(iter(joined.values())))
        star = None
    return Truth(x, y, flux, is_star=star, light=joined, source=source)


def truth_from_table(table: Any, source: str = "truth", wcs: Any = None) -> Truth:
    """Make a truth of a table of sources.

    Parameters
    ----------
    table : astropy.table.Table
        Columns as in `probcat.metrics.truth_files.read_truth`; rows without a position are left out.
    source : str
        For messages.
    wcs : astropy.wcs.WCS, optional

    Returns
    -------
    Truth

    Raises
    ------
    InputError
        If there are no positions.
    """
    from probcat.image.star_list import numbers

    position = _positions(table, source, wcs)
    kept = np.isfinite(position).all(axis=1)
    found: dict[str, dict[str, np.ndarray]] = {"flux": {}, "mag": {}}
    for name in table.colnames:
        stem, _, band = name.partition("_")
        low = stem.strip().lower()
        if low in found and not band.endswith(("err", "q16", "q50", "q84")):
            found[low][band] = numbers(table[name], source)[kept]
    star = _types(table, source)
    x, y = position[kept].T
    star = None if star is None else star[kept]
    return Truth(x, y, found["flux"], found["mag"], star, source=source)


def _positions(table: Any, source: str, wcs: Any) -> np.ndarray:
    from probcat.image.star_list import find_positions

    return find_positions(table, source, wcs)


def _types(table: Any, source: str) -> np.ndarray | None:
    """1 for stars, 0 for galaxies, NaN for unknown; None without such a column."""
    names = {name.strip().lower(): name for name in table.colnames}
    for key, sense in (("is_star", True), ("star", True), ("extended", False)):
        if key in names:
            flags = _flags(table[names[key]])
            return np.where(np.isfinite(flags), (flags != 0) == sense, np.nan).astype(float)
    for key in ("type", "class", "kind"):
        if key in names:
            words = [str(word).strip().lower() for word in table[names[key]]]
            value = dict.fromkeys(_STARS, 1.0) | dict.fromkeys(_GALAXIES, 0.0)
            return np.array([value.get(word, np.nan) for word in words])
    return None


def _flags(column: Any) -> np.ndarray:
    """1 for true, 0 for false, NaN where it is neither."""
    if np.asarray(column).dtype.kind not in "USO":
        return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
    words = dict.fromkeys(("true", "t", "yes", "1"), 1.0)
    words |= dict.fromkeys(("false", "f", "no", "0"), 0.0)
    return np.array([words.get(str(word).strip().lower(), np.nan) for word in column])


def _object_planes(array: np.ndarray, shape: tuple[int, int] | None, source: str) -> np.ndarray:
    """Bring masks into the order (objects, ny, nx)."""
    if shape is None or array.shape[1:] == tuple(shape):
        return array
    if array.shape[:2] == tuple(shape):
        return np.moveaxis(array, -1, 0)
    raise InputError(f"{source}: masks have shape {array.shape}, the image {tuple(shape)}")


def _check_shape(found: tuple[int, ...], shape: tuple[int, int] | None, source: str) -> None:
    if shape is not None and tuple(found) != tuple(shape):
        raise InputError(f"{source}: labels have shape {tuple(found)}, the image {tuple(shape)}")


def _centroids(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Light-weighted mean position of every plane; NaN where it is dark."""
    weight = np.asarray(planes, np.float64)
    total = weight.sum(axis=(1, 2))
    safe = np.where(total > 0, total, np.nan)
    rows, cols = np.arange(weight.shape[1]), np.arange(weight.shape[2])
    return (weight.sum(axis=1) @ cols) / safe, (weight.sum(axis=2) @ rows) / safe
