"""Builders that tests of several rooms share: WCS, images of noise, samples."""

import numpy as np
from astropy.wcs import WCS

from probcat import PSF, Image

SKY_CENTRE = (150.0, 2.0)
"""Right ascension and declination in degrees of the reference pixel of every WCS here."""


def tan_wcs(scale=0.2, turn=0.0, reference=(16.0, 16.0)):
    """Tangential projection with north up and east left, rotated by an angle.

    Parameters
    ----------
    scale : float
        Side of a pixel in arcseconds.
    turn : float
        Angle of the rotation in radians.
    reference : tuple of float
        Pixel (x, y), counted from 1, of `SKY_CENTRE`.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = SKY_CENTRE
    wcs.wcs.crpix = reference
    cos, sin = np.cos(turn), np.sin(turn)
    wcs.wcs.cd = scale / 3600.0 * np.array([[-cos, sin], [sin, cos]])
    return wcs


def noise_image(shape, sigma=1.0, *, light=0.0, seed=0, psf=None, **options):
    """Image of Gaussian noise on some light, with its true variance."""
    pixels = np.random.default_rng(seed).normal(light, sigma, shape)
    psf = PSF.gaussian(3.0, size=15) if psf is None else psf
    return Image.from_arrays(pixels, np.full(shape, float(sigma) ** 2), psf=psf, **options)


def gaussian_light(shape, x, y, flux, sigma):
    """Round Gaussian source on pixels (ny, nx)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    square = (columns - x) ** 2 + (rows - y) ** 2
    return flux * np.exp(-0.5 * square / sigma**2) / (2.0 * np.pi * sigma**2)
