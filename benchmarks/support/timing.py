"""Timed runs, convergence of their chains, and memory."""

import resource
import time
from typing import Any

import jax
import numpy as np


def convergence(values: np.ndarray) -> tuple[float, float]:
    """Return R-hat and the bulk effective sample size of one quantity.

    Parameters
    ----------
    values : ndarray, shape (chain, draw)
        The sampled quantity. If it is constant, neither is defined: R-hat is then taken as 1,
        and every draw as independent.

    Returns
    -------
    rhat, ess : float
    """
    import xarray as xr

    from probcat.samples.chains import import_arviz

    values = np.asarray(values, dtype=float)
    if np.ptp(values) == 0.0:
        return 1.0, float(values.size)
    arviz = import_arviz()
    coords = {"chain": np.arange(values.shape[0]), "draw": np.arange(values.shape[1])}
    data = xr.Dataset({"value": (("chain", "draw"), values)}, coords=coords)
    with np.errstate(all="ignore"):
        # R-hat is infinite if every chain stays at a value of its own.
        return float(arviz.rhat(data)["value"]), float(arviz.ess(data)["value"])


def timed_draws(run: Any, seconds: float, max_blocks: float = float("inf")) -> dict[str, Any]:
    """Sample block after block until some CPU time is spent.

    Parameters
    ----------
    run : probcat.sampler.sample.Run
        The run, started from its beginning.
    seconds : float
        CPU-seconds after which no further block begins.
    max_blocks : float
        Largest number of blocks.

    Returns
    -------
    dict
        `cpu` and `wall`, lists of the seconds from the start to the end of every block; `blocks`,
        a list of `probcat.sampler.collect.Block`; and `state`, the state of the chains at the end.
    """
    from probcat.sampler.collect import to_block

    track: dict[str, Any] = {"cpu": [], "wall": [], "blocks": []}
    state = run.begin()
    jax.block_until_ready(state)
    cpu, wall = time.process_time(), time.monotonic()
    while True:
        state, draws = run.advance(state)
        jax.block_until_ready(draws)
        track["cpu"].append(time.process_time() - cpu)
        track["wall"].append(time.monotonic() - wall)
        pixels = float(run.scene.num_pixels)
        track["blocks"].append(to_block(draws, run.layout, pixels, run.labels))
        if track["cpu"][-1] >= seconds or len(track["blocks"]) >= max_blocks:
            return track | {"state": state}


def joined(track: dict[str, Any], name: str) -> np.ndarray:
    """Return a scalar or a statistic of a timed run, the blocks joined along the axis of draws."""
    groups = [{**block.samples.scalars, **block.samples.stats} for block in track["blocks"]]
    return np.concatenate([group[name] for group in groups], axis=1)


def traces(track: dict[str, Any]) -> dict[str, Any]:
    """Return the sampled scalars of a timed run, and the time at the end of every block."""
    scalars = {name: joined(track, name) for name in track["blocks"][0].samples.scalars}
    return {"cpu_s": track["cpu"], "wall_s": track["wall"], **scalars}


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
