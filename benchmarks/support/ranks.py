"""Ranks of true values among posterior draws: quantities, tests of uniform ranks, coverage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

BRIGHTEST = (1, 2, 3)
"""Ranks in flux of the single sources whose quantities are ranked."""
LEVELS = (0.5, 0.68, 0.9)
"""Probabilities of the central intervals whose coverage is measured."""
NUM_BINS = 10
"""Number of bins of the chi-square test of uniform ranks."""
LARGEST_RHAT = 1.1
"""R-hat above which a quantity of a scene counts as not converged."""


@dataclass
class Record:
    """Raw record of the scenes that were sampled.

    Attributes
    ----------
    settings : dict
        Settings of the run; only a run of the same settings is continued.
    ranks : dict of str to list of int
        Rank of the true value in every scene, by quantity.
    exists : dict of str to list of bool
        Whether the truth or any draw has a k-th brightest source, in every scene, by k.
    diagnostics : dict of str to list of float
        R-hat, effective sample sizes and run time of every scene.
    commits : list of str
        Commit that every scene was sampled with.
    grown : int
        Number of scenes in which arrays were full and had to grow.
    seconds, cpu_seconds : float
        Time for all scenes, with compiling and without imports.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    ranks: dict[str, list[int]] = field(default_factory=dict)
    exists: dict[str, list[bool]] = field(default_factory=dict)
    diagnostics: dict[str, list[float]] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    grown: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def num_scenes(self) -> int:
        """Number of scenes that were sampled."""
        return len(next(iter(self.ranks.values()), []))

    @property
    def num_draws(self) -> int:
        """Number of draws that a true value is ranked among."""
        return self.settings["num_chains"] * (self.settings["num_samples"] // self.settings["thin"])

    def add(self, group: str, values: Mapping[str, Any]) -> None:
        """Append the values of one scene to one of the dictionaries.

        Parameters
        ----------
        group : str
            Name of the attribute: ``ranks``, ``exists`` or ``diagnostics``.
        values : mapping
            Values by name.
        """
        for name, value in values.items():
            getattr(self, group).setdefault(name, []).append(value)

    def positions(self, name: str) -> np.ndarray:
        """Return ranks as numbers in (0, 1), at random within the interval of a rank."""
        ranks = np.asarray(self.ranks[name])
        jitter = np.random.default_rng(len(name)).random(len(ranks))
        return (ranks + jitter) / (self.num_draws + 1)


def quantities(
    sources: Mapping[str, np.ndarray], scalars: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return quantities that do not depend on the order of sources.

    Parameters
    ----------
    sources, scalars : mapping
        Arrays as in `probcat.Samples`, with leading axes (chain, draw).

    Returns
    -------
    dict of str to ndarray, shape (chain, draw)
        Quantities of the catalog; of the k-th brightest source in the first band, with names that
        end in k; and of the brightest galaxy, with names that end in ``_galaxy``.
    """
    room = ((0, 0), (0, 0), (0, max(BRIGHTEST)))
    sources = {name: np.pad(values, room) for name, values in sources.items()}
    active = sources["active"]
    flux = np.where(active, sources["flux"], -np.inf)
    extended = active & sources["is_extended"]
    result = {"num_sources": active.sum(-1), "num_extended": extended.sum(-1)}
    fluxes = [name for name in sources if name.startswith("flux")]
    for name in fluxes:
        light = np.where(active, sources[name], 0.0)
        result[f"total_{name}"] = light.sum(-1, dtype=np.float64)
    backgrounds = [name for name in scalars if name.startswith("background")]
    for name in (*backgrounds, "mu", "extended_fraction", "flux_slope", "log_likelihood"):
        result[name] = np.asarray(scalars[name])
    marks = {name: sources[name] for name in (*fluxes, "x", "y", "is_extended")}
    for name in fluxes[1:]:
        with np.errstate(divide="ignore", invalid="ignore"):
            colour = np.log(sources[name] / sources["flux"])
        marks[name.replace("flux", "colour")] = colour
    order = np.argsort(-flux, axis=-1, kind="stable")
    for k in BRIGHTEST:
        for name, values in marks.items():
            values = np.take_along_axis(np.where(active, values, -np.inf), order, axis=-1)
            result[f"{name}_{k}"] = values[..., k - 1]
    galaxy = np.argmax(np.where(extended, flux, -np.inf), axis=-1, keepdims=True)
    ellipticity = np.hypot(sources["ellipticity_1"], sources["ellipticity_2"])
    shapes = {"half_light_radius": sources["half_light_radius"], "ellipticity": ellipticity}
    for name, values in (shapes | {"sersic_n": sources["sersic_n"]}).items():
        values = np.where(extended, values, 0.0)
        result[f"{name}_galaxy"] = np.take_along_axis(values, galaxy, axis=-1)[..., 0]
    return result


def rank(truth: float, draws: np.ndarray, rng: np.random.Generator) -> int:
    """Return the rank of a true value among draws, at random among equal values."""
    return int(np.sum(draws < truth) + rng.integers(0, np.sum(draws == truth), endpoint=True))


def uniformity(record: Record) -> dict[str, float]:
    """Return the p value of a chi-square test of uniform ranks, by quantity."""
    bins = {
        name: np.histogram(record.positions(name), NUM_BINS, (0, 1))[0] for name in record.ranks
    }
    return {name: float(stats.chisquare(number).pvalue) for name, number in bins.items()}


def coverage(record: Record) -> dict[str, dict[str, float]]:
    """Return how often central intervals contain true fluxes and positions.

    Returns
    -------
    dict of str to dict
        Rows of single quantities, and the pooled rows ``flux`` (all k and bands) and ``position``
        (all k and both coordinates). A row has ``counted``, the number of true values (of scenes
        in which the truth or a draw has so many sources), and for every level the covered
        fraction, its binomial ``error``, and its ``scene_error``, which allows for correlated
        values of one scene.
    """
    rows: dict[str, list[str]] = {}
    pooled: dict[str, list[str]] = {"flux": [], "position": []}
    for name in record.ranks:
        head, _, tail = name.rpartition("_")
        kind = "position" if head in ("x", "y") else head.split("_")[0]
        if tail.isdigit() and kind in pooled:
            rows[name] = [name]
            pooled[kind].append(name)
    return {name: _row(record, names) for name, names in (rows | pooled).items()}


def pooled_coverage(record: Record) -> dict[str, dict[str, Any]]:
    """Return the pooled rows of `coverage`, with lists over the levels."""
    rows = coverage(record)
    keys = [f"{level:.2f}" for level in LEVELS]
    return {
        name: {
            "counted": rows[name]["counted"],
            "level": list(LEVELS),
            "covered": [rows[name][key] for key in keys],
            "error": [rows[name][f"{key}_error"] for key in keys],
            "scene_error": [rows[name][f"{key}_scene_error"] for key in keys],
        }
        for name in ("flux", "position")
    }


def _row(record: Record, names: Sequence[str]) -> dict[str, float]:
    """Coverage of several quantities together."""
    counted = np.stack([np.asarray(record.exists[name.rpartition("_")[2]]) for name in names])
    distance = np.abs(np.stack([record.positions(name) for name in names]) - 0.5)
    number = int(counted.sum())
    row: dict[str, float] = {"counted": number}
    for level in LEVELS:
        hit = counted & (distance < 0.5 * level)
        covered = hit.sum() / max(number, 1)
        # The fraction is a ratio of sums over scenes, and scenes are independent.
        excess = hit.sum(axis=0) - covered * counted.sum(axis=0)
        row[f"{level:.2f}"] = float(covered)
        row[f"{level:.2f}_error"] = float(np.sqrt(level * (1.0 - level) / max(number, 1)))
        row[f"{level:.2f}_scene_error"] = float(np.sqrt(np.sum(excess**2)) / max(number, 1))
    return row


def coverage_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table of coverages in per cent, with the pooled rows last."""
    width = max(map(len, rows))
    cells = "".join(f"{f'{100 * level:.0f} %':>24}" for level in LEVELS)
    lines = [
        "covered (%) +- binomial error (error from the scatter between scenes)",
        f"{'':{width}}{cells}{'counted':>10}",
    ]
    for name, row in rows.items():
        cells = ""
        for level in LEVELS:
            key = f"{level:.2f}"
            covered, error, own = (100 * row[key + end] for end in ("", "_error", "_scene_error"))
            cells += f"{f'{covered:.1f} +- {error:.1f} ({own:.1f})':>24}"
        lines.append(f"{name:{width}}{cells}{row['counted']:>10.0f}")
    return "\n".join(lines)


def mixing(record: Record) -> dict[str, dict[str, float]]:
    """Return medians and extremes of R-hat and effective sample sizes, by quantity."""
    diagnostics = {name: np.asarray(values) for name, values in record.diagnostics.items()}
    found = {}
    for name in (name for name in diagnostics if name.startswith("rhat")):
        rhat, ess = diagnostics[name], diagnostics[name.replace("rhat", "ess")]
        found[name.removeprefix("rhat_")] = {
            "fraction_rhat_above_1.1": float(np.mean(rhat > LARGEST_RHAT)),
            "rhat_median": float(np.median(rhat)),
            "rhat_max": float(rhat.max()),
            "ess_10_percent": float(np.percentile(ess, 10.0)),
            "ess_median": float(np.median(ess)),
        }
    return found


def plot_ranks(record: Record, p_values: Mapping[str, float], file: Path) -> None:
    """Plot a histogram of ranks of every quantity, with the 99 % interval of uniform ranks.

    Parameters
    ----------
    record : Record
        Ranks of all scenes.
    p_values : mapping
        P value of uniform ranks, by quantity.
    file : Path
        File that the figure is written to.
    """
    from matplotlib.figure import Figure

    columns = 5 if len(record.ranks) <= 30 else 8
    rows = -(-len(record.ranks) // columns)
    figure = Figure(figsize=(2.4 * columns, 1.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
    band = stats.binom.ppf([0.005, 0.995], record.num_scenes, 1.0 / NUM_BINS)
    for axis, name in zip(axes.flat, record.ranks, strict=False):
        axis.axhspan(*band, color="0.85", linewidth=0)
        axis.axhline(record.num_scenes / NUM_BINS, color="0.6", linewidth=0.8)
        axis.hist(record.positions(name), NUM_BINS, range=(0.0, 1.0), histtype="step", color="C0")
        axis.set_title(f"{name}  p = {p_values[name]:.2g}", fontsize=8)
        axis.set_ylim(0.0, None)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(record.ranks) :]:
        axis.axis("off")
    figure.supxlabel("rank of the true value / number of draws", fontsize=9)
    figure.supylabel("scenes", fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
