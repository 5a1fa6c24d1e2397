"""The condensed catalog as a FITS table with units and UCDs."""

from __future__ import annotations

import os
import re
import warnings
from typing import Any

from probcat.files.fits import Cards, write_hdus

# IVOA UCD1+ by column, most special first. Of a quantile, the lower and upper end are the
# minimum and maximum of an interval, as in Gaia's catalogs.
_UCDS = (
    (r"object_id", "meta.id;meta.main"),
    (r"x", "pos.cartesian.x;instr.pixel"),
    (r"y", "pos.cartesian.y;instr.pixel"),
    (r"ra", "pos.eq.ra;meta.main"),
    (r"dec", "pos.eq.dec;meta.main"),
    (r"flux(_.+)?", "phot.flux"),
    (r"mag(_.+)?", "phot.mag"),
    (r"(blend_id|alternative_group)", "meta.id.parent"),
    (r"flags", "meta.code.qual"),
    (r"ra_dec_corr", "stat.correlation;pos.eq"),
    (r"prob_star", "stat.probability;src.class.starGalaxy"),
    (r"prob_.+", "stat.probability"),
    (r"position_angle", "pos.posAng"),
    (r"half_light_radius(_sky)?", "phys.angSize;src"),
    (r"ellipticity_[12]", "src.ellipticity"),
    (r"sersic_n", "src.morph.param"),
)
_ENDINGS = {
    "_err": "stat.error;{}",
    "_q16": "{};stat.min",
    "_q50": "{};stat.median",
    "_q84": "{};stat.max",
}


def find_ucd(column: str) -> str:
    """Give the UCD of a column of the catalog, or an empty string."""
    if column.endswith("_cov"):
        return "stat.covariance"
    for ending, pattern in _ENDINGS.items():
        if column.endswith(ending):
            stem = find_ucd(column.removesuffix(ending)).split(";")[0]
            return pattern.format(stem) if stem else ""
    for name, ucd in _UCDS:
        if re.fullmatch(name, column):
            return ucd
    return ""


def write_catalog(
    path: str | os.PathLike[str],
    table: Any,
    cards: Cards | None = None,
    alternatives: Any = None,
) -> None:
    """Write a table as the extension ``CATALOG`` of a FITS file.

    Parameters
    ----------
    path : path_like
        An existing file is replaced.
    table : astropy.table.Table
        Its units become ``TUNITn`` and its descriptions comments; ``TUCDn`` is added.
    cards : mapping, optional
        Keywords for the header: the program's version, the seed, the inputs.
    alternatives : astropy.table.Table, optional
        Configurations of blends, written as the extension ``ALTERNATIVES``.
    """
    from astropy.io import fits

    hdus = [_catalog_hdu(table)]
    if alternatives is not None:
        hdus.append(fits.table_to_hdu(alternatives))
        hdus[-1].name = "ALTERNATIVES"
    write_hdus(path, hdus, cards)


def _catalog_hdu(table: Any) -> Any:
    """Make the extension of the objects."""
    from astropy.io import fits

    with warnings.catch_warnings():
        # Units such as DN or nanomaggies are none of FITS's: kept below as they are.
        warnings.simplefilter("ignore")
        hdu = fits.table_to_hdu(table)
    hdu.name = "CATALOG"
    for number, name in enumerate(table.colnames, start=1):
        unit = table[name].unit
        if unit is not None and str(unit) and f"TUNIT{number}" not in hdu.header:
            hdu.header.insert(f"TFORM{number}", (f"TUNIT{number}", str(unit)), after=True)
        ucd = find_ucd(name)
        if ucd:
            hdu.header.insert(f"TFORM{number}", (f"TUCD{number}", ucd), after=True)
        description = table[name].description
        if description:
            # What does not fit on the card beside the name would be cut with a warning.
            hdu.header.comments[f"TTYPE{number}"] = description[: 67 - max(len(name) + 2, 20)]
    return hdu


def read_catalog(path: str | os.PathLike[str]) -> Any:
    """Read the table ``CATALOG`` of a FITS file.

    Parameters
    ----------
    path : path_like
        What `write_catalog` wrote.

    Returns
    -------
    astropy.table.Table
        With units; its ``meta`` holds the header.

    Raises
    ------
    InputError
        If there is no such file, or no such table in it.
    """
    from astropy.table import Table

    from probcat.errors import InputError
    from probcat.files.fits import open_fits

    with open_fits(path) as hdus:
        if "CATALOG" not in hdus:
            raise InputError(f"{path}: no table CATALOG")
        return Table.read(hdus["CATALOG"])
