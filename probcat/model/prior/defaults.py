"""The default prior of an image, from its noise, its PSF and its pixels."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.transforms import ExpTransform

from probcat.image.alignment import align_images
from probcat.image.peaks import is_crowded, largest_half_light_radius
from probcat.model.image_map import flux_ratio
from probcat.model.prior.colour_guess import guess_colours
from probcat.model.prior.parameters import (
    PER_COLOUR,
    PER_IMAGE,
    Levels,
    PriorParameters,
    check_parameters,
    given_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probcat.image.alignment import Alignment
    from probcat.image.image import Image

DETECTION = 5.0
"""Flux limit in units of the error of an isolated point source."""
USUAL_RADIUS = 3.0
"""Upper limit of half-light radii in units of the FWHM of the PSF, unless the image has a wider
object."""
RARE = 0.01
"""Fraction of extended sources in a field crowded by stars. If it were sampled, galaxies that make
up for errors of the PSF would make further galaxies more likely, and take the places of stars."""
ROOM = 1.5
"""The same limit in units of the estimated radius of that object."""


def default_marks(images: "Sequence[Image]", overrides: dict[str, Any]) -> dict[str, Any]:
    """Choose the fields of the default `probcat.Prior` of images.

    Parameters
    ----------
    images : sequence of Image
        The image that positions and fluxes are given in comes first.
    overrides : dict
        Given values of `PriorParameters`.

    Returns
    -------
    dict
        Fields of `probcat.Prior`.

    Raises
    ------
    InputError
        If a key is not known or a value makes no sense.
    """
    links = align_images(images)
    given = given_parameters(overrides, len(images), max(link.band for link in links))
    parameters = _filled(given, images, links)
    check_parameters(parameters)
    return _build(parameters, len(images))


def _filled(
    given: PriorParameters, images: "Sequence[Image]", links: "Sequence[Alignment]"
) -> PriorParameters:
    """Parameters with missing ones from the images; those of fluxes and sizes from the first."""
    image = images[0]
    levels = [_level_guess(one) for one in images]
    # The sky lies between the faintest pixels and the median, or near them.
    means = tuple(0.5 * (low + middle) for low, middle, _ in levels)
    scatters = tuple(max(middle - low, sigma) for low, middle, sigma in levels)
    colours: dict[str, Any] = {}
    if max(link.band for link in links) > 0:
        guess = guess_colours(images, links, means)
        colours = dict(zip(PER_COLOUR, map(tuple, guess), strict=True))
    pixels = np.asarray(image.data, dtype=np.float64)[image.weight > 0]
    fwhm = float(image.psf.fwhm)
    top = float(pixels.max() - levels[0][0]) / float(image.psf.peak)
    flux_error = _flux_error(images, links, levels, (0.0, *colours.get("colour_mean", ())))
    flux_min = DETECTION * flux_error if given.flux_min is None else given.flux_min
    guesses: dict[str, Any] = {
        "flux_min": flux_min,
        "flux_max": max(30.0 * top, 1000.0 * flux_min),
        # Most galaxies of deep images are a few tenths of an arcsecond wide, barely resolved.
        "half_light_radius_median": 0.35 * fwhm,
        "half_light_radius_min": 0.1 * fwhm,
        "half_light_radius_max": _largest_radius(image),
        "background_mean": means if len(images) > 1 else means[0],
        "background_scatter": scatters if len(images) > 1 else scatters[0],
    }
    if is_crowded(image):
        guesses["extended_fraction"] = RARE
    values = asdict(given)
    for name, value in (guesses | colours).items():
        if values[name] is None:
            values[name] = _rounded(value)
    return PriorParameters(**values)


def _largest_radius(image: "Image") -> float:
    """Upper limit of half-light radii in pixels: a few FWHM, or more if an object is wider."""
    usual = USUAL_RADIUS * float(image.psf.fwhm)
    room = max(usual, 0.5 * max(image.shape))
    return min(max(usual, ROOM * largest_half_light_radius(image)), room)


def _flux_error(
    images: "Sequence[Image]", links: "Sequence[Alignment]", levels: Any, colours: tuple[float, ...]
) -> float:
    """Error of the flux of an isolated star of mean colours, from all images together."""
    precision = 0.0
    for image, link, (_, _, sigma) in zip(images, links, levels, strict=True):
        factor = link.flux_factor * flux_ratio(colours[link.band])
        precision += factor**2 / (sigma**2 * float(image.psf.effective_area))
    return float(precision**-0.5)


def _level_guess(image: "Image") -> tuple[float, float, float]:
    """Fifth percentile and median of the pixels, and their noise."""
    good = image.weight > 0
    pixels = np.asarray(image.data, dtype=np.float64)[good]
    sigma = float(np.sqrt(np.median(1.0 / image.weight[good].astype(np.float64))))
    low, middle = np.percentile(pixels, [5.0, 50.0])
    return float(low), float(middle), sigma


def _rounded(value: Any) -> Any:
    """Round to six significant digits, so that the record of a run makes the same prior."""
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    return float(f"{float(value):.6g}")


def _build(parameters: PriorParameters, num_images: int) -> dict[str, Any]:
    """Distributions of the default prior."""
    p: dict[str, Any] = {
        name: None if value is None else jnp.float32(value)
        for name, value in asdict(parameters).items()
        if name != "background_model"
    }
    half, six = jnp.float32(0.5), jnp.float32(6.0)
    levels = [
        _background(*(_of_image(getattr(parameters, name), index) for name in PER_IMAGE))
        for index in range(num_images)
    ]
    colours = None
    if parameters.colour_mean is not None:
        colours = dist.Normal(p["colour_mean"], p["colour_scatter"])
    fraction: dist.Distribution | float
    if parameters.extended_fraction is None:
        fraction = dist.Beta(p["extended_fraction_a"], p["extended_fraction_b"])
    else:
        fraction = parameters.extended_fraction
    fixed = parameters.flux_slope is not None
    slope = p["flux_slope"] if fixed else p["flux_slope_mean"]
    hyperprior = dist.Exponential(jnp.expm1(p["parsimony"]))
    return {
        "flux": dist.DoublyTruncatedPowerLaw(-slope, p["flux_min"], p["flux_max"]),
        "flux_slope": None if fixed else dist.Normal(slope, p["flux_slope_scatter"]),
        "half_light_radius": log_normal_within(
            p["half_light_radius_median"],
            p["half_light_radius_scatter"],
            p["half_light_radius_min"],
            p["half_light_radius_max"],
        ),
        "ellipticity": dist.Beta(p["ellipticity_a"], p["ellipticity_b"]),
        "sersic_n": dist.TruncatedNormal(
            p["sersic_n_mean"], p["sersic_n_scatter"], low=half, high=six
        ),
        "expected_sources": hyperprior
        if parameters.expected_sources is None
        else parameters.expected_sources,
        "extended_fraction": fraction,
        "background": tuple(levels) if num_images > 1 else levels[0],
        "colours": colours,
        **_of_every_image(parameters, num_images),
        "parameters": tuple(
            (name, value) for name, value in asdict(parameters).items() if value is not None
        ),
    }


def _of_every_image(parameters: PriorParameters, num_images: int) -> dict[str, Any]:
    """Fields of the prior that every image has a value of; None if they are switched off."""
    models = parameters.background_model
    error: Any = parameters.psf_error_floor or None
    if parameters.psf_error_floor is None and parameters.psf_error_floor_scatter > 0.0:
        error = dist.HalfNormal(jnp.float32(parameters.psf_error_floor_scatter))
    scale = width = offset = flux_scale = None
    if parameters.psf_width_change_scatter > 0.0:
        width = dist.Normal(jnp.float32(0.0), jnp.float32(parameters.psf_width_change_scatter))
    if parameters.noise_scale_scatter > 0.0:
        scale = dist.LogNormal(jnp.float32(0.0), jnp.float32(parameters.noise_scale_scatter))
    if num_images > 1 and parameters.offset_scatter > 0.0:
        offset = dist.Normal(jnp.float32(0.0), jnp.float32(parameters.offset_scatter))
    if num_images > 1 and parameters.flux_scale_scatter > 0.0:
        flux_scale = dist.Normal(jnp.float32(1.0), jnp.float32(parameters.flux_scale_scatter))
    return {
        "psf_error_floor": error,
        "psf_width_change": width,
        "noise_scale": scale,
        "offset": offset,
        "flux_scale": flux_scale,
        "background_model": (models,) if isinstance(models, str) else models,
        "background_mesh": parameters.background_mesh,
    }


def _of_image(value: Levels, index: int) -> float | None:
    """Value of one image of a parameter that may be one number for all."""
    return value[index] if isinstance(value, tuple) else value


def _background(fixed: float | None, mean: float | None, scatter: float | None) -> Any:
    """Prior of the background level of one image, or its fixed value."""
    if fixed is not None:
        return fixed
    return dist.Normal(jnp.float32(mean), jnp.float32(scatter))


def log_normal_within(median: float, scatter: float, low: float, high: float) -> dist.Distribution:
    """Log-normal distribution truncated to [low, high]; `scatter` is in natural logarithms."""
    log_low, log_high = jnp.log(jnp.float32(low)), jnp.log(jnp.float32(high))
    base = dist.TruncatedNormal(
        jnp.log(jnp.float32(median)), jnp.float32(scatter), low=log_low, high=log_high
    )
    transform = ExpTransform(domain=constraints.interval(log_low, log_high))
    return dist.TransformedDistribution(base, transform)
