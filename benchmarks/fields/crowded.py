"""A star field like M2 whose PSFs, positions and noise are those of the model: HST's stars.

What a set of bands gains on these images and not on the real ones is lost to PSFs, astrometry
or noise that are not what the model takes them to be.
"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from benchmarks.support.results import data_path

COLOUR_MAG = (14.0, 17.0, 19.0, 20.0, 22.0, 24.0)
"""Magnitudes in r of the points between which g - r runs, roughly as in an old cluster."""
COLOUR = (0.75, 0.50, 0.27, 0.25, 0.40, 0.65)
REDDER = 0.4
"""r - i in units of g - r."""
SCATTER = 0.03


def simulate_bands(images: list[Any], seed: int) -> list[Any]:
    """Replace pixels and variances of images by simulated ones.

    Every image keeps its PSF, WCS, zero point, gain and mask, and its median.

    Parameters
    ----------
    images : list of Image
        Of M2, that in r first.
    seed : int

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
        place = image.wcs.world_to_pixel(sky)
        band_flux = 10.0 ** (0.4 * (image.zero_point - mag - offsets[image.band]))
        stars = {"x": place[0], "y": place[1], "flux": band_flux}
        made.append(_simulate(image, stars, jax.random.key(seed + number)))
    return made


def _simulate(image: Any, stars: dict[str, np.ndarray], rng_key: Any) -> Any:
    """Pixels of stars, a level and Poisson noise."""
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
