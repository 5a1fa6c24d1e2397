"""Posterior samples of catalogs: in memory, as an xarray tree, and on disk.

A draw is an unordered catalog, so the source axis carries no identity: slot 3 of one draw
and slot 3 of the next have nothing to do with each other. `active` marks the slots that
hold a source.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.files.atomic import replacing

if TYPE_CHECKING:
    import xarray

SHAPE_NAMES = ("half_light_radius", "ellipticity_1", "ellipticity_2", "sersic_n")
FLOAT_NAMES = ("x", "y", "flux", *SHAPE_NAMES)
FLAG_NAMES = ("is_extended", "active")

_ATTRIBUTES_KEY = "probcat"
_SOURCE_UNITS = {"x": "pixel", "y": "pixel", "half_light_radius": "pixel"}


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """Draws from the posterior over catalogs.

    Parameters
    ----------
    sources : mapping of str to ndarray, shape (chain, draw, source)
        float32 `x`, `y` (pixel), `flux` (the image's unit), `half_light_radius` (pixel),
        `ellipticity_1`, `ellipticity_2`, `sersic_n`; bool `is_extended` and `active`.
        Shape properties count only where a source is extended; nothing counts where
        `active` is False. With several bands `flux` is that of the first, and those of the
        others are `flux_<band>`.
    scalars : mapping of str to ndarray, shape (chain, draw)
        Quantities that every catalog has one of: `num_sources`, `log_likelihood`, ...
    stats : mapping of str to ndarray, shape (chain, draw)
        What the sampler did: acceptance by move.
    attrs : mapping
        Whatever JSON can hold: seed, version, settings, unit, band.

    Raises
    ------
    InputError
        If a property is missing, or shapes disagree.
    """

    sources: Mapping[str, np.ndarray]
    scalars: Mapping[str, np.ndarray] = field(default_factory=dict)
    stats: Mapping[str, np.ndarray] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [name for name in (*FLOAT_NAMES, *FLAG_NAMES) if name not in self.sources]
        if missing:
            raise InputError(f"samples lack the source properties {', '.join(missing)}")
        shape = np.shape(self.sources["active"])
        if len(shape) != 3:
            raise InputError(
                f"source properties need axes (chain, draw, source), got shape {shape}"
            )
        groups = (("source property", self.sources, shape), ("scalar", self.scalars, shape[:2]))
        for kind, group, expected in (*groups, ("statistic", self.stats, shape[:2])):
            for name, values in group.items():
                if np.shape(values) != expected:
                    found = np.shape(values)
                    raise InputError(f"{kind} {name} has shape {found}, expected {expected}")

    def __repr__(self) -> str:
        bands = 1 + len(self.band_fluxes)
        return (
            f"<Samples: {self.num_chains} chains x {self.num_draws} draws of up to "
            f"{self.capacity} sources in {bands} band{'s' if bands > 1 else ''}>"
        )

    @property
    def num_chains(self) -> int:
        """Number of chains."""
        return self.sources["active"].shape[0]

    @property
    def num_draws(self) -> int:
        """Number of draws a chain."""
        return self.sources["active"].shape[1]

    @property
    def capacity(self) -> int:
        """Length of the source axis."""
        return self.sources["active"].shape[2]

    @property
    def num_sources(self) -> np.ndarray:
        """Number of active sources, int64, shape (chain, draw)."""
        return np.asarray(self.sources["active"]).sum(axis=-1)

    @property
    def band_fluxes(self) -> list[str]:
        """Names of the fluxes in the bands beyond the first, such as `flux_i`."""
        return [name for name in self.sources if name.startswith("flux_")]

    def compact(self) -> Samples:
        """Move active sources to the front of their draw and cut the source axis.

        Returns
        -------
        Samples
            Its source axis is as long as the largest number of active sources (at least 1).
            Float properties are NaN where inactive, shape properties also where a source is
            a point; `is_extended` is False where inactive.
        """
        active = np.asarray(self.sources["active"], dtype=bool)
        length = max(int(active.sum(axis=-1).max(initial=0)), 1)
        order = np.argsort(~active, axis=-1, kind="stable")[..., :length]

        def take(name: str) -> np.ndarray:
            return np.take_along_axis(np.asarray(self.sources[name]), order, axis=-1)

        kept = take("active").astype(bool)
        extended = take("is_extended").astype(bool) & kept
        sources: dict[str, np.ndarray] = {"is_extended": extended, "active": kept}
        for name in (*FLOAT_NAMES, *self.band_fluxes):
            valid = extended if name in SHAPE_NAMES else kept
            sources[name] = np.where(valid, take(name), np.nan).astype(np.float32)
        return Samples(sources, self.scalars, self.stats, self.attrs)

    def select_draws(self, draws: slice | Sequence[int] | np.ndarray) -> Samples:
        """Keep some draws of every chain, for instance `slice(None, None, 5)`."""

        def cut(group: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: np.asarray(values)[:, draws] for name, values in group.items()}

        return Samples(cut(self.sources), cut(self.scalars), cut(self.stats), self.attrs)

    def flatten(self) -> dict[str, np.ndarray]:
        """List all active sources of all draws.

        Returns
        -------
        dict of str to ndarray, shape (number of active sources,)
            The properties, and `sample`: chain * num_draws + draw, in rising order; within a
            sample the slots' order is kept.
        """
        active = np.asarray(self.sources["active"], dtype=bool)
        chain, draw, slot = np.nonzero(active)
        flat = {
            name: np.asarray(values)[chain, draw, slot] for name, values in self.sources.items()
        }
        return {"sample": chain * self.num_draws + draw, **flat}

    @staticmethod
    def concatenate(blocks: Sequence[Samples]) -> Samples:
        """Join blocks of draws of the same chains, in order; attributes are the last block's.

        Raises
        ------
        InputError
            If there is no block, or names or numbers of chains differ.
        """
        if not blocks:
            raise InputError("no samples to join")
        length = max(block.capacity for block in blocks)

        def join(groups: list[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
            if any(group.keys() != groups[0].keys() for group in groups):
                raise InputError("blocks of samples hold different quantities")
            return {
                name: np.concatenate(
                    [_pad_sources(group[name], length) for group in groups], axis=1
                )
                for name in groups[0]
            }

        if len({block.num_chains for block in blocks}) > 1:
            raise InputError("blocks of samples have different numbers of chains")
        return Samples(
            join([block.sources for block in blocks]),
            join([block.scalars for block in blocks]),
            join([block.stats for block in blocks]),
            blocks[-1].attrs,
        )

    def to_datatree(self) -> xarray.DataTree:
        """Give the samples as a tree that arviz reads.

        Returns
        -------
        xarray.DataTree
            Groups `posterior` (scalars; chain, draw), `sources` (chain, draw, source) and
            `sample_stats` (chain, draw). Every dimension has a coordinate.
        """
        import xarray as xr

        axes = {
            "chain": np.arange(self.num_chains),
            "draw": np.arange(self.num_draws),
            "source": np.arange(self.capacity),
        }

        def dataset(group: Mapping[str, np.ndarray], dims: tuple[str, ...]) -> xr.Dataset:
            units = {**_SOURCE_UNITS, "flux": str(self.attrs.get("unit", ""))}
            variables = {
                name: (dims, np.asarray(values), {"units": units[name]} if name in units else {})
                for name, values in group.items()
            }
            return xr.Dataset(variables, coords={dim: axes[dim] for dim in dims})

        tree = xr.DataTree.from_dict(
            {
                "posterior": dataset(self.scalars, ("chain", "draw")),
                "sources": dataset(self.sources, ("chain", "draw", "source")),
                "sample_stats": dataset(self.stats, ("chain", "draw")),
            }
        )
        tree.attrs[_ATTRIBUTES_KEY] = to_json(self.attrs)
        return tree

    @classmethod
    def from_datatree(cls, tree: xarray.DataTree) -> Samples:
        """Read back what `to_datatree` gave.

        Raises
        ------
        InputError
            If the tree lacks a group or a property.
        """
        missing = [name for name in ("posterior", "sources", "sample_stats") if name not in tree]
        if missing:
            raise InputError(f"samples lack the group {', '.join(missing)}")

        def group(name: str) -> dict[str, np.ndarray]:
            variables = tree[name].data_vars
            return {str(key): np.asarray(values.values) for key, values in variables.items()}

        sources = group("sources")
        sources.update({n: sources[n].astype(bool) for n in FLAG_NAMES if n in sources})
        attrs = json.loads(tree.attrs.get(_ATTRIBUTES_KEY, "{}"))
        return cls(sources, group("posterior"), group("sample_stats"), attrs)

    def to_netcdf(self, path: str | os.PathLike[str]) -> None:
        """Write the compacted samples as netCDF.

        The file appears under its name only when it is whole: it is written beside it,
        flushed to disk, and renamed.

        Parameters
        ----------
        path : path-like
            An existing file is replaced.
        """
        tree = self.compact().to_datatree()
        packed = {"zlib": True, "complevel": 1, "shuffle": True}
        encoding = {"/sources": {str(name): dict(packed) for name in tree["sources"].data_vars}}
        with replacing(path) as partial:
            tree.to_netcdf(partial, engine="h5netcdf", encoding=encoding)

    @classmethod
    def from_netcdf(cls, path: str | os.PathLike[str]) -> Samples:
        """Read samples from a file that `to_netcdf` wrote.

        Raises
        ------
        InputError
            If there is no such file, or it holds no samples.
        """
        import xarray as xr

        if not Path(path).is_file():
            raise InputError(f"no samples: {path} does not exist")
        try:
            with xr.open_datatree(path, engine="h5netcdf") as tree:
                return cls.from_datatree(tree)
        except OSError as error:
            raise InputError(f"{path} is not a netCDF file: {error}") from error


def _pad_sources(values: np.ndarray, length: int) -> np.ndarray:
    """Lengthen a source axis with inactive slots; two-dimensional arrays stay as they are."""
    values = np.asarray(values)
    if values.ndim < 3 or values.shape[-1] == length:
        return values
    blank = False if values.dtype == bool else np.nan
    return np.pad(values, ((0, 0), (0, 0), (0, length - values.shape[-1])), constant_values=blank)


def to_json(attrs: Mapping[str, Any]) -> str:
    """Write attributes as JSON; numpy numbers, arrays and paths become plain values."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        raise TypeError(f"an attribute of type {type(value).__name__} cannot be saved")

    return json.dumps(dict(attrs), default=plain)
