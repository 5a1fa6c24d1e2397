"""From samples of unordered catalogs to one catalog of objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.linking import link, link_greedily
from probcat.mixture import Points, Scales
from probcat.samples import FLOAT_NAMES, SHAPE_NAMES, Samples

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS

QUANTILES = (0.16, 0.50, 0.84)
# FITS header keywords have at most eight characters.
_FITS_KEYWORDS = {
    "method": "CONDENSE",
    "radius": "LINKRAD",
    "min_prob": "MINPROB",
    "num_samples": "NSAMPLES",
    "num_unassigned": "NSTRAY",
}
_SUFFIXES = ("q16", "q50", "q84")
_DEFAULT_RADIUS = 0.75
# Position scatter of faint sources and of blends goes with the width of the PSF.
_RADIUS_PER_FWHM = 0.3


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
        `<name>_q16`, `<name>_q50`, `<name>_q84`. Shape properties are those of the extended
        members, NaN without any. Pixels and the samples' unit of flux.
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
        from astropy.table import Column, Table

        flux_unit = _flux_unit(unit)
        of_shape = {name: "pix" if name == "half_light_radius" else "" for name in SHAPE_NAMES}
        unit_of = {"x": "pix", "y": "pix", "flux": flux_unit, **of_shape}
        suffix = f"_{band}" if band else ""
        stem = {name: f"flux{suffix}" if name == "flux" else name for name in FLOAT_NAMES}
        table = Table(
            meta={_FITS_KEYWORDS.get(key, key): value for key, value in self.attrs.items()}
        )
        table.meta[_FITS_KEYWORDS["num_unassigned"]] = self.num_unassigned

        def add(name: str, values: np.ndarray, column_unit: Any = "") -> None:
            table[name] = Column(np.asarray(values), unit=column_unit or None)

        add("object_id", self["object_id"])
        for name in ("x", "y"):
            add(name, self[name], "pix")
            add(f"{name}_err", self[f"{name}_err"], "pix")
        if wcs is not None:
            for name, angle in zip(
                ("ra", "dec"), wcs.pixel_to_world_values(self["x"], self["y"]), strict=True
            ):
                add(name, angle, "deg")
        fluxes = [name for name in self.columns if name.startswith("flux_")]
        further = [name for name in fluxes if not re.search(r"_(err|q\d\d)$", name)]
        points = {"flux": zero_point}
        points |= {f"flux_{name}": value for name, value in (zero_points or {}).items()}
        for name in ("flux", *further):
            called = stem.setdefault(name, name)
            add(called, self[name], flux_unit)
            add(f"{called}_err", self[f"{name}_err"], flux_unit)
            point = points.get(name)
            if point is not None:
                mag = called.replace("flux", "mag", 1)
                add(mag, point - 2.5 * np.log10(self[name]), "mag")
                error = 2.5 / np.log(10.0) * self[f"{name}_err"] / self[name]
                add(f"{mag}_err", error, "mag")
        for name in ("prob_exist", "prob_star", "num_members"):
            add(name, self[name])
        for name in SHAPE_NAMES:
            add(name, self[name], unit_of[name])
            add(f"{name}_err", self[f"{name}_err"], unit_of[name])
        for name in (*FLOAT_NAMES, *further):
            for end in _SUFFIXES:
                add(f"{stem[name]}_{end}", self[f"{name}_{end}"], unit_of.get(name, flux_unit))
        return table


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
    radius : float, optional
        Farthest a member may be from its object, pixels. By default 0.3 of the PSF's full
        width at half maximum if the samples' attributes give `psf_fwhm`, else 0.75.
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
    log_flux = np.log(np.maximum(flat["flux"].astype(np.float64), np.finfo(np.float32).tiny))
    features = np.stack([flat["x"].astype(np.float64), flat["y"].astype(np.float64), log_flux], 1)
    points = Points(features, flat["sample"], flat["extended"].astype(bool), num_samples)
    if method == "mixture":
        label = link(points, Scales(radius), min_prob)
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
    for name in (*FLOAT_NAMES, *samples.band_fluxes):
        use = extended if name in SHAPE_NAMES else np.ones(len(index), dtype=bool)
        values = flat[name][member].astype(np.float64)[use]
        columns.update(_describe(name, index[use], values, size))
    members = np.full(samples.sources["active"].shape, -1, dtype=np.int32)
    members[np.asarray(samples.sources["active"], dtype=bool)] = label
    stray = float((~member).sum() / max(num_samples, 1))
    return CondensedCatalog(columns, members, stray, {**attrs, "num_samples": num_samples})


def _describe(name: str, index: np.ndarray, values: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Mean, standard deviation and quantiles by object; NaN where an object has no value."""
    count = np.bincount(index, minlength=size)
    safe = np.maximum(count, 1)
    mean = np.bincount(index, values, minlength=size) / safe
    variance = np.bincount(index, (values - mean[index]) ** 2, minlength=size) / safe
    order = np.lexsort((values, index))
    ordered = np.append(values[order], np.nan)
    start = np.cumsum(count) - count
    found: dict[str, np.ndarray] = {name: mean, f"{name}_err": np.sqrt(variance)}
    for end, level in zip(_SUFFIXES, QUANTILES, strict=True):
        place = level * (safe - 1)
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, safe - 1)
        below, above = ordered[start + low], ordered[start + high]
        found[f"{name}_{end}"] = below + (place - low) * (above - below)
    return {key: np.where(count > 0, column, np.nan) for key, column in found.items()}


def _flux_unit(name: str) -> Any:
    """Read a unit as FITS headers write it ("ADU"); one that astropy does not know is kept."""
    from astropy import units

    if not name:
        return ""
    try:
        return units.Unit(name.lower() if name.lower() in ("adu", "dn") else name)
    except ValueError:
        return units.Unit(name, parse_strict="silent")
