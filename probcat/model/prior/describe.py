"""Describe the default prior in a few lines, with the origin of every parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from probcat.image.alignment import band_names, image_labels
from probcat.model.background_names import LEVEL

if TYPE_CHECKING:
    from probcat.image.image import Image

FROM_IMAGE = (
    "flux_min",
    "flux_max",
    "half_light_radius_median",
    "half_light_radius_min",
    "half_light_radius_max",
    "background_mean",
    "background_scatter",
    "colour_mean",
    "colour_scatter",
)
"""Parameters that are taken from the images if they are not given."""


def describe_prior(
    parameters: Mapping[str, Any], given: Mapping[str, Any] | None, images: Sequence[Image]
) -> list[str]:
    """Describe the prior of a run.

    Parameters
    ----------
    parameters : mapping
        All parameters, as `probcat.Prior.to_config` returns them.
    given : mapping or None
        Parameters that the user gave; with None the origin of parameters is left out.
    images : sequence of Image
        Images of the run, for their names and units.

    Returns
    -------
    list of str
        One line each on fluxes and numbers, on sizes, and on backgrounds and colours, and a
        further one if the noise, the PSF or the calibration of images is sampled.
    """
    parts = _Parts(parameters, given, len(images) > 1)
    unit = images[0].unit or "image units"
    lines = [
        f"prior: {_fluxes(parts, unit)}; {_numbers(parts)}",
        f"prior: {_sizes(parts)}",
        f"prior: {_backgrounds(parts, images)}{_colours(parts, band_names(images))}",
    ]
    calibration = _calibration(parts, len(images) > 1)
    return [*lines, f"prior: {calibration}"] if calibration else lines


def describe_images(images: Sequence[Image]) -> list[str]:
    """Describe which of several images are exposures of one band; no line for one image."""
    if len(images) == 1:
        return []
    bands = []
    for band in band_names(images):
        names = ", ".join(image.name for image in images if image.band == band)
        bands.append(f"{band or 'without a name'} ({names})")
    count = f"{len(images)} images in {len(bands)} band{'s' if len(bands) > 1 else ''}"
    return [f"{count}: {'; '.join(bands)}; positions are in pixels of the first"]


class _Parts:
    """Parameters as text, and their origin."""

    def __init__(
        self, parameters: Mapping[str, Any], given: Mapping[str, Any] | None, several: bool
    ) -> None:
        self.parameters, self.given = parameters, given
        self.image = "from the images" if several else "from the image"

    def get(self, name: str) -> Any:
        """Value of a parameter; None if it is not there."""
        return self.parameters.get(name)

    def text(self, name: str) -> str:
        """Value of a parameter with four significant digits."""
        return f"{self.parameters[name]:.4g}"

    def values(self, name: str, number: int) -> list[float]:
        """Values of a parameter that may be one number for all images or colours."""
        value = self.parameters[name]
        return list(value) if isinstance(value, list | tuple) else [value] * number

    def origin(self, *names: str) -> str:
        """Origin of parameters in parentheses, after a space; every one if they differ."""
        if self.given is None:
            return ""
        found = []
        for name in names:
            if self.given.get(name) is not None:
                found.append("given")
            else:
                found.append(self.image if name in FROM_IMAGE else "default")
        return f" ({' and '.join(dict.fromkeys(found))})"


def _fluxes(parts: _Parts, unit: str) -> str:
    """Describe the prior of fluxes."""
    low, high = (parts.text(name) for name in ("flux_min", "flux_max"))
    origins = [parts.origin(name) for name in ("flux_min", "flux_max")]
    low += origins[0] if origins[0] != origins[1] else ""
    limits = f"flux {low} to {high} {unit}{origins[1]}"
    if parts.get("flux_slope") is not None:
        return f"{limits} ~ flux^-{parts.text('flux_slope')}{parts.origin('flux_slope')}"
    slope = f"{parts.text('flux_slope_mean')} +- {parts.text('flux_slope_scatter')}"
    origin = parts.origin("flux_slope_mean", "flux_slope_scatter")
    return f"{limits} ~ flux^-s, s = {slope}{origin}"


def _numbers(parts: _Parts) -> str:
    """Describe the prior of the number of sources."""
    if parts.get("expected_sources") is not None:
        return (
            f"{parts.text('expected_sources')} sources expected{parts.origin('expected_sources')}"
        )
    return f"p(N) ~ exp(-{parts.text('parsimony')} N) for N sources{parts.origin('parsimony')}"


def _sizes(parts: _Parts) -> str:
    """Describe the fraction of extended sources and the prior of their sizes."""
    fraction, origin = parts.get("extended_fraction"), parts.origin("extended_fraction")
    if fraction == 0.0:
        return f"point sources alone{origin}"
    names = [f"half_light_radius_{end}" for end in ("median", "scatter", "min", "max")]
    median, scatter, low, high = (parts.get(name) for name in names)
    radius = (
        f"half-light radius {median:.3g} px within a factor {math.exp(scatter):.2g}, "
        f"{low:.3g} to {high:.3g} px{parts.origin(names[0], *names[2:])}"
    )
    if fraction == 1.0:
        return f"extended sources alone{origin}; {radius}"
    if fraction is not None:
        return f"extended fraction {fraction:.3g}{origin}; {radius}"
    names = ["extended_fraction_a", "extended_fraction_b"]
    beta = ", ".join(parts.text(name) for name in names)
    return f"extended fraction ~ Beta({beta}){parts.origin(*names)}; {radius}"


def _backgrounds(parts: _Parts, images: Sequence[Image]) -> str:
    """Describe the priors of the backgrounds of all images."""
    number = len(images)
    labels = image_labels(images) if number > 1 else [""]
    if parts.get("background") is not None:
        levels = [f"{value:.4g}" for value in parts.values("background", number)]
        origin = parts.origin("background")
    else:
        names = ("background_mean", "background_scatter")
        pairs = zip(*(parts.values(name, number) for name in names), strict=True)
        levels = [f"{mean:.4g} +- {scatter:.3g}" for mean, scatter in pairs]
        origin = parts.origin(*names)
    text = ", ".join(f"{a} {b}".strip() for a, b in zip(labels, levels, strict=True))
    model = parts.get("background_model") or LEVEL
    models = [model] if isinstance(model, str) else list(model)
    shape = "" if set(models) == {LEVEL} else f", {'/'.join(models)}{parts.origin(_MODEL)}"
    return f"background {text} per pixel{origin}{shape}"


def _calibration(parts: _Parts, several: bool) -> str:
    """Describe the noise, the PSF and the calibration of images, as far as they are sampled."""
    found = []
    if parts.get("psf_error_floor") is not None and parts.get("psf_error_floor") > 0.0:
        found.append(f"PSF error {parts.text('psf_error_floor')}{parts.origin('psf_error_floor')}")
    for name, label, of_several in _SCATTERS:
        scatter = parts.get(name)
        fixed = name == "psf_error_floor_scatter" and parts.get("psf_error_floor") is not None
        if scatter and not fixed and (several or not of_several):
            found.append(f"{label} +- {scatter:.3g}{parts.origin(name)}")
    return ", ".join(found)


_MODEL = "background_model"
"""Parameter that names the background models."""
_SCATTERS = (
    ("psf_error_floor_scatter", "PSF error 0", False),
    ("psf_width_change_scatter", "PSF width 1", False),
    ("noise_scale_scatter", "ln of noise scale 0", False),
    ("offset_scatter", "offsets 0 px", True),
    ("flux_scale_scatter", "flux scales 1", True),
)
"""Scatters of sampled parameters, their labels with means, and whether they need several images."""


def _colours(parts: _Parts, bands: Sequence[str]) -> str:
    """Describe the prior of colours; empty for one band."""
    if len(bands) == 1:
        return ""
    names = ("colour_mean", "colour_scatter")
    pairs = zip(*(parts.values(name, len(bands) - 1) for name in names), strict=True)
    text = ", ".join(
        f"{band}/{bands[0]} {mean:.2g} +- {scatter:.2g}"
        for band, (mean, scatter) in zip(bands[1:], pairs, strict=True)
    )
    return f"; ln of flux ratios {text}{parts.origin(*names)}"
