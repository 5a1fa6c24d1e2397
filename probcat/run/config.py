"""The configuration of a run: what the file says, what the command line adds, what was used."""

from __future__ import annotations

import inspect
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from probcat.errors import InputError, check_keys

_HEADER = """\
# Settings of a probcat run, all resolved: `probcat run --config THIS --out NEW` repeats it.
"""
# Counts and switches of a run, with the least value that makes sense.
RUN_KEYS = {"seed": 0, "num_chains": 1, "num_warmup": 0, "num_samples": 1, "prior_only": False}
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
"""Former names of keys, by section."""
# How often PSFs are refined, and where refined ones are kept.
REFINED = ("refine_psf", "refined_psf")


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run, one mapping for each section of the file.

    Parameters
    ----------
    image : mapping
        ``files``, options of `probcat.Image.read`, and ``refine_psf``, the rounds in which
        `probcat.refine_psf` corrects the PSFs first; ``refined_psf`` is the file of its PSFs.
    prior : mapping
        Parameters of the prior, as `probcat.Prior.from_image` takes them.
    sampler : mapping
        ``seed``, ``num_chains``, ``num_warmup``, ``num_samples``, ``prior_only`` and the
        fields of `probcat.SamplerSettings`.
    catalog : mapping
        Options of `probcat.condense` and `probcat.assign_pixels`.
    """

    image: Mapping[str, Any] = field(default_factory=dict)
    prior: Mapping[str, Any] = field(default_factory=dict)
    sampler: Mapping[str, Any] = field(default_factory=dict)
    catalog: Mapping[str, Any] = field(default_factory=dict)

    def update(self, section: str, **values: Any) -> RunConfig:
        """Copy with some values of a section replaced; a value of None changes nothing."""
        given = {key: value for key, value in values.items() if value is not None}
        return replace(self, **{section: {**getattr(self, section), **given}})

    def check(self) -> RunConfig:
        """Check names and types of all values; give the configuration itself.

        Raises
        ------
        InputError
            If a key is not known, or its value is of the wrong kind.
        """
        for section in fields(self):
            known = section_keys(section.name)
            given = getattr(self, section.name)
            renamed = RENAMED.get(section.name, {})
            # Where the reader of a section checks for itself, only former names are refused here.
            known = set(given) - set(renamed) if known is None else known
            check_keys(given, known, f"section [{section.name}]", renamed)
        rounds = self.image.get("refine_psf", 0)
        if not isinstance(rounds, int) or rounds < 0:
            raise InputError(f"[image] refine_psf = {rounds!r}; it must be a number of rounds")
        for key, value in self.sampler.items():
            _check_sampler(key, value)
        return self


def section_keys(section: str) -> set[str] | None:
    """List what a section may hold; None where the reader of the section checks for itself."""
    if section == "image":
        from probcat.image.fits_input import image_arguments

        options = set(inspect.signature(image_arguments).parameters) - {"path"}
        return options | {"files", *REFINED}
    if section == "sampler":
        from probcat.sampler.settings import SamplerSettings

        return set(RUN_KEYS) | {field.name for field in fields(SamplerSettings)}
    if section == "catalog":
        from probcat.catalog.condense import condense
        from probcat.pixels.assign import assign_pixels

        options = {
            name
            for function in (condense, assign_pixels)
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        return options
    return None


def absolute(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a section ``[image]`` with absolute file names, to be read from anywhere."""
    resolved = dict(options)
    files = options.get("files", [])
    files = [files] if isinstance(files, str) else list(files)
    resolved["files"] = [str(Path(name).resolve()) for name in files]
    for key in ("psf", "psf_stars", "refined_psf"):
        value = options.get(key)
        if value is not None:
            several = isinstance(value, list | tuple)
            found = [
                str(Path(name).resolve()) if Path(name).is_file() else name
                for name in (value if several else [value])
            ]
            resolved[key] = found if several else found[0]
    return resolved


def read_config(path: str | os.PathLike[str]) -> RunConfig:
    """Read a configuration file.

    Parameters
    ----------
    path : path_like
        A TOML file with any of the sections ``[image]``, ``[prior]``, ``[sampler]`` and
        ``[catalog]``. Relative file names in it are taken from where the program runs.

    Returns
    -------
    RunConfig

    Raises
    ------
    InputError
        If there is no such file, it is no TOML, or a section or key is not known.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from None
    check_keys(content, [section.name for section in fields(RunConfig)], str(path))
    for section, values in content.items():
        if not isinstance(values, dict):
            raise InputError(f"{path}: [{section}] must be a section of keys and values")
    try:
        return RunConfig(**content).check()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_config(path: str | os.PathLike[str], config: RunConfig) -> None:
    """Write a configuration; values of None are left out, since TOML has none.

    Parameters
    ----------
    path : path_like
        An existing file is replaced.
    config : RunConfig
        What to write.
    """
    import tomli_w

    content = {
        section.name: {
            key: _plain(value)
            for key, value in getattr(config, section.name).items()
            if value is not None
        }
        for section in fields(config)
    }
    content = {name: values for name, values in content.items() if values}
    Path(path).write_text(_HEADER + "\n" + tomli_w.dumps(content), encoding="utf-8")


def _plain(value: Any) -> Any:
    """Make a value one that TOML holds: numpy numbers, paths and tuples into plain ones."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        # The shortest decimal that single precision reads back, not its double's digits.
        single = getattr(value, "dtype", None) == "float32" and getattr(value, "ndim", 1) == 0
        return float(str(value)) if single else value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _check_sampler(key: str, value: Any) -> None:
    """Check the kind of one value of the section [sampler] against its default."""
    from probcat.sampler.settings import SamplerSettings

    default = RUN_KEYS[key] if key in RUN_KEYS else getattr(SamplerSettings(), key)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise InputError(f"[sampler] {key} = {value!r}; it must be true or false")
    elif isinstance(default, int | float):
        kinds = int if isinstance(default, int) else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            what = "a whole number" if kinds is int else "a number"
            raise InputError(f"[sampler] {key} = {value!r}; it must be {what}")
        if key in RUN_KEYS and value < default:
            raise InputError(f"[sampler] {key} = {value!r}; it must be {default} or more")
