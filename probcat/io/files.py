"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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

    primary = fits.PrimaryHDU()
    for hdu in (primary, *hdus):
        for key, value in (cards or {}).items():
            hdu.header[key] = value
    with replacing(path) as partial, open(partial, "wb") as handle:
        fits.HDUList([primary, *hdus]).writeto(handle)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write under a name beside a file; at the end flush it to disk and put it in its place.

    Parameters
    ----------
    path : path_like
        An existing file is replaced, but only by one that was written without an error.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield partial
        with open(partial, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
