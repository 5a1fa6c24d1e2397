"""Files in and out: FITS images, catalogs, models and pixel assignments."""

from probcat.io.extensions import read_psf
from probcat.io.fits_image import read_image
from probcat.io.masks import bad_pixels

__all__ = ["bad_pixels", "read_image", "read_psf"]
