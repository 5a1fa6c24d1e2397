"""The condensed catalog and its alternatives as FITS tables, with units and UCDs."""

from __future__ import annotations

import os
import re
import warnings
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.files.fits import Cards, open_fits, write_hdus

_CATALOG, _ALTERNATIVES = "CATALOG", "ALTERNATIVES"

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
    (r"prob_exist_mcse", "stat.error;stat.probability"),
    (r"prob_star", "stat.probability;src.class.starGalaxy"),
    (r"prob_.+", "stat.probability"),
    (r"position_angle", "pos.posAng"),
    (r"half_light_radius(_sky)?", "phys.angSize;src"),
    (r"ellipticity_[12]", "src.ellipticity"),
    (r"sersic_n", "src.morph.param"),
)
"""UCD1+ of the IVOA by a pattern of column names; the first match counts."""
_ENDINGS = {
    "_err": "stat.error;{}",
    "_q16": "{};stat.min",
    "_q50": "{};stat.median",
    "_q84": "{};stat.max",
}
"""UCDs of derived columns; as in Gaia's catalogs, quantiles are the ends of an interval."""


def find_ucd(column: str) -> str:
    """Return the UCD of a column of the catalog.

    Parameters
    ----------
    column : str
        Name of the column.

    Returns
    -------
    str
        UCD1+ of the IVOA, or an empty string if the column has none.
    """
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


def write_catalog(path: str | os.PathLike[str], table: Any, cards: Cards | None = None) -> None:
    """Write the objects as the extension ``CATALOG`` of a FITS file.

    It is the only table of the file, so that ``Table.read(path)`` needs no extension.

    Parameters
    ----------
    path : path_like
        An existing file is replaced.
    table : astropy.table.Table
        One row for each object. Units become ``TUNITn``, descriptions become comments, and
        ``TUCDn`` is added.
    cards : mapping, optional
        Keywords for the headers: program version, seed, inputs.
    """
    write_hdus(path, [_catalog_hdu(table)], cards)


def write_alternatives(
    path: str | os.PathLike[str], table: Any, cards: Cards | None = None
) -> None:
    """Write the configurations of blends as the extension ``ALTERNATIVES`` of a FITS file.

    Parameters
    ----------
    path : path_like
        An existing file is replaced.
    table : astropy.table.Table
        The result of `probcat.CondensedCatalog.alternatives_table`.
    cards : mapping, optional
        Keywords for the headers.
    """
    from astropy.io import fits

    hdu = fits.table_to_hdu(table)
    hdu.name = _ALTERNATIVES
    write_hdus(path, [hdu], cards)


def _catalog_hdu(table: Any) -> Any:
    """Make the extension with the objects."""
    from astropy.io import fits

    with warnings.catch_warnings():
        # FITS has no units such as DN or nanomaggies; they are written below as they are.
        warnings.simplefilter("ignore")
        hdu = fits.table_to_hdu(table)
    hdu.name = _CATALOG
    for number, name in enumerate(table.colnames, start=1):
        unit = table[name].unit
        if unit is not None and str(unit) and f"TUNIT{number}" not in hdu.header:
            hdu.header.insert(f"TFORM{number}", (f"TUNIT{number}", str(unit)), after=True)
        ucd = find_ucd(name)
        if ucd:
            hdu.header.insert(f"TFORM{number}", (f"TUCD{number}", ucd), after=True)
        description = table[name].description
        if description:
            # A longer comment would not fit on the card and cause a warning.
            hdu.header.comments[f"TTYPE{number}"] = description[: 67 - max(len(name) + 2, 20)]
    return hdu


def read_catalog(path: str | os.PathLike[str]) -> Any:
    """Read the table ``CATALOG`` of a FITS file.

    Parameters
    ----------
    path : path_like
        A file that `write_catalog` wrote.

    Returns
    -------
    astropy.table.Table
        The objects, with units; `meta` holds the header.

    Raises
    ------
    InputError
        If there is no such file, or no such table in it.
    """
    return _read_table(path, _CATALOG)


def read_alternatives(path: str | os.PathLike[str]) -> Any:
    """Read the configurations of blends.

    Parameters
    ----------
    path : path_like
        A file that `write_alternatives` wrote.

    Returns
    -------
    astropy.table.Table
        Columns `alternative_group`, `configuration`, `prob` and `object_ids`, as
        `probcat.CondensedCatalog.alternatives_table` makes them.

    Raises
    ------
    InputError
        If there is no such file, or no such table in it.
    """
    table = _read_table(path, _ALTERNATIVES)
    # FITS pads text with blanks, and has no text of length zero.
    table["object_ids"] = np.char.strip(np.asarray(table["object_ids"], dtype=str))
    return table


def _read_table(path: str | os.PathLike[str], name: str) -> Any:
    """Read a table of a FITS file by the name of its extension."""
    from astropy.table import Table

    with open_fits(path) as hdus:
        if name not in hdus:
            raise InputError(f"{path}: no table {name}")
        return Table.read(hdus[name])
