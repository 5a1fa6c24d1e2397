"""Options of the command line, in groups, and the default that each of them has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial, reduce
from typing import Any, TypeAlias

import click

from probcat.run.settings import METHODS, CatalogSettings, RunSettings

Decorator: TypeAlias = Callable[[Any], Any]

OTHER = "Other"
"""Heading of the options that belong to no group, such as --help."""


class GroupedCommand(click.Command):
    """A command whose help lists the options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section for each group in the order of its first option."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", OTHER), []).append(record)
        for name, records in groups.items():
            with formatter.section(name if len(groups) > 1 else "Options"):
                formatter.write_dl(records)


class GroupedOption(click.Option):
    """An option of a group, whose help ends with its default in brackets and with nothing else.

    Parameters
    ----------
    *names
        As in `click.Option`.
    group : str
        Heading under which the option is listed.
    defaults : callable, optional
        Returns the default of every setting by name. It is called only when help is printed,
        since it may import the sampler; the value of an option that is not given remains None.
    **attributes
        As in `click.Option`.
    """

    def __init__(
        self,
        *names: Any,
        group: str = OTHER,
        defaults: Callable[[], Mapping[str, Any]] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*names, **attributes)
        self.group, self.defaults = group, defaults

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the names of the option, and its help with the default."""
        record = super().get_help_record(ctx)
        if record is None or not (self.defaults or self.show_default):
            return record and (record[0], self.help or "")
        default = self.defaults()[self.name or ""] if self.defaults else self.default
        if isinstance(default, bool):
            default = (self.opts if default else self.secondary_opts)[0]
        return record[0], f"{self.help}  [default: {default}]"


option = partial(click.option, cls=GroupedOption)
count = partial(option, metavar="N")


def add_options(*options: Decorator) -> Decorator:
    """Return a decorator that adds options to a command, in this order."""
    return lambda command: reduce(lambda inner, add: add(inner), reversed(options), command)


def run_defaults() -> dict[str, Any]:
    """Return the default of every setting of the section [sampler]."""
    from probcat.sampler.settings import SamplerSettings

    return asdict(RunSettings()) | asdict(SamplerSettings())


def demo_defaults() -> dict[str, Any]:
    """Return the settings of the section [sampler] that the demonstration takes."""
    from probcat.run.demo import SAMPLING

    return run_defaults() | SAMPLING


def catalog_defaults() -> dict[str, Any]:
    """Return the default of every setting of the section [catalog]."""
    return asdict(CatalogSettings())


def compare_defaults() -> dict[str, Any]:
    """Return the default of the threshold of masks."""
    from probcat.metrics.compare import MASK_THRESHOLD

    return {"threshold": MASK_THRESHOLD}


def sampling_options(defaults: Callable[[], Mapping[str, Any]]) -> list[Decorator]:
    """Options of the sampler that `run` and `demo` share, with their defaults."""
    add = partial(count, group="Sampler", defaults=defaults)
    return [
        add("--seed", type=click.IntRange(0), help="Seed of all random numbers."),
        add("--num-chains", type=click.IntRange(1), help="Number of chains."),
        add(
            "--num-warmup",
            type=click.IntRange(0),
            help="Draws of each chain that are discarded as warm-up.",
        ),
        add(
            "--num-samples",
            type=click.IntRange(1),
            help="Draws of each chain that are kept; with --until-converged, the smallest number.",
        ),
        option(
            "--until-converged/--no-until-converged",
            group="Sampler",
            defaults=defaults,
            default=None,
            help="Make further draws until the chains have converged.",
        ),
        option(
            "--max-time",
            group="Sampler",
            defaults=defaults,
            metavar="TIME",
            help="With --until-converged, make no further draws after this time: seconds, or such "
            "as 90s, 10m, 2h.",
        ),
        add(
            "--num-temperatures",
            type=click.IntRange(1),
            help="Number of temperatures: each chain exchanges catalogs with N - 1 hotter copies "
            "of itself.",
        ),
    ]


INPUT = [
    option(
        "--config",
        group="Input",
        metavar="FILE",
        type=click.Path(),
        help="TOML file of settings; options on the command line win over it.",
    ),
    option(
        "--band",
        group="Input",
        metavar="NAME",
        multiple=True,
        help="Band to read from a file of several (SCI_<NAME>, ...), or name of the band of a "
        "plain image; repeat for more. By default all bands are read.",
    ),
    option(
        "--zero-point",
        group="Input",
        metavar="MAG",
        type=float,
        help="AB magnitude of one unit of flux; wins over the header. If neither has one, "
        "magnitudes are NaN.",
    ),
    option(
        "--mask-plane",
        "mask_planes",
        group="Input",
        metavar="NAME|BIT",
        multiple=True,
        help="Plane or bit of MASK that marks bad pixels, in place of the usual planes; repeat "
        "for more.",
    ),
    option(
        "--saturation",
        group="Input",
        metavar="LEVEL",
        type=float,
        help="Mask pixels at or above this level. By default the header's SATURATE is used.",
    ),
]

PSF = [
    option(
        "--psf",
        group="PSF",
        metavar="FILE",
        type=click.Path(),
        help="FITS file of the PSF, or a model of PSFEx (.psf) or of SDSS (psField). By default "
        "the extension PSF of the image is read.",
    ),
    option(
        "--estimate-psf",
        group="PSF",
        is_flag=True,
        help="Build the PSF from bright, isolated stars of the image.",
    ),
    option(
        "--psf-stars",
        group="PSF",
        metavar="FILE",
        type=click.Path(),
        help="Build the PSF from the stars of this table, with columns x, y (pixels from 0) or "
        "ra, dec; implies --estimate-psf.",
    ),
    option(
        "--refine-psf",
        group="PSF",
        metavar="ROUNDS",
        type=click.IntRange(min=1),
        help="Before the run, correct the PSF with all bright stars of a short run, in this many "
        "rounds; more than one rarely helps.",
    ),
    option(
        "--uncertain-psf",
        group="PSF",
        is_flag=True,
        help="Sample a small error and a change of width of every PSF.",
    ),
]

NOISE = [
    option(
        "--gain",
        group="Noise",
        metavar="GAIN",
        type=float,
        help="Electrons per unit of the image, to build the variance if the file has none. Needed "
        "with --model-variance, unless the header has a gain.",
    ),
    option(
        "--read-noise",
        group="Noise",
        metavar="ELECTRONS",
        type=float,
        help="Read noise, part of a variance that is built from the gain.",
    ),
    option(
        "--model-variance",
        group="Noise",
        is_flag=True,
        help="Compute the sources' photon noise from the model (needs a gain) instead of from the "
        "pixel values.",
    ),
]

PRIOR_ONLY = option(
    "--prior-only",
    group="Sampler",
    is_flag=True,
    help="Sample the prior alone: all pixels have zero weight.",
)

OVERWRITE = option(
    "--overwrite", group="Output", is_flag=True, help="Replace the run that --out holds."
)
RESUME = option(
    "--resume",
    group="Output",
    is_flag=True,
    help="Resume the run that --out holds; all settings are taken from there.",
)
QUIET = option("--quiet", group="Output", is_flag=True, help="Show no progress bar.")

CATALOG = [
    option(
        "--method",
        defaults=catalog_defaults,
        metavar="|".join(METHODS),
        type=click.Choice(METHODS),
        help="Way to find objects: a mixture model, or PCAT's scheme (greedy).",
    ),
    option(
        "--radius",
        metavar="PIXELS",
        type=float,
        help="Initial linking radius: sources of different samples closer than this are "
        "candidates for one object. By default 0.3 of the PSF's FWHM.",
    ),
    option(
        "--min-prob",
        defaults=catalog_defaults,
        metavar="PROB",
        type=float,
        help="Drop objects that exist with a smaller probability.",
    ),
    option(
        "--substructure/--no-substructure",
        defaults=catalog_defaults,
        default=None,
        help="Let a source be substructure of a galaxy, or make every source an object.",
    ),
]
