"""Parameters of the default prior: the keys of ``[prior]`` in a configuration."""

from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from probcat.errors import InputError, check_keys
from probcat.model.background_names import LEVEL, MODELS

Levels: TypeAlias = float | tuple[float, ...] | None
PER_IMAGE = ("background", "background_mean", "background_scatter")
PER_COLOUR = ("colour_mean", "colour_scatter")
SWITCHED = (
    "psf_error_floor",
    "psf_error_floor_scatter",
    "psf_width_change_scatter",
    "noise_scale_scatter",
    "offset_scatter",
    "flux_scale_scatter",
)
"""Zero switches them off."""
UNCERTAIN_PSF = {"psf_error_floor_scatter": 0.01, "psf_width_change_scatter": 0.02}
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
    expected_sources : float
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
    psf_error_floor : float
        Fixed relative error of the PSF; None samples it for every image, with a half-normal
        prior of ``psf_error_floor_scatter``, or has none where that is 0.
    psf_width_change_scatter : float
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
    """Check names and kinds of parameters, and give every image or colour its own.

    Parameters
    ----------
    overrides : dict
        Values of `PriorParameters`.
    num_images, num_colours : int

    Raises
    ------
    InputError
        If a key is not known, a value is no number, or a list is of another length.
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


def check_parameters(parameters: PriorParameters) -> None:
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
