"""The default prior of an image, from its noise, its PSF and its pixels."""

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.transforms import ExpTransform

from probcat.background import LEVEL, MODELS
from probcat.colours import guess_colours
from probcat.errors import InputError, check_keys
from probcat.frames import link_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probcat.frames import Link
    from probcat.image import Image

DETECTION = 5.0
"""Flux limit in units of the error of an isolated point source."""


_Levels: TypeAlias = float | tuple[float, ...] | None
OF_IMAGES = ("background", "background_mean", "background_scatter")
OF_COLOURS = ("colour_mean", "colour_scatter")
SWITCHED = (
    "psf_error",
    "psf_error_scatter",
    "psf_width_scatter",
    "noise_scale_scatter",
    "offset_scatter",
    "flux_scale_scatter",
)
"""Zero switches them off."""
UNCERTAIN_PSF = {"psf_error_scatter": 0.01, "psf_width_scatter": 0.02}
"""Parameters for a PSF that is known to about a percent."""


@dataclass(frozen=True)
class PriorParameters:
    """Parameters of the default prior: the keys of ``[prior]`` in a configuration.

    What is None is taken from the image.

    Attributes
    ----------
    flux_min, flux_max : float
        Limits of the flux, in image units.
    flux_slope : float
        Fixed slope of ``p(flux) ~ flux**-slope``; None samples it, with a normal prior of
        ``flux_slope_mean`` and ``flux_slope_scatter``.
    num_sources : float
        Fixed expected number of sources; None samples it, with the hyperprior below.
    parsimony : float
        The hyperprior of the expected number of sources is exponential with rate
        ``exp(parsimony) - 1``, which makes the prior of the number N of sources
        ``exp(-parsimony * N)``, as Portillo et al. (2017, AJ 154, 132) have it.
    extended_fraction : float
        Fixed share of extended sources; None draws it from
        ``Beta(extended_fraction_a, extended_fraction_b)``.
    half_light_radius_median, half_light_radius_scatter : float
        Of a log-normal distribution, in pixels and in natural log, between
        ``half_light_radius_min`` and ``half_light_radius_max``.
    ellipticity_a, ellipticity_b : float
        Of the beta distribution of the ellipticity's modulus.
    sersic_n_mean, sersic_n_scatter : float
        Of a normal distribution between 0.5 and 6.
    background : float or list of float
        Fixed level per pixel; None samples it, with a normal prior of
        ``background_mean`` and ``background_scatter``. A list has a value for every image.
    background_model : str or list of str
        ``level``, ``plane``, or ``mesh``, one or one for every image; coefficients other than
        the level have the same scatter.
    background_mesh : float
        Spacing in pixels of the nodes of a mesh, about.
    psf_error : float
        Fixed relative error of the PSF; None samples it for every image, with a half-normal
        prior of ``psf_error_scatter``, or has none where that is 0.
    psf_width_scatter : float
        Of the normal prior of the relative change of the PSF's width, along x and along y, of
        every image; 0 fixes it at none.
    noise_scale_scatter : float
        The scale of the noise of every image is sampled, with a log-normal prior about one of
        this scatter; 0 fixes it at one.
    offset_scatter : float
        Of the normal prior of the offset of every image beyond the first along each of its
        axes, in its pixels; 0 fixes it at none.
    flux_scale_scatter : float
        Of the normal prior about one of the flux scale of every image but the first of a band;
        0 fixes it at one.
    colour_mean, colour_scatter : list of float
        Of the normal prior of the natural logarithm of the flux in every band but the first
        over that in the first.
    """

    flux_min: float | None = None
    flux_max: float | None = None
    flux_slope: float | None = None
    flux_slope_mean: float = 2.0
    flux_slope_scatter: float = 0.5
    num_sources: float | None = None
    parsimony: float = 1.5
    extended_fraction: float | None = None
    extended_fraction_a: float = 1.0
    extended_fraction_b: float = 1.0
    half_light_radius_median: float | None = None
    half_light_radius_scatter: float = 0.6
    half_light_radius_min: float | None = None
    half_light_radius_max: float | None = None
    ellipticity_a: float = 2.0
    ellipticity_b: float = 4.0
    sersic_n_mean: float = 1.5
    sersic_n_scatter: float = 1.5
    background: _Levels = None
    background_mean: _Levels = None
    background_scatter: _Levels = None
    background_model: str | tuple[str, ...] = LEVEL
    background_mesh: float = 64.0
    psf_error: float | None = None
    psf_error_scatter: float = 0.0
    psf_width_scatter: float = 0.0
    noise_scale_scatter: float = 0.0
    offset_scatter: float = 0.1
    flux_scale_scatter: float = 0.01
    colour_mean: tuple[float, ...] | None = None
    colour_scatter: tuple[float, ...] | None = None


def default_marks(images: "Sequence[Image]", overrides: dict[str, Any]) -> dict[str, Any]:
    """Fields of the default `probcat.Prior` of images.

    Parameters
    ----------
    images : sequence of Image
    overrides : dict
        Values of `PriorParameters`.

    Returns
    -------
    dict
        Fields of `probcat.Prior`.

    Raises
    ------
    InputError
        If a key is not known or a value makes no sense.
    """
    check_keys(overrides, [field.name for field in fields(PriorParameters)], "section [prior]")
    links = link_images(images)
    counts = dict.fromkeys(OF_IMAGES, len(images)) | dict.fromkeys(
        OF_COLOURS, max(link.band for link in links)
    )
    given: dict[str, Any] = {}
    for name, value in overrides.items():
        if name == "background_model":
            given[name] = _background_models(value, len(images))
            continue
        if name in counts and isinstance(value, list | tuple):
            _check_list(name, value, counts[name])
            given[name] = tuple(value)
            continue
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(f"[prior] {name} = {value!r}; it must be a number")
        given[name] = (value,) * counts[name] if name in OF_COLOURS and value is not None else value
    parameters = _filled(PriorParameters(**given), images, links)
    _check(parameters)
    return _build(parameters, len(images))


def _check_list(name: str, value: Any, number: int) -> None:
    """Refuse a list that is not one number for every image or colour."""
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in value):
        raise InputError(f"[prior] {name} = {value!r}; it must be a list of numbers")
    if len(value) != number:
        raise InputError(f"[prior] {name} has {len(value)} values; {number} are needed")


def _background_models(value: Any, number: int) -> str | tuple[str, ...]:
    """Check the names of background models."""
    names = [value] if isinstance(value, str) else list(value)
    for name in names:
        if name not in MODELS:
            raise InputError(
                f"[prior] background_model = {name!r}; it must be one of {', '.join(MODELS)}"
            )
    if len(names) not in (1, number):
        raise InputError(f"[prior] background_model has {len(names)} values; {number} are needed")
    return names[0] if len(names) == 1 else tuple(names)


def _filled(
    given: PriorParameters, images: "Sequence[Image]", links: "Sequence[Link]"
) -> PriorParameters:
    """Take what is missing from the images; fluxes and sizes from the first."""
    image = images[0]
    levels = [_level_guess(one) for one in images]
    # The sky lies between the faintest pixels and the median, or near them.
    means = tuple(0.5 * (low + middle) for low, middle, _ in levels)
    scatters = tuple(max(middle - low, sigma) for low, middle, sigma in levels)
    colours: dict[str, Any] = {}
    if max(link.band for link in links) > 0:
        guess = guess_colours(images, links, means)
        colours = dict(zip(OF_COLOURS, map(tuple, guess), strict=True))
    pixels = np.asarray(image.data, dtype=np.float64)[image.weight > 0]
    fwhm = float(image.psf.fwhm)
    top = float(pixels.max() - levels[0][0]) / float(image.psf.peak)
    flux_error = _flux_error(images, links, levels, (0.0, *colours.get("colour_mean", ())))
    flux_min = DETECTION * flux_error if given.flux_min is None else given.flux_min
    guesses: dict[str, Any] = {
        "flux_min": flux_min,
        "flux_max": max(30.0 * top, 1000.0 * flux_min),
        "half_light_radius_median": 0.6 * fwhm,
        "half_light_radius_min": 0.1 * fwhm,
        "half_light_radius_max": 3.0 * fwhm,
        "background_mean": means if len(images) > 1 else means[0],
        "background_scatter": scatters if len(images) > 1 else scatters[0],
    }
    values = asdict(given)
    for name, value in (guesses | colours).items():
        if values[name] is None:
            values[name] = _rounded(value)
    return PriorParameters(**values)


def _flux_error(
    images: "Sequence[Image]", links: "Sequence[Link]", levels: Any, colours: tuple[float, ...]
) -> float:
    """Error of the flux of an isolated star of mean colours, from all images together."""
    information = 0.0
    for image, link, (_, _, sigma) in zip(images, links, levels, strict=True):
        factor = link.gain * np.exp(colours[link.band])
        information += factor**2 / (sigma**2 * float(image.psf.effective_area))
    return float(information**-0.5)


def _level_guess(image: "Image") -> tuple[float, float, float]:
    """Low and middle values of the pixels, and their noise."""
    good = image.weight > 0
    pixels = np.asarray(image.data, dtype=np.float64)[good]
    sigma = float(np.sqrt(np.median(1.0 / image.weight[good].astype(np.float64))))
    low, middle = np.percentile(pixels, [5.0, 50.0])
    return float(low), float(middle), sigma


def _rounded(value: Any) -> Any:
    """Six significant digits, so that the record of a run gives the same prior."""
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    return float(f"{float(value):.6g}")


def _check(parameters: PriorParameters) -> None:
    """Refuse parameters that define no distribution."""
    values = asdict(parameters)
    positive = [
        name
        for name in values
        if name
        not in (
            "background",
            "background_mean",
            "colour_mean",
            "extended_fraction",
            "flux_slope",
            "flux_slope_mean",
            "background_model",
            *SWITCHED,
        )
    ]
    for name in SWITCHED:
        if values[name] is not None and not values[name] >= 0.0:
            raise InputError(f"[prior] {name} = {values[name]!r}; it must not be below zero")
    for name in positive:
        if values[name] is not None and not np.all(np.asarray(values[name]) > 0.0):
            raise InputError(f"[prior] {name} = {values[name]!r}; it must be above zero")
    for low, high in (
        ("flux_min", "flux_max"),
        ("half_light_radius_min", "half_light_radius_max"),
    ):
        if not values[low] < values[high]:
            raise InputError(
                f"[prior] {low} = {values[low]!r}; it must lie below {high} = {values[high]!r}"
            )
    share = parameters.extended_fraction
    if share is not None and not 0.0 <= share <= 1.0:
        raise InputError(f"[prior] extended_fraction = {share!r}; it must lie in [0, 1]")


def _build(parameters: PriorParameters, num_images: int) -> dict[str, Any]:
    p: dict[str, Any] = {
        name: None if value is None else jnp.float32(value)
        for name, value in asdict(parameters).items()
        if name != "background_model"
    }
    half, six = jnp.float32(0.5), jnp.float32(6.0)
    levels = [
        _background(*(_of_image(getattr(parameters, name), index) for name in OF_IMAGES))
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
        "num_sources": hyperprior if parameters.num_sources is None else parameters.num_sources,
        "extended_fraction": fraction,
        "background": tuple(levels) if num_images > 1 else levels[0],
        "colours": colours,
        **_of_every_image(parameters, num_images),
        "parameters": tuple(
            (name, value) for name, value in asdict(parameters).items() if value is not None
        ),
    }


def _of_every_image(parameters: PriorParameters, num_images: int) -> dict[str, Any]:
    """Fields on what every image has of its own; None where it is switched off."""
    models = parameters.background_model
    error: Any = parameters.psf_error or None
    if parameters.psf_error is None and parameters.psf_error_scatter > 0.0:
        error = dist.HalfNormal(jnp.float32(parameters.psf_error_scatter))
    scale = width = offset = flux_scale = None
    if parameters.psf_width_scatter > 0.0:
        width = dist.Normal(jnp.float32(0.0), jnp.float32(parameters.psf_width_scatter))
    if parameters.noise_scale_scatter > 0.0:
        scale = dist.LogNormal(jnp.float32(0.0), jnp.float32(parameters.noise_scale_scatter))
    if num_images > 1 and parameters.offset_scatter > 0.0:
        offset = dist.Normal(jnp.float32(0.0), jnp.float32(parameters.offset_scatter))
    if num_images > 1 and parameters.flux_scale_scatter > 0.0:
        flux_scale = dist.Normal(jnp.float32(1.0), jnp.float32(parameters.flux_scale_scatter))
    return {
        "psf_error": error,
        "psf_width": width,
        "noise_scale": scale,
        "offset": offset,
        "flux_scale": flux_scale,
        "background_model": (models,) if isinstance(models, str) else models,
        "background_mesh": parameters.background_mesh,
    }


def _of_image(value: _Levels, index: int) -> float | None:
    return value[index] if isinstance(value, tuple) else value


def _background(fixed: float | None, mean: float | None, scatter: float | None) -> Any:
    """Prior of the level of one image."""
    if fixed is not None:
        return fixed
    return dist.Normal(jnp.float32(mean), jnp.float32(scatter))


def log_normal_within(median: float, scatter: float, low: float, high: float) -> dist.Distribution:
    """Log-normal distribution truncated to [low, high]."""
    log_low, log_high = jnp.log(jnp.float32(low)), jnp.log(jnp.float32(high))
    base = dist.TruncatedNormal(
        jnp.log(jnp.float32(median)), jnp.float32(scatter), low=log_low, high=log_high
    )
    transform = ExpTransform(domain=constraints.interval(log_low, log_high))
    return dist.TransformedDistribution(base, transform)
