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
        Of the run.
    format : str
        One of `FORMATS`.
    out : Path, optional
        By default ``catalog`` with the format's ending in the directory; of FITS
        ``catalog_export.fits``, since ``catalog.fits`` is the whole catalog.
    min_prob : float
        Objects that exist with a smaller probability are left out.
    frame : {"image", "fk5"}, optional
        Of DS9 regions; by default the sky where the catalog has celestial positions.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If there is no catalog, the format is not known or needs a package that is missing, or
        the file cannot be written.
    """
    from probcat.run.files import CATALOG

    directory = Path(directory)
    if not (directory / CATALOG).is_file():
        raise InputError(f"{directory}: holds no {CATALOG}; make it with probcat condense")
    table = read_catalog(directory / CATALOG)
    if out is None:
        name = "catalog_export.fits" if format == "fits" else f"catalog{FORMATS.get(format, '')}"
        out = directory / name
    elif Path(out).exists() and os.path.samefile(out, directory / CATALOG):
        raise InputError(f"{out}: is the catalog that is exported; give another --out")
    export_table(table, format, out, min_prob=min_prob, frame=frame)
    return Path(out)
