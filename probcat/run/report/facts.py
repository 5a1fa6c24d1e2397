"""What the page says in words: convergence, summary, settings and provenance, as HTML."""

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

_MOST_REASONS = 8


def describe(run: RunContents, info: dict[str, Any]) -> dict[str, str]:
    """Give the fragments of the page that are not drawn.

    Parameters
    ----------
    run : RunContents
    info : dict
        What `probcat.run.report.data.page_data` gave.

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
        "verdict": _verdict(diagnostics),
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


def _verdict(diagnostics: Diagnostics) -> str:
    """Say whether the chains have converged, loudly if they have not."""
    if diagnostics.converged:
        name, rhat = diagnostics.worst_rhat
        least, ess = diagnostics.least_ess
        return (
            "<div class='verdict good'><b>The chains agree.</b> "
            f"Worst R-hat {rhat:.3f} ({escape(name)}), least effective sample size {ess:.0f} "
            f"({escape(least)}).</div>"
        )
    shown = diagnostics.reasons[:_MOST_REASONS]
    items = "".join(f"<li>{escape(reason)}</li>" for reason in shown)
    if len(diagnostics.reasons) > len(shown):
        items += f"<li>and {len(diagnostics.reasons) - len(shown)} more, see below</li>"
    return (
        "<div class='verdict bad' role='alert'><b>NOT CONVERGED.</b> Errors and probabilities "
        f"below may be wrong: sample longer, or look at the chains.<ul>{items}</ul></div>"
    )


def _diagnostics(found: Diagnostics) -> str:
    """Make the table of R-hat and effective sample sizes; its rows choose a trace."""
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
    """Prior, notes on the images, acceptance, and the configuration as used."""
    from probcat.run.files import CONFIG

    images = [one.image for one in run.images]
    notes = [f"{image.name}: {note}" for image in images for note in image.notes]
    # A finished run does not record which parameters were given and which are of the images.
    prior = describe_prior(run.config.prior, {}, images, origins=False)
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
    """Tell where the samples come from."""
    attrs = run.samples.attrs
    catalog = {key: v for key, v in run.catalog.attrs.items() if key != "images"}
    rows = [
        ("inputs", ", ".join(dict.fromkeys(names))),
        ("run", str(run.directory.resolve())),
        ("page written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("program", f"probcat {attrs.get('version', 'of unknown version')}"),
        ("seed", str(attrs.get("seed", run.config.sampler.get("seed", "unknown")))),
        ("condensed", ", ".join(f"{key} {_short(value)}" for key, value in catalog.items())),
        ("sources of no object", f"{run.catalog.num_unassigned:.2f} a draw"),
    ]
    for key in ("psf_fwhm", "unit", "band"):
        if attrs.get(key):
            rows.append((key.replace("_", " "), _short(attrs[key])))
    return rows


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _limits(run: RunContents, info: dict[str, Any]) -> list[str]:
    """Say what of the run the page leaves out."""
    lines = []
    count = info["num_objects"]
    for one in info["images"]:
        name = one["label"] or one["name"]
        if one["factor"] > 1:
            lines.append(
                f"{name}: shown with {one['factor']}×{one['factor']} pixels averaged into one, "
                f"since it is larger than {LARGEST_SIDE} px."
            )
        if one["mapped"] < count:
            lines.append(
                f"{name}: maps of the {one['mapped']} brightest of {count} objects are here."
            )
    most = info["draws"]["most"]
    members = int(np.max(run.catalog["num_members"], initial=0))
    if most < members:
        lines.append(f"Posteriors of objects show up to {most} evenly spaced draws each.")
    if info["draws"]["objects"] < count:
        lines.append(f"Posteriors of the {info['draws']['objects']} brightest objects are here.")
    lines.append(
        "Maps are rounded to steps of 1/63; assignment.fits and samples.nc hold everything."
    )
    return lines
