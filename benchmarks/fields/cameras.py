"""Cameras of the simulated scenes: pixel grids, PSFs, noise, and the prior of the sources."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpyro.distributions as dist

from probcat import PSF, Image, Prior
from probcat.model.prior.defaults import log_normal_within
from probcat.model.prior.prior import power_law

SHAPE = (14, 25)
"""Rows and columns of the first image; a single window for all kinds of sources covers them."""
FLUX_LIMITS = (8.0, 100.0)
"""Range of fluxes, in units of the error of an isolated point source in the first image."""
BANDS = "rgizyu"
"""Bands in the order of the images."""
MOST_IMAGES = 6
"""Largest number of images of a scene."""
PIXEL_SCALE = 0.2
"""Side of a pixel of the first image in arcseconds."""
ZERO_POINT = 27.0
"""Magnitude of one unit of flux, where the zero point is the same in all scenes."""


@dataclass(frozen=True, eq=False)
class Camera:
    """Properties of an image that are the same in all scenes.

    Attributes
    ----------
    linear : ndarray, shape (2, 2)
        Linear part of the map from pixels of the first image to pixels of this one.
    shape : tuple of int
        Rows and columns; the image covers the whole first image.
    band : str
        Name of the band.
    psf : PSF
        PSF of the image.
    noise : float
        Standard deviation of the noise of a pixel.
    level : float
        Prior mean of the background; its prior standard deviation is `noise`.
    own_zero_point : bool
        Whether the zero point differs from scene to scene.
    """

    linear: np.ndarray
    shape: tuple[int, int]
    band: str
    psf: PSF
    noise: float
    level: float
    own_zero_point: bool = False


def make_cameras(num_images: int, seed: int) -> tuple[Camera, ...]:
    """Return the cameras of a number of images.

    Parameters
    ----------
    num_images : int
        Number of images. Every image has a band of its own; of three or more, the last is a second
        exposure of the first band.
    seed : int
        Seed of orientations, pixel scales, PSFs and noise.

    Returns
    -------
    tuple of Camera
    """
    first = Camera(np.eye(2), SHAPE, BANDS[0], PSF.moffat(2.5, 3.5, size=9), 1.0, 10.0)
    cameras = [first]
    rng = np.random.default_rng([seed, num_images])
    for number in range(1, num_images):
        repeat = number == num_images - 1 and num_images >= 3
        angle, scale = rng.uniform(-np.pi, np.pi), rng.uniform(0.7, 1.4)
        cos, sin = np.cos(angle), np.sin(angle)
        linear = scale * np.array([[cos, -sin], [sin, cos]])
        # The sides leave room for the first image and for any shift within a pixel.
        sides = np.ceil(np.abs(linear) @ np.array(SHAPE[::-1])).astype(int) + 2
        cameras.append(
            Camera(
                linear,
                (int(sides[1]), int(sides[0])),
                BANDS[0] if repeat else BANDS[number],
                PSF.moffat(rng.uniform(2.0, 3.0), 3.5, size=9),
                rng.uniform(0.7, 1.5),
                rng.uniform(5.0, 20.0),
                own_zero_point=repeat,
            )
        )
    return tuple(cameras)


def make_prior(cameras: tuple[Camera, ...], seed: int, stars_only: bool = False) -> Prior:
    """Return the prior that scenes are drawn from and sampled with.

    Parameters
    ----------
    cameras : tuple of Camera
        Cameras of the images; limits of fluxes are in units of the noise of the first one.
    seed : int
        Seed of the mean colours.
    stars_only : bool
        Whether there are no galaxies.

    Returns
    -------
    Prior
    """
    first = cameras[0]
    sigma = first.noise * np.sqrt(first.psf.effective_area)
    low, high = np.asarray(FLUX_LIMITS, np.float32) * np.float32(sigma)
    slope: Any = np.float32(1.8)
    levels = tuple(dist.Normal(np.float32(c.level), np.float32(c.noise)) for c in cameras)
    number = len({camera.band for camera in cameras}) - 1
    mean = np.random.default_rng([seed, number]).uniform(-0.4, 0.4, number).astype(np.float32)
    return Prior(
        flux=power_law(slope, low, high),
        half_light_radius=log_normal_within(1.2, 0.4, 0.5, 3.0),
        ellipticity=dist.Beta(2.0, 4.0),
        sersic_n=dist.Uniform(0.5, 4.0),
        expected_sources=dist.Gamma(8.0, 2.0),
        extended_fraction=0.0 if stars_only else dist.Beta(2.0, 2.0),
        background=levels if len(levels) > 1 else levels[0],
        flux_slope=dist.Normal(1.8, 0.3),
        colours=dist.Normal(mean, np.full(number, 0.4, np.float32)) if number else None,
    ).validate()


def blank_images(cameras: tuple[Camera, ...], rng: np.random.Generator) -> list[Image]:
    """Return images without light, with random shifts and zero points.

    Parameters
    ----------
    cameras : tuple of Camera
        Cameras of the images.
    rng : numpy.random.Generator
        Generator of the shifts and zero points.

    Returns
    -------
    list of Image
    """
    middle = 0.5 * (np.array(SHAPE[::-1]) - 1.0)
    images = []
    for number, camera in enumerate(cameras):
        shift = rng.uniform(-0.5, 0.5, 2) if number else np.zeros(2)
        factor = rng.uniform(0.6, 1.6) if camera.own_zero_point else 1.0
        centre = 0.5 * (np.array(camera.shape[::-1]) - 1.0) + shift
        images.append(
            Image.from_arrays(
                np.zeros(camera.shape, np.float32),
                np.full(camera.shape, camera.noise**2, np.float32),
                psf=camera.psf,
                wcs=_wcs(camera.linear, centre - camera.linear @ middle),
                band=camera.band,
                zero_point=ZERO_POINT + 2.5 * np.log10(factor),
                name=f"image {number + 1}",
            )
        )
    return images


def _wcs(linear: np.ndarray, shift: np.ndarray) -> Any:
    """Coordinates of an image with pixels ``linear @ p + shift`` for pixels p of the first image.

    All images have the same tangent point, so that the map between any two is affine.
    """
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = shift + 1.0
    wcs.wcs.cd = PIXEL_SCALE / 3600.0 * np.diag([-1.0, 1.0]) @ np.linalg.inv(linear)
    return wcs
