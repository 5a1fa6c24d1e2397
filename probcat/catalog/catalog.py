"""Objects and the sampled sources that each consists of."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.catalog.alternatives import Alternative, configurations
from probcat.catalog.netcdf import CatalogArrays, read_arrays, write_arrays
from probcat.catalog.substructure import fold_substructure
from probcat.catalog.table import alternatives_table, objects_table
from probcat.errors import InputError
from probcat.samples.per_image import check_images
from probcat.samples.samples import SHAPE_NAMES

if TYPE_CHECKING:
    from astropy.table import Table

    from probcat.image.image import Image
    from probcat.samples.samples import Samples


@dataclass(frozen=True, eq=False, repr=False)
class CondensedCatalog:
    """Objects, the brightest first, and the sampled sources that each consists of.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (n,)
        `object_id` (from 1), `num_members`, `prob_exist` (share of the draws with a member),
        `prob_star` (share of the members that are points); and for each of x, y, flux,
        half_light_radius, ellipticity_1, ellipticity_2 and sersic_n its mean under its own
        name, its standard deviation as `<name>_err`, and its 16, 50 and 84 % points as
        `<name>_q16`, `<name>_q50`, `<name>_q84`. With several bands `flux_<band>` likewise.
        Shape properties are those of the extended members, NaN without any. Covariances of
        x, y and all fluxes are `<one>_<other>_cov`. `rhat` is the split R-hat of the object's
        light. `alternative_group` is the brightest object of those that stand in for one
        another (0 of an object in no such group), `num_alternatives` the number of their
        configurations with a probability of at least 0.05. `num_components` is the mean number of
        parts of a draw that holds the object. Pixels and the samples' unit of flux.
    members : ndarray of int32, shape (chain, draw, source)
        Row of the object that each sampled source is a member of, -1 for none. A row occurs at
        most once in a draw.
    num_unassigned : float
        Mean number of sources a draw that are members of no object.
    attrs : mapping
        How the objects were found: `method`, `radius`, `min_prob`, `parts`, `num_samples`.
    part_of : ndarray of int32, shape (chain, draw, source), optional
        Of sources that are parts of a galaxy its position on the source axis, else -1. Fluxes
        of objects have those of their parts in them.
    """

    columns: Mapping[str, np.ndarray]
    members: np.ndarray
    num_unassigned: float
    attrs: Mapping[str, Any] = field(default_factory=dict)
    part_of: np.ndarray | None = None

    def __repr__(self) -> str:
        chains, draws, _ = self.members.shape
        return (
            f"<CondensedCatalog: {len(self)} objects of {chains} x {draws} draws, "
            f"{len(self.columns)} columns>"
        )

    def __len__(self) -> int:
        return len(self.columns["object_id"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def row(self, object_id: int) -> int:
        """Row of an object.

        Raises
        ------
        InputError
            If there is no such object.
        """
        row = np.flatnonzero(self.columns["object_id"] == object_id)
        if not row.size:
            raise InputError(f"no object {object_id}: the catalog holds 1 to {len(self)}")
        return int(row[0])

    @property
    def owners(self) -> np.ndarray:
        """Row of the object that each source's light belongs to, parts included; -1 for none."""
        if self.part_of is None:
            return self.members
        host = np.take_along_axis(self.members, np.maximum(self.part_of, 0), axis=-1)
        return np.where(self.part_of >= 0, host, self.members)

    def whole(self, samples: Samples) -> Samples:
        """Give the samples with the light of parts added to their galaxies.

        Parameters
        ----------
        samples : Samples
            The samples that were condensed.

        Returns
        -------
        Samples
            Parts are inactive.
        """
        return samples if self.part_of is None else fold_substructure(samples, self.part_of)

    def posterior(self, samples: Samples, object_id: int) -> dict[str, np.ndarray]:
        """Draws of one object, so that any function of it has a posterior.

        Parameters
        ----------
        samples : Samples
            The samples that were condensed.
        object_id : int

        Returns
        -------
        dict of str to ndarray, shape (num_members,)
            Its properties, and `chain` and `draw`, in the draws that hold it. Fluxes have those
            of its parts in them.

        Raises
        ------
        InputError
            If there is no such object, or these are other samples.
        """
        if samples.sources["active"].shape != self.members.shape:
            raise InputError("these are not the samples that the catalog was condensed from")
        chain, draw, source = np.nonzero(self.members == self.row(object_id))
        sources = self.whole(samples).sources
        found = {name: values[chain, draw, source] for name, values in sources.items()}
        return {"chain": chain, "draw": draw, **found}

    def member_means(
        self, samples: Samples, names: Sequence[str] = ("x", "y")
    ) -> dict[str, np.ndarray]:
        """Compute means over the members of every object.

        Parameters
        ----------
        samples : Samples
            The samples that were condensed, or these in the pixels and the unit of one image.
        names : sequence of str
            Names of source properties.

        Returns
        -------
        dict of str to ndarray of float64, shape (n,)
            Means by property; those of shape properties are over extended members, NaN if an
            object has none.
        """
        extended = np.asarray(samples.sources["is_extended"], dtype=bool)
        found = {}
        for name in names:
            use = (self.members >= 0) & (extended if name in SHAPE_NAMES else True)
            row, values = self.members[use], np.asarray(samples.sources[name], np.float64)[use]
            count = np.bincount(row, minlength=len(self))
            total = np.bincount(row, values, minlength=len(self))
            found[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return found

    @property
    def covariance_names(self) -> tuple[str, ...]:
        """Quantities that `covariance` is of: x, y and all fluxes."""
        further = (
            name.removeprefix("x_").removesuffix("_cov")
            for name in self.columns
            if name.startswith("x_") and name.endswith("_cov")
        )
        return ("x", *further)

    def covariance(self, object_id: int) -> np.ndarray:
        """Posterior covariance of position and fluxes of an object.

        Parameters
        ----------
        object_id : int

        Returns
        -------
        ndarray, shape (k, k)
            Of the quantities `covariance_names`, in their units.

        Raises
        ------
        InputError
            If there is no such object.
        """
        row, names = self.row(object_id), self.covariance_names
        matrix = np.diag([self[f"{name}_err"][row] ** 2 for name in names])
        for i, one in enumerate(names):
            for j, other in enumerate(names[i + 1 :], start=i + 1):
                matrix[i, j] = matrix[j, i] = self[f"{one}_{other}_cov"][row]
        return matrix

    def alternatives(self, object_id: int) -> list[Alternative]:
        """Explanations of the light that an object is part of, the most probable first.

        Parameters
        ----------
        object_id : int

        Returns
        -------
        list of Alternative
            For every configuration of the object's group which objects are there, its
            posterior probability, and the draws that hold it. Probabilities sum to one. An
            object in no group is there, or is not.

        Raises
        ------
        InputError
            If there is no such object.
        """
        row = self.row(object_id)
        group = self["alternative_group"]
        rows = np.flatnonzero(group == group[row]) if group[row] else np.array([row])
        draws = [np.flatnonzero((self.members == each).any(axis=-1)) for each in rows]
        return configurations(draws, self["object_id"][rows].tolist(), self.members.shape[:2])

    def alternatives_table(self, min_prob: float = 0.01) -> Table:
        """Give the configurations of all groups as an astropy table.

        Parameters
        ----------
        min_prob : float
            Less probable ones are left out.

        Returns
        -------
        astropy.table.Table
            Columns `alternative_group`, `configuration` (from 1 in every group, the most
            probable first), `prob`, and `object_ids`, numbers separated by spaces.
        """
        return alternatives_table(self.columns, self.members, min_prob)

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> CondensedCatalog:
        """Copy with columns added or replaced, each of shape (n,)."""
        return replace(self, columns={**self.columns, **columns})

    def to_table(self, images: Image | Sequence[Image] | None = None) -> Table:
        """Return the objects as an astropy table with units, the columns of ``catalog.fits``.

        Parameters
        ----------
        images : Image or sequence of Image, optional
            The image that was sampled; if several were sampled, all of them in the same order.
            Their bands name the columns of fluxes (``flux_r``). The first one gives the
            unit of flux and, if it has a WCS, celestial positions; zero points give magnitudes
            (``mag_r``), which are NaN in a band without one.

        Returns
        -------
        astropy.table.Table
            One row for each object; `meta` holds how they were found, under FITS keywords. Without
            images there are no units of flux, magnitudes or celestial positions.

        Raises
        ------
        InputError
            If the images are not those that were sampled.
        """
        if images is not None:
            check_images(self.attrs.get("images", {}), images)
            images = list(images) if isinstance(images, Sequence) else [images]
        attrs = {**self.attrs, "num_unassigned": self.num_unassigned}
        return objects_table(self.columns, attrs, images or ())

    def to_netcdf(self, path: str | os.PathLike[str]) -> None:
        """Write the catalog and its members as netCDF.

        The file appears under its name only when it is complete.

        Parameters
        ----------
        path : path_like
            An existing file is replaced. The columns are variables of the dimension
            ``object``; ``members`` and ``part_of`` have the dimensions ``chain``, ``draw`` and
            ``source``, as the sources of the samples.
        """
        arrays = self.columns, self.members, self.num_unassigned, self.attrs, self.part_of
        write_arrays(path, CatalogArrays(*arrays))

    @classmethod
    def from_netcdf(cls, path: str | os.PathLike[str]) -> CondensedCatalog:
        """Read a catalog and its members.

        Parameters
        ----------
        path : path_like
            A file that `to_netcdf` wrote, such as ``members.nc`` of a run.

        Returns
        -------
        CondensedCatalog

        Raises
        ------
        InputError
            If there is no such file, or it holds no members of objects.
        """
        return cls(*read_arrays(path))
