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

# The names of this project first, then those of Rubin/HSC and of others.
NAMES = {
    "sci": ("SCI", "IMAGE"),
    "var": ("VAR", "VARIANCE"),
    "err": ("ERR", "ERROR", "UNCERT", "RMS"),
    "ivar": ("IVAR", "INVVAR"),
    "mask": ("MASK",),
    "psf": ("PSF",),
}


@contextmanager
def open_fits(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a FITS file; what goes wrong with it is an `InputError` that names it."""
    from astropy.io import fits

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            # A truncated file is reported by a warning first, and then fails to be read.
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
    """List the extensions that hold pixels, by upper-case name or, without one, by number."""
    return {
        (hdu.name or str(number)).upper(): hdu
        for number, hdu in enumerate(hdus)
        if hdu.is_image and hdu.header.get("NAXIS", 0) > 0
    }


def find_extensions(
    hdus: Any, band: str | None, explicit: Mapping[str, str | int | None], where: str
) -> dict[str, str]:
    """Decide which extension plays which part.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        The file.
    band : str, optional
        Picks a family such as ``SCI_I, VAR_I, ...``.
    explicit : mapping of str to str or int
        Extensions the user named, by part (the keys of `NAMES`).
    where : str
        Name of the file, for messages.

    Returns
    -------
    dict of str to str
        Name of the extension (a key of `image_hdus`) by part; always has ``sci``.

    Raises
    ------
    InputError
        If there is no image, or a named extension or band is not there.
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
    """Read an extension; of three axes, take one plane.

    Raises
    ------
    InputError
        If it is not two-dimensional in the end.
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
    """Find an extension that the user named or numbered."""
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
    """Find extensions by their usual names."""
    suffixes = [f"_{band.strip().upper()}"] if band else []
    found = {}
    for part, names in NAMES.items():
        # A band's own extension goes before one that serves all bands.
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
