"""Command-line options that several programs share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import click

from benchmarks.support.results import (
    device_name,
    echo,
    provenance,
    write_raw,
    write_summary,
)


def parse_settings(items: Sequence[str]) -> dict[str, Any]:
    """Return numbers by name from strings ``NAME=VALUE``.

    Raises
    ------
    click.BadParameter
        If a string has no ``=``, or its value is no number.
    """
    values: dict[str, Any] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            values[name] = int(text) if text.lstrip("-").isdigit() else float(text)
        except ValueError:
            raise click.BadParameter(f"{item!r} is not of the form NAME=NUMBER") from None
    return values


def _parsed(_context: Any, _parameter: Any, items: Sequence[str]) -> dict[str, Any]:
    return parse_settings(items)


_PAIRS = {"multiple": True, "metavar": "NAME=VALUE", "callback": _parsed}
_PATH = click.Path(path_type=Path)
_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "seconds": ("--seconds", {"type": float, "help": "CPU-seconds to sample, without compiling."}),
    "num_chains": ("--num-chains", {"type": int, "help": "Number of chains."}),
    "num_warmup": ("--num-warmup", {"type": int, "help": "Draws of warm-up of every chain."}),
    "num_samples": ("--num-samples", {"type": int, "help": "Draws kept of every chain."}),
    "seed": ("--seed", {"default": 0, "help": "Seed of all random numbers."}),
    "stars_only": ("--stars-only", {"is_flag": True, "help": "Leave galaxies out of the model."}),
    "psf": (
        "--psf",
        {
            "type": click.Choice(["given", "frame", "stars"]),
            "default": "given",
            "help": "PSF of the file of the cutout, of the psField file of its frame, or built "
            "from its stars.",
        },
    ),
    "psf_floor": ("--psf-floor", {"is_flag": True, "help": "Sample error and width of the PSF."}),
    "sampler": ("--setting", {**_PAIRS, "help": "Setting in [sampler]; may be repeated."}),
    "prior": ("--prior", {**_PAIRS, "help": "Parameter in [prior]; may be repeated."}),
    "residuals": ("--out", {"type": _PATH, "help": "Folder for figures of the residuals."}),
    "figure": ("--figure", {"type": _PATH, "help": "File for a figure of the results."}),
    "json_file": ("--json", {"type": _PATH, "help": "File for a summary of the results."}),
    "raw_file": (
        "--raw",
        {"type": _PATH, "help": "File for the raw records, not meant to be committed."},
    ),
}
"""Flag and keyword arguments of `click.option` of every field of `Options`."""
_FILES = ("residuals", "figure", "json_file", "raw_file")


@dataclass(frozen=True)
class Options:
    """Values of the shared options; a field that a program does not use keeps its default.

    Attributes
    ----------
    seconds : float
        CPU-seconds to sample for, compilation excluded.
    num_chains, num_warmup, num_samples : int
        Number of chains, and the draws of each chain in warm-up and after it.
    seed : int
        Seed of all random numbers.
    stars_only : bool
        Whether galaxies are left out of the model.
    psf : str
        Source of the PSF: ``given``, ``frame`` or ``stars``.
    psf_floor : bool
        Whether error and width of the PSF are sampled.
    sampler, prior : mapping
        Values of keys of the sections ``[sampler]`` and ``[prior]``.
    residuals : Path or None
        Folder for figures of the residuals.
    figure : Path or None
        File for a figure of the results.
    json_file, raw_file : Path or None
        Files for the summary and for the raw records.
    used : tuple of str
        Names of the fields that the program has options for.
    provenance : mapping
        Commit, version, date and command line at the start.
    """

    seconds: float = 0.0
    num_chains: int = 4
    num_warmup: int = 0
    num_samples: int = 0
    seed: int = 0
    stars_only: bool = False
    psf: str = "given"
    psf_floor: bool = False
    sampler: Mapping[str, Any] = field(default_factory=dict)
    prior: Mapping[str, Any] = field(default_factory=dict)
    residuals: Path | None = None
    figure: Path | None = None
    json_file: Path | None = None
    raw_file: Path | None = None
    used: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, **own: Any) -> dict[str, Any]:
        """Return the settings of the run: shared options that are no files, and further ones."""
        return {n: getattr(self, n) for n in self.used if n not in _FILES} | own

    def finish(
        self,
        results: Mapping[str, Any],
        settings: Mapping[str, Any],
        raw: Mapping[str, Any] | None = None,
    ) -> None:
        """Print the results, and write the files that were asked for.

        Parameters
        ----------
        results : mapping
            Results for the summary. An entry ``commit`` replaces that of the start.
        settings : mapping
            Settings of the run.
        raw : mapping, optional
            Records of single draws, scenes or trials, for the raw file.
        """
        origin = self._origin(settings)
        echo({**origin, **results})
        write_summary(self.json_file, {**origin, **results})
        if raw is not None:
            self.save_raw(settings, raw)

    def save_raw(self, settings: Mapping[str, Any], raw: Mapping[str, Any]) -> None:
        """Write raw records if a file for them was asked for; parameters as in `finish`."""
        if self.raw_file is not None:
            write_raw(self.raw_file, {**self._origin(settings), **raw})

    def _origin(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Provenance, device and settings."""
        return {**self.provenance, "device": device_name(), "settings": settings}


def shared_options(*names: str, **defaults: Any) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that adds shared options to a command.

    The command gets an `Options` as its first argument, and its own options by name.

    Parameters
    ----------
    *names : str
        Fields of `Options` whose option has the usual default. ``--json`` is always there.
    **defaults
        Fields of `Options` whose option has this default.
    """
    chosen = (*defaults, *names, "json_file")

    def decorate(command: Callable[..., None]) -> Any:
        @wraps(command)
        def wrapped(**values: Any) -> None:
            shared = {name: values.pop(name) for name in chosen}
            command(Options(**shared, used=chosen, provenance=provenance()), **values)

        for name in reversed(chosen):
            flag, keywords = _OPTIONS[name]
            if name in defaults:
                keywords = {**keywords, "default": defaults[name]}
            wrapped = click.option(flag, name, show_default=True, **keywords)(wrapped)
        return wrapped

    return decorate
