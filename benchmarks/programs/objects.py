"""Calibration of what is said of objects: that they exist, are stars, and own their light.

Blends are drawn from a population that the sampler is not told (`benchmarks.fields.blends`): it has its
default prior.  Objects of the condensed catalog are matched to true sources one to one, within
half a FWHM and one magnitude, so that their total probability is the largest.  An object is real
if it is matched: `prob_exist` is compared with that, over all objects of the catalog (those of 5 %
and more).  `prob_star` is compared with the type of the source, over real objects of more than
even odds.  `light` is compared with the true share, over owners and pixels in which the light of
all sources is at least one sigma of the noise and either share is 1 % or more; true sources that
are not found have no light, and what sources of no object have belongs to nobody.
"""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np
from tqdm.auto import tqdm

from benchmarks.fields.blends import COSMOS, FWHM, NOISE, Blend, Renderer
from benchmarks.support.results import (
    convergence,
    data_path,
    device_name,
    parse_settings,
    peak_memory,
    report,
)
from probcat.sampler.compiled_block import num_compilations, use_all_cores

RADIUS, MAG_GAP = 0.5 * FWHM, 1.0
BINS = 10
LIT_SIGMA = 1.0
SLOTS = 32
"""For points in a window: blends seldom need more, even in warm-up."""
GOALS = {"exist": 0.03, "light": 0.02, "star": 0.05}


@click.command()
@click.option("--scenes", default=200, show_default=True, help="Number of blends.")
@click.option(
    "--galaxies",
    type=click.Choice(["cosmos", "sersic"]),
    help="Real galaxies or Sersic profiles [cosmos where the data are].",
)
@click.option("--num-chains", default=4, show_default=True)
@click.option("--num-warmup", default=80, show_default=True, help="Draws of warm-up.")
@click.option("--num-samples", default=100, show_default=True, help="Draws kept of a chain.")
@click.option("--seed", default=0, show_default=True)
@click.option("--setting", multiple=True, help="NAME=VALUE of [sampler]; may be repeated.")
@click.option("--prior", multiple=True, help="NAME=VALUE of [prior]; may be repeated.")
@click.option("--first", default=0, show_default=True, help="Number of the first blend.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the blends' samples: those found there are not drawn again.",
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
@click.option("--figure", type=click.Path(path_type=Path), help="Draw reliability diagrams there.")
def main(
    scenes: int,
    galaxies: str | None,
    num_chains: int,
    num_warmup: int,
    num_samples: int,
    seed: int,
    setting: tuple[str, ...],
    prior: tuple[str, ...],
    first: int,
    keep: Path | None,
    file: Path | None,
    figure: Path | None,
) -> None:
    """Sample blends, and compare probabilities with the truth; a file found is gone on with."""
    use_all_cores()
    folder = _folder(galaxies)
    settings: dict[str, Any] = {"galaxies": "sersic" if folder is None else "cosmos"}
    settings |= {"num_chains": num_chains, "sampler": parse_settings(setting)}
    settings |= {"prior": parse_settings(prior)}
    settings |= {"num_warmup": num_warmup, "num_samples": num_samples, "seed": seed}
    settings |= {"first": first}
    record = _read(file, settings)
    renderer = Renderer(folder)
    layout = make_layout(renderer.draw((seed, 0)), settings)
    with tqdm(total=scenes, initial=len(record["scenes"]), unit="scene") as bar:
        while len(record["scenes"]) < scenes:
            number = first + len(record["scenes"])
            blend = renderer.draw((seed, number))
            start, cpu = time.monotonic(), time.process_time()
            samples = sample_blend(blend, settings, number, layout, keep)
            found = score_blend(blend, samples)
            found["seconds"] = time.monotonic() - start
            found["cpu_seconds"] = time.process_time() - cpu
            record["scenes"].append(found)
            bar.set_postfix_str(f"compiled {num_compilations()}", False)
            bar.update()
            _write(file, record)
    results = summarize(record["scenes"])
    report({"settings": settings, **results}, None)
    _write(file, record | results)
    if figure is not None:
        plot(results, figure)


def make_layout(blend: Blend, settings: dict[str, Any]) -> Any:
    """Sizes of arrays that serve all blends, so that they share one compiled program."""
    run = _run(blend, settings, 0)
    plans = tuple(replace(plan, point_slots=SLOTS) for plan in run.layout.plans)
    capacity = max(run.layout.point_capacity, 4 * SLOTS)
    return replace(run.layout, plans=plans, point_capacity=capacity)


def _run(blend: Blend, settings: dict[str, Any], number: int) -> Any:
    """Prepare to sample a blend with the default prior."""
    from probcat import Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    counts = (settings["num_chains"], settings["num_warmup"], settings["num_samples"])
    key = jax.random.fold_in(jax.random.key(settings["seed"]), number)
    chosen = SamplerSettings(**settings["sampler"])
    prior = Prior.from_image(blend.image, **settings["prior"])
    return Run(blend.image, prior, chosen, key, counts)


def sample_blend(
    blend: Blend, settings: dict[str, Any], number: int, layout: Any, keep: Path | None
) -> Any:
    """Sample one blend, or read the samples that were kept of it under the same settings."""
    from probcat import Samples

    about = json.dumps({**settings, "first": 0, "number": number}, sort_keys=True)
    path = None if keep is None else keep / f"blend_{number:04d}.nc"
    if path is not None and path.exists():
        samples = Samples.from_netcdf(path)
        if samples.attrs.get("benchmark") != about:
            raise click.ClickException(f"{path} is of other settings; move it away")
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
    """Condense the samples of one blend, and compare.

    Returns
    -------
    dict
        `exist` and `star`: pairs of a probability and whether it came true; `light`: by bin the
        sums of shares, true shares and pairs; and how it went.
    """
    from probcat import assign_pixels, condense

    catalog = condense(samples)
    maps = assign_pixels(samples, catalog, blend.image)
    return compare_blend(blend, catalog, maps) | _convergence(samples)


def compare_blend(blend: Blend, catalog: Any, maps: Any) -> dict[str, Any]:
    """Compare a condensed catalog and its maps with the truth of a blend."""
    from probcat.metrics import (
        Sources,
        align_shares,
        interval_coverage,
        match_sources,
        score_light,
        true_shares,
    )

    true_mag = -2.5 * np.log10(blend.sources["flux"])
    truth = Sources(blend.sources["x"], blend.sources["y"], true_mag)
    exist = np.asarray(catalog["prob_exist"], float)
    found = Sources(catalog["x"], catalog["y"], -2.5 * np.log10(catalog["flux"]), exist)
    one, other = match_sources(found, truth, RADIUS, MAG_GAP)
    real = np.isin(np.arange(len(found)), one)
    sure = exist[one] > 0.5
    star = np.asarray(catalog["prob_star"], float)[one][sure]
    true, total = true_shares(blend.light)
    own = [maps.map(number) for number in maps.object_ids]
    own = np.array(own).reshape(len(own), *total.shape)
    shares, true = align_shares(own, true, (one, other))
    lit = total >= LIT_SIGMA * NOISE
    low, high = (catalog[f"flux_{end}"][one][sure] for end in ("q16", "q84"))
    covered, _, counted = interval_coverage(low, high, blend.sources["flux"][other][sure])
    correct = score_light(shares, true, total, lit)
    return {
        "true_sources": len(truth),
        "found": int(sure.sum()),
        "sure": int(np.sum(exist > 0.5)),
        "exist": [[float(p), bool(r)] for p, r in zip(exist, real, strict=True)],
        "star": [
            [float(p), bool(s)]
            for p, s in zip(star, blend.sources["is_star"][other][sure] > 0.5, strict=True)
        ],
        "light": _light_bins(shares[:, lit], true[:, lit]),
        "light_correct": correct.correct,
        "light_brier": correct.brier,
        "flux_covered": 0.0 if counted == 0 else covered * counted,
        "flux_counted": counted,
    }


def _light_bins(shares: np.ndarray, true: np.ndarray) -> list[list[float]]:
    """Sum shares, true shares and pairs, by bin of the share."""
    from probcat.metrics.light import SMALL_SHARE

    some = (shares >= SMALL_SHARE) | (true >= SMALL_SHARE)
    prob, part = np.clip(shares[some], 0.0, 1.0), true[some]
    index = np.minimum((prob * BINS).astype(int), BINS - 1)
    return [np.bincount(index, v, BINS).tolist() for v in (prob, part, np.ones(prob.size))]


def _convergence(samples: Any) -> dict[str, float]:
    values = np.asarray(samples.scalars["log_likelihood"])
    return {"rhat_log_likelihood": convergence(values)[0]} if values.shape[1] >= 4 else {}


def summarize(scenes: list[dict[str, Any]]) -> dict[str, Any]:
    """Calibration errors, reliability diagrams and the rest, of all blends."""
    from probcat.metrics import brier_score, calibration_error, reliability

    results: dict[str, Any] = {"device": device_name(), "number": len(scenes), "goals": GOALS}
    for name in ("exist", "star"):
        pairs = np.array([pair for one in scenes for pair in one[name]], float).reshape(-1, 2)
        diagram = reliability(pairs[:, 0], pairs[:, 1], BINS)
        results[f"calibration_error_{name}"] = calibration_error(*diagram)
        results[f"chance_error_{name}"] = _chance_error(pairs[:, 0])
        results[f"brier_{name}"] = brier_score(pairs[:, 0], pairs[:, 1])
        results[f"reliability_{name}"] = _diagram(*diagram)
    prob, part, count = np.sum([one["light"] for one in scenes], axis=0)
    safe = np.maximum(count, 1.0)
    diagram = (
        np.where(count > 0, prob / safe, np.nan),
        np.where(count > 0, part / safe, np.nan),
        count,
    )
    results["calibration_error_light"] = calibration_error(*diagram)
    results["reliability_light"] = _diagram(*diagram)
    results["light_correct"] = float(np.mean([one["light_correct"] for one in scenes]))
    results["light_brier"] = float(np.mean([one["light_brier"] for one in scenes]))
    total = {key: sum(one[key] for one in scenes) for key in ("true_sources", "found", "sure")}
    results |= {**total, "completeness": total["found"] / max(total["true_sources"], 1)}
    results["purity"] = total["found"] / max(total["sure"], 1)
    counted = sum(one["flux_counted"] for one in scenes)
    results["flux_coverage_of_68"] = sum(one["flux_covered"] for one in scenes) / max(counted, 1)
    rhat = [one.get("rhat_log_likelihood", np.nan) for one in scenes]
    results["share_rhat_above_1.1"] = float(np.mean(np.array(rhat) > 1.1))
    results["median_cpu_seconds"] = float(np.median([one["cpu_seconds"] for one in scenes]))
    results["peak_rss_mib"] = peak_memory()
    return results


def _chance_error(prob: np.ndarray, repeats: int = 200) -> float:
    """Mean calibration error that so many outcomes have if all probabilities are right."""
    from probcat.metrics import expected_calibration_error

    rng = np.random.default_rng(0)
    draws = (rng.random((repeats, prob.size)) < prob).astype(float)
    return float(np.mean([expected_calibration_error(prob, draw, BINS) for draw in draws]))


def _diagram(
    mean: np.ndarray, frequency: np.ndarray, count: np.ndarray
) -> list[list[float | None]]:
    """Rows of a reliability diagram as JSON can hold them."""
    return [
        [None if np.isnan(value) else round(float(value), 5) for value in row]
        for row in np.stack([mean, frequency, count], axis=1)
    ]


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw the reliability diagrams of the three probabilities."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    titles = {"exist": "prob_exist", "star": "prob_star", "light": "light"}
    for axes, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        rows = np.array(results[f"reliability_{name}"], dtype=float)
        rows = rows[rows[:, 2] > 0]
        axes.plot([0, 1], [0, 1], color="0.6", lw=1)
        spread = np.sqrt(rows[:, 1] * (1 - rows[:, 1]) / rows[:, 2])
        # Pixels of one object are not independent: their errors are not binomial.
        axes.errorbar(rows[:, 0], rows[:, 1], None if name == "light" else spread, fmt="o-", ms=4)
        for mean, frequency, count in rows:
            axes.annotate(f"{count:.0f}", (mean, frequency), (4, -9), textcoords="offset points")
        error = results[f"calibration_error_{name}"]
        axes.set(title=f"{title}: error {error:.3f}", xlabel="said", xlim=(-0.02, 1.02))
        axes.set(ylabel="came true" if name != "light" else "true share", ylim=(-0.05, 1.05))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _folder(galaxies: str | None) -> Path | None:
    """Find the real galaxies."""
    if galaxies == "sersic":
        return None
    try:
        return data_path(f"cosmos_acs/{COSMOS}").parent
    except click.ClickException:
        if galaxies == "cosmos":
            raise
        return None


def _read(file: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Read the blends done before, if any, of the same settings."""
    if file is None or not file.exists():
        return {"settings": settings, "scenes": []}
    stored = json.loads(file.read_text(encoding="utf-8"))
    if stored["settings"] != settings:
        raise click.ClickException(f"{file} holds a run of other settings; move it away")
    return {"settings": settings, "scenes": stored["scenes"]}


def _write(file: Path | None, record: dict[str, Any]) -> None:
    """Write results, whole or not at all."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial_file = file.with_name(f".{file.name}.tmp")
    partial_file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(partial_file, file)


if __name__ == "__main__":
    main()
