"""Cost and effect of every move on M2, for tuning the mixture of moves.

From a state after warm-up, every move runs alone. The program measures its cost, how often it is
accepted in bins of signal-to-noise ratio, and how fast it changes catalogs. The measure of change
is the mean squared change of the number of stars in cells of 10 px, divided by twice their
variance, per CPU-second. For short times, this is the number of effective samples of a cell that
the move alone could give per CPU-second.
"""

import time
from dataclasses import replace
from typing import Any

import click
import jax
import numpy as np

from benchmarks.fields import m2_hst
from benchmarks.support.options import Options, shared_options
from probcat.sampler.compiled_block import use_all_cores

CELL_SIDE = 10.0
"""Side of a cell in pixels."""
CELLS_PER_SIDE = 20
"""Number of cells along an axis; they cover the image and its padding."""
REPEATS = 24
"""Number of times that a move is tried per visit of a window."""


@click.command()
@shared_options(num_chains=4, num_warmup=150)
def main(options: Options) -> None:
    """Run every move alone from the same catalogs."""
    use_all_cores()
    from probcat import Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    image = m2_hst.read_cutout("r")
    prior = Prior.from_image(image, **m2_hst.PRIOR)
    num_warmup = options.num_warmup
    settings = SamplerSettings(border=0.0, checkpoint_interval=10)
    run = Run(image, prior, settings, jax.random.key(0), (options.num_chains, num_warmup, 1))
    state, seen = run.begin(), []
    while int(state.i) < 2 * num_warmup:
        state, draws = run.advance(state)
        if int(state.i) > num_warmup:
            seen.append(_count_in_cells(draws))
    variance = float(np.concatenate(seen, axis=1).var(axis=1).mean())
    (plan,) = run.layout.plans
    results: dict[str, Any] = {"cell_variance": variance}
    for name in (*dict.fromkeys(plan.schedule), "hmc"):
        schedule = () if name == "hmc" else (name,) * REPEATS
        alone = replace(plan, schedule=schedule, num_hmc=int(name == "hmc"))
        run.prepare(replace(run.layout, plans=(alone,)))
        results[name] = _measure(run, state, name, variance)
        click.echo(f"{name}: {results[name]}")
    options.finish(results, options.settings())


def _measure(run: Any, state: Any, name: str, variance: float) -> dict[str, Any]:
    """Cost, acceptance and rate of change of one move, in one block of draws."""
    run.advance(jax.tree.map(jax.numpy.copy, state))
    cpu = time.process_time()
    _, draws = run.advance(jax.tree.map(jax.numpy.copy, state))
    jax.block_until_ready(draws)
    cpu = time.process_time() - cpu
    cells = _count_in_cells(draws)
    change = float(((cells[:, 1:] - cells[:, :-1]) ** 2).mean()) / (2.0 * variance)
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


def _count_in_cells(draws: Any) -> np.ndarray:
    """Numbers of stars in cells, shape (chain, draw, number of cells)."""
    position = np.asarray(draws.points.pixel) + np.asarray(draws.points.marks)[..., :2]
    cell = np.floor(position / CELL_SIDE).astype(int)
    number = CELLS_PER_SIDE**2
    # Empty slots are counted in one more cell, which is then dropped.
    active = np.asarray(draws.points.active)
    index = np.where(active, cell[..., 1] * CELLS_PER_SIDE + cell[..., 0], number)
    counts = [[np.bincount(one, minlength=number + 1)[:-1] for one in chain] for chain in index]
    return np.asarray(counts, dtype=float)


if __name__ == "__main__":
    main()
