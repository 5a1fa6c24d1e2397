"""Cost of a window pass against the area of an image and against the number of chains."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from benchmarks.support.results import device_name, peak_memory, report
from probcat.sampler.compiled_block import use_all_cores

DENSITY = 0.05
"""Stars per square pixel."""
BLOCK = 5


@click.command()
@click.option("--side", "sides", multiple=True, type=int, default=[50, 100, 200, 400, 800])
@click.option("--num-chains", "chains", multiple=True, type=int, default=[1, 2, 4, 8, 16])
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
def main(sides: tuple[int, ...], chains: tuple[int, ...], file: Path | None) -> None:
    """Time passes over simulated star fields of one density."""
    use_all_cores()
    fields = [(side, 2) for side in sides] + [(100, number) for number in chains]
    rows = []
    header = (
        "side", "num_chains", "windows", "sources", "cpu_ms_per_pass", "us_per_window",
        "cpu_ns_per_pixel_visited", "wall_ms_per_pass",
    )  # fmt: skip
    click.echo("  ".join(header))
    for side, number in fields:
        row = _measure(side, number)
        rows.append(row)
        click.echo("  ".join(f"{row[name]:>{len(name)}.4g}" for name in header))
    report({"device": device_name(), "peak_rss_mib": peak_memory()}, None)
    if file is not None:
        report({"device": device_name(), "rows": rows, "peak_rss_mib": peak_memory()}, file)


def _field(side: int) -> Any:
    """Simulate a star field with a known density."""
    from probcat import PSF, simulate_image

    rng = np.random.default_rng(side)
    number = int(DENSITY * side**2)
    sources = {
        "x": rng.uniform(0.0, side - 1.0, number),
        "y": rng.uniform(0.0, side - 1.0, number),
        "flux": 250.0 / rng.uniform(0.002, 1.0, number),
    }
    psf = PSF.moffat(2.5, 3.5, size=21)
    shape = (side, side)
    key = jax.random.key(side)
    return simulate_image(sources, psf, shape, key, noise=6.0, background=180.0, keep_light=False)


def _measure(side: int, num_chains: int) -> dict[str, float]:
    from probcat import Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    image = _field(side).image
    prior = Prior.from_image(image, flux_min=250.0, extended_fraction=0.0)
    settings = SamplerSettings(checkpoint_interval=BLOCK, border=0.0, start_beta=1e-2)
    # The layout of every field has the same slots, so that only the area differs.
    run = Run(image, prior, settings, jax.random.key(0), (num_chains, 4 * BLOCK, 1))
    plans = tuple(replace(plan, point_slots=48) for plan in run.layout.plans)
    run.prepare(replace(run.layout, plans=plans))
    state = run.begin()
    for _ in range(4):
        state, draws = run.advance(state)
    jax.block_until_ready(draws)
    cpu, wall, blocks = time.process_time(), time.monotonic(), 0
    while blocks < 2 or time.process_time() - cpu < 4.0:
        state, draws = run.advance(state)
        jax.block_until_ready(draws)
        blocks += 1
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    plan = run.layout.plans[0]
    passes = blocks * BLOCK * plan.passes
    windows = num_chains * plan.num_windows(run.layout, 0) * plan.num_windows(run.layout, 1)
    return {
        "side": side,
        "num_chains": num_chains,
        "windows": windows,
        "sources": float(np.mean(np.asarray(draws.points.active).sum(-1))),
        "cpu_ms_per_pass": 1e3 * cpu / passes,
        "us_per_window": 1e6 * cpu / passes / windows,
        "cpu_ns_per_pixel_visited": 1e9 * cpu / passes / windows / plan.interior**2,
        "wall_ms_per_pass": 1e3 * wall / passes,
    }


if __name__ == "__main__":
    main()
