"""Simulation-based calibration of the whole sampler (Talts et al. 2018, arXiv:1804.06788).

Scenes are drawn from the very prior and model that are sampled: then the rank of a true
value among independent draws of its posterior is uniform, whatever the quantity.  Sources
carry no identity, so quantities are of the whole catalog or of its k-th brightest source;
where that does not exist its value lies below all others.  Ties are broken at random.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np
from tqdm.auto import tqdm

from benchmarks.fields import scenes as drawn
from benchmarks.support.ranks import (
    BRIGHTEST,
    Record,
    coverage,
    coverage_table,
    mixing,
    plot,
    quantities,
    rank,
    uniformity,
)
from benchmarks.support.results import convergence, device_name, peak_memory, report
from probcat.sampler.compiled_block import num_compilations, use_all_cores
from probcat.sampler.sample import Run

DIAGNOSED = ("num_sources", "num_extended", "total_flux", "log_likelihood")


@click.command()
@click.option("--scenes", default=320, show_default=True, help="Number of scenes.")
@click.option(
    "--images",
    type=click.IntRange(1, drawn.MOST_IMAGES),
    default=1,
    show_default=True,
    help="Images of a scene, each of its own pixels, PSF and band; the last of 3 or more is a "
    "second exposure of the first band.",
)
@click.option("--stars-only", is_flag=True, help="Scenes without galaxies.")
@click.option("--num-chains", default=4, show_default=True)
@click.option("--num-warmup", default=80, show_default=True, help="Draws of warm-up.")
@click.option("--num-samples", default=320, show_default=True, help="Draws kept of a chain.")
@click.option("--thin", default=8, show_default=True, help="Every how many are ranked among.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
@click.option("--figure", type=click.Path(path_type=Path), help="Draw the rank histograms there.")
def main(
    scenes: int,
    images: int,
    stars_only: bool,
    num_chains: int,
    num_warmup: int,
    num_samples: int,
    thin: int,
    seed: int,
    file: Path | None,
    figure: Path | None,
) -> None:
    """Rank true values among draws of their posteriors; a file found there is gone on with."""
    use_all_cores()
    settings: dict[str, Any] = {"num_chains": num_chains, "num_warmup": num_warmup}
    settings |= {"num_samples": num_samples, "thin": thin, "seed": seed}
    settings |= {"images": images, "stars_only": stars_only, **_constants()}
    record = _read(file, settings)
    setup = drawn.make_setup(images, num_chains, seed, stars_only)
    with tqdm(total=scenes, initial=record.num_scenes, unit="scene") as bar:
        while record.num_scenes < scenes:
            calibrate(record, record.num_scenes, setup)
            bar.set_postfix_str(f"compiled {num_compilations()}, grown {record.grown}", False)
            bar.update()
            _write(file, {**asdict(record), "scenes": record.num_scenes})
    results = summarize(record)
    text = {"coverage", "p_values", *asdict(record)}
    report({name: value for name, value in results.items() if name not in text}, None)
    for name, value in sorted(results["p_values"].items(), key=lambda item: item[1])[:5]:
        click.echo(f"p = {value:.3g} for {name}")
    click.echo(coverage_table(results["coverage"]))
    _write(file, {**results, **asdict(record)})
    if figure is not None:
        plot(record, results["p_values"], figure)


def _constants() -> dict[str, Any]:
    """Describe scenes and runs for the record."""
    constants = {"shape": list(drawn.SHAPE), "num_hmc": drawn.NUM_HMC, **drawn.CAPACITIES}
    constants |= {"point_slots": drawn.POINT_SLOTS, "extended_slots": drawn.EXTENDED_SLOTS}
    return constants | {"flux_limits": list(drawn.FLUX_LIMITS), **asdict(drawn.SETTINGS)}


def calibrate(record: Record, number: int, setup: drawn.Setup) -> None:
    """Draw one scene, sample it, and add the ranks of its true values."""
    start, cpu = time.monotonic(), time.process_time()
    seed, thin = record.settings["seed"], record.settings["thin"]
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), 2)
    rng = np.random.default_rng([seed, number])
    scene = drawn.draw_scene(setup, keys[0], rng)
    counts = tuple(record.settings[f"num_{what}"] for what in ("chains", "warmup", "samples"))
    run = Run(scene.images, setup.prior, drawn.SETTINGS, keys[1], counts)
    run.prepare(setup.layout)
    samples = run.execute(None, progress_bar=False)
    record.grown += bool(run.grown)

    truth = quantities(scene.sources, scene.scalars)
    draws = quantities(samples.sources, samples.scalars)
    kept = slice(thin - 1, None, thin)
    record.add(
        "ranks", {name: rank(v.item(), draws[name][:, kept], rng) for name, v in truth.items()}
    )
    most = max(truth["num_sources"].max(), draws["num_sources"][:, kept].max())
    record.add("exists", {str(k): bool(most >= k) for k in BRIGHTEST})
    diagnostics = {"true_num_sources": float(truth["num_sources"].item())}
    for name in DIAGNOSED:
        # Of a constant quantity neither is defined.
        values = draws[name]
        constant = np.ptp(values) == 0.0
        rhat, ess = (1.0, float(values.size)) if constant else convergence(values)
        diagnostics |= {f"rhat_{name}": rhat, f"ess_{name}": ess}
    took = {"seconds": time.monotonic() - start, "cpu_seconds": time.process_time() - cpu}
    record.seconds += took["seconds"]
    record.cpu_seconds += took["cpu_seconds"]
    record.add("diagnostics", diagnostics | took)


def summarize(record: Record) -> dict[str, Any]:
    """P values of uniform ranks, coverages, and how well the chains mixed."""
    p_values = uniformity(record)
    # A scene in which something was compiled takes many times longer.
    median = {name: np.median(record.diagnostics[name]) for name in ("seconds", "cpu_seconds")}
    return {
        "device": device_name(),
        "scenes": record.num_scenes,
        "num_draws": record.num_draws,
        "seconds_per_scene": record.seconds / record.num_scenes,
        "median_seconds_of_scene": float(median["seconds"]),
        "median_cpu_seconds_of_scene": float(median["cpu_seconds"]),
        "peak_rss_mib": peak_memory(),
        "quantities": len(p_values),
        "smallest_p": min(p_values.values()),
        "p_values": p_values,
        "coverage": coverage(record),
        "mixing": mixing(record),
    }


def _read(file: Path | None, settings: dict[str, Any]) -> Record:
    """Read the scenes done before, if any, of the same settings."""
    if file is None or not file.exists():
        return Record(settings)
    stored = json.loads(file.read_text(encoding="utf-8"))
    if stored["settings"] != settings:
        raise click.ClickException(f"{file} holds a run of other settings; move it away")
    return Record(**{name: stored[name] for name in asdict(Record(settings))})


def _write(file: Path | None, results: Mapping[str, Any]) -> None:
    """Write results, whole or not at all."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial_file = file.with_name(f".{file.name}.tmp")
    partial_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    os.replace(partial_file, file)


if __name__ == "__main__":
    main()
