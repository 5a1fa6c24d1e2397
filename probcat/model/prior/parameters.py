"""Parameters of the default prior: the keys of ``[prior]`` in a configuration."""

from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from probcat.errors import InputError, check_keys
from probcat.model.background_names import LEVEL, MODELS

Levels: TypeAlias = float | tuple[float, ...] | None
"""A background level per pixel, or one for every image."""
PER_IMAGE = ("background", "background_mean", "background_scatter")
"""Parameters that may have a value for every image."""
PER_COLOUR = ("colour_mean", "colour_scatter")
"""Parameters that may have a value for every band but the first."""
SWITCHED = (
    "psf_error_floor",
    "psf_error_floor_scatter",
    "psf_width_change_scatter",
    "noise_scale_scatter",
    "offset_scatter",
    "flux_scale_scatter",
)
"""Parameters that zero switches off."""
UNCERTAIN_PSF = {"psf_error_floor_scatter": 0.01, "psf_width_change_scatter": 0.02}
"""Parameters for a PSF that is known to about one percent."""


@dataclass(frozen=True)
class PriorParameters:
    """Parameters of the default prior: the keys of ``[prior]`` in a configuration.

    Parameters that are None and have no default below are taken from the images.

    Attributes
    ----------
    flux_min, flux_max : float
        Limits of the flux, in image units.
    flux_slope : float
        Fixed slope of ``p(flux) ~ flux**-slope``. With None it is sampled, with a normal prior of
        mean `flux_slope_mean` and standard deviation `flux_slope_scatter`.
    flux_slope_mean, flux_slope_scatter : float
        Mean and standard deviation of the prior of the slope.
    expected_sources : float
        Fixed expected number of sources. With None it is sampled, with a hyperprior set by
        `parsimony`.
    parsimony : float
        The hyperprior of the expected number of sources is exponential with rate
        ``exp(parsimony) - 1``; the prior of the number N of sources is then
        ``exp(-parsimony * N)``, as in Portillo et al. (2017, AJ 154, 132).
    extended_fraction : float
        Fixed fraction of extended sources. With None it is sampled, with the prior
        ``Beta(extended_fraction_a, extended_fraction_b)``.
    extended_fraction_a, extended_fraction_b : float
        Parameters of the beta prior of the fraction of extended sources.
    half_light_radius_median, half_light_radius_scatter : float
        Median in pixels, and standard deviation of the natural logarithm, of the log-normal prior
        of the half-light radius.
    half_light_radius_min, half_light_radius_max : float
        Limits in pixels of the half-light radius.
    ellipticity_a, ellipticity_b : float
        Parameters of the beta prior of the ellipticity's modulus.
    sersic_n_mean, sersic_n_scatter : float
        Mean and standard deviation of the normal prior of the Sersic index, within [0.5, 6].
    background : float or list of float
        Fixed background level per pixel, one for all or one for every image. With None it is
        sampled, with a normal prior.
    background_mean, background_scatter : float or list of float
        Mean and standard deviation of the prior of the background level per pixel, one for all or
        one for every image.
    background_model : str or list of str
        ``level``, ``plane`` or ``mesh``, one for all or one for every image. All coefficients of
        a background have the same standard deviation.
    background_mesh : float
        Approximate spacing in pixels of the nodes of a mesh.
    psf_error_floor : float
        Fixed relative error of the PSF. With None it is sampled in every image, with a half-normal
        prior of scale `psf_error_floor_scatter`.
    psf_error_floor_scatter : float
        Scale of the prior of the relative error of the PSF; 0 means that the PSF has no error.
    psf_width_change_scatter : float
        Standard deviation of the normal prior of the relative change of the PSF's width, along x
        and along y, in every image; 0 means no change.
    noise_scale_scatter : float
        Standard deviation of the natural logarithm of the scale of the noise of every image, of
        median one; 0 fixes the scale at one.
    offset_scatter : float
        Standard deviation of the normal prior of the offset of every image but the first along
        each of its axes, in its pixels; 0 means no offset.
    flux_scale_scatter : float
        Standard deviation of the normal prior, of mean one, of the flux scale of every image but
        the first of a band; 0 fixes the scale at one.
    colour_mean, colour_scatter : list of float
        Mean and standard deviation of the normal prior of the natural logarithm of the flux in
        every band but the first over the flux in the first band.
    """

    flux_min: float | None = None
    flux_max: float | None = None
    flux_slope: float | None = None
    flux_slope_mean: float = 2.0
    flux_slope_scatter: float = 0.5
    expected_sources: float | None = None
    parsimony: float = 1.5
    extended_fraction: float | None = None
    extended_fraction_a: float = 1.0
    extended_fraction_b: float = 1.0
    half_light_radius_median: float | None = None
    half_light_radius_scatter: float = 0.7
    half_light_radius_min: float | None = None
    half_light_radius_max: float | None = None
    ellipticity_a: float = 2.0
    ellipticity_b: float = 4.0
    sersic_n_mean: float = 1.5
    sersic_n_scatter: float = 1.5
    background: Levels = None
    background_mean: Levels = None
    background_scatter: Levels = None
    background_model: str | tuple[str, ...] = LEVEL
    background_mesh: float = 64.0
    psf_error_floor: float | None = None
    psf_error_floor_scatter: float = 0.0
    psf_width_change_scatter: float = 0.0
    noise_scale_scatter: float = 0.0
    offset_scatter: float = 0.1
    flux_scale_scatter: float = 0.01
    colour_mean: tuple[float, ...] | None = None
    colour_scatter: tuple[float, ...] | None = None


def given_parameters(
    overrides: dict[str, Any], num_images: int, num_colours: int
) -> PriorParameters:
    """Check the names and types of given parameters; spread those that every colour has.

    Parameters
    ----------
    overrides : dict
        Given values of `PriorParameters`.
    num_images : int
        Number of images.
    num_colours : int
        Number of bands but the first.

    Returns
    -------
    PriorParameters
        Parameters, of which those that were not given have their defaults.

    Raises
    ------
    InputError
        If a key is not known, a value is not a number, or a list has another length.
    """
    check_keys(overrides, [field.name for field in fields(PriorParameters)], "section [prior]")
    counts = dict.fromkeys(PER_IMAGE, num_images) | dict.fromkeys(PER_COLOUR, num_colours)
    given: dict[str, Any] = {}
    for name, value in overrides.items():
        if name == "background_model":
            given[name] = _background_models(value, num_images)
            continue
        if name in counts and isinstance(value, list | tuple):
            _check_list(name, value, counts[name])
            given[name] = tuple(value)
            continue
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(f"[prior] {name} = {value!r}; it must be a number")
        given[name] = (value,) * counts[name] if name in PER_COLOUR and value is not None else value
    return PriorParameters(**given)


def _check_list(name: str, value: Any, number: int) -> None:
    """Refuse a list that does not hold one number for every image or colour."""
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in value):
        raise InputError(f"[prior] {name} = {value!r}; it must be a list of numbers")
    if len(value) != number:
        raise InputError(f"[prior] {name} has {len(value)} values; {number} are needed")


def _background_models(value: Any, number: int) -> str | tuple[str, ...]:
    """Check the names of background models, one for all or one for every image."""
    names = [value] if isinstance(value, str) else list(value)
    for name in names:
        if name not in MODELS:
            raise InputError(
                f"[prior] background_model = {name!r}; it must be one of {', '.join(MODELS)}"
            )
    if len(names) not in (1, number):
        raise InputError(f"[prior] background_model has {len(names)} values; {number} are needed")
    return names[0] if len(names) == 1 else tuple(names)


def check_parameters(parameters: PriorParameters) -> None:
    """Refuse parameters that do not define a distribution.

    Raises
    ------
    InputError
        If a value is out of bounds, or a lower limit is not below the upper one.
    """
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
    fraction = parameters.extended_fraction
    if fraction is not None and not 0.0 <= fraction <= 1.0:
        raise InputError(f"[prior] extended_fraction = {fraction!r}; it must lie in [0, 1]")
