"""A file of results of several commits, field by field, and tables that compare two of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.support.results import write_raw

Measure = tuple[str, Callable[[Mapping[str, Any]], float | None]]
"""Heading of a pair of columns, and the function that takes its number from an entry."""


class Entries:
    """Entries of a file, by label (usually a commit) and field.

    Parameters
    ----------
    file : Path
        The JSON file; it need not exist.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        text = file.read_text(encoding="utf-8") if file.exists() else "{}"
        self._stored: dict[str, Any] = json.loads(text)

    def fields(self, label: str) -> dict[str, Any]:
        """Return the entries of a label by field; the beginning of a label is enough.

        Raises
        ------
        click.ClickException
            If there is no such label, or several begin so.
        """
        if label not in self._stored:
            labels = [one for one in self._stored if one.startswith(label)]
            if len(labels) != 1:
                known = ", ".join(self._stored) or "none"
                raise click.ClickException(f"{self.file}: {label}: not one of the labels {known}")
            (label,) = labels
        return dict(self._stored[label]["fields"])

    def start(self, label: str, origin: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Add a label, or check that its entries were measured with the same settings.

        Parameters
        ----------
        label : str
            The label.
        origin : mapping
            Commit, version and command line.
        settings : mapping
            Settings of the runs.

        Raises
        ------
        click.ClickException
            If the label has entries with other settings.
        """
        settings = json.loads(json.dumps(settings))
        own = self._stored.setdefault(label, {**origin, "settings": settings, "fields": {}})
        if own["settings"] != settings:
            raise click.ClickException(
                f"{self.file}: {label} has entries with other settings; give another --label"
            )

    def add(self, label: str, field: str, entry: Mapping[str, Any]) -> None:
        """Add or replace the entry of a field, and write the file."""
        self._stored[label]["fields"][field] = entry
        write_raw(self.file, self._stored)
        self._stored = json.loads(self.file.read_text(encoding="utf-8"))


def compare_entries(
    one: Mapping[str, Any], other: Mapping[str, Any], measures: Sequence[Measure]
) -> str:
    """Return a table with a row for every field that both have.

    Parameters
    ----------
    one, other : mapping
        Entries by field.
    measures : sequence of Measure
        What is compared. Every measure has two columns, before and after.

    Returns
    -------
    str
        The table. Its last row is the median ratio, after to before, over fields where both have
        a number.
    """
    fields = [field for field in one if field in other]
    width = max([len(field) for field in fields], default=5) + 2
    rows = [f"{'':{width}}" + "".join(f"{heading:>22}" for heading, _ in measures)]
    for field in fields:
        cells = [f"{_text(take(one[field]))} > {_text(take(other[field]))}" for _, take in measures]
        rows.append(f"{field:{width}}" + "".join(f"{cell:>22}" for cell in cells))
    ratios = []
    for _, take in measures:
        pairs = [(take(one[field]), take(other[field])) for field in fields]
        found = [after / before for before, after in pairs if before and after is not None]
        ratios.append(f"x {np.median(found):.3g} ({len(found)})" if found else "-")
    rows.append(f"{'median ratio':{width}}" + "".join(f"{ratio:>22}" for ratio in ratios))
    return "\n".join(rows)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
