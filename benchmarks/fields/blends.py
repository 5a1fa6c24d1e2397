"""Blends rendered by GalSim: stars and galaxies of a stated population, unknown to the sampler.

The population: 3 to 6 sources, each with even odds a star or a galaxy, about the middle of
40x40 px (normal, 5 px along each axis, at least 4 px inside the image). Fluxes are log-uniform,
of stars 8 to 200 and of galaxies 20 to 400 times the error of an isolated star. Galaxies are real
ones of COSMOS (GalSim's sample, turned at random, with their own sizes at 0.2 arcsec/px) where
they are at hand, of those that can be as bright and leave HST's own noise, made white, below a
fifth of the noise of the blend; else Sersic profiles: half-light radius log-uniform from 1 to
3 px, index from 0.5 to 4, reduced shear uniform up to 0.5. One Moffat PSF (FWHM 3 px, index 3.5),
Gaussian noise of one unit, a background of ten.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (40, 40)
PIXEL_SCALE = 0.2
FWHM, MOFFAT_INDEX = 3.0, 3.5
NOISE, LEVEL = 1.0, 10.0
FEWEST, MOST = 3, 6
SPREAD, BORDER = 5.0, 4.0
STAR_SIGNAL, GALAXY_SIGNAL = (8.0, 200.0), (20.0, 400.0)
HST_NOISE = 0.2
"""Of a real galaxy, in units of the noise: brighter, it would be taken for structure."""
COSMOS = "real_galaxy_catalog_26_extension_example.fits"


@dataclass(frozen=True, eq=False)
class Blend:
    """An image and what it was made of.

    Attributes
    ----------
    image : probcat.Image
    sources : dict of str to ndarray, shape (n,)
        `x, y` (px), `flux`, `is_star`.
    light : ndarray, shape (n, ny, nx)
        Noise-free.
    """

    image: Any
    sources: dict[str, np.ndarray]
    light: np.ndarray


class Renderer:
    """Draws blends.

    Parameters
    ----------
    folder : Path, optional
        Of GalSim's COSMOS sample; without it galaxies are Sersic profiles.
    """

    def __init__(self, folder: Path | None):
        import galsim

        from probcat import PSF

        self.star = galsim.Moffat(beta=MOFFAT_INDEX, fwhm=FWHM * PIXEL_SCALE)
        side = 27
        image = self.star.drawImage(nx=side, ny=side, scale=PIXEL_SCALE)
        self.psf = PSF.from_pixels(np.asarray(image.array, float))
        self.real = None
        if folder is not None:
            self.real = galsim.RealGalaxyCatalog(COSMOS, dir=str(folder))
        self.limits: np.ndarray | None = None
        self.unit = NOISE * np.sqrt(self.psf.effective_area)

    def draw(self, seed: tuple[int, int]) -> Blend:
        """Draw a blend."""
        from probcat import Image

        rng = np.random.default_rng(seed)
        number = int(rng.integers(FEWEST, MOST + 1))
        star = rng.random(number) < 0.5
        middle = 0.5 * (np.array(SHAPE[::-1]) - 1.0)
        place = rng.normal(middle, SPREAD, (number, 2))
        place = np.clip(place, BORDER, np.array(SHAPE[::-1]) - 1.0 - BORDER)
        drawn = [self._source(bool(kind), rng) for kind in star]
        flux = np.array([flux for _, flux in drawn])
        light = np.array(
            [
                self._image(profile, one, *at)
                for (profile, one), at in zip(drawn, place, strict=True)
            ]
        )
        data = light.sum(axis=0) + LEVEL + rng.normal(0.0, NOISE, SHAPE)
        image = Image.from_arrays(
            data.astype(np.float32), np.full(SHAPE, NOISE**2, np.float32), psf=self.psf, band="i"
        )
        sources = {"x": place[:, 0], "y": place[:, 1], "flux": flux, "is_star": star.astype(float)}
        return Blend(image, sources, light)

    def _source(self, star: bool, rng: np.random.Generator) -> tuple[Any, float]:
        """Profile of unit flux as it is seen, the PSF included but not the pixels, and a flux."""
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
            size = PIXEL_SCALE * float(np.exp(rng.uniform(0.0, np.log(3.0))))
            index = float(rng.uniform(0.5, 4.0))
            galaxy = galsim.Sersic(index, half_light_radius=size)
            galaxy = galaxy.shear(g=float(rng.uniform(0.0, 0.5)), beta=_angle(rng))
            profile = galsim.Convolve([galaxy, self.star])
        return profile, self.unit * signal

    def _limits(self) -> np.ndarray:
        """Signal-to-noise ratio at which HST's noise of each real galaxy is what it may be."""
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
    """Draw an angle on the sky."""
    import galsim

    return rng.uniform(0.0, np.pi) * galsim.radians
