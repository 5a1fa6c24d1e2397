"""Builders that tests of several rooms share: WCS, light, samples."""

import numpy as np
from astropy.wcs import WCS

from probcat import Samples
from probcat.samples.samples import SHAPE_NAMES

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


def gaussian_light(shape, x, y, flux, sigma):
    """Round Gaussian source on pixels (ny, nx)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    square = (columns - x) ** 2 + (rows - y) ** 2
    return flux * np.exp(-0.5 * square / sigma**2) / (2.0 * np.pi * sigma**2)


def samples_from_draws(draws, num_chains=2, seed=0):
    """Build samples from lists of (x, y, flux[, half_light_radius]), slots shuffled."""
    rng = np.random.default_rng(seed)
    length = max(max(map(len, draws)), 1)
    dims = (len(draws), length)
    sources = {name: np.full(dims, np.nan, np.float32) for name in ("x", "y", "flux", *SHAPE_NAMES)}
    sources |= {name: np.zeros(dims, bool) for name in ("active", "is_extended")}
    for number, draw in enumerate(draws):
        slots = rng.permutation(length)[: len(draw)]
        for slot, source in zip(slots, draw, strict=True):
            for name, value in zip(("x", "y", "flux", "half_light_radius"), source, strict=False):
                sources[name][number, slot] = value
            sources["active"][number, slot] = True
            if len(source) > 3:
                sources["is_extended"][number, slot] = True
                sources["ellipticity_1"][number, slot] = 0.1
                sources["ellipticity_2"][number, slot] = -0.2
                sources["sersic_n"][number, slot] = 1.0
    shape = (num_chains, len(draws) // num_chains, length)
    return Samples({name: values.reshape(shape) for name, values in sources.items()})
