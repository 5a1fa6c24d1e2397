"""Timed runs on images: samples, cost, convergence, and residuals of every image."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from benchmarks.support.options import Options
from benchmarks.support.timing import convergence, timed_draws

NUISANCES = (
    "background",
    "offset_",
    "flux_scale",
    "psf_error_floor",
    "psf_width_change",
    "noise_scale",
)
"""Beginnings of the names of nuisance parameters."""
DIAGNOSED = ("num_sources", "num_extended", "total_flux", "log_likelihood")
"""Quantities whose convergence is reported."""
MIN_DRAWS = 4
"""Draws of a chain below which R-hat is not defined."""


@dataclass(frozen=True, eq=False)
class ImageRun:
    """A timed run on images.

    Attributes
    ----------
    images : list of Image
        The images, the one whose pixels positions are given in first.
    samples : probcat.Samples
        The last half of the draws after warm-up; if the run ended in warm-up, of all draws.
    draws : int
        Draws of every chain, warm-up included.
    cost : dict of str to float
        Seconds and CPU-seconds of the setup, of compiling, and of one draw of all chains.
    """

    images: list[Any]
    samples: Any
    draws: int
    cost: dict[str, float]


def run_images(
    images: Sequence[Any],
    options: Options,
    prior: Mapping[str, Any] | None = None,
    sampler: Mapping[str, Any] | None = None,
) -> ImageRun:
    """Sample images for some CPU-seconds, compilation excluded.

    Parameters
    ----------
    images : sequence of Image
        The images, the one whose pixels positions are given in first.
    options : Options
        Seconds, number of chains, draws of warm-up, seed, and values of ``[prior]`` and
        ``[sampler]``.
    prior, sampler : mapping, optional
        Defaults for ``[prior]`` and ``[sampler]`` that the options take precedence over.

    Returns
    -------
    ImageRun
    """
    from probcat import Prior
    from probcat.sampler.collect import to_samples
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    clocks = [_clocks()]
    points_only = {"extended_fraction": 0.0} if options.stars_only else {}
    settings = SamplerSettings(**{**(sampler or {}), **options.sampler})
    parameters = Prior.from_image(images, **{**points_only, **(prior or {}), **options.prior})
    counts = (options.num_chains, options.num_warmup, 1)
    run = Run(images, parameters, settings, jax.random.key(options.seed), counts)
    clocks.append(_clocks())
    timed_draws(run, seconds=0.0)
    clocks.append(_clocks())
    track = timed_draws(run, options.seconds)
    blocks = track["blocks"]
    draws = len(blocks) * settings.checkpoint_interval
    cost = {
        "setup_s": clocks[1][0] - clocks[0][0],
        "setup_cpu_s": clocks[1][1] - clocks[0][1],
        # The first call compiles, and also draws one block.
        "compile_s": clocks[2][0] - clocks[1][0] - track["wall"][0],
        "compile_cpu_s": clocks[2][1] - clocks[1][1] - track["cpu"][0],
        "draw_s": track["wall"][-1] / draws,
        "draw_cpu_s": track["cpu"][-1] / draws,
    }
    warm = -(-options.num_warmup // settings.checkpoint_interval)
    kept = blocks[max(warm, len(blocks) // 2) :]
    if not kept:
        click.echo(f"still in warm-up after {draws} of {options.num_warmup} draws")
        kept = blocks[len(blocks) // 2 :]
    record = run.record(kept, track["wall"][-1], track["cpu"][-1])
    samples = to_samples(kept, record.to_attrs())
    return ImageRun(list(images), samples, draws, cost)


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def summarize_run(run: ImageRun) -> dict[str, Any]:
    """Return cost, convergence and nuisance parameters of a run."""
    scalars = run.samples.scalars
    number = scalars["num_sources"]
    results: dict[str, Any] = {
        "cost": run.cost,
        "draws": run.draws,
        "draws_kept": run.samples.num_draws,
        "num_sources_mean": float(np.mean(number)),
        "num_sources_sd": float(np.std(number)),
        "num_extended_mean": float(np.mean(scalars["num_extended"])),
        "chi2_per_pixel_of_draws": float(np.mean(scalars["chi2_per_pixel"])),
    }
    if run.samples.num_draws >= MIN_DRAWS:
        found = {name: convergence(scalars[name]) for name in DIAGNOSED}
        results["rhat"] = {name: rhat for name, (rhat, _) in found.items()}
        results["ess"] = {name: ess for name, (_, ess) in found.items()}
    return results | {"nuisances": summarize_nuisances(scalars)}


def summarize_nuisances(scalars: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Return mean and standard deviation of every nuisance parameter that was sampled."""
    return {
        name: [float(np.mean(values)), float(np.std(values))]
        for name, values in scalars.items()
        if name.startswith(NUISANCES) and np.ptp(values) > 0
    }


def residual_chi2(run: ImageRun, folder: Path | None, prefix: str = "") -> dict[str, float]:
    """Return the mean squared residual of every image, in units of the variance.

    Parameters
    ----------
    run : ImageRun
        The run; pixels without weight are left out.
    folder : Path or None
        Folder for figures of data, model and residual; None writes none.
    prefix : str
        Beginning of the names of the figures.

    Returns
    -------
    dict of str to float
        Chi-square per pixel, by the label of the image.
    """
    from probcat.image.alignment import image_labels
    from probcat.pixels.model_image import posterior_model
    from probcat.plots import plot_residual
    from probcat.samples.per_image import samples_per_image

    labels = image_labels(run.images) if len(run.images) > 1 else [run.images[0].band]
    own = samples_per_image(run.samples, run.images)
    chi2 = {}
    for image, samples, label in zip(run.images, own, labels, strict=True):
        model = posterior_model(samples, image, max_draws=50)
        chi2[label] = float(np.nanmean(model.residual**2))
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            plot_residual(image, model).savefig(folder / f"{prefix}{label}.png", dpi=120)
    return chi2
