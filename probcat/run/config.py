"""The configuration of a run: read from a file, completed by the command line, written back."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probcat.errors import InputError, check_keys
from probcat.files.atomic import replacing
from probcat.run.settings import (
    ASSIGN_OPTIONS,
    CONDENSE_OPTIONS,
    REFINE_OPTIONS,
    RENAMED,
    CatalogSettings,
    ImageSettings,
    RunSettings,
    check_kinds,
)

if TYPE_CHECKING:
    from probcat.sampler.settings import SamplerSettings

_HEADER = """\
# All settings of a probcat run: `probcat run --config THIS --out NEW` repeats it.
"""
_RUN_KEYS = {field.name for field in fields(RunSettings)}


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run, one mapping for each section of the file.

    Parameters
    ----------
    image : mapping
        Values of `probcat.run.settings.ImageSettings`.
    prior : mapping
        Parameters of the prior, as `probcat.Prior.from_image` takes them.
    sampler : mapping
        Values of `probcat.run.settings.RunSettings` and of `probcat.SamplerSettings`.
    catalog : mapping
        Values of `probcat.run.settings.CatalogSettings`.
    """

    image: Mapping[str, Any] = field(default_factory=dict)
    prior: Mapping[str, Any] = field(default_factory=dict)
    sampler: Mapping[str, Any] = field(default_factory=dict)
    catalog: Mapping[str, Any] = field(default_factory=dict)

    def update(self, section: str, **values: Any) -> RunConfig:
        """Return a copy with some values of a section replaced; None changes nothing.

        Parameters
        ----------
        section : str
            Name of the section.
        **values
            New values.

        Returns
        -------
        RunConfig
        """
        given = {key: value for key, value in values.items() if value is not None}
        return replace(self, **{section: {**getattr(self, section), **given}})

    def check(self) -> RunConfig:
        """Check the names and values of all settings, and return the configuration itself.

        The values of ``[prior]`` are checked by `probcat.Prior.from_image`.

        Returns
        -------
        RunConfig

        Raises
        ------
        InputError
            If a key is unknown or has a new name, or a value is of the wrong kind or out of range.
        """
        from probcat.model.prior.parameters import PriorParameters
        from probcat.sampler.settings import SamplerSettings

        sections: dict[str, tuple[type, ...]] = {
            "image": (ImageSettings,),
            "prior": (PriorParameters,),
            "sampler": (RunSettings, SamplerSettings),
            "catalog": (CatalogSettings,),
        }
        for section, classes in sections.items():
            given = getattr(self, section)
            names = [{field.name for field in fields(settings)} for settings in classes]
            check_keys(given, set().union(*names), f"section [{section}]", RENAMED[section])
            if section == "prior":
                continue
            for settings, known in zip(classes, names, strict=True):
                own = {k: v for k, v in given.items() if k in known and v is not None}
                check_kinds(section, settings, own)
                settings(**own)
        return self

    def image_options(self) -> dict[str, Any]:
        """Return the settings of ``[image]`` that `probcat.image.several.read_images` takes."""
        return {key: value for key, value in self.image.items() if key not in REFINE_OPTIONS}

    def run_settings(self) -> RunSettings:
        """Return the seed and counts of ``[sampler]``, completed by defaults."""
        return RunSettings(**{k: v for k, v in self.sampler.items() if k in _RUN_KEYS})

    def sampler_settings(self) -> SamplerSettings:
        """Return the other settings of ``[sampler]``, completed by defaults."""
        from probcat.sampler.settings import SamplerSettings

        return SamplerSettings(**{k: v for k, v in self.sampler.items() if k not in _RUN_KEYS})

    def condense_options(self) -> dict[str, Any]:
        """Return the settings of ``[catalog]`` that `probcat.condense` takes, as far as given."""
        return {key: self.catalog[key] for key in CONDENSE_OPTIONS if key in self.catalog}

    def assign_options(self) -> dict[str, Any]:
        """Return the settings of ``[catalog]`` that `probcat.assign_pixels` takes, if given."""
        return {key: self.catalog[key] for key in ASSIGN_OPTIONS if key in self.catalog}

    def model_options(self) -> dict[str, Any]:
        """Return the settings of ``[catalog]`` that `probcat.posterior_model` takes, if given."""
        return {key: self.catalog[key] for key in ("max_draws",) if key in self.catalog}


def absolute(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of ``[image]`` with absolute file names, which any program can open.

    Parameters
    ----------
    options : mapping
        The section ``[image]``; its file names are relative to the current directory.

    Returns
    -------
    dict
        The same options. Names of PSFs that are no files, such as those of extensions, stay.
    """
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
        ``[catalog]``. Relative file names in it are relative to the current directory.

    Returns
    -------
    RunConfig

    Raises
    ------
    InputError
        If there is no such file, it is no TOML, or a section, key or value is refused.
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
    """Write a configuration; values of None are left out, as TOML has no such value.

    Parameters
    ----------
    path : path_like
        An existing file is replaced.
    config : RunConfig
        The settings of all sections.
    """
    import tomli_w

    content = {
        section.name: {
            key: _toml_value(value)
            for key, value in getattr(config, section.name).items()
            if value is not None
        }
        for section in fields(config)
    }
    content = {name: values for name, values in content.items() if values}
    with replacing(path) as partial:
        partial.write_text(_HEADER + "\n" + tomli_w.dumps(content), encoding="utf-8")


def _toml_value(value: Any) -> Any:
    """Return a value as TOML can store it: numpy numbers, paths and tuples become plain ones."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        # Of single precision, the shortest decimal that reads back as the same number.
        single = getattr(value, "dtype", None) == "float32" and getattr(value, "ndim", 1) == 0
        return float(str(value)) if single else value.tolist()
    if isinstance(value, list | tuple):
        return [_toml_value(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _toml_value(item) for key, item in value.items()}
    return value
