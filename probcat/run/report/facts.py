"""Texts of the page as HTML: convergence, summary, settings and provenance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.model.prior.describe import describe_images, describe_prior
from probcat.run.report.packing import LARGEST_SIDE
from probcat.samples.diagnostics import Diagnostics, diagnose
from probcat.samples.summary import acceptance_table, summarize

if TYPE_CHECKING:
    from probcat.run.report.contents import RunContents

_MAX_LINES = 8
"""Largest number of arguments against convergence, and of objects, at the top of the page."""


def page_texts(run: RunContents, info: dict[str, Any]) -> dict[str, str]:
    """Return the texts and tables of the page.

    Parameters
    ----------
    run : RunContents
        The run to show.
    info : dict
        Description of the page's data, from `probcat.run.report.data.page_data`.

    Returns
    -------
    dict of str to str
        HTML by name: ``heading``, ``inputs``, ``verdict``, ``summary``, ``diagnostics``,
        ``settings``, ``provenance``, ``limits``.
    """
    diagnostics = diagnose(run.samples)
    summary = summarize(run.samples, run.catalog, diagnostics)
    names = [Path(name).name for name in run.config.image["files"]]
    return {
        "heading": escape(", ".join(dict.fromkeys(names))),
        "inputs": escape(_inputs(run)),
        "verdict": _verdict(diagnostics, summary.imprecise),
        "summary": _rows(summary.rows()),
        "diagnostics": _diagnostics(diagnostics),
        "settings": _settings(run),
        "provenance": _rows(_provenance(run, names)),
        "limits": "".join(f"<p>{escape(line)}</p>" for line in _limits(run, info)),
    }


def _inputs(run: RunContents) -> str:
    parts = []
    for one in run.images:
        ny, nx = one.image.shape
        band = f"{one.label}: " if one.label else ""
        parts.append(f"{band}{nx}×{ny} px")
    return "; ".join(parts)


def _rows(rows: Iterable[Sequence[str]]) -> str:
    cells = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table class='pairs'>{''.join(cells)}</table>"


def _verdict(diagnostics: Diagnostics, imprecise: tuple[str, ...]) -> str:
    """Statement whether the chains have converged, with reasons, and imprecise objects."""
    objects = f"These objects are imprecise:{_list(imprecise)}" if imprecise else ""
    if diagnostics.converged:
        name, rhat = diagnostics.worst_rhat
        least, ess = diagnostics.least_ess
        return (
            "<div class='verdict good'><b>The chains agree.</b> "
            f"Worst R-hat {rhat:.3f} ({escape(name)}), smallest effective sample size {ess:.0f} "
            f"({escape(least)}). {objects}</div>"
        )
    return (
        "<div class='verdict bad' role='alert'><b>NOT CONVERGED.</b> Errors and probabilities "
        "below may be wrong: sample longer, or inspect the chains."
        f"{_list(diagnostics.reasons)}{objects}</div>"
    )


def _list(lines: tuple[str, ...]) -> str:
    """List of the first lines, with the number of the others."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines[:_MAX_LINES])
    if len(lines) > _MAX_LINES:
        items += f"<li>and {len(lines) - _MAX_LINES} more, see below</li>"
    return f"<ul>{items}</ul>"


def _diagnostics(found: Diagnostics) -> str:
    """Table of R-hat and effective sample sizes, whose rows select a trace."""
    against = {reason.split(":")[0] for reason in found.reasons}
    columns = zip(
        found.names, found.mean, found.std, found.rhat, found.ess, found.drift, strict=True
    )
    rows = [
        f"<tr data-name='{escape(name)}' class='{'bad' if name in against else ''}'>"
        f"<th>{escape(name)}</th><td>{mean:.6g}</td><td>{std:.3g}</td><td>{rhat:.3f}</td>"
        f"<td>{ess:.0f}</td><td>{drift:+.2f}</td></tr>"
        for name, mean, std, rhat, ess, drift in columns
    ]
    head = "".join(
        f"<th>{name}</th>" for name in ("quantity", "mean", "sd", "R-hat", "ESS", "drift [sd]")
    )
    return f"<table id='diagnostics'><tr>{head}</tr>{''.join(rows)}</table>"


def _settings(run: RunContents) -> str:
    """Prior, notes on the images, acceptance, and the configuration of the run."""
    from probcat.run.files import CONFIG

    images = [one.image for one in run.images]
    notes = [f"{image.name}: {note}" for image in images for note in image.notes]
    # A finished run has no record of which parameters were given and which follow from the images.
    prior = describe_prior(run.config.prior, None, images)
    lines = [*notes, *describe_images(images), *prior]
    text = {
        "Images and prior": "\n".join(lines),
        "Accepted proposals": acceptance_table(run.samples),
        "Settings": (run.directory / CONFIG).read_text(encoding="utf-8"),
    }
    return "".join(
        f"<details><summary>{title}</summary><pre>{escape(body)}</pre></details>"
        for title, body in text.items()
        if body
    )


def _provenance(run: RunContents, names: list[str]) -> list[tuple[str, str]]:
    """Origin of the samples and of the catalog."""
    attrs = run.samples.attrs
    catalog = {key: v for key, v in run.catalog.attrs.items() if key != "images"}
    rows = [
        ("inputs", ", ".join(dict.fromkeys(names))),
        ("run", str(run.directory.resolve())),
        ("page written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("program", f"probcat {attrs.get('version', 'of unknown version')}"),
        ("seed", str(attrs.get("seed", run.config.sampler.get("seed", "unknown")))),
        ("condensing", ", ".join(f"{key} {_short(value)}" for key, value in catalog.items())),
        ("unassigned sources", f"{run.catalog.num_unassigned:.2f} per draw"),
    ]
    for key in ("psf_fwhm", "unit", "band"):
        if attrs.get(key):
            rows.append((key.replace("_", " "), _short(attrs[key])))
    return rows


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _limits(run: RunContents, info: dict[str, Any]) -> list[str]:
    """Statements about the parts of the run that the page leaves out."""
    lines = []
    count = info["num_objects"]
    for one in info["images"]:
        name = one["label"] or one["name"]
        if one["factor"] > 1:
            lines.append(
                f"{name}: blocks of {one['factor']}×{one['factor']} pixels are averaged, since the "
                f"image is larger than {LARGEST_SIDE} pixels."
            )
        if one["mapped"] < count:
            lines.append(
                f"{name}: the page contains maps of only the {one['mapped']} brightest of {count} "
                "objects."
            )
    most = info["draws"]["most"]
    members = int(np.max(run.catalog["num_members"], initial=0))
    if most < members:
        lines.append(f"The posterior of an object shows up to {most} evenly spaced draws.")
    if info["draws"]["objects"] < count:
        lines.append(
            f"The page contains only the posteriors of the {info['draws']['objects']} brightest "
            "objects."
        )
    lines.append(
        "Maps are rounded to multiples of 1/63; assignment.fits and samples.nc have full precision."
    )
    return lines
