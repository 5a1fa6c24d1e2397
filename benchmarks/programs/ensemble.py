"""Condensed catalogs of a run compared with the ensemble of its draws, and both with a truth.

The ensemble is scored as that of PCAT is: the catalog of every draw is matched to the truth on its
own, and counts are summed over draws (Portillo et al. 2017, AJ 154, 132, section 5.2). The truth
is a table of the stars of M2 from HST, shifted by the median offset of bright stars as in
`benchmarks.programs.m2`; ``--truth none`` leaves it out.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.fields import m2_hst
from benchmarks.support.data import data_path
from benchmarks.support.options import Options, shared_options
from probcat.catalog.catalog import CondensedCatalog
from probcat.catalog.condense import METHODS, condense
from probcat.image.image import Image
from probcat.metrics import DetectionScores, Sources
from probcat.samples.samples import Samples


@click.command()
@shared_options()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--truth",
    default="m2/m2_truth_hst.fits",
    show_default=True,
    help="Table of true stars in the reference data, or 'none'.",
)
@click.option(
    "--min-prob", default=0.05, show_default=True, help="Smallest probability of an object."
)
@click.option(
    "--max-draws", default=100, show_default=True, help="Number of draws of the ensemble."
)
@click.option(
    "--point",
    type=click.Choice(["mean", "median"]),
    default="mean",
    show_default=True,
    help="Position and flux of an object.",
)
def main(
    options: Options, directory: Path, truth: str, min_prob: float, max_draws: int, point: str
) -> None:
    """Condense the samples of the run in DIRECTORY with every method, and compare."""
    from probcat.run.config import read_config
    from probcat.run.files import SAMPLES
    from probcat.run.inputs import read_input

    samples = Samples.from_netcdf(directory / SAMPLES)
    image = read_input(read_config(directory / "config.toml"))[0]
    results: dict[str, Any] = {
        "draws": samples.num_chains * samples.num_draws,
        "mean_num_sources": float(samples.num_sources.mean()),
    }
    catalogs = {}
    for method in METHODS:
        start = time.monotonic()
        catalogs[method] = condense(samples, method=method, min_prob=min_prob)
        seconds = time.monotonic() - start
        results[method] = {"wall_s": seconds, **count_objects(catalogs[method])}
    if truth != "none":
        found = {name: objects_at(image, one, point) for name, one in catalogs.items()}
        draws = list(catalogs_of_draws(samples, image, max_draws))
        results["scores"] = score_catalogs(image, found, draws, data_path(truth))
        results["magnitude_edges"] = m2_hst.EDGES
    settings = options.settings(truth=truth, min_prob=min_prob, max_draws=max_draws, point=point)
    options.finish(results, settings)


def count_objects(catalog: CondensedCatalog) -> dict[str, Any]:
    """Return numbers of objects, of groups of alternatives, and of unassigned sources."""
    group = catalog["alternative_group"]
    return {
        "objects": len(catalog),
        "objects_above_half": int((catalog["prob_exist"] > 0.5).sum()),
        "sum_of_prob": float(catalog["prob_exist"].sum()),
        "unassigned": catalog.num_unassigned,
        "groups": len(np.unique(group[group > 0])),
    }


def objects_at(image: Image, catalog: CondensedCatalog, point: str) -> Sources:
    """Return the objects of a catalog at their posterior means or medians."""
    end = {"mean": "", "median": "_q50"}[point]
    x, y, flux = (catalog[name + end] for name in ("x", "y", "flux"))
    return Sources(x, y, m2_hst.magnitude(image, flux), catalog["prob_exist"])


def score_catalogs(
    image: Image, found: dict[str, Sources], draws: list[Sources], file: Path
) -> dict[str, Any]:
    """Score condensed catalogs and the ensemble by magnitude, and print the scores.

    Parameters
    ----------
    image : Image
        The first image of the run.
    found : dict of str to Sources
        Condensed catalogs by method.
    draws : list of Sources
        Catalogs of the ensemble.
    file : Path
        Table of true stars.

    Returns
    -------
    dict
        Completeness and false-discovery rate of every method and of the ensemble, and the scatter
        of both between the draws.
    """
    from astropy.table import Table

    table = Table.read(file)
    truth = Sources(table["x"], table["y"], m2_hst.magnitude(image, table["flux"]))
    truth = m2_hst.match_frames(truth, found["mixture"])
    scores = {name: m2_hst.score_stars(one, truth, image.shape) for name, one in found.items()}
    of_draws = [m2_hst.score_stars(one, truth, image.shape) for one in draws]
    scores["ensemble"] = sum_scores(of_draws)
    results: dict[str, Any] = {}
    for name, score in scores.items():
        click.echo(f"{name}\n{score}")
        results[name] = {
            "completeness": np.round(score.completeness, 3),
            "false_discovery_rate": np.round(score.false_discovery_rate, 3),
        }
    completeness = np.nanstd([score.completeness for score in of_draws], axis=0)
    false = np.nanstd([score.false_discovery_rate for score in of_draws], axis=0)
    results["scatter_of_draws"] = {
        "completeness": np.round(completeness, 3),
        "false_discovery_rate": np.round(false, 3),
    }
    return results


def catalogs_of_draws(samples: Samples, image: Image, most: int) -> Iterator[Sources]:
    """Yield the catalogs of at most `most` evenly spaced draws."""
    number = samples.num_chains * samples.num_draws
    chosen = np.linspace(0, number - 1, min(most, number)).round().astype(int)
    for chain, draw in zip(*np.divmod(chosen, samples.num_draws), strict=True):
        active = samples.sources["active"][chain, draw]
        x, y, flux = (samples.sources[name][chain, draw][active] for name in ("x", "y", "flux"))
        yield Sources(x, y, m2_hst.magnitude(image, flux))


def sum_scores(scores: list[DetectionScores]) -> DetectionScores:
    """Return the scores of counts that are summed over catalogs, those of the truth included."""
    names = ("num_true", "weight_found", "true_matched", "found_matched")
    sums = (np.sum([getattr(score, name) for score in scores], axis=0) for name in names)
    return DetectionScores(scores[0].edges, *sums)


if __name__ == "__main__":
    main()
