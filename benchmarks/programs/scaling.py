"""Cost of a visit of a window, for several areas of the image and several numbers of chains."""

import time
from dataclasses import replace
from typing import Any

import click
import jax
import numpy as np

from benchmarks.support.options import Options, shared_options
from benchmarks.support.timing import peak_memory
from probcat.sampler.compiled_block import use_all_cores

DENSITY = 0.05
"""Stars per square pixel."""
CHECKPOINT_INTERVAL = 5
"""Draws of a block."""
MIN_SECONDS = 4.0
"""CPU-seconds that every measurement takes at least."""


@click.command()
@shared_options()
@click.option(
    "--side",
    "sides",
    multiple=True,
    type=int,
    default=[50, 100, 200, 400, 800],
    show_default=True,
    help="Side of an image in pixels, sampled with two chains; may be repeated.",
)
@click.option(
    "--num-chains",
    "chains",
    multiple=True,
    type=int,
    default=[1, 2, 4, 8, 16],
    show_default=True,
    help="Number of chains, in an image of 100 px; may be repeated.",
)
def main(options: Options, sides: tuple[int, ...], chains: tuple[int, ...]) -> None:
    """Time passes over simulated star fields of the same density."""
    use_all_cores()
    rows: list[dict[str, float]] = []
    for side, number in [(side, 2) for side in sides] + [(100, number) for number in chains]:
        rows.append(_measure(side, number))
        if len(rows) == 1:
            click.echo("  ".join(rows[0]))
        click.echo("  ".join(f"{value:>{len(name)}.4g}" for name, value in rows[-1].items()))
    results = {name: [row[name] for row in rows] for name in rows[0]}
    settings = options.settings(sides=sides, chains=chains, density=DENSITY)
    options.finish({**results, "peak_rss_mib": peak_memory()}, settings)


def _field(side: int) -> Any:
    """Simulated star field of the given side in pixels."""
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
    """Times of a pass and of a visit of a window."""
    from probcat import Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    image = _field(side).image
    prior = Prior.from_image(image, flux_min=250.0, extended_fraction=0.0)
    settings = SamplerSettings(checkpoint_interval=CHECKPOINT_INTERVAL, border=0.0, start_beta=1e-2)
    # All fields have the same number of slots, so that only the area differs.
    run = Run(image, prior, settings, jax.random.key(0), (num_chains, 4 * CHECKPOINT_INTERVAL, 1))
    plans = tuple(replace(plan, point_slots=48) for plan in run.layout.plans)
    run.prepare(replace(run.layout, plans=plans))
    state = run.begin()
    for _ in range(4):
        state, draws = run.advance(state)
    jax.block_until_ready(draws)
    cpu, wall, blocks = time.process_time(), time.monotonic(), 0
    while blocks < 2 or time.process_time() - cpu < MIN_SECONDS:
        state, draws = run.advance(state)
        jax.block_until_ready(draws)
        blocks += 1
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    plan = run.layout.plans[0]
    passes = blocks * CHECKPOINT_INTERVAL * plan.passes
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
