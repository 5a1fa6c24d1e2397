"""All images of a run: several files, several bands of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probcat.errors import InputError
from probcat.files.fits import image_hdus, open_fits
from probcat.image.image import Image

_LISTS = ("mask_planes", "psf_origin")
"""Options whose value for one file is a list."""


def read_images(options: Mapping[str, Any]) -> list[Image]:
    """Read the images that a section ``[image]`` names.

    Parameters
    ----------
    options : mapping
        ``files``: one name or several. ``band``: of a file of several bands, one or several to
        take, by default all; of other files, what the band is called, one for each where there
        are several. Other options of `Image.read` hold for all files, or are lists with an
        entry for each; an empty one stands for the default.

    Returns
    -------
    list of Image
        In the order of the files, and of the bands as asked for or as they come.

    Raises
    ------
    InputError
        If there is no file, a list is of another length, or a file cannot be used.
    """
    options = dict(options)
    files = options.pop("files", [])
    files = [files] if isinstance(files, str) else list(files)
    if not files:
        raise InputError("no image; give a FITS file, or files = [...] in section [image]")
    bands = options.pop("band", None)
    bands = [bands] if isinstance(bands, str) else list(bands or [])
    images = []
    seen: dict[tuple[Any, ...], str] = {}
    for number, name in enumerate(files):
        own = {key: _entry(key, value, number, len(files)) for key, value in options.items()}
        own = {key: value for key, value in own.items() if value is not None}
        family, taken = _bands_of(name, bands, number, len(files))
        for band in taken:
            part = str(band).strip().lower() if family else str(own.get("sci", "")).upper()
            _check_new(name, (part, own.get("plane")), seen)
            images.append(Image.read(name, band, **own))
    return images


def _check_new(name: str, pixels: tuple[Any, ...], seen: dict[tuple[Any, ...], str]) -> None:
    """Refuse pixels that are part of the run already."""
    key = (Path(name).resolve(), *pixels)
    if key in seen:
        also = "" if seen[key] == name else f" (also as {seen[key]})"
        raise InputError(
            f"{name}: given twice{also}, its light would count twice; name every image once"
        )
    seen[key] = name


def _bands_of(
    name: str, bands: Sequence[str], number: int, num_files: int
) -> tuple[bool, list[str | None]]:
    """Whether a file is of several bands, and those to take; None for one that is not named."""
    with open_fits(name) as hdus:
        keys = list(image_hdus(hdus))
    held = [key[4:].lower() for key in keys if key.startswith("SCI_")]
    if not held or "SCI" in keys:
        if not bands:
            return False, [None]
        if len(bands) != num_files:
            raise InputError(f"{len(bands)} bands for {num_files} files; give one for each")
        return False, [bands[number]]
    if not bands:
        return True, [*held]
    wanted = [band for band in bands if band.strip().lower() in held]
    if not wanted:
        raise InputError(
            f"{Path(name).name}: no extension SCI_{bands[0].upper()}; bands: {', '.join(held)}"
        )
    return True, [*wanted]


def _entry(key: str, value: Any, number: int, num_files: int) -> Any:
    """Give an option's value for one of several files."""
    if key in _LISTS:
        nested = isinstance(value, list | tuple) and any(isinstance(v, list | tuple) for v in value)
        if not nested:
            return value
    if not isinstance(value, list | tuple):
        return value
    if len(value) != num_files:
        raise InputError(f"[image] {key} has {len(value)} entries for {num_files} files")
    return None if value[number] == "" else value[number]
