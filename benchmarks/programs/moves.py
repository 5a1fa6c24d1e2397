"""What every kind of move costs and achieves on M2, so that the mixture can be tuned.

From a state after warm-up each move runs alone.  Besides its cost and how often it is accepted
by signal-to-noise ratio, the rate at which it makes catalogs anew is measured: the mean squared
change of the number of stars in cells of 10 px, over twice their variance, per CPU-second.
For short times this is the number of effective samples of a cell that the move alone could
give per CPU-second.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from benchmarks.programs.m2 import PRIOR
from benchmarks.support.results import data_path, device_name, report
from probcat.sampler.compiled_block import use_all_cores

CELL = 10.0
REPEATS = 24


@click.command()
@click.option("--num-chains", default=4, show_default=True)
@click.option("--num-warmup", default=150, show_default=True, help="Draws before the moves.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
def main(num_chains: int, num_warmup: int, file: Path | None) -> None:
    """Run every move alone from the same catalogs."""
    use_all_cores()
    from probcat import Image, Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    image = Image.read(data_path("m2/m2_r.fits"), band="r")
    prior = Prior.from_image(image, **PRIOR)
    settings = SamplerSettings(border=0.0, checkpoint_interval=10)
    run = Run(image, prior, settings, jax.random.key(0), (num_chains, num_warmup, 1))
    state, seen = run.begin(), []
    while int(state.i) < 2 * num_warmup:
        state, draws = run.advance(state)
        if int(state.i) > num_warmup:
            seen.append(_cells(draws))
    variance = float(np.concatenate(seen, axis=1).var(axis=1).mean())
    (plan,) = run.layout.plans
    results: dict[str, Any] = {"device": device_name(), "cell_variance": variance}
    for name in (*dict.fromkeys(plan.schedule), "hmc"):
        schedule = () if name == "hmc" else (name,) * REPEATS
        alone = replace(plan, schedule=schedule, num_hmc=int(name == "hmc"))
        run.prepare(replace(run.layout, plans=(alone,)))
        results[name] = _measure(run, state, name, variance)
        click.echo(f"{name}: {results[name]}")
    if file is not None:
        report(results, file)


def _measure(run: Any, state: Any, name: str, variance: float) -> dict[str, Any]:
    """Cost, acceptance and rate of change of one move."""
    run.advance(jax.tree.map(jax.numpy.copy, state))
    cpu = time.process_time()
    _, draws = run.advance(jax.tree.map(jax.numpy.copy, state))
    jax.block_until_ready(draws)
    cpu = time.process_time() - cpu
    cells = _cells(draws)
    change = float(((cells[:, 1:] - cells[:, :-1]) ** 2).mean()) / (2.0 * variance)
    # Time of one draw of all chains.
    found: dict[str, Any] = {"new_cells_per_cpu_s": round(change * cells.shape[1] / cpu, 4)}
    (plan,) = run.layout.plans
    windows = plan.num_windows(run.layout, 0) * plan.num_windows(run.layout, 1)
    visits = cells.shape[0] * cells.shape[1] * plan.passes * windows
    found["us_per_attempt"] = round(1e6 * cpu / visits / max(len(plan.schedule), 1), 2)
    if name == "hmc":
        found["accepted"] = round(float(np.mean(draws.hmc_acceptance)), 4)
        return found
    from probcat.sampler.state import MOVE_NAMES

    counts = np.asarray(draws.moves)[:, :, MOVE_NAMES.index(name)].sum(axis=(0, 1, 3))
    found["accepted"] = round(float(counts[:, 1].sum() / counts[:, 0].sum()), 4)
    found["accepted_per_cpu_s"] = round(float(counts[:, 1].sum() / cpu), 1)
    with np.errstate(invalid="ignore"):
        found["accepted_by_signal"] = np.round(counts[:, 1] / counts[:, 0], 4).tolist()
    return found


def _cells(draws: Any) -> np.ndarray:
    """Count stars in cells, shape (chain, draw, number of cells)."""
    position = np.asarray(draws.points.pixel) + np.asarray(draws.points.marks)[..., :2]
    active = np.asarray(draws.points.active)
    cell = np.floor(position / CELL).astype(int)
    side = 20
    index = np.where(active, cell[..., 1] * side + cell[..., 0], side * side)
    counts = [
        [np.bincount(one, minlength=side * side + 1)[:-1] for one in chain] for chain in index
    ]
    return np.asarray(counts, dtype=float)


if __name__ == "__main__":
    main()
