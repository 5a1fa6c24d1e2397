"""The directory of a run: whether it holds one, reading its configuration, clearing it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from probcat.errors import InputError
from probcat.run.config import RunConfig, read_config
from probcat.run.files import (
    ALTERNATIVES,
    ASSIGNMENT,
    CATALOG,
    CHAIN,
    CONFIG,
    FIGURES,
    MEMBERS,
    MODEL,
    PSFS,
    REPORT,
    SAMPLES,
)


def read_run_config(directory: str | Path) -> RunConfig:
    """Read the configuration of the run in a directory.

    Parameters
    ----------
    directory : path_like
        Directory of a run, finished or not.

    Returns
    -------
    RunConfig

    Raises
    ------
    InputError
        If the directory holds no run, or its configuration cannot be read.
    """
    path = Path(directory) / CONFIG
    if not path.is_file():
        raise InputError(f"{directory}: holds no run (no {CONFIG})")
    return read_config(path)


def check_directory(out: Path, overwrite: bool) -> None:
    """Refuse a directory that already holds a run, unless it may be replaced.

    Parameters
    ----------
    out : Path
        Directory for a new run; it need not exist.
    overwrite : bool
        Whether a run in it may be replaced.

    Raises
    ------
    InputError
        If the path is a file, or the directory holds a run that must be kept.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out must name a directory")
    present = [name for name in (CONFIG, SAMPLES, CATALOG, CHAIN) if (out / name).exists()]
    if present and not overwrite:
        raise InputError(
            f"{out}: already holds a run ({', '.join(present)}); "
            "resume it with --resume, replace it with --overwrite, or give another --out"
        )


def clear_directory(out: Path) -> None:
    """Create a directory, or remove from it the files of an earlier run and nothing else.

    Parameters
    ----------
    out : Path
        Directory for a new run.
    """
    out.mkdir(parents=True, exist_ok=True)
    catalog = (CATALOG, ALTERNATIVES, MEMBERS, ASSIGNMENT, MODEL, REPORT, *FIGURES)
    for name in (CONFIG, SAMPLES, PSFS, *catalog):
        (out / name).unlink(missing_ok=True)
    # With several images, these names end in the label of an image.
    for name in (ASSIGNMENT, MODEL, "residual.png"):
        stem, suffix = Path(name).stem, Path(name).suffix
        for path in out.glob(f"{stem}_*{suffix}"):
            path.unlink()
    shutil.rmtree(out / CHAIN, ignore_errors=True)


def resume_command(out: Path) -> str:
    """Return the command that resumes the run in a directory."""
    return f"probcat run --out {shlex.quote(str(out))} --resume"
