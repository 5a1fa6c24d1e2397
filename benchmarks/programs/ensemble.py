"""Condensed catalogs of a run against its sampled ensemble, and both against a truth.

The ensemble is scored as PCAT's is: every draw's catalog is matched to the truth on its own, and
counts are summed over draws (Portillo et al. 2017, AJ 154, 132, section 5.2).  The truth is M2's
stars from HST, moved by the median offset of bright stars, as in `benchmarks.programs.m2`; ``--truth none``
leaves it out.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.programs.m2 import BORDER, EDGES, MAG_GAP, RADIUS
from benchmarks.support.results import data_path, device_name, report
from probcat.catalog.catalog import CondensedCatalog
from probcat.catalog.condense import METHODS, condense
from probcat.image.image import Image
from probcat.metrics import DetectionScores, Sources, measure_offset, score_detection
from probcat.samples.samples import Samples

MATCH = {"radius": RADIUS, "max_mag_difference": MAG_GAP, "edges": EDGES, "border": BORDER}


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--truth", default="m2/m2_truth_hst.fits", show_default=True, help="Or none.")
@click.option("--min-prob", default=0.05, show_default=True)
@click.option("--max-draws", default=100, show_default=True, help="Of the ensemble, scored.")
@click.option(
    "--point",
    type=click.Choice(["mean", "median"]),
    default="mean",
    show_default=True,
    help="Position and flux of an object.",
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
def main(
    directory: Path, truth: str, min_prob: float, max_draws: int, point: str, file: Path | None
) -> None:
    """Condense the samples of the run in DIRECTORY every way, and compare."""
    from probcat.run.config import read_config
    from probcat.run.files import SAMPLES
    from probcat.run.inputs import read_input

    samples = Samples.from_netcdf(directory / SAMPLES)
    image = read_input(read_config(directory / "config.toml"))[0]
    results: dict[str, Any] = {
        "device": device_name(),
        "settings": {"truth": truth, "min_prob": min_prob, "max_draws": max_draws}
        | {"point": point},
        "draws": samples.num_chains * samples.num_draws,
        "mean_num_sources": float(samples.num_sources.mean()),
    }
    catalogs = {}
    for method in METHODS:
        start = time.monotonic()
        catalogs[method] = condense(samples, method=method, min_prob=min_prob)
        results[f"{method}_wall_s"] = time.monotonic() - start
        results |= describe(method, catalogs[method])
    if truth != "none":
        found = {name: sources(image, each, point) for name, each in catalogs.items()}
        draws = list(catalogs_of_draws(samples, image, max_draws))
        results |= compare(image, found, draws, data_path(truth))
    report(results, file)


def describe(method: str, catalog: CondensedCatalog) -> dict[str, Any]:
    """Count objects, what they stand for, and what is left."""
    group = catalog["alternative_group"]
    return {
        f"{method}_objects": len(catalog),
        f"{method}_objects_above_half": int((catalog["prob_exist"] > 0.5).sum()),
        f"{method}_sum_of_prob": float(catalog["prob_exist"].sum()),
        f"{method}_unassigned": catalog.num_unassigned,
        f"{method}_groups": len(np.unique(group[group > 0])),
    }


def sources(image: Image, catalog: CondensedCatalog, point: str) -> Sources:
    """Objects at their means or medians."""
    end = {"mean": "", "median": "_q50"}[point]
    x, y, flux = (catalog[name + end] for name in ("x", "y", "flux"))
    return Sources(x, y, magnitude(image, flux), catalog["prob_exist"])


def compare(
    image: Image, found: dict[str, Sources], draws: list[Sources], path: Path
) -> dict[str, Any]:
    """Score condensed catalogs and the ensemble by magnitude, print and give the scores."""
    from astropy.table import Table

    table = Table.read(path)
    truth = Sources(table["x"], table["y"], magnitude(image, table["flux"]))
    bright = {"radius": 1.0, "max_mag_difference": MAG_GAP, "brighter_than": 19.0}
    truth = truth.shift(*measure_offset(found["mixture"], truth, **bright))
    scores = {
        name: score_detection(each, truth, shape=image.shape, **MATCH)
        for name, each in found.items()
    }
    of_draws = [score_detection(each, truth, shape=image.shape, **MATCH) for each in draws]
    scores["ensemble"] = total(of_draws)
    results: dict[str, Any] = {"magnitude_edges": EDGES.tolist()}
    for name, score in scores.items():
        click.echo(f"{name}\n{score}")
        results[f"{name}_completeness"] = np.round(score.completeness, 3).tolist()
        results[f"{name}_false_discovery_rate"] = np.round(score.false_discovery_rate, 3).tolist()
    spread = {
        "completeness_sd": [score.completeness for score in of_draws],
        "false_discovery_rate_sd": [score.false_discovery_rate for score in of_draws],
    }
    for name, values in spread.items():
        results[f"draws_{name}"] = np.round(np.nanstd(values, axis=0), 3).tolist()
    return results


def magnitude(image: Image, flux: Any) -> np.ndarray:
    """Magnitudes by the image's zero point."""
    return image.zero_point - 2.5 * np.log10(np.asarray(flux, dtype=float))


def catalogs_of_draws(samples: Samples, image: Image, most: int) -> Iterator[Sources]:
    """Evenly spaced draws as catalogs of their own."""
    number = samples.num_chains * samples.num_draws
    chosen = np.linspace(0, number - 1, min(most, number)).round().astype(int)
    for chain, draw in zip(*np.divmod(chosen, samples.num_draws), strict=True):
        active = samples.sources["active"][chain, draw]
        x, y, flux = (samples.sources[name][chain, draw][active] for name in ("x", "y", "flux"))
        yield Sources(x, y, magnitude(image, flux))


def total(scores: list[DetectionScores]) -> DetectionScores:
    """Sum counts over catalogs; the truth counts as often."""
    names = ("num_true", "weight_found", "true_matched", "found_matched")
    sums = (np.sum([getattr(score, name) for score in scores], axis=0) for name in names)
    return DetectionScores(scores[0].edges, *sums)


if __name__ == "__main__":
    main()
