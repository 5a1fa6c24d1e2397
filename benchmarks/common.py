"""What the benchmarks share: where data are, timed runs, effective sample sizes, results."""

import json
import os
import platform
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

DEFAULT_DATA = Path(__file__).parents[1] / ".." / "shared" / "data"


def data_path(name: str) -> Path:
    """Find a file of the reference data."""
    path = Path(os.environ.get("PROBCAT_DATA", DEFAULT_DATA)) / name
    if not path.exists():
        raise click.ClickException(f"{path}: not found; set PROBCAT_DATA to the reference data")
    return path


def device_name() -> str:
    """Name of the machine that does the work."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return str(device.device_kind)
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def convergence(values: np.ndarray) -> tuple[float, float]:
    """R-hat and bulk effective sample size of an array (chain, draw)."""
    import xarray as xr

    from probcat.samples.diagnostics import import_arviz

    arviz = import_arviz()
    coords = {"chain": np.arange(values.shape[0]), "draw": np.arange(values.shape[1])}
    data = xr.Dataset({"value": (("chain", "draw"), values.astype(float))}, coords=coords)
    with np.errstate(all="ignore"):
        # Of chains that stand still each on its own R-hat is infinite.
        return float(arviz.rhat(data)["value"]), float(arviz.ess(data)["value"])


def parse_settings(items: Sequence[str]) -> dict[str, float | int]:
    """Turn ``NAME=VALUE`` of ``[sampler]`` or ``[prior]`` into numbers by name."""
    given = dict(item.split("=", 1) for item in items)
    return {name: int(v) if v.lstrip("-").isdigit() else float(v) for name, v in given.items()}


def timed_draws(run: Any, seconds: float, most: float = float("inf")) -> dict[str, Any]:
    """Draw blocks for some CPU-seconds; times are since the start, at the end of a block.

    Parameters
    ----------
    run : probcat.sampler.sample.Run
    seconds : float
        CPU-seconds after which no further block begins.
    most : float
        Blocks that are enough.
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
        if track["cpu"][-1] >= seconds or len(track["blocks"]) >= most:
            return track | {"state": state}


def peak_memory() -> float:
    """Largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def report(results: dict[str, Any], file: Path | None) -> None:
    """Print what was measured, and write it."""
    for name, value in results.items():
        click.echo(f"{name:24} {value:.4g}" if isinstance(value, float) else f"{name:24} {value}")
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
