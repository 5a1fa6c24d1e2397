"""Reading a PSF from a FITS file of its own."""

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
    """Read a PSF from a FITS file.

    Parameters
    ----------
    path : path_like
        A file with an extension ``PSF`` or ``PSF_<band>``, or with one image; a model of PSFEx;
        or a psField file of SDSS. The contents of the file decide which it is.
    band : str, optional
        Band of the PSF, for an extension ``PSF_<band>`` or a psField file.
    plane : int, optional
        Plane to take of an array with three axes, counted from 0.

    Returns
    -------
    samples : ndarray, shape (n, m), or PSF
        The samples; from a file of PSFEx or SDSS a PSF, which may vary over the image.
    oversampling : int or None
        Samples per pixel along each axis, or None if the header does not state it.

    Raises
    ------
    InputError
        If there is no such file, or it does not hold exactly one PSF of that band.
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
