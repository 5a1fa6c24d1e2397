"""What the benchmarks share: where data are, effective sample sizes, writing results."""

import json
import os
import platform
import resource
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

    from probcat.diagnostics import import_arviz

    arviz = import_arviz()
    coords = {"chain": np.arange(values.shape[0]), "draw": np.arange(values.shape[1])}
    data = xr.Dataset({"value": (("chain", "draw"), values.astype(float))}, coords=coords)
    return float(arviz.rhat(data)["value"]), float(arviz.ess(data)["value"])


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
