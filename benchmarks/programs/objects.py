"""Calibration of statements on objects: that they exist, are stars, and own their light.

Blends are drawn from a population that the sampler does not know (`benchmarks.fields.blends`); it
has its default prior. Objects of the condensed catalog are matched to true sources one to one,
within half a FWHM and one magnitude, so that their total probability is largest.

`prob_exist` is compared with whether an object is matched, over all objects of the catalog (with
a probability of 5 % or more). `prob_star` is compared with the type of the matched source, over
matched objects with `prob_exist` above one half. `light` is compared with the true share, over
owners and pixels in which the light of all sources is at least one sigma of the noise and either
share is 1 % or more. A true source that is not found owns no light, and the light of sources
outside all objects has no owner.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np
from tqdm.auto import tqdm

from benchmarks.fields.blends import COSMOS, FWHM, NOISE, Blend, Renderer
from benchmarks.support.data import data_path
from benchmarks.support.options import Options, shared_options
from benchmarks.support.reliability import NUM_BINS, plot_reliability, summarize_blends
from benchmarks.support.results import read_raw
from benchmarks.support.timing import convergence, peak_memory
from probcat.sampler.compiled_block import num_compilations, use_all_cores

RADIUS = 0.5 * FWHM
"""Largest distance in pixels at which an object is matched to a source."""
MAX_MAG_DIFFERENCE = 1.0
"""Largest difference of magnitudes of a match."""
LIT_SIGMA = 1.0
"""Total light, in sigma of the noise, from which on a pixel is counted."""
POINT_SLOTS = 32
"""Slots for point sources in a window; blends rarely need more, even in warm-up."""


@click.command()
@shared_options(
    "seed",
    "sampler",
    "prior",
    "figure",
    "raw_file",
    num_chains=4,
    num_warmup=80,
    num_samples=100,
)
@click.option("--scenes", default=200, show_default=True, help="Number of blends.")
@click.option(
    "--galaxies",
    type=click.Choice(["cosmos", "sersic"]),
    help="Real galaxies or Sersic profiles [default: cosmos where its data are found].",
)
@click.option("--first", default=0, show_default=True, help="Number of the first blend.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the samples of the blends; blends found there are not sampled again.",
)
def main(
    options: Options, scenes: int, galaxies: str | None, first: int, keep: Path | None
) -> None:
    """Sample blends, and compare probabilities with the truth.

    Blends that the raw file holds already, with the same settings, are not sampled again.
    """
    use_all_cores()
    folder = cosmos_folder(galaxies)
    population = "sersic" if folder is None else "cosmos"
    settings = options.settings(galaxies=population, first=first)
    stored = read_raw(options.raw_file, settings)
    found: list[dict[str, Any]] = stored.get("scenes", [])
    commits: list[str] = stored.get("commits", [])
    renderer = Renderer(folder)
    layout = make_layout(renderer.draw((options.seed, 0)), settings)
    with tqdm(total=scenes, initial=len(found), unit="scene") as bar:
        while len(found) < scenes:
            number = first + len(found)
            blend = renderer.draw((options.seed, number))
            start, cpu = time.monotonic(), time.process_time()
            samples = sample_blend(blend, settings, number, layout, keep)
            scores = score_blend(blend, samples)
            scores["seconds"] = time.monotonic() - start
            scores["cpu_seconds"] = time.process_time() - cpu
            found.append(scores)
            commits.append(options.provenance["commit"])
            bar.set_postfix_str(f"compiled {num_compilations()}", False)
            bar.update()
            options.save_raw(settings, {"scenes": found, "commits": commits})
    results = summarize_blends(found) | {"peak_rss_mib": peak_memory()}
    options.finish({"commit": ", ".join(dict.fromkeys(commits)), **results}, settings)
    if options.figure is not None:
        plot_reliability(results, options.figure)


def make_layout(blend: Blend, settings: dict[str, Any]) -> Any:
    """Return sizes of arrays that fit all blends, so that they share one compiled program."""
    run = _run(blend, settings, 0)
    plans = tuple(replace(plan, point_slots=POINT_SLOTS) for plan in run.layout.plans)
    capacity = max(run.layout.point_capacity, 4 * POINT_SLOTS)
    return replace(run.layout, plans=plans, point_capacity=capacity)


def _run(blend: Blend, settings: dict[str, Any], number: int) -> Any:
    """Run on a blend with the default prior, which is not started yet."""
    from probcat import Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    counts = (settings["num_chains"], settings["num_warmup"], settings["num_samples"])
    key = jax.random.fold_in(jax.random.key(settings["seed"]), number)
    sampler = SamplerSettings(**settings["sampler"])
    prior = Prior.from_image(blend.image, **settings["prior"])
    return Run(blend.image, prior, sampler, key, counts)


def sample_blend(
    blend: Blend, settings: dict[str, Any], number: int, layout: Any, keep: Path | None
) -> Any:
    """Sample one blend, or read samples that were kept of it.

    Parameters
    ----------
    blend : Blend
        The blend.
    settings : dict
        Settings of the run.
    number : int
        Number of the blend, which the random numbers depend on.
    layout : Layout
        Sizes of arrays.
    keep : Path or None
        Folder in which samples are kept.

    Returns
    -------
    probcat.Samples

    Raises
    ------
    click.ClickException
        If the samples in the folder have other settings.
    """
    from probcat import Samples

    about = json.dumps({**settings, "first": 0, "number": number}, sort_keys=True)
    path = None if keep is None else keep / f"blend_{number:04d}.nc"
    if path is not None and path.exists():
        samples = Samples.from_netcdf(path)
        if samples.attrs.get("benchmark") != about:
            raise click.ClickException(f"{path} has other settings; move it away")
        return samples
    run = _run(blend, settings, number)
    run.prepare(layout)
    samples = run.execute(None, progress_bar=False).compact()
    samples = replace(samples, attrs={**samples.attrs, "benchmark": about})
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        samples.to_netcdf(path)
    return samples


def score_blend(blend: Blend, samples: Any) -> dict[str, Any]:
    """Condense the samples of one blend, and compare them with the truth.

    Returns
    -------
    dict
        The scores of `compare_blend`, and R-hat of ln L.
    """
    from probcat import assign_pixels, condense

    catalog = condense(samples)
    scores = compare_blend(blend, catalog, assign_pixels(samples, catalog, blend.image))
    values = np.asarray(samples.scalars["log_likelihood"])
    if values.shape[1] >= 4:
        scores["rhat_log_likelihood"] = convergence(values)[0]
    return scores


def compare_blend(blend: Blend, catalog: Any, maps: Any) -> dict[str, Any]:
    """Compare a condensed catalog and its maps with the truth of a blend.

    Parameters
    ----------
    blend : Blend
        The blend.
    catalog : probcat.CondensedCatalog
        Its condensed catalog.
    maps : probcat.Assignment
        Shares of light of the objects of the catalog.

    Returns
    -------
    dict
        `exist` and `star`, pairs of a probability and whether it came true; `light`, sums of
        shares, of true shares and of pairs in every bin of the share; and numbers of sources.
    """
    from probcat.metrics import (
        Sources,
        align_shares,
        interval_coverage,
        match_sources,
        score_light,
        true_shares,
    )

    truth = Sources(blend.sources["x"], blend.sources["y"], -2.5 * np.log10(blend.sources["flux"]))
    exist = np.asarray(catalog["prob_exist"], float)
    found = Sources(catalog["x"], catalog["y"], -2.5 * np.log10(catalog["flux"]), exist)
    one, other = match_sources(found, truth, RADIUS, MAX_MAG_DIFFERENCE)
    real = np.isin(np.arange(len(found)), one)
    sure = exist[one] > 0.5
    prob_star = np.asarray(catalog["prob_star"], float)[one][sure]
    is_star = blend.sources["is_star"][other][sure] > 0.5
    true, total = true_shares(blend.light)
    own = np.reshape([maps.map(number) for number in maps.object_ids], (-1, *total.shape))
    shares, true = align_shares(own, true, (one, other))
    lit = total >= LIT_SIGMA * NOISE
    low, high = (catalog[f"flux_{end}"][one][sure] for end in ("q16", "q84"))
    covered, _, counted = interval_coverage(low, high, blend.sources["flux"][other][sure])
    light = score_light(shares, true, total, lit)
    return {
        "true_sources": len(truth),
        "found": int(sure.sum()),
        "sure": int(np.sum(exist > 0.5)),
        "exist": [[float(p), bool(r)] for p, r in zip(exist, real, strict=True)],
        "star": [[float(p), bool(s)] for p, s in zip(prob_star, is_star, strict=True)],
        "light": _light_bins(shares[:, lit], true[:, lit]),
        "light_correct": light.correct,
        "light_brier": light.brier,
        "flux_covered": 0.0 if counted == 0 else covered * counted,
        "flux_counted": counted,
    }


def _light_bins(shares: np.ndarray, true: np.ndarray) -> list[list[float]]:
    """Sums of shares, of true shares and of pairs, in bins of the share."""
    from probcat.metrics.light import SMALL_SHARE

    some = (shares >= SMALL_SHARE) | (true >= SMALL_SHARE)
    prob, part = np.clip(shares[some], 0.0, 1.0), true[some]
    index = np.minimum((prob * NUM_BINS).astype(int), NUM_BINS - 1)
    return [np.bincount(index, v, NUM_BINS).tolist() for v in (prob, part, np.ones(prob.size))]


def cosmos_folder(galaxies: str | None) -> Path | None:
    """Return the folder of the real galaxies, or None for Sersic profiles.

    Raises
    ------
    click.ClickException
        If real galaxies are asked for and not found.
    """
    if galaxies == "sersic":
        return None
    try:
        return data_path(f"cosmos_acs/{COSMOS}").parent
    except click.ClickException:
        if galaxies == "cosmos":
            raise
        return None


if __name__ == "__main__":
    main()
