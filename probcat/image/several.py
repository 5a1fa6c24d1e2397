"""Reading several images: several files, and several bands of a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probcat.errors import InputError
from probcat.files.fits import image_hdus, open_fits
from probcat.image.image import Image

_LISTS = ("mask_planes", "psf_origin")
"""Options whose value for a single file is a list."""


def read_images(
    *paths: str | os.PathLike[str], bands: str | Sequence[str] | None = None, **options: Any
) -> list[Image]:
    """Read images from one or several FITS files.

    Parameters
    ----------
    *paths : path_like
        The files.
    bands : str or sequence of str, optional
        Bands to read from files of several bands (``SCI_G``, ``SCI_R``, ...), in upper or lower
        case; by default all. For files of one image, the name of the band of each file, for
        headers that do not state it.
    **options
        Options of `Image.read`, each either for all files or as a list with an entry for each
        file, where an empty string stands for the default.

    Returns
    -------
    list of Image
        The images in the order of the files, and of the bands as they are given or stored.

    Raises
    ------
    InputError
        If there is no file, a band is not in the files, a list has another length than `paths`,
        an image is given twice, or a file cannot be used.

    Examples
    --------
    >>> images = read_images("field.fits", bands=["g", "r"])
    >>> images = read_images("field_g.fits", "field_r.fits", zero_point=[27.0, 26.5])
    """
    if not paths:
        raise InputError("no image; give one or several FITS files")
    return _read_all([os.fspath(path) for path in paths], bands, options)


def read_configured_images(options: Mapping[str, Any]) -> list[Image]:
    """Read the images that a section ``[image]`` of a configuration names.

    Parameters
    ----------
    options : mapping
        ``files``, one name or several; ``band``, which is `bands` of `read_images`; and other
        options as in `read_images`.

    Returns
    -------
    list of Image
        The images, as from `read_images`.

    Raises
    ------
    InputError
        If images cannot be read, as in `read_images`.
    """
    options = dict(options)
    files = options.pop("files", [])
    files = [files] if isinstance(files, str) else list(files)
    if not files:
        raise InputError("no image; give a FITS file, or files = [...] in section [image]")
    return _read_all(files, options.pop("band", None), options)


def _read_all(
    files: Sequence[str], bands: str | Sequence[str] | None, options: Mapping[str, Any]
) -> list[Image]:
    """Read the images of all files."""
    bands = [bands] if isinstance(bands, str) else list(bands or [])
    choices = [_choose_bands(name, bands, number, len(files)) for number, name in enumerate(files)]
    found = {(band or "").strip().lower() for _, chosen in choices for band in chosen}
    missing = [band for band in bands if band.strip().lower() not in found]
    if missing:
        names = ", ".join(Path(name).name for name in files)
        raise InputError(f"no band {' or '.join(missing)} in {names}; leave it out")
    images = []
    seen: dict[tuple[Any, ...], str] = {}
    for number, (name, (has_bands, chosen)) in enumerate(zip(files, choices, strict=True)):
        own = {key: _entry(key, value, number, len(files)) for key, value in options.items()}
        own = {key: value for key, value in own.items() if value is not None}
        for band in chosen:
            part = str(band).strip().lower() if has_bands else str(own.get("sci", "")).upper()
            _check_new(name, (part, own.get("plane")), seen)
            images.append(Image.read(name, band, **own))
    return images


def _check_new(name: str, pixels: tuple[Any, ...], seen: dict[tuple[Any, ...], str]) -> None:
    """Refuse an image that was read already."""
    key = (Path(name).resolve(), *pixels)
    if key in seen:
        also = "" if seen[key] == name else f" (also as {seen[key]})"
        raise InputError(
            f"{name}: given twice{also}, its light would count twice; name every image once"
        )
    seen[key] = name


def _choose_bands(
    name: str, bands: Sequence[str], number: int, num_files: int
) -> tuple[bool, Sequence[str | None]]:
    """Return whether a file has several bands, and which to read; None for a nameless one."""
    with open_fits(name) as hdus:
        keys = list(image_hdus(hdus))
    stored = [key[4:].lower() for key in keys if key.startswith("SCI_")]
    if not stored or "SCI" in keys:
        if not bands:
            return False, [None]
        if len(bands) != num_files:
            raise InputError(f"{len(bands)} bands for {num_files} files; give one for each")
        return False, [bands[number]]
    if not bands:
        return True, stored
    wanted = [band for band in bands if band.strip().lower() in stored]
    if not wanted:
        raise InputError(
            f"{Path(name).name}: no extension SCI_{bands[0].upper()}; bands: {', '.join(stored)}"
        )
    return True, wanted


def _entry(key: str, value: Any, number: int, num_files: int) -> Any:
    """Return the value of an option for one of several files; None stands for the default."""
    if key in _LISTS:
        nested = isinstance(value, list | tuple) and any(isinstance(v, list | tuple) for v in value)
        if not nested:
            return value
    if not isinstance(value, list | tuple):
        return value
    if len(value) != num_files:
        raise InputError(f"{key} has {len(value)} entries for {num_files} files; give one for each")
    return None if value[number] == "" else value[number]
