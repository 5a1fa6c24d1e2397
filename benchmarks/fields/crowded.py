"""A simulated star field like M2, whose PSFs, positions and noise are exactly those of the model.

The stars are those that HST finds in M2. If a set of bands is better on these images than on the
real ones, the real images suffer from PSFs, astrometry or noise that the model does not describe.
"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from benchmarks.support.data import data_path

COLOUR_MAG = (14.0, 17.0, 19.0, 20.0, 22.0, 24.0)
"""Magnitudes in r of the points that define g - r, roughly as in an old cluster."""
COLOUR = (0.75, 0.50, 0.27, 0.25, 0.40, 0.65)
"""g - r at the magnitudes of `COLOUR_MAG`, with linear interpolation between them."""
REDDER = 0.4
"""Ratio of r - i to g - r."""
SCATTER = 0.03
"""Standard deviation of g - r at a magnitude."""


def simulate_bands(images: list[Any], seed: int) -> list[Any]:
    """Return images of M2 with simulated pixels and variances.

    Every image keeps its PSF, WCS, zero point, gain, mask and median.

    Parameters
    ----------
    images : list of Image
        Images of M2, the one in r first.
    seed : int
        Seed of colours and noise.

    Returns
    -------
    list of Image
    """
    from astropy.table import Table

    table = Table.read(data_path("m2/m2_truth_hst.fits"))
    x, y, flux = (np.asarray(table[name], float) for name in ("x", "y", "flux"))
    reference = images[0]
    mag = reference.zero_point - 2.5 * np.log10(flux)
    rng = np.random.default_rng(seed)
    colour = np.interp(mag, COLOUR_MAG, COLOUR) + rng.normal(0.0, SCATTER, len(mag))
    offsets = {"r": 0.0, "g": colour, "i": -REDDER * colour}
    sky = reference.wcs.pixel_to_world(x, y)
    made = []
    for number, image in enumerate(images):
        x, y = image.wcs.world_to_pixel(sky)
        band_flux = 10.0 ** (0.4 * (image.zero_point - mag - offsets[image.band]))
        stars = {"x": x, "y": y, "flux": band_flux}
        made.append(_simulate(image, stars, jax.random.key(seed + number)))
    return made


def _simulate(image: Any, stars: dict[str, np.ndarray], rng_key: Any) -> Any:
    """Image with the light of stars, a background level and Poisson noise."""
    from probcat import simulate_image

    data = image.clean_data.astype(np.float64)
    gain = float(np.median(data / image.variance))
    options: dict[str, Any] = {"band": image.band, "keep_light": False}
    light = simulate_image(stars, image.psf, image.shape, rng_key, noise=1e-3, **options)
    level = float(np.median(data - light.image.clean_data))
    noise = float(np.sqrt(level / gain))
    found = simulate_image(
        stars,
        image.psf,
        image.shape,
        rng_key,
        noise=noise,
        background=level,
        gain=gain,
        **options,
    )
    return replace(image, data=found.image.data, variance=found.image.variance)
