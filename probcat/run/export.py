"""Write the catalog of a run in the format of another program."""

from __future__ import annotations

import os
from pathlib import Path

from probcat.catalog.export import FORMATS, export_table
from probcat.catalog.fits import read_catalog
from probcat.errors import InputError


def export_run(
    directory: Path,
    format: str,
    out: Path | None = None,
    *,
    min_prob: float = 0.0,
    frame: str | None = None,
) -> Path:
    """Write the catalog of a run in another format.

    Parameters
    ----------
    directory : Path
        Directory of the run.
    format : str
        One of `probcat.catalog.export.FORMATS`.
    out : Path, optional
        The file to write; by default ``catalog`` with the ending of the format, in the directory,
        and for FITS ``catalog_export.fits``, as ``catalog.fits`` is the catalog of the run.
    min_prob : float
        Objects that exist with a smaller probability are left out.
    frame : {"image", "fk5"}, optional
        Coordinates of DS9 regions; by default "fk5" if the catalog has celestial positions, else
        "image".

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    InputError
        If there is no catalog, the format is unknown or needs a package that is missing, or
        the file cannot be written.
    """
    from probcat.run.files import CATALOG

    directory = Path(directory)
    if not (directory / CATALOG).is_file():
        raise InputError(
            f"{directory}: holds no {CATALOG}; write it with: probcat condense {directory}"
        )
    table = read_catalog(directory / CATALOG)
    if out is None:
        name = "catalog_export.fits" if format == "fits" else f"catalog{FORMATS.get(format, '')}"
        out = directory / name
    elif Path(out).exists() and os.path.samefile(out, directory / CATALOG):
        raise InputError(f"{out}: is the catalog to be exported; give another file with --out")
    export_table(table, format, out, min_prob=min_prob, frame=frame)
    return Path(out)
