"""From samples of unordered catalogs to one catalog of objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.alternatives import Alternative, Presence, configurations, group_columns
from probcat.catalog_table import alternatives_table, objects_table
from probcat.errors import InputError
from probcat.linking import link, link_greedily
from probcat.mixture import Points, Scales
from probcat.object_statistics import chain_disagreement, covariances, describe
from probcat.samples import FLOAT_NAMES, SHAPE_NAMES, Samples

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS

METHODS = ("mixture", "greedy")
_DEFAULT_RADIUS = 0.75
# Position scatter of faint sources and of blends goes with the width of the PSF.
_RADIUS_PER_FWHM = 0.3
# Sources closer than this many radii (three quarters of the PSF's width) may be one or two.
_ALTERNATIVE_RADII = 2.5


@dataclass(frozen=True)
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
        configurations with a probability of at least 0.05. Pixels and the samples' unit of
        flux.
    members : ndarray of int32, shape (chain, draw, source)
        Row of the object that each sampled source is a member of, -1 for none. A row occurs at
        most once in a draw.
    num_unassigned : float
        Mean number of sources a draw that are members of no object.
    attrs : mapping
        How the objects were found: `method`, `radius`, `min_prob`, `num_samples`.
    """

    columns: Mapping[str, np.ndarray]
    members: np.ndarray
    num_unassigned: float
    attrs: Mapping[str, Any] = field(default_factory=dict)

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
            Its properties, and `chain` and `draw`, in the draws that hold it.

        Raises
        ------
        InputError
            If there is no such object, or these are other samples.
        """
        if samples.sources["active"].shape != self.members.shape:
            raise InputError("these are not the samples that the catalog was condensed from")
        chain, draw, source = np.nonzero(self.members == self.row(object_id))
        found = {name: values[chain, draw, source] for name, values in samples.sources.items()}
        return {"chain": chain, "draw": draw, **found}

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
        return configurations(self.members, rows, self["object_id"])

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
        return alternatives_table(self, min_prob)

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> CondensedCatalog:
        """Copy with columns added or replaced, each of shape (n,)."""
        return replace(self, columns={**self.columns, **columns})

    def to_table(
        self,
        wcs: WCS | None = None,
        zero_point: float | None = None,
        band: str = "",
        unit: str = "",
        zero_points: Mapping[str, float] | None = None,
    ) -> Table:
        """Give the objects as an astropy table with units.

        Parameters
        ----------
        wcs : astropy.wcs.WCS, optional
            Adds `ra` and `dec`, degrees.
        zero_point : float, optional
            Magnitude of one unit of flux; adds `mag_<band>` and `mag_<band>_err`.
        band : str
            Ends the names of fluxes and magnitudes: `flux_r`.
        unit : str
            Unit of flux.
        zero_points : mapping of str to float, optional
            Those of further bands, by band.

        Returns
        -------
        astropy.table.Table
            One row an object. `meta` holds how they were found, under FITS keywords.
        """
        return objects_table(self, wcs, zero_point, band, unit, zero_points or {})


def condense(
    samples: Samples,
    *,
    method: str = "mixture",
    radius: float | None = None,
    min_prob: float = 0.05,
) -> CondensedCatalog:
    """Condense samples of unordered catalogs to objects.

    Parameters
    ----------
    samples : Samples
        At least one draw.
    method : {"mixture", "greedy"}
        "mixture" fits a mixture of objects and matches every draw to it one to one; "greedy"
        is PCAT's scheme, for comparison. See `probcat.linking`.
        In several bands objects are told apart by their colours too.
    radius : float, optional
        Sources of different draws within it may be the same at first sight, pixels; members
        may be twice as far from their object where its own scatter allows ("mixture"). By
        default 0.3 of the PSF's full width at half maximum if the samples' attributes give
        `psf_fwhm`, else 0.75.
    min_prob : float
        Objects that exist with a smaller probability are dropped; their sources count as
        unassigned.

    Returns
    -------
    CondensedCatalog

    Raises
    ------
    InputError
        If the method is unknown, the radius is not positive, or min_prob is not in [0, 1].
    """
    if radius is None:
        fwhm = samples.attrs.get("psf_fwhm")
        radius = _DEFAULT_RADIUS if fwhm is None else _RADIUS_PER_FWHM * float(fwhm)
    if not (radius > 0 and np.isfinite(radius)):
        raise InputError(f"the linking radius must be positive, got {radius}")
    if not 0 <= min_prob <= 1:
        raise InputError(f"min_prob must be in [0, 1], got {min_prob}")
    num_samples = samples.num_chains * samples.num_draws
    flat = samples.flatten()
    log_flux = _log(flat["flux"])
    others = [_log(flat[name]) - log_flux for name in samples.band_fluxes]
    place = [flat[name].astype(np.float64) for name in ("x", "y")]
    features = np.stack([*place, log_flux, *others], axis=1)
    points = Points(features, flat["sample"], flat["extended"].astype(bool), num_samples)
    if method == "mixture":
        label = link(points, Scales(radius, num_colours=len(others)), min_prob)
    elif method == "greedy":
        label = link_greedily(points, radius, min_prob)
    else:
        raise InputError(f'unknown method {method!r}: use "mixture" or "greedy"')
    return _collect(
        samples, flat, label, {"method": method, "radius": radius, "min_prob": min_prob}
    )


def _collect(
    samples: Samples, flat: dict[str, np.ndarray], label: np.ndarray, attrs: dict[str, Any]
) -> CondensedCatalog:
    """Sort objects by flux and describe each by its members."""
    num_samples = samples.num_chains * samples.num_draws
    size = int(label.max(initial=-1)) + 1
    member = label >= 0
    total = np.bincount(label[member], flat["flux"][member], minlength=size)
    count = np.bincount(label[member], minlength=size)
    rank = np.empty(size, dtype=np.int64)
    rank[np.argsort(-total / np.maximum(count, 1), kind="stable")] = np.arange(size)
    label = np.where(member, rank[label] if size else label, -1)
    index, extended = label[member], flat["extended"][member].astype(bool)
    count = np.bincount(index, minlength=size)
    columns = {
        "object_id": np.arange(1, size + 1),
        "num_members": count,
        "prob_exist": count / max(num_samples, 1),
        "prob_star": 1.0 - np.bincount(index, extended, minlength=size) / np.maximum(count, 1),
    }
    values = {name: flat[name][member].astype(np.float64) for name in flat if name != "sample"}
    for name in (*FLOAT_NAMES, *samples.band_fluxes):
        use = extended if name in SHAPE_NAMES else np.ones(len(index), dtype=bool)
        columns.update(describe(name, index[use], values[name][use], size))
    joint = ("x", "y", "flux", *samples.band_fluxes)
    columns |= covariances({name: values[name] for name in joint}, index, size)
    chain, draw = np.divmod(flat["sample"][member], max(samples.num_draws, 1))
    sizes = (size, samples.num_chains, samples.num_draws)
    columns["rhat"] = chain_disagreement(index, chain, draw, values["flux"], sizes)
    members = np.full(samples.sources["active"].shape, -1, dtype=np.int32)
    members[np.asarray(samples.sources["active"], dtype=bool)] = label
    position = np.stack([columns["x"], columns["y"]], axis=1)
    # Shapes count where an object is more often extended than not.
    radii = np.where(columns["prob_star"] < 0.5, columns["half_light_radius"], 0.0)
    presence = Presence.from_members(
        index, flat["sample"][member], values["flux"], num_samples, (position, radii)
    )
    columns |= group_columns(presence, _ALTERNATIVE_RADII * attrs["radius"])
    stray = float((~member).sum() / max(num_samples, 1))
    return CondensedCatalog(columns, members, stray, {**attrs, "num_samples": num_samples})


def _log(flux: np.ndarray) -> np.ndarray:
    """Natural logarithm in double precision, finite where a flux vanishes in single."""
    return np.log(np.maximum(flux.astype(np.float64), np.finfo(np.float32).tiny))
