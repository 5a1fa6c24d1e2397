"""A condensed catalog and its members as a netCDF file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from probcat.errors import InputError
from probcat.files.atomic import replacing
from probcat.samples.netcdf import to_json

_ATTRIBUTES_KEY = "probcat"
"""Attribute of the file that holds the attributes of the catalog as JSON."""
_AXES = ("chain", "draw", "source")
"""Dimensions of arrays with one element per sampled source."""
_COMPRESSED = {"zlib": True, "complevel": 1, "shuffle": True}
"""Compression of a variable."""


class CatalogArrays(NamedTuple):
    """Contents of a condensed catalog; the fields are those of `probcat.CondensedCatalog`."""

    columns: Mapping[str, np.ndarray]
    members: np.ndarray
    num_unassigned: float
    attrs: Mapping[str, Any]
    part_of: np.ndarray | None


def write_arrays(path: str | os.PathLike[str], arrays: CatalogArrays) -> None:
    """Write a condensed catalog; see `probcat.CondensedCatalog.to_netcdf`."""
    import xarray as xr

    variables = {name: (("object",), np.asarray(v)) for name, v in arrays.columns.items()}
    of_sources = {"members": arrays.members, "part_of": arrays.part_of}
    linked = {name: (_AXES, np.asarray(v)) for name, v in of_sources.items() if v is not None}
    about = {"attrs": dict(arrays.attrs), "num_unassigned": arrays.num_unassigned}
    dataset = xr.Dataset({**variables, **linked}, attrs={_ATTRIBUTES_KEY: to_json(about)})
    # HDF5 cannot compress arrays without elements.
    encoding = {name: dict(_COMPRESSED) for name, each in dataset.data_vars.items() if each.size}
    with replacing(path) as partial:
        dataset.to_netcdf(partial, engine="h5netcdf", encoding=encoding)


def read_arrays(path: str | os.PathLike[str]) -> CatalogArrays:
    """Read a condensed catalog; see `probcat.CondensedCatalog.from_netcdf`."""
    import xarray as xr

    if not Path(path).is_file():
        raise InputError(f"no members of objects: {path} does not exist")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            found = {str(name): np.asarray(v.values) for name, v in dataset.data_vars.items()}
            text = dataset.attrs.get(_ATTRIBUTES_KEY)
    except OSError as error:
        raise InputError(f"{path} is not a netCDF file: {error}") from error
    if text is None or "members" not in found:
        raise InputError(f"{path} holds no members of objects")
    about = json.loads(text)
    members, part_of = found.pop("members"), found.pop("part_of", None)
    return CatalogArrays(found, members, about["num_unassigned"], about["attrs"], part_of)
