"""Blends rendered with GalSim: stars and galaxies of a population that the sampler does not know.

A blend has 3 to 6 sources, each a star or a galaxy with equal probability, around the middle of an
image of 40x40 px (normal with 5 px along each axis, at least 4 px inside the image). Fluxes are
log-uniform: 8 to 200 times the error of an isolated star for stars, 20 to 400 times for galaxies.
There is one Moffat PSF (FWHM 3 px, index 3.5), Gaussian noise of one unit, and a background of
ten units.

Galaxies are real ones of COSMOS (the sample of GalSim) where its data are found: rotated at
random, with their own sizes at 0.2 arcsec per pixel. A galaxy is only made so bright that the
noise of HST in it, whitened, stays below a fifth of the noise of the blend. Elsewhere galaxies are
Sersic profiles: half-light radius log-uniform from 1 to 3 px, index uniform from 0.5 to 4, reduced
shear uniform up to 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (40, 40)
"""Rows and columns of an image."""
PIXEL_SCALE = 0.2
"""Side of a pixel in arcseconds."""
FWHM = 3.0
"""FWHM of the PSF in pixels."""
MOFFAT_INDEX = 3.5
"""Index of the Moffat profile of the PSF."""
NOISE = 1.0
"""Standard deviation of the noise of a pixel."""
LEVEL = 10.0
"""Background level of a pixel."""
FEWEST = 3
"""Smallest number of sources of a blend."""
MOST = 6
"""Largest number of sources of a blend."""
SPREAD = 5.0
"""Standard deviation of positions along each axis in pixels."""
BORDER = 4.0
"""Smallest distance of a source from the edge of the image in pixels."""
STAR_SIGNAL = (8.0, 200.0)
"""Range of the fluxes of stars, in units of the error of an isolated star."""
GALAXY_SIGNAL = (20.0, 400.0)
"""Range of the fluxes of galaxies, in units of the error of an isolated star."""
HST_NOISE = 0.2
"""Largest noise of HST in a real galaxy, in units of `NOISE`; more would look like structure."""
COSMOS = "real_galaxy_catalog_26_extension_example.fits"
"""Catalog of GalSim's sample of real galaxies."""
LN_SIZE_RANGE = float(np.log(3.0))
"""Logarithm of the ratio of the largest to the smallest half-light radius of Sersic profiles."""
PSF_SIZE = 27
"""Side of the PSF stamp in pixels."""


@dataclass(frozen=True, eq=False)
class Blend:
    """An image and its true sources.

    Attributes
    ----------
    image : probcat.Image
        Image with noise.
    sources : dict of str to ndarray, shape (n,)
        Columns `x` and `y` (pixels), `flux`, and `is_star`.
    light : ndarray, shape (n, ny, nx)
        Noise-free light of every source.
    """

    image: Any
    sources: dict[str, np.ndarray]
    light: np.ndarray


class Renderer:
    """Renderer of random blends.

    Parameters
    ----------
    folder : Path or None
        Folder of GalSim's sample of COSMOS; without it galaxies are Sersic profiles.
    """

    def __init__(self, folder: Path | None):
        import galsim

        from probcat import PSF

        self.star = galsim.Moffat(beta=MOFFAT_INDEX, fwhm=FWHM * PIXEL_SCALE)
        image = self.star.drawImage(nx=PSF_SIZE, ny=PSF_SIZE, scale=PIXEL_SCALE)
        self.psf = PSF.from_pixels(np.asarray(image.array, float))
        self.real: Any = None
        if folder is not None:
            self.real = galsim.RealGalaxyCatalog(COSMOS, dir=str(folder))
        self.limits: np.ndarray | None = None
        self.unit = NOISE * np.sqrt(self.psf.effective_area)

    def draw(self, seed: tuple[int, int]) -> Blend:
        """Return the blend of a seed and a number.

        Parameters
        ----------
        seed : tuple of int
            Seed of all blends, and the number of this one.
        """
        rng = np.random.default_rng(seed)
        number = int(rng.integers(FEWEST, MOST + 1))
        star = rng.random(number) < 0.5
        middle = 0.5 * (np.array(SHAPE[::-1]) - 1.0)
        position = rng.normal(middle, SPREAD, (number, 2))
        position = np.clip(position, BORDER, np.array(SHAPE[::-1]) - 1.0 - BORDER)
        drawn = [self._source(bool(kind), rng) for kind in star]
        profiles, fluxes = zip(*drawn, strict=True)
        return self._observe(profiles, np.array(fluxes), position, star, rng)

    def _observe(
        self,
        profiles: Sequence[Any],
        flux: np.ndarray,
        position: np.ndarray,
        star: np.ndarray,
        rng: np.random.Generator,
    ) -> Blend:
        """Image of sources with background and noise."""
        from probcat import Image

        light = np.array(
            [
                self._image(profile, float(one), *at)
                for profile, one, at in zip(profiles, flux, position, strict=True)
            ]
        )
        data = light.sum(axis=0) + LEVEL + rng.normal(0.0, NOISE, SHAPE)
        image = Image.from_arrays(
            data.astype(np.float32), np.full(SHAPE, NOISE**2, np.float32), psf=self.psf, band="i"
        )
        sources = {"x": position[:, 0], "y": position[:, 1], "flux": flux}
        sources["is_star"] = star.astype(float)
        return Blend(image, sources, light)

    def _source(self, star: bool, rng: np.random.Generator) -> tuple[Any, float]:
        """Profile of unit flux, convolved with the PSF but not with the pixels, and its flux."""
        import galsim

        low, high = STAR_SIGNAL if star else GALAXY_SIGNAL
        signal = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        if star:
            profile = self.star
        elif self.real is not None:
            index = int(rng.choice(np.flatnonzero(self._limits() >= signal)))
            galaxy = galsim.RealGalaxy(self.real, index=index, flux=1.0)
            profile = galsim.Convolve([galaxy.rotate(_angle(rng)), self.star])
        else:
            size = PIXEL_SCALE * float(np.exp(rng.uniform(0.0, LN_SIZE_RANGE)))
            galaxy = galsim.Sersic(float(rng.uniform(0.5, 4.0)), half_light_radius=size)
            galaxy = galaxy.shear(g=float(rng.uniform(0.0, 0.5)), beta=_angle(rng))
            profile = galsim.Convolve([galaxy, self.star])
        return profile, self.unit * signal

    def _limits(self) -> np.ndarray:
        """Signal-to-noise ratio up to which the noise of HST in each real galaxy is allowed."""
        import galsim

        if self.limits is None:
            limits = []
            for index in range(self.real.nobjects):
                galaxy = galsim.RealGalaxy(self.real, index=index, flux=1.0)
                profile = galsim.Convolve([galaxy, self.star]).withFlux(self.unit)
                image = profile.drawImage(nx=SHAPE[1], ny=SHAPE[0], scale=PIXEL_SCALE)
                limits.append(HST_NOISE * NOISE / np.sqrt(profile.noise.whitenImage(image)))
            self.limits = np.array(limits)
        return self.limits

    def _image(self, profile: Any, flux: float, x: float, y: float) -> np.ndarray:
        """Noise-free image of a profile at a pixel position."""
        import galsim

        image = galsim.Image(SHAPE[1], SHAPE[0], scale=PIXEL_SCALE)
        centre = galsim.PositionD(x + 1.0, y + 1.0)
        return np.asarray(
            profile.withFlux(flux).drawImage(image=image, center=centre).array, float
        ).copy()


def _angle(rng: np.random.Generator) -> Any:
    """Random angle on the sky."""
    import galsim

    return rng.uniform(0.0, np.pi) * galsim.radians
