"""Ranks of true values among posterior draws: quantities, tests of uniformity, coverage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

BRIGHTEST = (1, 2, 3)
LEVELS = (0.5, 0.68, 0.9)
NUM_BINS = 10
LARGEST_RHAT = 1.1


@dataclass
class Record:
    """What is kept of the scenes done.

    Attributes
    ----------
    settings : dict
        Runs of other settings are not gone on with.
    ranks : dict of str to list of int
        By quantity, one a scene.
    exists : dict of str to list of bool
        Whether the truth or any draw has a k-th brightest source, by k.
    diagnostics : dict of str to list of float
        Of every scene: R-hat and effective sample sizes, and what it took.
    grown : int
        Scenes in which arrays were full and grew.
    seconds, cpu_seconds : float
        Without imports, compilation included.
    """

    settings: dict[str, Any]
    ranks: dict[str, list[int]] = field(default_factory=dict)
    exists: dict[str, list[bool]] = field(default_factory=dict)
    diagnostics: dict[str, list[float]] = field(default_factory=dict)
    grown: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def num_scenes(self) -> int:
        """Scenes done."""
        return len(next(iter(self.ranks.values()), []))

    @property
    def num_draws(self) -> int:
        """Draws that a true value is ranked among."""
        return self.settings["num_chains"] * (self.settings["num_samples"] // self.settings["thin"])

    def add(self, group: str, values: Mapping[str, Any]) -> None:
        """Append the values of one scene."""
        for name, value in values.items():
            getattr(self, group).setdefault(name, []).append(value)

    def positions(self, name: str) -> np.ndarray:
        """Ranks as numbers uniform on (0, 1), spread at random within a rank."""
        ranks = np.asarray(self.ranks[name])
        jitter = np.random.default_rng(len(name)).random(len(ranks))
        return (ranks + jitter) / (self.num_draws + 1)


def quantities(
    sources: Mapping[str, np.ndarray], scalars: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Quantities that do not depend on labels, shape (chain, draw).

    Sources are ordered by their flux in the first band.
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
    """Rank of the truth among draws, its place among equal ones at random."""
    return int(np.sum(draws < truth) + rng.integers(0, np.sum(draws == truth), endpoint=True))


def uniformity(record: Record) -> dict[str, float]:
    """P values of a chi-square test that ranks are uniform, by quantity."""
    bins = {
        name: np.histogram(record.positions(name), NUM_BINS, (0, 1))[0] for name in record.ranks
    }
    return {name: float(stats.chisquare(number).pvalue) for name, number in bins.items()}


def coverage(record: Record) -> dict[str, dict[str, float]]:
    """How often central intervals hold true fluxes and positions.

    Of every k-th brightest source alone, and pooled: ``flux`` over all k and bands, ``position``
    over all k and both coordinates.

    Returns
    -------
    dict of str to dict
        By row ``counted``, the number of true values (where the truth or a draw has that many
        sources), and by level the share covered, the binomial ``error`` at the level, and the
        ``scene_error`` that allows for values of one scene that err together.
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


def _row(record: Record, names: Sequence[str]) -> dict[str, float]:
    """Coverage of quantities pooled."""
    counted = np.stack([np.asarray(record.exists[name.rpartition("_")[2]]) for name in names])
    distance = np.abs(np.stack([record.positions(name) for name in names]) - 0.5)
    number = int(counted.sum())
    row: dict[str, float] = {"counted": number}
    for level in LEVELS:
        hit = counted & (distance < 0.5 * level)
        share = hit.sum() / max(number, 1)
        # A ratio of sums over scenes, which are independent.
        excess = hit.sum(axis=0) - share * counted.sum(axis=0)
        row[f"{level:.2f}"] = float(share)
        row[f"{level:.2f}_error"] = float(np.sqrt(level * (1.0 - level) / max(number, 1)))
        row[f"{level:.2f}_scene_error"] = float(np.sqrt(np.sum(excess**2)) / max(number, 1))
    return row


def coverage_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Coverage in per cent as text, pooled rows last."""
    width = max(map(len, rows))
    cells = "".join(f"{f'{100 * level:.0f} %':>24}" for level in LEVELS)
    lines = [
        "covered (%) +- binomial error (error from the scatter of scenes)",
        f"{'':{width}}{cells}{'counted':>10}",
    ]
    for name, row in rows.items():
        cells = ""
        for level in LEVELS:
            key = f"{level:.2f}"
            share, error, own = (100 * row[key + end] for end in ("", "_error", "_scene_error"))
            cells += f"{f'{share:.1f} +- {error:.1f} ({own:.1f})':>24}"
        lines.append(f"{name:{width}}{cells}{row['counted']:>10.0f}")
    return "\n".join(lines)


def mixing(record: Record) -> dict[str, dict[str, float]]:
    """How well the chains mixed, by quantity."""
    diagnostics = {name: np.asarray(values) for name, values in record.diagnostics.items()}
    found = {}
    for name in (name for name in diagnostics if name.startswith("rhat")):
        rhat, ess = diagnostics[name], diagnostics[name.replace("rhat", "ess")]
        found[name.removeprefix("rhat_")] = {
            "share_rhat_above_1.1": float(np.mean(rhat > LARGEST_RHAT)),
            "rhat_median": float(np.median(rhat)),
            "rhat_max": float(rhat.max()),
            "ess_10_percent": float(np.percentile(ess, 10.0)),
            "ess_median": float(np.median(ess)),
        }
    return found


def plot(record: Record, p_values: Mapping[str, float], file: Path) -> None:
    """Draw a histogram of ranks for every quantity, with the 99 % band of uniform ones."""
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
