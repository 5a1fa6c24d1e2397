"""Samples as an xarray tree and as a netCDF file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from probcat.errors import InputError
from probcat.files.atomic import replacing

if TYPE_CHECKING:
    import xarray

_ATTRIBUTES_KEY = "probcat"
"""Attribute of the tree that holds the attributes of the samples as JSON."""
_AXES = ("chain", "draw", "source")
"""Dimensions of the sources; scalars and statistics have the first two."""
_SOURCE_UNITS = {"x": "pixel", "y": "pixel", "half_light_radius": "pixel"}
"""Units of properties that do not depend on the image."""
_FLAGS = ("is_extended", "active")
"""Properties that are stored as bytes."""


class SampleArrays(NamedTuple):
    """Contents of samples; the fields are those of `probcat.Samples`."""

    sources: Mapping[str, np.ndarray]
    scalars: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    attrs: Mapping[str, Any]


def build_tree(arrays: SampleArrays) -> xarray.DataTree:
    """Make the tree of samples; see `probcat.Samples.to_datatree`."""
    import xarray as xr

    shape = np.shape(arrays.sources["active"])
    index = {name: np.arange(length) for name, length in zip(_AXES, shape, strict=True)}

    def dataset(group: Mapping[str, np.ndarray], dims: tuple[str, ...]) -> xr.Dataset:
        units = {**_SOURCE_UNITS, "flux": str(arrays.attrs.get("unit", ""))}
        variables = {
            name: (dims, np.asarray(values), {"units": units[name]} if name in units else {})
            for name, values in group.items()
        }
        return xr.Dataset(variables, coords={dim: index[dim] for dim in dims})

    tree = xr.DataTree.from_dict(
        {
            "posterior": dataset(arrays.scalars, _AXES[:2]),
            "sources": dataset(arrays.sources, _AXES),
            "sample_stats": dataset(arrays.stats, _AXES[:2]),
        }
    )
    tree.attrs[_ATTRIBUTES_KEY] = to_json(arrays.attrs)
    return tree


def arrays_of_tree(tree: xarray.DataTree) -> SampleArrays:
    """Take the arrays out of a tree; see `probcat.Samples.from_datatree`."""
    missing = [name for name in ("posterior", "sources", "sample_stats") if name not in tree]
    if missing:
        raise InputError(f"samples lack the group {', '.join(missing)}")

    def group(name: str) -> dict[str, np.ndarray]:
        variables = tree[name].data_vars
        return {str(key): np.asarray(values.values) for key, values in variables.items()}

    sources = group("sources")
    sources.update({n: sources[n].astype(bool) for n in _FLAGS if n in sources})
    attrs = json.loads(tree.attrs.get(_ATTRIBUTES_KEY, "{}"))
    return SampleArrays(sources, group("posterior"), group("sample_stats"), attrs)


def write_arrays(path: str | os.PathLike[str], arrays: SampleArrays) -> None:
    """Write samples; see `probcat.Samples.to_netcdf`."""
    tree = build_tree(arrays)
    packed = {"zlib": True, "complevel": 1, "shuffle": True}
    encoding = {"/sources": {str(name): dict(packed) for name in tree["sources"].data_vars}}
    with replacing(path) as partial:
        tree.to_netcdf(partial, engine="h5netcdf", encoding=encoding)


def read_arrays(path: str | os.PathLike[str]) -> SampleArrays:
    """Read samples; see `probcat.Samples.from_netcdf`."""
    import xarray as xr

    if not Path(path).is_file():
        raise InputError(f"no samples: {path} does not exist")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return arrays_of_tree(tree)
    except OSError as error:
        raise InputError(f"{path} is not a netCDF file: {error}") from error


def to_json(attrs: Mapping[str, Any]) -> str:
    """Return attributes as JSON; numbers and arrays of numpy, and paths, become plain values."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        raise TypeError(f"an attribute of type {type(value).__name__} cannot be saved")

    return json.dumps(dict(attrs), default=plain)
