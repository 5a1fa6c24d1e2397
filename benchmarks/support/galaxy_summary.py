"""Numbers of an entry of `benchmarks.programs.galaxies` that are compared and summarized."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.fields.galaxies import BLEND
from benchmarks.support.entries import Measure
from benchmarks.support.galaxy_mixing import PROPERTIES

GOOD_CHI2 = (0.9, 1.15)
"""Range of chi-square per pixel of a good fit."""


def is_good(entry: Mapping[str, Any]) -> bool:
    """Whether chi-square per pixel is in the range `GOOD_CHI2`."""
    return bool(GOOD_CHI2[0] <= entry["chi2_per_pixel"] <= GOOD_CHI2[1])


def _slowest(entry: Mapping[str, Any]) -> float | None:
    """Effective samples per CPU-second of the slowest property of all galaxies."""
    return _extreme(entry, "ess_per_cpu_s_slowest", min)


def _worst_rhat(entry: Mapping[str, Any]) -> float | None:
    """Largest R-hat of the properties of all galaxies."""
    return _extreme(entry, "rhat_worst", max)


def _extreme(entry: Mapping[str, Any], name: str, extreme: Any) -> float | None:
    galaxies = entry["galaxies"]
    values = [galaxies[one][name] for one in PROPERTIES if one in galaxies]
    # A file has None for what is not finite.
    return extreme(values) if values and None not in values else None


MEASURES: tuple[Measure, ...] = (
    ("converged at CPU-s", lambda entry: entry["converged_cpu_s"]),
    ("CPU-s per draw", lambda entry: entry["draw_cpu_s"]),
    ("ESS/CPU-s of N", lambda entry: entry["ess_per_cpu_s"]["num_sources"]),
    ("of ln L", lambda entry: entry["ess_per_cpu_s"]["log_likelihood"]),
    ("of slowest galaxy", _slowest),
    ("its worst R-hat", _worst_rhat),
    ("chi2 per pixel", lambda entry: entry["chi2_per_pixel"]),
    ("first block CPU-s", lambda entry: entry["first_block_cpu_s"]),
)
"""Numbers of an entry that are compared and summarized."""


def describe_entry(name: str, entry: Mapping[str, Any]) -> str:
    """Return one line on an entry."""
    took = entry["converged_cpu_s"]
    text = f"not converged in {entry['cpu_s']:.0f}" if took is None else f"converged in {took:.0f}"
    number = entry["galaxies"]["number"]
    return (
        f"{name}: {text} CPU-s, {entry['draw_cpu_s']:.2f} a draw; "
        f"chi2/px {entry['chi2_per_pixel']:.3f}; {entry['objects']} objects, {number} galaxies; "
        f"{len(entry['grown'])} arrays grown"
    )


def summarize_entries(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a summary of the entries of a commit.

    Parameters
    ----------
    entries : mapping
        Entries by field.

    Returns
    -------
    dict
        The whole entries of single fields without arguments against convergence; and for the
        blends, counts, and the numbers of `MEASURES` of each.
    """
    results: dict[str, Any] = {
        name: {key: value for key, value in entry.items() if key != "reasons"}
        for name, entry in entries.items()
        if not name.startswith(BLEND)
    }
    blends = {name: entry for name, entry in entries.items() if name.startswith(BLEND)}
    if not blends:
        return results
    converged = [entry["converged"] for entry in blends.values()]
    good = [is_good(entry) for entry in blends.values()]
    results["blends"] = {
        "number": len(blends),
        "converged": sum(converged),
        "good_chi2": sum(good),
        "converged_with_good_chi2": sum(np.logical_and(converged, good).tolist()),
        "draw_cpu_s_median": float(np.median([e["draw_cpu_s"] for e in blends.values()])),
        "measures": [heading for heading, _ in MEASURES],
        "each": {
            name.removeprefix(BLEND): [take(entry) for _, take in MEASURES]
            for name, entry in blends.items()
        },
    }
    return results
