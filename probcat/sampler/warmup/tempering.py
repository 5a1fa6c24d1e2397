"""The warm-up: inverse temperature of the likelihood, and kinds of sources that it starts with.

Bright objects are built from their coarse shapes to their details, instead of the other way round:
a galaxy that is found at full strength is found in many fragments. In fields crowded by stars,
however, the blurred light of many stars looks like galaxies, which would then take their places.
There the chains start with point sources alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter

from probcat.image.peaks import is_crowded
from probcat.numerics.robust import sky_level

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.model.prior.prior import Prior
    from probcat.sampler.settings import SamplerSettings

FRACTION = 0.75
"""Fraction of the warm-up with a tempered likelihood, with galaxies (which fragment if it is too
short)."""
FRACTION_OF_STARS = 0.5
"""Fraction of the warm-up with a tempered likelihood, for stars only."""
DENSITY_PENALTY = 5.0
"""Decrease of the log density of sources at the start of the warm-up, with galaxies."""
START_SIGNAL = 3.0
"""Signal-to-noise ratio of the brightest object at the start of the warm-up."""
MAX_START_BETA = 1e-3
"""Largest inverse temperature at the start of the warm-up."""
MIN_PIXEL_SIGNAL = 3.0
"""Signal-to-noise ratio above the sky of the faintest pixels that count."""
POINTS_ALONE = 0.8
"""Fraction of the warm-up with point sources alone, in fields crowded by stars. It ends when these
explain the image: earlier, galaxies would fill the gaps between stars that are still missing."""


@dataclass(frozen=True)
class WarmUp:
    """How the chains of a run start.

    Parameters
    ----------
    start_beta : float
        Inverse temperature of the likelihood at the start.
    fraction : float
        Fraction of the warm-up in which the inverse temperature rises to one.
    density_penalty : float
        Decrease of the log density of sources at the start.
    points_alone : float
        Fraction of the warm-up in which there are only point sources.
    """

    start_beta: float
    fraction: float
    density_penalty: float = 0.0
    points_alone: float = 0.0


def plan_warmup(images: "Sequence[Image]", prior: "Prior", settings: "SamplerSettings") -> WarmUp:
    """Choose the warm-up of a run from its images and settings.

    Parameters
    ----------
    images : sequence of Image
        Images to catalog.
    prior : Prior
        Prior of the catalog.
    settings : SamplerSettings
        Settings of the sampler; those that are given win.
    """
    points_first = prior.has_extended and prior.has_points and is_crowded(images[0])
    with_extended = prior.has_extended and not points_first
    return WarmUp(
        start_beta=settings.start_beta or default_start_beta(images, with_extended),
        fraction=fraction_of_warmup(settings.tempering_fraction, with_extended),
        density_penalty=DENSITY_PENALTY if with_extended else 0.0,
        points_alone=POINTS_ALONE if points_first else 0.0,
    )


def fraction_of_warmup(given: float, with_extended: bool) -> float:
    """Fraction of the warm-up with a tempered likelihood.

    Parameters
    ----------
    given : float
        Fraction in the settings; a negative number takes the default.
    with_extended : bool
        Whether extended sources are part of the model.
    """
    if given >= 0.0:
        return given
    return FRACTION if with_extended else FRACTION_OF_STARS


def default_start_beta(images: "Sequence[Image]", with_extended: bool = True) -> float:
    """Inverse temperature at which the brightest object hardly stands out from the noise.

    Parameters
    ----------
    images : sequence of Image
        Images to catalog.
    with_extended : bool
        Whether extended sources are part of the model. Stars alone have no details, and start at
        `MAX_START_BETA`.

    Returns
    -------
    float
        Inverse temperature at which the object has a signal-to-noise ratio of `START_SIGNAL`
        within a box about two FWHM wide, in the images of one band together; at most
        `MAX_START_BETA`.
    """
    if not with_extended:
        return MAX_START_BETA
    power: dict[str, float] = {}
    for image in images:
        sky = sky_level(image.clean_data, image.weight > 0)
        signal = (image.clean_data - sky) * np.sqrt(image.weight)
        side = 2 * round(float(image.psf.fwhm)) + 1
        square = np.where(signal > MIN_PIXEL_SIGNAL, signal, 0.0) ** 2
        largest = float(uniform_filter(square, side, mode="constant").max()) * side**2
        power[image.band] = power.get(image.band, 0.0) + largest
    return min(MAX_START_BETA, START_SIGNAL**2 / max(*power.values(), 1.0))
