"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Keyword to value, or to (value, comment).
Cards = Mapping[str, Any]


def write_hdus(
    path: str | os.PathLike[str], hdus: Sequence[Any], cards: Cards | None = None
) -> None:
    """Write a FITS file in one go, in place of an existing one.

    Parameters
    ----------
    path : path_like
        The file.
    hdus : sequence of astropy.io.fits HDUs
        Its extensions; an empty primary HDU goes before them.
    cards : mapping, optional
        Written into the header of the primary HDU and of every extension.
    """
    from astropy.io import fits

    path = Path(path)
    primary = fits.PrimaryHDU()
    for hdu in (primary, *hdus):
        for key, value in (cards or {}).items():
            hdu.header[key] = value
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(partial, "wb") as handle:
            fits.HDUList([primary, *hdus]).writeto(handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
