"""Writing an image to a FITS file."""

from __future__ import annotations

import os

import numpy as np

from probcat.files.fits import Cards, write_hdus
from probcat.image.image import Image


def write_image(path: str | os.PathLike[str], image: Image, cards: Cards | None = None) -> None:
    """Write an image as a FITS file that `Image.read` reads.

    Parameters
    ----------
    path : path_like
        The file. An existing one is replaced. Its extensions are ``SCI``, ``VAR``, ``MASK`` (1 is
        bad) and ``PSF``. Of a PSF that varies only the mean is written, with a comment.
    image : Image
        The image to write.
    cards : mapping, optional
        Keywords to add to the headers.
    """
    from astropy.io import fits

    header = fits.Header() if image.wcs is None else image.wcs.to_header(relax=True)
    for key, value in (("BUNIT", image.unit), ("FILTER", image.band)):
        if value:
            header[key] = value
    if image.zero_point is not None:
        header["MAGZERO"] = image.zero_point, "AB magnitude of one unit"
    psf = fits.ImageHDU(np.asarray(image.psf.pixels, np.float32), name="PSF")
    psf.header["OVERSAMP"] = image.psf.oversampling, "samples per pixel, each axis"
    if image.psf.variation is not None:
        psf.header["COMMENT"] = "mean of a PSF that varies over the image"
    hdus = [
        fits.ImageHDU(image.data, header, name="SCI"),
        fits.ImageHDU(image.variance, name="VAR"),
        fits.ImageHDU(image.mask.astype(np.uint8), name="MASK"),
        psf,
    ]
    write_hdus(path, hdus, cards)
