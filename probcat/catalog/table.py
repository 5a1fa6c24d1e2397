"""A condensed catalog as a table with units, magnitudes and celestial positions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.catalog.alternatives import configurations, draws_by_row
from probcat.catalog.statistics import SUFFIXES
from probcat.errors import InputError
from probcat.numerics.shape_matrices import matrix_elements
from probcat.samples.samples import SHAPE_NAMES

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS

    from probcat.image.image import Image

_FITS_KEYWORDS = {
    "method": "CONDENSE",
    "radius": "LINKRAD",
    "min_prob": "MINPROB",
    "num_samples": "NSAMPLES",
    "num_unassigned": "NSTRAY",
    "substructure": "SUBSTRUC",
}
"""Keywords of a FITS header, of at most eight characters, by attribute of the catalog."""
_DESCRIPTIONS = {
    "x": "column, 0-based, pixel centres at integers",
    "y": "row, 0-based, pixel centres at integers",
    "prob_exist": "fraction of draws that contain it",
    "prob_star": "fraction of its members that are points",
    "num_members": "number of draws that contain it",
    "prob_blend": "probability that two or more sources are in its core",
    "prob_triple": "probability that three or more sources are in its core",
    "num_components": "mean number of sources that are parts of it",
    "alternative_group": "brightest object of its alternatives, 0: none",
    "num_alternatives": "configurations of its group, prob >= 0.05",
    "blend_id": "brightest object of its blend",
    "blendedness": "others' share of the light in its footprint",
    "ra_err": "on the sky, times cos(dec)",
    "half_light_radius": "geometric mean of the semi-axes",
    "half_light_radius_sky": "geometric mean of the semi-axes",
    "position_angle": "of the major axis, east of north",
    "rhat": "split R-hat of its light",
    "prob_exist_mcse": "Monte Carlo standard error",
    "ess_flux": "effective sample size of the flux",
    "flags": "bit mask, see the FLAG keywords",
}
"""Descriptions of columns whose names do not suffice."""
_MEMBERSHIP = ("prob_exist", "prob_star", "num_members")
"""Columns of every catalog that are copied as they are."""
_FURTHER = (
    "prob_blend",
    "prob_triple",
    "num_components",
    "alternative_group",
    "num_alternatives",
    "blend_id",
    "blendedness",
    "rhat",
    "prob_exist_mcse",
    "ess_flux",
    "flags",
)
"""Columns that follow them, as far as the catalog has them."""


def flux_column(band: str) -> str:
    """Return the name of the column of fluxes in a band.

    Parameters
    ----------
    band : str
        Name of the band; may be empty.

    Returns
    -------
    str
        Such as ``flux_r``; characters other than letters and digits become underscores.
    """
    name = "".join(letter if letter.isalnum() else "_" for letter in band)
    return f"flux_{name}" if name else "flux"


def objects_table(
    catalog: Mapping[str, np.ndarray], attrs: Mapping[str, Any], images: Sequence[Image]
) -> Table:
    """Return objects as a table; see `probcat.CondensedCatalog.to_table`."""
    from astropy.table import Column, Table
    from astropy.wcs.utils import proj_plane_pixel_area, wcs_to_celestial_frame

    meta = {_FITS_KEYWORDS[key]: value for key, value in attrs.items() if key in _FITS_KEYWORDS}
    table = Table(meta=meta)
    wcs = images[0].wcs if images else None
    fluxes = ["flux", *further_fluxes(catalog)]
    # The first flux is that of the first image's band.
    called = {name: flux_column(name.removeprefix("flux_")) for name in fluxes[1:]}
    called["flux"] = flux_column(images[0].band if images else "")
    joint = ("x", "y", *fluxes)
    leaders = _first_of_bands(images)
    lacking = [column for column in called.values() if images and column not in leaders]
    if lacking:
        raise InputError(
            f"no image of the band of {', '.join(lacking)}; pass all that were sampled"
        )
    unit_of = {name: _flux_unit(leaders[called[name]].unit) for name in fluxes if images}
    unit_of |= dict.fromkeys(("x", "y", "half_light_radius"), "pix")

    def add(name: str, values: np.ndarray, column_unit: Any = "") -> None:
        text = describe_column(name)
        table[name] = Column(np.asarray(values), unit=column_unit or None, description=text)

    add("object_id", catalog["object_id"])
    for name in ("x", "y"):
        add(name, catalog[name], "pix")
        add(f"{name}_err", catalog[f"{name}_err"], "pix")
    if wcs is not None:
        derivative = sky_derivative(wcs, catalog["x"], catalog["y"])
        for name, values in _sky(catalog, wcs, derivative).items():
            add(name, values, "" if name.endswith("corr") else "deg")
        table.meta["RADESYS"] = wcs_to_celestial_frame(wcs).name.upper()
        table.meta["PIXSCALE"] = 3600.0 * float(np.sqrt(proj_plane_pixel_area(wcs.celestial)))
    for name in fluxes:
        add(called[name], catalog[name], unit_of.get(name, ""))
        add(f"{called[name]}_err", catalog[f"{name}_err"], unit_of.get(name, ""))
        if images:
            zero_point = leaders[called[name]].zero_point
            mag = called[name].replace("flux", "mag", 1)
            add(
                mag,
                (np.nan if zero_point is None else zero_point) - 2.5 * np.log10(catalog[name]),
                "mag",
            )
            error = 2.5 / np.log(10.0) * catalog[f"{name}_err"] / catalog[name]
            add(f"{mag}_err", error, "mag")
    for name in (*_MEMBERSHIP, *(one for one in _FURTHER if one in catalog)):
        add(name, catalog[name])
    for name in SHAPE_NAMES:
        add(name, catalog[name], unit_of.get(name, ""))
        add(f"{name}_err", catalog[f"{name}_err"], unit_of.get(name, ""))
    if wcs is not None:
        radius, angle = _sky_shape(catalog, derivative)
        add("half_light_radius_sky", radius, "arcsec")
        add("position_angle", angle, "deg")
    for name in (*joint, *SHAPE_NAMES):
        for end in SUFFIXES:
            add(f"{called.get(name, name)}_{end}", catalog[f"{name}_{end}"], unit_of.get(name, ""))
    for i, one in enumerate(joint):
        for other in joint[i + 1 :]:
            both = f"{called.get(one, one)}_{called.get(other, other)}_cov"
            add(
                both,
                catalog[f"{one}_{other}_cov"],
                _product(unit_of.get(one, ""), unit_of.get(other, "")),
            )
    return table


def _first_of_bands(images: Sequence[Image]) -> dict[str, Image]:
    """First image of every band, which sets unit and zero point, by the column of its fluxes."""
    return {flux_column(image.band): image for image in reversed(images)}


def alternatives_table(
    catalog: Mapping[str, np.ndarray], members: np.ndarray, min_prob: float
) -> Table:
    """Return configurations as a table; see `probcat.CondensedCatalog.alternatives_table`."""
    from astropy.table import Table

    group = catalog["alternative_group"]
    draws_of = draws_by_row(members, len(group))
    rows = []
    for first in np.unique(group[group > 0]):
        rows_of_group = np.flatnonzero(group == first)
        draws = [draws_of[row] for row in rows_of_group]
        ids = catalog["object_id"][rows_of_group].tolist()
        found = configurations(draws, ids, members.shape[:2])
        for number, each in enumerate(found, start=1):
            if each.probability >= min_prob:
                rows.append((first, number, each.probability, " ".join(map(str, each.object_ids))))
    names = ("alternative_group", "configuration", "prob", "object_ids")
    return Table(rows=rows or None, names=names, dtype=(int, int, float, str))


def further_fluxes(columns: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the fluxes in all bands but the first, such as `flux_i`."""
    fluxes = [name for name in columns if name.startswith("flux_")]
    return [name for name in fluxes if not re.search(r"_(err|q\d\d|cov)$", name)]


def describe_column(name: str) -> str:
    """Return the description of a column of the catalog.

    Parameters
    ----------
    name : str
        Name of the column.

    Returns
    -------
    str
        Empty if the name suffices.
    """
    return _DESCRIPTIONS.get(name, "")


def sky_derivative(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the derivative of celestial positions with respect to pixels.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        WCS of the image.
    x, y : ndarray, shape (n,)
        Positions in pixels.

    Returns
    -------
    ndarray, shape (n, 2, 2)
        Degrees per pixel; the first row is along right ascension on the sky (times cos(dec)), the
        second along declination.
    """
    _, dec = wcs.pixel_to_world_values(x, y)
    derivative = np.empty((len(x), 2, 2))
    for axis, (dx, dy) in enumerate(((0.5, 0.0), (0.0, 0.5))):
        high, low = (wcs.pixel_to_world_values(x + s * dx, y + s * dy) for s in (1.0, -1.0))
        # Right ascension may jump from 360 degrees to 0.
        turn = (high[0] - low[0] + 180.0) % 360.0 - 180.0
        derivative[:, 0, axis] = turn * np.cos(np.deg2rad(dec))
        derivative[:, 1, axis] = high[1] - low[1]
    return derivative


def _sky(
    catalog: Mapping[str, np.ndarray], wcs: WCS, derivative: np.ndarray
) -> dict[str, np.ndarray]:
    """Celestial positions, their errors on the sky, and the correlation of the errors.

    The error in right ascension includes the factor cos(dec), as in Gaia's catalogs.
    """
    x, y = catalog["x"], catalog["y"]
    ra, dec = wcs.pixel_to_world_values(x, y)
    covariance = np.empty((len(x), 2, 2))
    covariance[:, 0, 0], covariance[:, 1, 1] = catalog["x_err"] ** 2, catalog["y_err"] ** 2
    covariance[:, 0, 1] = covariance[:, 1, 0] = catalog["x_y_cov"]
    on_sky = np.einsum("nij,njk,nlk->nil", derivative, covariance, derivative)
    error = np.sqrt(np.diagonal(on_sky, axis1=1, axis2=2))
    product = error.prod(axis=1)
    correlation = np.divide(on_sky[:, 0, 1], product, out=np.zeros(len(x)), where=product > 0)
    errors = {"ra_err": error[:, 0], "dec_err": error[:, 1], "ra_dec_corr": correlation}
    return {"ra": ra, "dec": dec, **errors}


def _sky_shape(
    catalog: Mapping[str, np.ndarray], derivative: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Half-light radius in arcseconds, and angle of the major axis in degrees, east of north."""
    xx, xy, yy = matrix_elements(1.0, catalog["ellipticity_1"], catalog["ellipticity_2"])
    shape = np.stack([xx, xy, xy, yy], axis=-1).reshape(-1, 2, 2)
    # East, where right ascension increases, is the first axis here.
    on_sky = np.einsum("nij,njk,nlk->nil", derivative, shape, derivative)
    angle = 0.5 * np.arctan2(2.0 * on_sky[:, 0, 1], on_sky[:, 1, 1] - on_sky[:, 0, 0])
    scale = 3600.0 * np.sqrt(np.abs(np.linalg.det(derivative)))
    return catalog["half_light_radius"] * scale, np.degrees(angle) % 180.0


def _flux_unit(name: str) -> Any:
    """Unit as FITS headers write it ("ADU"); one that astropy does not know is kept."""
    from astropy import units

    if not name:
        return ""
    try:
        return units.Unit(name.lower() if name.lower() in ("adu", "dn") else name)
    except ValueError:
        return units.Unit(name, parse_strict="silent")


def _product(one: Any, other: Any) -> Any:
    """Unit of a covariance; the product of unknown units is only a name."""
    from astropy import units

    parts = [units.Unit(each, parse_strict="silent") for each in (one, other) if each != ""]
    if not parts:
        return ""
    unknown = [isinstance(part, units.UnrecognizedUnit) for part in parts]
    if any(unknown):
        return units.Unit(" ".join(map(str, parts)), parse_strict="silent")
    return parts[0] * parts[1] if len(parts) == 2 else parts[0]
