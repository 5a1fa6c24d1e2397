"""Simulation-based calibration of the whole sampler (Talts et al. 2018, arXiv:1804.06788).

Scenes are drawn from the same prior and model that are sampled. The rank of a true value among
independent draws of its posterior is then uniform, whatever the quantity. Sources have no
identity, so every quantity is one of the whole catalog or of its k-th brightest source; where
there is no such source, the value is below all others. Ties are broken at random.
"""

import time
from dataclasses import asdict
from typing import Any

import click
import jax
import numpy as np
from tqdm.auto import tqdm

from benchmarks.fields import scenes as fields
from benchmarks.fields.cameras import FLUX_LIMITS, MOST_IMAGES, SHAPE
from benchmarks.support.options import Options, shared_options
from benchmarks.support.ranks import (
    BRIGHTEST,
    Record,
    coverage,
    coverage_table,
    mixing,
    plot_ranks,
    pooled_coverage,
    quantities,
    rank,
    uniformity,
)
from benchmarks.support.results import read_raw
from benchmarks.support.run_images import DIAGNOSED
from benchmarks.support.timing import convergence, peak_memory
from probcat.sampler.compiled_block import num_compilations, use_all_cores
from probcat.sampler.sample import Run


@click.command()
@shared_options(
    "seed",
    "stars_only",
    "figure",
    "raw_file",
    num_chains=4,
    num_warmup=80,
    num_samples=320,
)
@click.option("--scenes", default=320, show_default=True, help="Number of scenes.")
@click.option(
    "--images",
    type=click.IntRange(1, MOST_IMAGES),
    default=1,
    show_default=True,
    help="Images of a scene, each with its own pixels, PSF and band; the last of 3 or more is a "
    "second exposure of the first band.",
)
@click.option(
    "--thin", default=8, show_default=True, help="Draws from one that is ranked among to the next."
)
def main(options: Options, scenes: int, images: int, thin: int) -> None:
    """Rank true values among draws of their posteriors.

    Scenes that the raw file holds already, with the same settings, are not sampled again.
    """
    use_all_cores()
    settings = options.settings(images=images, thin=thin, **_constants())
    stored = read_raw(options.raw_file, settings)
    record = Record(**{name: stored[name] for name in asdict(Record()) if name in stored})
    record.settings = settings
    setup = fields.make_setup(images, options.num_chains, options.seed, options.stars_only)
    with tqdm(total=scenes, initial=record.num_scenes, unit="scene") as bar:
        while record.num_scenes < scenes:
            calibrate(record, record.num_scenes, setup)
            record.commits.append(options.provenance["commit"])
            bar.set_postfix_str(f"compiled {num_compilations()}, grown {record.grown}", False)
            bar.update()
            options.save_raw(settings, asdict(record))
    p_values = uniformity(record)
    click.echo(coverage_table(coverage(record)))
    results = summarize_record(record, p_values) | {"peak_rss_mib": peak_memory()}
    options.finish({"commit": ", ".join(dict.fromkeys(record.commits)), **results}, settings)
    if options.figure is not None:
        plot_ranks(record, p_values, options.figure)


def _constants() -> dict[str, Any]:
    """Constants of the scenes and of the sampler, for the record."""
    constants = {"shape": list(SHAPE), "num_hmc": fields.NUM_HMC, **fields.CAPACITIES}
    constants |= {"point_slots": fields.POINT_SLOTS, "extended_slots": fields.EXTENDED_SLOTS}
    return constants | {"flux_limits": list(FLUX_LIMITS), "sampler": asdict(fields.SETTINGS)}


def calibrate(record: Record, number: int, setup: fields.Setup) -> None:
    """Draw one scene, sample it, and add the ranks of its true values to the record.

    Parameters
    ----------
    record : Record
        Record with the settings of the run; the ranks are added to it.
    number : int
        Number of the scene, which its random numbers depend on.
    setup : Setup
        Cameras, prior and layout that all scenes share.
    """
    start, cpu = time.monotonic(), time.process_time()
    seed, thin = record.settings["seed"], record.settings["thin"]
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), 2)
    rng = np.random.default_rng([seed, number])
    scene = fields.draw_scene(setup, keys[0], rng)
    counts = tuple(record.settings[f"num_{what}"] for what in ("chains", "warmup", "samples"))
    run = Run(scene.images, setup.prior, fields.SETTINGS, keys[1], counts)
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
        rhat, ess = convergence(draws[name])
        diagnostics |= {f"rhat_{name}": rhat, f"ess_{name}": ess}
    took = {"seconds": time.monotonic() - start, "cpu_seconds": time.process_time() - cpu}
    record.seconds += took["seconds"]
    record.cpu_seconds += took["cpu_seconds"]
    record.add("diagnostics", diagnostics | took)


def summarize_record(record: Record, p_values: dict[str, float]) -> dict[str, Any]:
    """Return p values, coverage of fluxes and positions, and mixing of the chains."""
    # Compiling makes some scenes take many times longer, hence medians.
    median = {name: np.median(record.diagnostics[name]) for name in ("seconds", "cpu_seconds")}
    return {
        "scenes": record.num_scenes,
        "num_draws": record.num_draws,
        "seconds_per_scene": record.seconds / record.num_scenes,
        "median_seconds_of_scene": float(median["seconds"]),
        "median_cpu_seconds_of_scene": float(median["cpu_seconds"]),
        "num_quantities": len(p_values),
        "smallest_p": min(p_values.values()),
        "p_values": dict(sorted(p_values.items(), key=lambda item: item[1])),
        "coverage": pooled_coverage(record),
        "mixing": mixing(record),
    }


if __name__ == "__main__":
    main()
