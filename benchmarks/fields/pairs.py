"""Single sources and close pairs, rendered with GalSim, as `benchmarks.fields.blends` does.

With equal probability there is one source near the middle of an image, or two at a distance that
is uniform between 0.2 and 1.5 FWHM. Each is a star or a galaxy with equal probability. The flux of
the brighter one is log-uniform as in `blends`, and the other one has between a tenth and all of it.
"""

import numpy as np

from benchmarks.fields.blends import FWHM, SHAPE, Blend, Renderer

SEPARATION = (0.2, 1.5)
"""Range of distances of the two sources of a pair, in units of the FWHM."""
RATIO = (0.1, 1.0)
"""Range of flux ratios of the two sources of a pair."""


class PairRenderer(Renderer):
    """Renderer of single sources and pairs; see `benchmarks.fields.blends.Renderer`."""

    def draw(self, seed: tuple[int, int]) -> Blend:
        """Return the image of a seed and a number.

        Parameters
        ----------
        seed : tuple of int
            Seed of all images, and the number of this one.
        """
        rng = np.random.default_rng(seed)
        number = 1 + int(rng.random() < 0.5)
        star = rng.random(number) < 0.5
        middle = 0.5 * (np.array(SHAPE[::-1]) - 1.0) + rng.uniform(-0.5, 0.5, 2)
        distance = FWHM * rng.uniform(*SEPARATION)
        angle = rng.uniform(0.0, 2.0 * np.pi)
        apart = distance * np.array([np.cos(angle), np.sin(angle)])
        position = np.array([middle, middle + apart])[:number]
        drawn = [self._source(bool(kind), rng) for kind in star]
        ratio = float(np.exp(rng.uniform(*np.log(RATIO))))
        profiles, fluxes = zip(*drawn, strict=True)
        flux = np.array(fluxes)
        if number == 2:
            flux[1] = ratio * flux[0]
        return self._observe(profiles, flux, position, star, rng)
