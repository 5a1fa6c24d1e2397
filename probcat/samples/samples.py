"""Posterior samples of catalogs: in memory, as an xarray tree, and on disk.

A draw is an unordered catalog, so positions on the source axis carry no identity: slot 3 of one
draw and slot 3 of the next are unrelated. `active` marks the slots that hold a source.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.samples.netcdf import (
    SampleArrays,
    arrays_of_tree,
    build_tree,
    read_arrays,
    write_arrays,
)

if TYPE_CHECKING:
    import xarray

SHAPE_NAMES = ("half_light_radius", "ellipticity_1", "ellipticity_2", "sersic_n")
"""Shape properties of an extended source."""
FLOAT_NAMES = ("x", "y", "flux", *SHAPE_NAMES)
"""All properties of a source in one band that are numbers."""
FLAG_NAMES = ("is_extended", "active")
"""Properties of a source that are true or false."""


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """Draws from the posterior over catalogs.

    Parameters
    ----------
    sources : mapping of str to ndarray, shape (chain, draw, source)
        float32 `x`, `y` (pixels), `flux` (unit of the image), `half_light_radius` (pixels),
        `ellipticity_1`, `ellipticity_2` and `sersic_n`; bool `is_extended` and `active`. Shape
        properties are meaningful only for extended sources, and all properties only where `active`
        is true. With several bands `flux` is in the first band, and fluxes in the others are
        `flux_<band>`.
    scalars : mapping of str to ndarray, shape (chain, draw)
        Quantities with one value per catalog: `num_sources`, `log_likelihood`, ...
    stats : mapping of str to ndarray, shape (chain, draw)
        Statistics of the sampler, such as counts of accepted moves.
    attrs : mapping
        Seed, version, settings, unit, bands, and anything else that JSON can hold.

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
        """Number of draws per chain."""
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
        """Names of the fluxes in all bands but the first, such as `flux_i`."""
        return [name for name in self.sources if name.startswith("flux_")]

    def compact(self) -> Samples:
        """Return samples with active sources first, and no more slots than necessary.

        Returns
        -------
        Samples
            Samples whose source axis is as long as the largest number of active sources (at
            least 1). Numbers are NaN where inactive, and shape properties also for points;
            `is_extended` is false where inactive.
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
        """Return some draws of every chain.

        Parameters
        ----------
        draws : slice or sequence of int
            Draws to keep, for instance ``slice(None, None, 5)``.

        Returns
        -------
        Samples
        """

        def cut(group: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: np.asarray(values)[:, draws] for name, values in group.items()}

        return Samples(cut(self.sources), cut(self.scalars), cut(self.stats), self.attrs)

    def flatten(self) -> dict[str, np.ndarray]:
        """List all active sources of all draws.

        Returns
        -------
        dict of str to ndarray, shape (number of active sources,)
            The properties, and `sample`, which is chain * num_draws + draw, in increasing order;
            within a draw the slots keep their order.
        """
        active = np.asarray(self.sources["active"], dtype=bool)
        chain, draw, slot = np.nonzero(active)
        flat = {
            name: np.asarray(values)[chain, draw, slot] for name, values in self.sources.items()
        }
        return {"sample": chain * self.num_draws + draw, **flat}

    @staticmethod
    def concatenate(blocks: Sequence[Samples]) -> Samples:
        """Join blocks of draws of the same chains.

        Parameters
        ----------
        blocks : sequence of Samples
            Blocks in the order of their draws.

        Returns
        -------
        Samples
            All draws, with the attributes of the last block.

        Raises
        ------
        InputError
            If there is no block, or quantities or numbers of chains differ.
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
        """Return the samples as a tree that arviz reads.

        Returns
        -------
        xarray.DataTree
            Groups `posterior` (scalars; chain, draw), `sources` (chain, draw, source) and
            `sample_stats` (chain, draw). Every dimension has a coordinate.
        """
        return build_tree(self._arrays())

    @classmethod
    def from_datatree(cls, tree: xarray.DataTree) -> Samples:
        """Make samples from a tree.

        Parameters
        ----------
        tree : xarray.DataTree
            The result of `to_datatree`.

        Returns
        -------
        Samples

        Raises
        ------
        InputError
            If the tree lacks a group or a property.
        """
        return cls(*arrays_of_tree(tree))

    def to_netcdf(self, path: str | os.PathLike[str]) -> None:
        """Write the compacted samples as netCDF.

        The file appears under its name only when it is complete.

        Parameters
        ----------
        path : path_like
            An existing file is replaced.
        """
        write_arrays(path, self.compact()._arrays())

    @classmethod
    def from_netcdf(cls, path: str | os.PathLike[str]) -> Samples:
        """Read samples.

        Parameters
        ----------
        path : path_like
            A file that `to_netcdf` wrote.

        Returns
        -------
        Samples

        Raises
        ------
        InputError
            If there is no such file, or it holds no samples.
        """
        return cls(*read_arrays(path))

    def _arrays(self) -> SampleArrays:
        return SampleArrays(self.sources, self.scalars, self.stats, self.attrs)


def _pad_sources(values: np.ndarray, length: int) -> np.ndarray:
    """Lengthen a source axis by inactive slots; arrays with two dimensions stay as they are."""
    values = np.asarray(values)
    if values.ndim < 3 or values.shape[-1] == length:
        return values
    blank = False if values.dtype == bool else np.nan
    return np.pad(values, ((0, 0), (0, 0), (0, length - values.shape[-1])), constant_values=blank)
