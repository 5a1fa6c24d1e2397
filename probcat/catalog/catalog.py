"""Objects, and the sampled sources that are their members."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.catalog.alternatives import Alternative, configurations
from probcat.catalog.netcdf import CatalogArrays, read_arrays, write_arrays
from probcat.catalog.statistics import mean_of_members
from probcat.catalog.substructure import fold_substructure
from probcat.catalog.table import alternatives_table, objects_table
from probcat.errors import InputError
from probcat.samples.per_image import check_images

if TYPE_CHECKING:
    from astropy.table import Table

    from probcat.image.image import Image
    from probcat.samples.samples import Samples


@dataclass(frozen=True, eq=False, repr=False)
class CondensedCatalog:
    """Objects, the brightest first, and the sampled sources that are their members.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (n,)
        Properties of the objects, in pixels and the samples' unit of flux.

        `object_id`
            Number of the object, from 1.
        `num_members`, `prob_exist`, `prob_star`
            Number of draws with a member, as a fraction of all draws, and the fraction of the
            members that are points.
        `x`, `y`, `flux`, `flux_<band>`, `half_light_radius`, `ellipticity_1`, ...
            Means over the members, with standard deviations `<name>_err` and the 16, 50 and 84 %
            quantiles `<name>_q16`, `<name>_q50`, `<name>_q84`. Shape properties are those of
            extended members, NaN if there are none. `<one>_<other>_cov` are covariances of x, y and
            all fluxes.
        `rhat`
            Split R-hat of the object's light.
        `prob_exist_mcse`, `ess_flux`
            Monte Carlo standard error of `prob_exist`, and effective sample size of the flux.
        `prob_blend`, `prob_triple`
            Fractions of the draws with a member in which at least two, or three, sources are in the
            object's core, see `probcat.catalog.multiplicity`; only if the width of the PSF is
            known.
        `alternative_group`, `num_alternatives`
            Brightest object of the group of objects that replace one another, 0 for an object in no
            group; and the number of the group's configurations with a probability of at least
            0.05.
        `num_components`
            Mean number of further sources that are parts of the object, in draws that contain it.
    members : ndarray of int32, shape (chain, draw, source)
        Row of the object of which each sampled source is a member, -1 for none. A row occurs at
        most once in a draw.
    num_unassigned : float
        Mean number of sources per draw that are members of no object.
    attrs : mapping
        How the objects were found: `method`, `radius`, `min_prob`, `substructure`,
        `num_samples`; and `images`, what is known of the images that were sampled.
    part_of : ndarray of int32, shape (chain, draw, source), optional
        For each source that is part of a galaxy, the position of the galaxy on the source axis; -1
        for others. Fluxes of objects include those of their parts.
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
        """Return the row of an object.

        Parameters
        ----------
        object_id : int
            Number of the object.

        Returns
        -------
        int

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
        """Row of the object to which each source's light belongs, also of parts; -1 for none."""
        if self.part_of is None:
            return self.members
        host = np.take_along_axis(self.members, np.maximum(self.part_of, 0), axis=-1)
        return np.where(self.part_of >= 0, host, self.members)

    def whole(self, samples: Samples) -> Samples:
        """Return the samples with the light of parts added to their galaxies.

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
        """Return the draws of one object, from which any function of it has a posterior.

        Parameters
        ----------
        samples : Samples
            The samples that were condensed.
        object_id : int
            Number of the object.

        Returns
        -------
        dict of str to ndarray, shape (num_members,)
            Properties of the object in the draws that contain it, with their `chain` and `draw`.
            Fluxes include those of its parts.

        Raises
        ------
        InputError
            If there is no such object, or these are not the samples that were condensed.
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
        return mean_of_members(samples, self.members, names, len(self))

    @property
    def covariance_names(self) -> tuple[str, ...]:
        """Names of the quantities of `covariance`: x, y and all fluxes."""
        further = (
            name.removeprefix("x_").removesuffix("_cov")
            for name in self.columns
            if name.startswith("x_") and name.endswith("_cov")
        )
        return ("x", *further)

    def covariance(self, object_id: int) -> np.ndarray:
        """Return the posterior covariance of position and fluxes of an object.

        Parameters
        ----------
        object_id : int
            Number of the object.

        Returns
        -------
        ndarray, shape (k, k)
            Covariances of the quantities `covariance_names`, in their units.

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
        """List the alternative explanations of an object's light, the most probable first.

        Parameters
        ----------
        object_id : int
            Number of the object.

        Returns
        -------
        list of Alternative
            Configurations of the object's group: which objects are present, with what posterior
            probability, and in which draws. Probabilities sum to one. An object in no group has up
            to two: it is present, or it is not.

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
        """Return the configurations of all groups as an astropy table.

        Parameters
        ----------
        min_prob : float
            Configurations that are less probable are left out.

        Returns
        -------
        astropy.table.Table
            Columns `alternative_group`, `configuration` (from 1 in every group, the most
            probable first), `prob`, and `object_ids`, the objects that are present, separated by
            spaces.
        """
        return alternatives_table(self.columns, self.members, min_prob)

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> CondensedCatalog:
        """Return a copy with further columns.

        Parameters
        ----------
        columns : mapping of str to ndarray, shape (n,)
            Columns that are added, or replace others of the same name.

        Returns
        -------
        CondensedCatalog
        """
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
