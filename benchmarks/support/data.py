"""Location of the reference images."""

import os
from pathlib import Path

import click

DEFAULT_DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
"""Folder of the reference data where `PROBCAT_DATA` is not set."""


def data_path(name: str) -> Path:
    """Return the path of a file of the reference data.

    Parameters
    ----------
    name : str
        Path relative to the folder that the environment variable `PROBCAT_DATA` names.

    Raises
    ------
    click.ClickException
        If there is no such file.
    """
    path = Path(os.environ.get("PROBCAT_DATA", DEFAULT_DATA)) / name
    if not path.exists():
        raise click.ClickException(f"{path}: not found; set PROBCAT_DATA to the reference data")
    return path
