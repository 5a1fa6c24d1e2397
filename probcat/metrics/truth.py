"""The truth of an image: its sources, their noise-free light, their masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from probcat.errors import InputError

_OBJECT_COLUMNS = ("object_id", "object", "index", "source_id", "id")
"""Columns that may tell which object a component belongs to, the preferred one first."""
_STARS = {"star", "stars", "psf", "point", "s"}
"""Words for a star in a column of types."""
_GALAXIES = {"galaxy", "galaxies", "gal", "extended", "ext", "g"}
"""Words for a galaxy in a column of types."""


@dataclass(frozen=True, eq=False)
class Truth:
    """True objects of an image, as far as they are known.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions in pixels of the first image, from 0.
    flux, mag : mapping of str to ndarray, shape (n,)
        Fluxes and magnitudes by band; the band "" is that of the first image.
    is_star : ndarray, shape (n,), optional
        1 for stars, 0 for galaxies, NaN where the type is unknown.
    light : mapping of str to ndarray, shape (n, ny, nx)
        Noise-free image of every object, by band.
    masks : ndarray of bool, shape (n, ny, nx), optional
        True in the pixels of every object.
    source : str
        Name of the file, for messages.
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
    """Return the truth that masks or a label image describe.

    Parameters
    ----------
    array : array_like
        A label image of shape (ny, nx), whole numbers with 0 for no object; or masks of shape
        (n, ny, nx) or (ny, nx, n), true or 1 in the pixels of an object. Empty masks are left out.
    shape : tuple of int, optional
        (ny, nx) of the image, which decides the order of the axes.
    source : str
        Name of the file, for messages.

    Returns
    -------
    Truth
        Positions are the centroids of the masks.

    Raises
    ------
    InputError
        If the array is neither of the two, or has another shape than the image.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise InputError(f"{source}: masks must be numbers or booleans, found {array.dtype}")
    if array.ndim == 2:
        if (array != np.round(array)).any() or (array < 0).any():
            raise InputError(f"{source}: a label image must have whole numbers, 0 for no object")
        _check_shape(array.shape, shape, source)
        masks = array[None] == np.unique(array[array > 0])[:, None, None]
    elif array.ndim == 3:
        masks = _object_planes(array, shape, source)
        if not np.isin(masks, (0, 1)).all():
            raise InputError(f"{source}: masks must have values 0 and 1, or true and false")
        masks = masks.astype(bool)
    else:
        raise InputError(
            f"{source}: has shape {array.shape}; it must be (ny, nx) for labels, or "
            "(objects, ny, nx) for masks"
        )
    masks = masks[masks.any(axis=(1, 2))]
    x, y = _centroids(masks)
    return Truth(x, y, masks=masks, source=source)


def truth_from_light(
    light: Mapping[str, Any], table: Any = None, source: str = "truth", wcs: Any = None
) -> Truth:
    """Return the truth that noise-free images of components describe.

    Parameters
    ----------
    light : mapping of str to array_like, shape (components, ny, nx)
        Noise-free images by band; negative light counts as none.
    table : astropy.table.Table, optional
        A table with a row for each component: positions, types, and the object it belongs to.
    source : str
        Name of the file, for messages.
    wcs : astropy.wcs.WCS, optional
        WCS of the image, for positions on the sky.

    Returns
    -------
    Truth
        Positions are those of the table, or else centroids of the light in the first band.

    Raises
    ------
    InputError
        If the numbers of components differ, or an array does not have three axes.
    """
    cubes = {band: np.maximum(np.asarray(cube, np.float64), 0.0) for band, cube in light.items()}
    number = _num_components(cubes, source)
    if table is not None and len(table) != number:
        raise InputError(f"{source}: the table has {len(table)} rows for {number} components")
    names = {} if table is None else {name.lower(): name for name in table.colnames}
    column = next((names[name] for name in _OBJECT_COLUMNS if name in names), None)
    ids = np.arange(number) if column is None else np.asarray(table[column])
    # The first component of an object gives its position and type.
    _, row, object_of = np.unique(ids, return_index=True, return_inverse=True)
    joined = {}
    for band, cube in cubes.items():
        joined[band] = np.zeros((len(row), *cube.shape[1:]))
        np.add.at(joined[band], object_of, cube)
    flux = {band: cube.sum(axis=(1, 2)) for band, cube in joined.items()}
    if table is not None and ({"x", "y"} <= set(names) or {"ra", "dec"} <= set(names)):
        x, y = _positions(table, source, wcs)[row].T
        star = _types(table)
        star = None if star is None else star[row]
    else:
        x, y = _centroids(next(iter(joined.values())))
        star = None
    return Truth(x, y, flux, is_star=star, light=joined, source=source)


def truth_from_table(table: Any, source: str = "truth", wcs: Any = None) -> Truth:
    """Return the truth that a table of sources describes.

    Parameters
    ----------
    table : astropy.table.Table
        Columns as in `probcat.read_truth`; rows without a position are left out.
    source : str
        Name of the file, for messages.
    wcs : astropy.wcs.WCS, optional
        WCS of the image, for positions on the sky.

    Returns
    -------
    Truth

    Raises
    ------
    InputError
        If the table has no columns of positions.
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
    star = _types(table)
    x, y = position[kept].T
    star = None if star is None else star[kept]
    return Truth(x, y, found["flux"], found["mag"], star, source=source)


def _num_components(cubes: Mapping[str, np.ndarray], source: str) -> int:
    """Return the number of components, which must be the same in every band."""
    counts = {cube.shape[0] if cube.ndim == 3 else -1 for cube in cubes.values()}
    if len(counts) != 1 or -1 in counts:
        shapes = ", ".join(str(cube.shape) for cube in cubes.values())
        raise InputError(
            f"{source}: noise-free images have shapes {shapes}; they must be (components, ny, nx) "
            "with equal numbers of components"
        )
    return counts.pop()


def _positions(table: Any, source: str, wcs: Any) -> np.ndarray:
    """Return the positions (x, y) in a table, NaN where there is none."""
    from probcat.image.star_list import find_positions

    return find_positions(table, source, wcs)


def _types(table: Any) -> np.ndarray | None:
    """Return 1 for stars, 0 for galaxies, NaN for unknown; None without such a column."""
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
    """Return 1 for true, 0 for false, NaN for anything else."""
    if np.asarray(column).dtype.kind not in "USO":
        return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
    words = dict.fromkeys(("true", "t", "yes", "1"), 1.0)
    words |= dict.fromkeys(("false", "f", "no", "0"), 0.0)
    return np.array([words.get(str(word).strip().lower(), np.nan) for word in column])


def _object_planes(array: np.ndarray, shape: tuple[int, int] | None, source: str) -> np.ndarray:
    """Return masks with their axes in the order (objects, ny, nx)."""
    if shape is None or array.shape[1:] == tuple(shape):
        return array
    if array.shape[:2] == tuple(shape):
        return np.moveaxis(array, -1, 0)
    raise InputError(f"{source}: masks have shape {array.shape}, but the image {tuple(shape)}")


def _check_shape(found: tuple[int, ...], shape: tuple[int, int] | None, source: str) -> None:
    """Refuse labels that do not cover the pixels of the image."""
    if shape is not None and tuple(found) != tuple(shape):
        raise InputError(
            f"{source}: labels have shape {tuple(found)}, but the image {tuple(shape)}"
        )


def _centroids(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the light-weighted mean position (x, y) of every plane, NaN if it is dark."""
    weight = np.asarray(planes, np.float64)
    total = weight.sum(axis=(1, 2))
    safe = np.where(total > 0, total, np.nan)
    rows, cols = np.arange(weight.shape[1]), np.arange(weight.shape[2])
    return (weight.sum(axis=1) @ cols) / safe, (weight.sum(axis=2) @ rows) / safe
