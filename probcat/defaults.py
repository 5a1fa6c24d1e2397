"""The default prior of an image, from its noise, its PSF and its pixels."""

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.transforms import ExpTransform

from probcat.errors import InputError, check_keys

if TYPE_CHECKING:
    from probcat.image import Image

DETECTION = 5.0
"""Flux limit in units of the error of an isolated point source."""


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
    background : float
        Fixed level per pixel; None samples it, with a normal prior of
        ``background_mean`` and ``background_scatter``.
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
    background: float | None = None
    background_mean: float | None = None
    background_scatter: float | None = None


def default_marks(image: "Image", overrides: dict[str, Any]) -> dict[str, Any]:
    """Fields of the default `probcat.Prior` of an image.

    Parameters
    ----------
    image : Image
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
    for name, value in overrides.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(f"[prior] {name} = {value!r}; it must be a number")
    parameters = _filled(PriorParameters(**overrides), image)
    _check(parameters)
    return _build(parameters)


def _filled(given: PriorParameters, image: "Image") -> PriorParameters:
    """Take what is missing from the image."""
    weight = np.asarray(image.weight, dtype=np.float64)
    good = weight > 0
    pixels = np.asarray(image.data, dtype=np.float64)[good]
    sigma = float(np.sqrt(np.median(1.0 / weight[good])))
    flux_error = sigma * float(np.sqrt(image.psf.effective_area))
    fwhm = float(image.psf.fwhm)
    low, middle = np.percentile(pixels, [5.0, 50.0])
    top = float(pixels.max() - low) / float(image.psf.peak)
    flux_min = DETECTION * flux_error if given.flux_min is None else given.flux_min
    guesses = {
        "flux_min": flux_min,
        "flux_max": max(30.0 * top, 1000.0 * flux_min),
        "half_light_radius_median": 0.6 * fwhm,
        "half_light_radius_min": 0.1 * fwhm,
        "half_light_radius_max": 3.0 * fwhm,
        # The sky lies between the faintest pixels and the median, or near them.
        "background_mean": float(0.5 * (low + middle)),
        "background_scatter": float(max(middle - low, sigma)),
    }
    values = asdict(given)
    for name, guess in guesses.items():
        if values[name] is None:
            values[name] = float(f"{guess:.6g}")
    return PriorParameters(**values)


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
            "extended_fraction",
            "flux_slope",
            "flux_slope_mean",
        )
    ]
    for name in positive:
        if values[name] is not None and not values[name] > 0.0:
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


def _build(parameters: PriorParameters) -> dict[str, Any]:
    p: dict[str, Any] = {
        name: None if value is None else jnp.float32(value)
        for name, value in asdict(parameters).items()
    }
    half, six = jnp.float32(0.5), jnp.float32(6.0)
    background: dist.Distribution | float
    if parameters.background is None:
        background = dist.Normal(p["background_mean"], p["background_scatter"])
    else:
        background = parameters.background
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
        "background": background,
        "parameters": tuple(
            (name, value) for name, value in asdict(parameters).items() if value is not None
        ),
    }


def log_normal_within(median: float, scatter: float, low: float, high: float) -> dist.Distribution:
    """Log-normal distribution truncated to [low, high]."""
    log_low, log_high = jnp.log(jnp.float32(low)), jnp.log(jnp.float32(high))
    base = dist.TruncatedNormal(
        jnp.log(jnp.float32(median)), jnp.float32(scatter), low=log_low, high=log_high
    )
    transform = ExpTransform(domain=constraints.interval(log_low, log_high))
    return dist.TransformedDistribution(base, transform)
