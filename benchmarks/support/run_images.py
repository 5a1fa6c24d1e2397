"""Fits of real images within a time: samples, convergence, residuals of every image."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from benchmarks.support.results import convergence, timed_draws

NUISANCES = (
    "background",
    "offset_",
    "flux_scale",
    "psf_error_floor",
    "psf_width_change",
    "noise_scale",
)


@dataclass(frozen=True, eq=False)
class Fit:
    """A timed run and what it cost.

    Attributes
    ----------
    images : list of Image
    samples : probcat.Samples
        The last half of the draws after warm-up; where there are none yet, of all draws.
    draws : int
        Of every chain, warm-up included.
    cost : dict of str to float
        Seconds and CPU-seconds to set up, to compile, and of a draw of all chains.
    """

    images: list[Any]
    samples: Any
    draws: int
    cost: dict[str, float]


def fit(
    images: Sequence[Any],
    seconds: float,
    *,
    prior: dict[str, Any],
    settings: dict[str, Any],
    num_chains: int,
    num_warmup: int,
    seed: int,
) -> Fit:
    """Sample images for some CPU-seconds, compilation aside.

    Parameters
    ----------
    images : sequence of Image
        The one that positions are given in comes first.
    seconds : float
    prior, settings : dict
        Of the sections ``[prior]`` and ``[sampler]``.
    num_chains, num_warmup, seed : int
    """
    from probcat import Prior
    from probcat.sampler.collect import to_samples
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    clocks = [_clocks()]
    chosen = SamplerSettings(**settings)
    counts = (num_chains, num_warmup, 1)
    run = Run(images, Prior.from_image(images, **prior), chosen, jax.random.key(seed), counts)
    clocks.append(_clocks())
    timed_draws(run, seconds=0.0)
    clocks.append(_clocks())
    track = timed_draws(run, seconds)
    block = len(track["cpu"]) * chosen.checkpoint_interval
    cost = {
        "setup_s": clocks[1][0] - clocks[0][0],
        "setup_cpu_s": clocks[1][1] - clocks[0][1],
        # The first block was drawn besides.
        "compile_s": clocks[2][0] - clocks[1][0] - track["wall"][0],
        "compile_cpu_s": clocks[2][1] - clocks[1][1] - track["cpu"][0],
        "draw_s": track["wall"][-1] / block,
        "draw_cpu_s": track["cpu"][-1] / block,
    }
    warm = -(-num_warmup // chosen.checkpoint_interval)
    blocks = track["blocks"]
    kept = blocks[max(warm, len(blocks) // 2) :]
    if not kept:
        click.echo(f"still in warm-up after {block} of {num_warmup} draws")
        kept = blocks[len(blocks) // 2 :]
    samples = to_samples(kept, _attributes(run)).compact()
    return Fit(list(images), samples, block, cost)


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def _attributes(run: Any) -> dict[str, Any]:
    """Collect what renderer and condenser need to know of a run."""
    image = run.images[0]
    small, large = run.radii[0]
    return {
        "psf_fwhm": float(image.psf.fwhm),
        "band": image.band,
        "unit": str(image.unit),
        "radii": run.radii,
        "extended_radius": small,
        "large_radius": large,
        "large_size": run.large_size if np.isfinite(run.large_size) else None,
    }


def describe(found: Fit) -> dict[str, Any]:
    """Cost, convergence and nuisances of a fit."""
    scalars = found.samples.scalars
    results: dict[str, Any] = {**found.cost, "draws": found.draws}
    results["draws_kept"] = found.samples.num_draws
    results["num_sources"] = [
        float(np.mean(scalars["num_sources"])),
        float(np.std(scalars["num_sources"])),
    ]
    results["num_extended"] = float(np.mean(scalars["num_extended"]))
    results["chi2_per_pixel_of_draws"] = float(np.mean(scalars["chi2_per_pixel"]))
    if found.samples.num_draws >= 4:
        for name in ("num_sources", "num_extended", "total_flux", "log_likelihood"):
            values = np.asarray(scalars[name])
            constant = np.ptp(values) == 0
            rhat, ess = (1.0, float(values.size)) if constant else convergence(values)
            results[f"rhat_{name}"], results[f"ess_{name}"] = rhat, ess
    for name, values in scalars.items():
        if name.startswith(NUISANCES) and np.ptp(values) > 0:
            results[name] = [float(np.mean(values)), float(np.std(values))]
    return results


def residuals(found: Fit, folder: Path | None = None, prefix: str = "") -> dict[str, float]:
    """Mean square of the residual in sigma of every image, its pixels of weight only.

    Parameters
    ----------
    found : Fit
    folder : Path, optional
        Where figures of data, model and residual are written.
    prefix : str
        What their names begin with.
    """
    from probcat.image.alignment import image_labels
    from probcat.pixels.model_image import posterior_model
    from probcat.plots import plot_residual
    from probcat.samples.per_image import samples_per_image

    labels = image_labels(found.images) if len(found.images) > 1 else [found.images[0].band]
    chi2 = {}
    for image, view, label in zip(
        found.images, samples_per_image(found.samples, found.images), labels, strict=True
    ):
        model = posterior_model(view, image, max_draws=50)
        chi2[label] = float(np.nanmean(model.residual**2))
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            plot_residual(image, model).savefig(folder / f"{prefix}{label}.png", dpi=120)
    return chi2
