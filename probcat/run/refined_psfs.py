"""The refined PSFs of the images of a run, in one file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from probcat.errors import InputError
from probcat.files.fits import open_fits, write_hdus
from probcat.psf.psf import PSF
from probcat.psf.readers.fits import read_psf

if TYPE_CHECKING:
    from probcat.image.image import Image


def write_psfs(path: str | os.PathLike[str], images: Sequence[Image]) -> None:
    """Write the PSFs of images as the extensions ``PSF_1``, ``PSF_2``, ... of a FITS file.

    Parameters
    ----------
    path : path_like
        An existing file is replaced.
    images : sequence of Image
        The images of a run, in order. A PSF that varies across its image is not written.
    """
    from astropy.io import fits

    hdus = []
    for number, image in enumerate(images, start=1):
        if image.psf.variation is None:
            hdu = fits.ImageHDU(np.asarray(image.psf.pixels, np.float32), name=f"PSF_{number}")
            hdu.header["OVERSAMP"] = image.psf.oversampling, "samples per pixel, each axis"
            hdus.append(hdu)
    write_hdus(path, hdus)


def with_psfs(path: str | os.PathLike[str], images: Sequence[Image]) -> list[Image]:
    """Return images with the PSFs that `write_psfs` wrote.

    Parameters
    ----------
    path : path_like
        A file that `write_psfs` wrote.
    images : sequence of Image
        The same images, in the same order. A PSF that varies across its image is kept.

    Returns
    -------
    list of Image
        Copies with the PSFs of the file.

    Raises
    ------
    InputError
        If there is no such file, or its PSFs are not those of these images.
    """
    with open_fits(path) as hdus:
        present = {hdu.name for hdu in hdus if hdu.name.startswith("PSF_")}
    names = [f"PSF_{number}" for number in range(1, len(images) + 1)]
    wanted = {
        name for name, image in zip(names, images, strict=True) if image.psf.variation is None
    }
    if present != wanted:
        raise InputError(
            f"{Path(path).name}: holds {', '.join(sorted(present)) or 'no PSF'}, but the images "
            f"need {', '.join(sorted(wanted)) or 'none'}; repeat the run with --refine-psf"
        )
    found = []
    for number, (name, image) in enumerate(zip(names, images, strict=True), start=1):
        if name in present:
            samples, oversampling = read_psf(path, str(number))
            image = replace(image, psf=PSF.from_pixels(samples, oversampling or 1, recenter=False))
        found.append(image)
    return found
