"""Files in and out: FITS images, catalogs, models and pixel assignments."""

from probcat.io.assignment import read_assignment, write_assignment
from probcat.io.catalog import read_catalog, write_catalog
from probcat.io.fits_image import read_image, write_image
from probcat.io.masks import bad_pixels
from probcat.io.model import write_model
from probcat.io.photutils_models import psf_from_photutils
from probcat.io.psf_files import read_psf
from probcat.io.several import read_images
from probcat.io.truth import read_truth

__all__ = [
    "bad_pixels",
    "psf_from_photutils",
    "read_assignment",
    "read_catalog",
    "read_image",
    "read_images",
    "read_psf",
    "read_truth",
    "write_assignment",
    "write_catalog",
    "write_image",
    "write_model",
]
