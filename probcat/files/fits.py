"""Opening FITS files and finding the extensions of an image in them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.files.atomic import replacing

NAMES = {
    "sci": ("SCI", "IMAGE"),
    "var": ("VAR", "VARIANCE"),
    "err": ("ERR", "ERROR", "UNCERT", "RMS"),
    "ivar": ("IVAR", "INVVAR"),
    "mask": ("MASK",),
    "psf": ("PSF",),
}
"""Names of extensions by what they hold: those of this project, then those of other projects."""


@contextmanager
def open_fits(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a FITS file for reading, in a ``with`` block.

    Parameters
    ----------
    path : path_like
        The file.

    Yields
    ------
    astropy.io.fits.HDUList
        The open file.

    Raises
    ------
    InputError
        If there is no such file, or it cannot be read in the block.
    """
    from astropy.io import fits

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            # Astropy first warns of a truncated file, and then fails to read it.
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False) as hdus:
                yield hdus
    except InputError:
        raise
    except (OSError, TypeError, ValueError, fits.VerifyError) as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f"{path}: not a readable FITS file ({reason[0] if reason else repr(error)})"
        ) from None


def image_hdus(hdus: Any) -> dict[str, Any]:
    """Return the extensions that hold pixels, by upper-case name or, if nameless, by number."""
    return {
        (hdu.name or str(number)).upper(): hdu
        for number, hdu in enumerate(hdus)
        if hdu.is_image and hdu.header.get("NAXIS", 0) > 0
    }


def find_extensions(
    hdus: Any, band: str | None, explicit: Mapping[str, str | int | None], where: str
) -> dict[str, str]:
    """Find the extensions of an image: pixels, noise, mask and PSF.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        The file.
    band : str, optional
        Band whose extensions are used, such as ``SCI_I, VAR_I, ...`` for ``"i"``.
    explicit : mapping of str to str or int
        Names or numbers of extensions that the user gave, by part (the keys of `NAMES`); None
        where the usual names apply.
    where : str
        Name of the file, for messages.

    Returns
    -------
    dict of str to str
        Name of the extension (a key of `image_hdus`) by part. There is always a part ``sci``.

    Raises
    ------
    InputError
        If the file holds no image, or has no extension of the given name or band.
    """
    images = image_hdus(hdus)
    if not images:
        raise InputError(f"{where}: holds no image")
    found = _by_name(images, band, explicit.get("sci") is None, where)
    for part, extension in explicit.items():
        if extension is not None:
            found[part] = _named(hdus, images, extension, where)
    given = [part for part in ("var", "err", "ivar") if explicit.get(part) is not None]
    if len(given) > 1:
        raise InputError(f"{where}: give one of {', '.join(given)}, not {len(given)}")
    for part in ("var", "err", "ivar"):
        if given and part not in given:
            found.pop(part, None)
    return found


def pixels(hdu: Any, plane: int | None, where: str) -> np.ndarray:
    """Return the pixels of an extension as a two-dimensional array.

    Parameters
    ----------
    hdu : astropy.io.fits HDU
        The extension.
    plane : int, optional
        Plane to take if the array has three axes, counted from 0; a single plane needs none.
    where : str
        Name of the file and the extension, for messages.

    Returns
    -------
    ndarray, shape (ny, nx)
        The pixels, in the type of the file.

    Raises
    ------
    InputError
        If the array has neither two axes nor three with an existing plane.
    """
    data = np.asarray(hdu.data)
    if data.ndim == 3 and data.shape[0] == 1:
        data = data[0]
    if data.ndim == 3:
        if plane is None:
            raise InputError(
                f"{where}: has shape {data.shape}, {data.shape[0]} planes; say which with "
                "plane = 0, 1, ... (section [image] of the configuration)"
            )
        if not 0 <= plane < data.shape[0]:
            raise InputError(f"{where}: no plane {plane}; there are {data.shape[0]}, from 0")
        data = data[plane]
    if data.ndim != 2:
        raise InputError(f"{where}: has shape {data.shape}; an image has two axes")
    return data


def _named(hdus: Any, images: Mapping[str, Any], extension: str | int, where: str) -> str:
    """Return the key of an extension that the user gave by name or number."""
    text = str(extension).strip().upper()
    if text in images:
        return text
    if text.isdigit() and int(text) < len(hdus):
        for key, hdu in images.items():
            if hdu is hdus[int(text)]:
                return key
    raise InputError(f"{where}: no image extension {extension!r}; it holds {', '.join(images)}")


def _by_name(
    images: Mapping[str, Any], band: str | None, need_sci: bool, where: str
) -> dict[str, str]:
    """Return the extensions that have their usual names, by part."""
    suffixes = [f"_{band.strip().upper()}"] if band else []
    found = {}
    for part, names in NAMES.items():
        # An extension of the band takes precedence over one that serves all bands.
        for candidate in [name + s for s in [*suffixes, ""] for name in names]:
            if candidate in images:
                found[part] = candidate
                break
    if "sci" in found or not need_sci:
        return found
    families = [key[4:].lower() for key in images if key.startswith("SCI_")]
    if families and band:
        raise InputError(f"{where}: no extension SCI_{band.upper()}; bands: {', '.join(families)}")
    if len(families) > 1:
        raise InputError(f"{where}: holds the bands {', '.join(families)}; pick one with --band")
    if families:
        return _by_name(images, families[0], need_sci, where)
    taken = {name for names in NAMES.values() for name in names}
    others = [key for key in images if key.split("_")[0] not in taken]
    if len(others) != 1:
        raise InputError(
            f"{where}: no extension SCI; it holds {', '.join(images)}; name one (sci = ...)"
        )
    return found | {"sci": others[0]}


Cards = Mapping[str, Any]
"""Keywords of a header with their values, or with tuples (value, comment)."""


def write_hdus(
    path: str | os.PathLike[str], hdus: Sequence[Any], cards: Cards | None = None
) -> None:
    """Write a FITS file, which appears under its name only when it is whole.

    Parameters
    ----------
    path : path_like
        The file. An existing one is replaced.
    hdus : sequence of astropy.io.fits HDUs
        Extensions of the file, which follow an empty primary HDU.
    cards : mapping, optional
        Keywords to add to the header of the primary HDU and of every extension.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    for hdu in (primary, *hdus):
        for key, value in (cards or {}).items():
            hdu.header[key] = value
    with replacing(path) as partial, open(partial, "wb") as handle:
        fits.HDUList([primary, *hdus]).writeto(handle)
