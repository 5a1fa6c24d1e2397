"""Files of results: a short summary that says where it comes from, and raw records.

A summary is meant for `benchmarks/results/`. It has at most `MAX_LINES` lines and records commit,
version, date, device, command line and settings. Everything that is one number per draw, scene or
trial goes into a raw record, which is not committed.
"""

import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

import probcat
from probcat.files.atomic import replacing

MAX_LINES = 60
"""Largest number of lines of a summary."""
MAX_WIDTH = 100
"""Number of characters above which an object of a summary is spread over several lines."""
NUM_DIGITS = 5
"""Significant digits of a number in a summary."""

Path_ = tuple[str, ...]


def device_name() -> str:
    """Return the name of the accelerator, or the processor model and the number of cores."""
    devices = jax.devices()
    if devices[0].platform != "cpu":
        number = f"{len(devices)} x " if len(devices) > 1 else ""
        return f"{number}{devices[0].device_kind}"
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    """Model of the processor, or its architecture where the system does not name the model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return next(iter(models), "") or platform.processor() or platform.machine()


def commit() -> str:
    """Return the commit of the imported package, with ``-dirty`` if its checkout was modified.

    Files in `benchmarks/results` do not count as modifications.
    """
    folder = Path(probcat.__file__).parent
    # An installed package may lie inside the checkout of another commit.
    if not _git(folder, "ls-files", "__init__.py"):
        return "unknown: probcat is not imported from a git checkout"
    changed = _git(folder, "status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/results")
    return _git(folder, "rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    """Output of a git command, empty if it fails or git is missing."""
    try:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def provenance() -> dict[str, str]:
    """Return commit, version, date and command line of this process.

    The device is left to `device_name`, because asking JAX for it fixes the number of devices.
    """
    return {
        "commit": commit(),
        "version": probcat.__version__,
        "date": date.today().isoformat(),
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
    }


def echo(results: Mapping[str, Any]) -> None:
    """Print results, one line for each."""
    for name, value in _plain_values(results, NUM_DIGITS).items():
        click.echo(f"{name:24} {value}")


def write_raw(file: Path, record: Mapping[str, Any]) -> None:
    """Write a raw record, completely or not at all.

    Parameters
    ----------
    file : Path
        The JSON file.
    record : mapping
        Numbers, strings, arrays, and lists and mappings of them.
    """
    _write(file, json.dumps(_plain_values(record)) + "\n")


def read_raw(file: Path | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read the raw record of a run that is to be continued.

    Parameters
    ----------
    file : Path or None
        The JSON file.
    settings : mapping
        Settings of the run.

    Returns
    -------
    dict
        The record; empty if no file is given or it does not exist.

    Raises
    ------
    click.ClickException
        If the record has other settings.
    """
    if file is None or not file.exists():
        return {}
    stored = json.loads(file.read_text(encoding="utf-8"))
    if stored["settings"] != _plain_values(settings):
        raise click.ClickException(f"{file} holds a run of other settings; move it away")
    return stored


def write_summary(file: Path | None, summary: Mapping[str, Any]) -> None:
    """Write a summary of at most `MAX_LINES` lines, completely or not at all.

    Parameters
    ----------
    file : Path or None
        The JSON file; None writes nothing.
    summary : mapping
        Provenance, settings and results.
    """
    if file is not None:
        _write(file, format_summary(summary))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8")


def format_summary(summary: Mapping[str, Any]) -> str:
    """Return a summary as JSON text of at most `MAX_LINES` lines.

    Numbers are rounded to `NUM_DIGITS` digits, and lists stay on one line. Objects are spread
    over several lines, the longest first, as far as the number of lines allows.
    """
    summary = _plain_values(summary, NUM_DIGITS)
    spread: set[Path_] = set()
    refused: set[Path_] = set()
    lines = _lines(summary, (), spread)
    while True:
        wide = [path for path, text in lines if len(text) > MAX_WIDTH or path == ()]
        wide = [path for path in wide if path not in spread | refused]
        wide = [path for path in wide if isinstance(_at(summary, path), dict)]
        if not wide:
            return "\n".join(text for _, text in lines) + "\n"
        longest = max(wide, key=lambda path: len(json.dumps(_at(summary, path))))
        trial = _lines(summary, (), spread | {longest})
        if len(trial) > MAX_LINES:
            refused.add(longest)
        else:
            spread.add(longest)
            lines = trial


def _at(value: Any, path: Path_) -> Any:
    """Value that a sequence of keys leads to."""
    for key in path:
        value = value[key]
    return value


def _lines(value: Any, path: Path_, spread: set[Path_]) -> list[tuple[Path_, str]]:
    """Lines of a JSON value, each with the keys that lead to what begins on it."""
    if path not in spread or not value:
        return [(path, json.dumps(value))]
    indent = " " * (len(path) + 1)
    lines: list[tuple[Path_, str]] = [(path, "{")]
    for number, (name, item) in enumerate(value.items(), start=1):
        own = _lines(item, (*path, name), spread)
        own[0] = (own[0][0], f"{indent}{json.dumps(name)}: {own[0][1]}")
        if number < len(value):
            own[-1] = (own[-1][0], own[-1][1] + ",")
        lines += own
    return [*lines, (path, indent[1:] + "}")]


def _plain_values(value: Any, digits: int | None = None) -> Any:
    """Convert arrays to lists, round numbers, and replace what is not finite by None."""
    if isinstance(value, Mapping):
        return {str(name): _plain_values(item, digits) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain_values(item, digits) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return value if digits is None else float(f"{value:.{digits}g}")
