"""Names, kinds and defaults of the settings of a run, one class for each section of its file.

The section ``[prior]`` is described by `probcat.model.prior.parameters.PriorParameters`, and most
of ``[sampler]`` by `probcat.SamplerSettings`. This module imports nothing that takes time, so that
the command line can print its help at once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from probcat.errors import InputError
from probcat.numerics.durations import parse_duration

T = TypeVar("T")
FileName: TypeAlias = str | os.PathLike
PerFile: TypeAlias = T | Sequence[T] | None
"""One value for all files, a list with an entry for each, or None for the default."""

METHODS = ("mixture", "greedy")
"""Ways to find objects, as `probcat.condense` knows them."""
EXPORT_FORMATS = ("ecsv", "ascii", "csv", "parquet", "ds9", "fits", "votable")
"""Formats of an exported catalog, as `probcat.export_table` knows them."""
CONDENSE_OPTIONS = ("method", "radius", "min_prob", "substructure")
"""Settings of ``[catalog]`` that `probcat.condense` takes."""
ASSIGN_OPTIONS = ("max_draws", "max_memory", "subtracted_sky")
"""Settings of ``[catalog]`` that `probcat.assign_pixels` takes."""
REFINE_OPTIONS = ("refine_psf", "refined_psf")
"""Settings of ``[image]`` that do not concern the reading of an image file."""
RENAMED = {
    "image": {"mask_bits": "mask_planes"},
    "prior": {
        "num_sources": "expected_sources",
        "psf_error": "psf_error_floor",
        "psf_error_scatter": "psf_error_floor_scatter",
        "psf_width_scatter": "psf_width_change_scatter",
    },
    "sampler": {
        "interior": "window_interior",
        "extended_interior": "window_interior_extended",
        "resplit": "merge_and_split",
        "refit_stars": "refit_two_stars",
        "refit_star": "refit_star_and_galaxy",
        "first_temperature": "start_beta",
        "tempered_share": "tempering_fraction",
        "alone_share": "first_image_fraction",
        "hottest": "min_beta",
        "block": "checkpoint_interval",
    },
    "catalog": {"parts": "substructure", "sky": "subtracted_sky"},
}
"""New name of every key that once had another one, by section."""

_KIND_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
}


@dataclass(frozen=True)
class ImageSettings:
    """Settings of the images: the keys of ``[image]`` in a configuration.

    Every setting but the last two holds for all files, or is a list with an entry for each file;
    an empty text in such a list stands for the default.

    Attributes
    ----------
    files : str or sequence of str
        FITS files of the images.
    band : str or sequence of str, optional
        Of a file of several bands, the bands to read; by default all of them. Of other files, the
        name of the band of each.
    sci, var, err, ivar, mask : str or int, optional
        Name or number of the extension with the pixels, their variance, standard deviation or
        inverse variance, and the mask, in place of the usual names.
    psf : path_like or str, optional
        A FITS file of the PSF, or the name of an extension of the image's file.
    psf_oversampling : int, optional
        Samples of the PSF per pixel along an axis; by default read from its header, or 1.
    estimate_psf : bool
        Build the PSF from stars of the image.
    psf_stars : path_like, optional
        A table of the stars to build the PSF from; implies `estimate_psf`.
    psf_origin : sequence of float, optional
        Pixel (x, y), in the frame over which a PSF varies, of the image's pixel (0, 0).
    psf_radius : int, optional
        Half side in pixels to which the PSF is cut.
    mask_planes : sequence of int or str, optional
        Planes or bits of the mask that mark bad pixels, in place of the usual planes.
    saturation : float, optional
        Level, in the unit of the image, at and above which pixels are masked; by default
        ``SATURATE`` of the header.
    gain : float, optional
        Electrons per unit of the image.
    read_noise : float, optional
        Read noise in electrons.
    model_variance : bool
        Compute the photon noise of sources from the model instead of from the pixel values.
    zero_point : float, optional
        AB magnitude of one unit of flux, in place of that of the header.
    plane : int, optional
        Plane to read from arrays with three axes, counted from 0.
    refine_psf : int
        Number of rounds in which `probcat.refine_psf` corrects the PSFs before the run.
    refined_psf : path_like, optional
        The file of the refined PSFs.
    """

    files: str | Sequence[FileName] = ()
    band: str | Sequence[str] | None = None
    sci: PerFile[str | int] = None
    var: PerFile[str | int] = None
    err: PerFile[str | int] = None
    ivar: PerFile[str | int] = None
    mask: PerFile[str | int] = None
    psf: PerFile[FileName] = None
    psf_oversampling: PerFile[int] = None
    estimate_psf: bool | Sequence[bool] = False
    psf_stars: PerFile[FileName] = None
    psf_origin: PerFile[Sequence[float]] = None
    psf_radius: PerFile[int] = None
    mask_planes: PerFile[Sequence[int | str]] = None
    saturation: PerFile[float] = None
    gain: PerFile[float] = None
    read_noise: PerFile[float] = None
    model_variance: bool | Sequence[bool] = False
    zero_point: PerFile[float] = None
    plane: PerFile[int] = None
    refine_psf: int = 0
    refined_psf: FileName | None = None

    def __post_init__(self) -> None:
        if self.refine_psf < 0:
            raise InputError(f"[image] refine_psf = {self.refine_psf!r}; it must be 0 or more")


@dataclass(frozen=True)
class RunSettings:
    """Seed and counts of a run: the keys of ``[sampler]`` that `probcat.sample` itself takes.

    Attributes
    ----------
    seed : int
        Seed of all random numbers.
    num_chains : int
        Number of chains, which advance together.
    num_warmup : int
        Draws of every chain that are discarded at the start.
    num_samples : int
        Draws of every chain that are kept; with `until_converged`, the smallest number of them.
    prior_only : bool
        Sample the prior alone, without the data.
    until_converged : bool
        Make further draws until the chains have converged.
    max_time : float or str
        Time after which no further draws are made in this way, as
        `probcat.numerics.durations.parse_duration` takes it.
    """

    seed: int = 0
    num_chains: int = 4
    num_warmup: int = 200
    num_samples: int = 200
    prior_only: bool = False
    until_converged: bool = False
    max_time: float | str = "10m"

    def __post_init__(self) -> None:
        try:
            parse_duration(self.max_time)
        except InputError as error:
            raise InputError(f"[sampler] max_time: {error}") from None
        for name, least in (("seed", 0), ("num_chains", 1), ("num_warmup", 0), ("num_samples", 1)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"[sampler] {name} = {value!r}; it must be {least} or more")


@dataclass(frozen=True)
class CatalogSettings:
    """Settings of catalog and maps: the keys of ``[catalog]`` in a configuration.

    Attributes
    ----------
    method : {"mixture", "greedy"}
        Way to find objects, see `probcat.condense`.
    radius : float, optional
        Initial linking radius in pixels; by default 0.3 of the PSF's full width at half maximum.
    min_prob : float
        Objects that exist with a smaller probability are dropped.
    substructure : bool
        Let sources be substructure of a galaxy instead of objects of their own.
    max_draws : int
        Number of draws, evenly spaced, from which the maps are computed.
    max_memory : float
        Memory in MiB for the maps of objects.
    subtracted_sky : float or sequence of float
        Sky level that was subtracted from the image, in its unit.
    """

    method: str = "mixture"
    radius: float | None = None
    min_prob: float = 0.05
    substructure: bool = True
    max_draws: int = 200
    max_memory: float = 1024.0
    subtracted_sky: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(
                f"[catalog] method = {self.method!r}; it must be {' or '.join(METHODS)}"
            )
        if self.radius is not None and not (self.radius > 0 and math.isfinite(self.radius)):
            raise InputError(f"[catalog] radius = {self.radius!r}; it must be positive")
        if not 0 <= self.min_prob <= 1:
            raise InputError(f"[catalog] min_prob = {self.min_prob!r}; it must be in [0, 1]")
        for name in ("max_draws", "max_memory"):
            if getattr(self, name) <= 0:
                raise InputError(f"[catalog] {name} = {getattr(self, name)!r}; it must be positive")


def check_kinds(section: str, settings: type, given: Mapping[str, Any]) -> None:
    """Check that values are of the kinds that the fields of a settings class declare.

    Parameters
    ----------
    section : str
        Name of the section, for the message.
    settings : type
        A dataclass whose fields are the keys of the section.
    given : mapping
        The values; None stands for the default.

    Raises
    ------
    InputError
        If a value is of another kind.
    """
    hints = get_type_hints(settings)
    for key, value in given.items():
        kinds = _kinds(hints[key])
        if value is not None and not _is_of(value, kinds):
            names = [name for kind, name in _KIND_NAMES.items() if kind in kinds]
            raise InputError(f"[{section}] {key} = {value!r}; it must be {' or '.join(names)}")


def _kinds(hint: Any) -> set[type]:
    """List the plain types that a type hint is made of; `list` stands for any sequence."""
    parts = get_args(hint)
    if not parts:
        return {hint}
    kinds = set().union(*map(_kinds, parts))
    return kinds if get_origin(hint) in (Union, UnionType) else kinds | {list}


def _is_of(value: Any, kinds: set[type]) -> bool:
    """Return whether a value, or every entry of a list, is of one of the kinds."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        return list in kinds and all(one == "" or _is_of(one, kinds) for one in value)
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int) and float in kinds:
        return True
    return isinstance(value, tuple(kinds))
