"""The PSF in a FITS file of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from probcat.errors import InputError
from probcat.files.fits import image_hdus, open_fits, pixels
from probcat.files.headers import find_oversampling
from probcat.psf.readers.psfex import psfex_tables, read_psfex
from probcat.psf.readers.sdss_psfield import is_psfield, read_psfield


def read_psf(
    path: str | os.PathLike[str], band: str | None = None, plane: int | None = None
) -> tuple[Any, int | None]:
    """Read a PSF from a FITS file; its contents say what kind of file it is.

    Parameters
    ----------
    path : path_like
        A file with a ``PSF`` (or ``PSF_<band>``) extension, or with one image; a model of PSFEx;
        or a psField file of SDSS.
    band : str, optional
        Picks ``PSF_<band>``, or the band of a psField file.
    plane : int, optional
        Which plane to take of an array with three axes.

    Returns
    -------
    samples : ndarray, shape (n, m), or PSF
        A PSF, which may vary over the image, of PSFEx and psField files.
    oversampling : int or None
        Of samples, what the header says.

    Raises
    ------
    InputError
        If there is no such file, or no single PSF in it.
    """
    name = Path(path).name
    with open_fits(path) as hdus:
        models = psfex_tables(hdus)
        if len(models) > 1:
            raise InputError(
                f"{name}: holds {len(models)} models of PSFEx, one for each detector; give a file "
                "with the one of this image"
            )
        if models:
            return read_psfex(models[0], name), None
        if is_psfield(hdus):
            return read_psfield(hdus, band, name), None
        images = image_hdus(hdus)
        wanted = [f"PSF_{band}".upper()] if band else []
        choices = [key for key in [*wanted, "PSF"] if key in images]
        if not choices and len(images) != 1:
            raise InputError(
                f"{name}: no extension {' or '.join([*wanted, 'PSF'])}; it holds "
                f"{', '.join(images) or 'no image'}"
            )
        key = choices[0] if choices else next(iter(images))
        hdu = images[key]
        return pixels(hdu, plane, f"{name}[{key}]"), find_oversampling(hdu.header)
