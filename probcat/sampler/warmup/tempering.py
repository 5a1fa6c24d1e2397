"""Where the likelihood starts from in warm-up.

Bright objects are built from their coarse shapes to their details, not the other way round: a
galaxy that is found at full strength is found in many pieces.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter

from probcat.numerics.robust import sky_level

if TYPE_CHECKING:
    from probcat.image.image import Image

FRACTION, FRACTION_OF_STARS = 0.75, 0.5
"""Of the warm-up, in which the likelihood is tempered: details of galaxies, which are found in
pieces if it is short, and stars alone."""
DENSITY_PENALTY = 5.0
"""By how much the log density of sources is lower at its start, where there are galaxies."""
START_SIGNAL = 3.0
"""Signal-to-noise ratio of the brightest object at the start."""
MAX_START_BETA = 1e-3
"""Largest inverse temperature there."""
SEEN = 3.0
"""Pixels that exceed the sky by less than so many sigma do not count."""


def fraction_of_warmup(given: float, with_extended: bool) -> float:
    """Share of the warm-up in which the likelihood is tempered; what is negative is chosen."""
    if given >= 0.0:
        return given
    return FRACTION if with_extended else FRACTION_OF_STARS


def default_start_beta(images: "Sequence[Image]", with_extended: bool = True) -> float:
    """Inverse temperature at which the brightest object hardly stands out.

    Parameters
    ----------
    images : sequence of Image
    with_extended : bool
        Stars alone have no details, and start at `MAX_START_BETA`.

    Returns
    -------
    float
        At which the object has a signal-to-noise ratio of `START_SIGNAL` within a box about two
        FWHM wide, in the images of one band together; at most `MAX_START_BETA`.
    """
    if not with_extended:
        return MAX_START_BETA
    power: dict[str, float] = {}
    for image in images:
        sky = sky_level(image.clean_data, image.weight > 0)
        signal = (image.clean_data - sky) * np.sqrt(image.weight)
        side = 2 * round(float(image.psf.fwhm)) + 1
        square = np.where(signal > SEEN, signal, 0.0) ** 2
        largest = float(uniform_filter(square, side, mode="constant").max()) * side**2
        power[image.band] = power.get(image.band, 0.0) + largest
    return min(MAX_START_BETA, START_SIGNAL**2 / max(*power.values(), 1.0))
