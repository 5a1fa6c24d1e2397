"""Catalogs in the file formats of other programs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from probcat.catalog.fits import find_ucd, write_catalog
from probcat.catalog.regions import format_regions
from probcat.catalog.table import describe_column
from probcat.errors import InputError
from probcat.files.atomic import replacing

FORMATS = {
    "ecsv": ".ecsv",
    "ascii": ".txt",
    "csv": ".csv",
    "parquet": ".parquet",
    "ds9": ".reg",
    "fits": ".fits",
    "votable": ".xml",
}
"""Formats, and the endings of their files."""


def export_table(
    table: Any,
    format: str,
    out: str | os.PathLike[str],
    *,
    min_prob: float = 0.0,
    frame: str | None = None,
) -> None:
    """Write a catalog in the format of another program.

    Parameters
    ----------
    table : astropy.table.Table
        Catalog as `probcat.read_catalog` or `probcat.CondensedCatalog.to_table` returns it.
    format : str
        One of "ecsv", "ascii", "csv", "parquet", "ds9", "fits" and "votable".
    out : path_like
        An existing file is replaced.
    min_prob : float
        Objects that exist with a smaller probability are left out.
    frame : {"image", "fk5"}, optional
        Coordinates of DS9 regions; by default fk5 if the catalog has celestial positions.

    Raises
    ------
    InputError
        If the format or the frame is not known, the format needs a package that is not installed,
        the probability is not in [0, 1], or the directory does not exist.
    """
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}: use one of {', '.join(FORMATS)}")
    if not 0 <= min_prob <= 1:
        raise InputError(f"min_prob must be in [0, 1], got {min_prob}")
    if frame is not None and format != "ds9":
        raise InputError("only DS9 regions have a frame; drop frame, or use the format ds9")
    if not Path(out).absolute().parent.is_dir():
        raise InputError(f"{out}: there is no directory {Path(out).absolute().parent}")
    kept = _unmasked(table[np.asarray(table["prob_exist"]) >= min_prob])
    if format == "ds9":
        text = format_regions(kept, frame)
        with replacing(out) as partial:
            partial.write_text(text, encoding="utf-8")
        return
    if format == "fits":
        cards, kept.meta = dict(kept.meta), {}
        write_catalog(out, kept, cards)
        return
    write = _WRITERS[format]
    with replacing(out) as partial:
        write(kept, partial)


def _unmasked(table: Any) -> Any:
    """Copy with NaN for masked values, with descriptions, and without the keywords of FITS."""
    from astropy.table import Column

    copy = type(table)(table, masked=False)
    for name in table.colnames:
        values = table[name]
        if values.dtype.kind == "f":
            filled = np.ma.filled(values, np.nan)
            copy[name] = Column(filled, unit=values.unit, description=describe_column(name))
        copy[name].description = describe_column(name) or None
    keywords = r"(EXTNAME|CHECKSUM|DATASUM|T[A-Z]+[0-9]+|comments|__.*)"
    copy.meta = {key: value for key, value in table.meta.items() if not re.fullmatch(keywords, key)}
    return copy


def _write_text(kind: str) -> Callable[[Any, Path], None]:
    def write(table: Any, path: Path) -> None:
        table.write(path, format=kind)

    return write


def _write_parquet(table: Any, path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise InputError("Parquet needs pyarrow: pip install 'probcat[parquet]'") from None
    table.write(path, format="parquet")


def _write_votable(table: Any, path: Path) -> None:
    described = table.copy(copy_data=False)
    for name in described.colnames:
        if ucd := find_ucd(name):
            described[name].meta["ucd"] = ucd
    described.write(path, format="votable")


_WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "ecsv": _write_text("ascii.ecsv"),
    "ascii": _write_text("ascii.commented_header"),
    "csv": _write_text("ascii.csv"),
    "parquet": _write_parquet,
    "votable": _write_votable,
}
