"""Reliability of the probabilities of objects, over many blends."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

NUM_BINS = 10
"""Number of bins of a reliability diagram."""
GOALS = {"exist": 0.03, "light": 0.02, "star": 0.05}
"""Calibration errors that are aimed at."""
CHANCE_REPEATS = 200
"""Number of simulations of the calibration error by chance."""
LARGEST_RHAT = 1.1
"""R-hat of ln L above which a blend counts as not converged."""


def summarize_blends(scenes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return calibration errors, reliability diagrams and other scores of all blends.

    Parameters
    ----------
    scenes : sequence of dict
        Scores of every blend, as in `benchmarks.programs.objects.compare_blend`, with
        `cpu_seconds` and perhaps `rhat_log_likelihood`.

    Returns
    -------
    dict
        Results for a summary.
    """
    from probcat.metrics import brier_score, calibration_error, reliability

    results: dict[str, Any] = {"blends": len(scenes), "goals": GOALS}
    for name in ("exist", "star"):
        pairs = np.array([pair for one in scenes for pair in one[name]], float).reshape(-1, 2)
        diagram = reliability(pairs[:, 0], pairs[:, 1], NUM_BINS)
        results[f"calibration_error_{name}"] = calibration_error(*diagram)
        results[f"chance_error_{name}"] = chance_error(pairs[:, 0])
        results[f"brier_{name}"] = brier_score(pairs[:, 0], pairs[:, 1])
        results[f"reliability_{name}"] = diagram_columns(*diagram)
    light = _light_diagram(scenes)
    results["calibration_error_light"] = calibration_error(*light)
    results["reliability_light"] = diagram_columns(*light)
    for name in ("light_correct", "light_brier"):
        results[name] = float(np.mean([one[name] for one in scenes]))
    total = {key: sum(one[key] for one in scenes) for key in ("true_sources", "found", "sure")}
    results |= {**total, "completeness": total["found"] / max(total["true_sources"], 1)}
    results["purity"] = total["found"] / max(total["sure"], 1)
    counted = sum(one["flux_counted"] for one in scenes)
    results["flux_coverage_of_68"] = sum(one["flux_covered"] for one in scenes) / max(counted, 1)
    rhat = np.array([one.get("rhat_log_likelihood", np.nan) for one in scenes])
    results["fraction_rhat_above_1.1"] = float(np.mean(rhat > LARGEST_RHAT))
    results["median_cpu_seconds"] = float(np.median([one["cpu_seconds"] for one in scenes]))
    return results


def _light_diagram(scenes: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean share, mean true share and number of pairs in every bin of the share."""
    prob, part, count = np.sum([one["light"] for one in scenes], axis=0)
    safe = np.maximum(count, 1.0)
    means = (np.where(count > 0, values / safe, np.nan) for values in (prob, part))
    return (*means, count)


def chance_error(prob: np.ndarray) -> float:
    """Mean calibration error of as many outcomes if all probabilities are right."""
    from probcat.metrics import expected_calibration_error

    rng = np.random.default_rng(0)
    outcomes = (rng.random((CHANCE_REPEATS, prob.size)) < prob).astype(float)
    return float(
        np.mean([expected_calibration_error(prob, outcome, NUM_BINS) for outcome in outcomes])
    )


def diagram_columns(mean: np.ndarray, frequency: np.ndarray, count: np.ndarray) -> dict[str, Any]:
    """Columns of a reliability diagram."""
    return {
        "mean": np.round(mean, 5),
        "frequency": np.round(frequency, 5),
        "count": count.astype(int),
    }


def plot_reliability(results: dict[str, Any], file: Path) -> None:
    """Plot the reliability diagrams of `prob_exist`, `prob_star` and `light`.

    Parameters
    ----------
    results : dict
        Results of `summarize_blends`.
    file : Path
        File that the figure is written to.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    titles = {"exist": "prob_exist", "star": "prob_star", "light": "light"}
    for axes, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        columns = results[f"reliability_{name}"]
        rows = np.array([columns[key] for key in ("mean", "frequency", "count")], dtype=float).T
        rows = rows[rows[:, 2] > 0]
        axes.plot([0, 1], [0, 1], color="0.6", lw=1)
        spread = np.sqrt(rows[:, 1] * (1 - rows[:, 1]) / rows[:, 2])
        # Pixels of one object are not independent, so their errors are not binomial.
        axes.errorbar(rows[:, 0], rows[:, 1], None if name == "light" else spread, fmt="o-", ms=4)
        for mean, frequency, count in rows:
            axes.annotate(f"{count:.0f}", (mean, frequency), (4, -9), textcoords="offset points")
        error = results[f"calibration_error_{name}"]
        label = "mean true share" if name == "light" else "observed frequency"
        axes.set(title=f"{title}: error {error:.3f}", xlabel="mean probability")
        axes.set(ylabel=label, xlim=(-0.02, 1.02), ylim=(-0.05, 1.05))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
