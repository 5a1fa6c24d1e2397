"""A run from end to end: image, samples, catalog, maps, figures, in one directory."""

from __future__ import annotations

import inspect
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probcat import __version__
from probcat.errors import InputError
from probcat.model.prior.describe import describe_images, describe_prior
from probcat.run.config import RUN_KEYS, RunConfig, absolute, read_config, write_config
from probcat.run.files import (
    ASSIGNMENT,
    CATALOG,
    CHAIN,
    CONFIG,
    FIGURES,
    MODEL,
    PSFS,
    REPORT,
    SAMPLES,
)
from probcat.run.inputs import read_input
from probcat.run.refined_psfs import with_psfs, write_psfs
from probcat.run.results import write_results
from probcat.samples.summary import Summary, acceptance_table, summarize

if TYPE_CHECKING:
    from probcat.image.image import Image


def start_run(
    config: RunConfig,
    out: Path,
    *,
    overwrite: bool = False,
    progress_bar: bool = True,
    log: Callable[[str], None] = print,
) -> Summary:
    """Sample an image and write all results.

    Parameters
    ----------
    config : RunConfig
        What to do; what it leaves out takes its default.
    out : Path
        Directory of the results, made if need be.
    overwrite : bool
        Replace a run that ``out`` holds.
    progress_bar : bool
        Show a progress bar.
    log : callable
        Takes the lines that tell the user what was found and done.

    Returns
    -------
    Summary

    Raises
    ------
    InputError
        If something is wrong with the input; then nothing was written.
    """
    out = Path(out)
    check_directory(out, overwrite)
    images = read_input(config)
    for image in images:
        for note in image.notes:
            log(f"{image.name}: {note}")
    refined = _refined(config, images, progress_bar, log)
    resolved, prior, settings = _resolve(config, refined)
    for line in [*describe_images(refined), *describe_prior(resolved.prior, config.prior, refined)]:
        log(line)
    _clear(out)
    if refined is not images:
        write_psfs(out / PSFS, refined)
        images = with_psfs(out / PSFS, images)
        resolved = resolved.update("image", refine_psf=0, refined_psf=str((out / PSFS).resolve()))
    write_config(out / CONFIG, resolved)
    return _sample_and_write(resolved, images, prior, settings, out, progress_bar, log)


def resume_run(
    out: Path, *, progress_bar: bool = True, log: Callable[[str], None] = print
) -> Summary:
    """Go on with a run that was stopped.

    Parameters
    ----------
    out : Path
        Directory of the run.
    progress_bar, log
        As in `start_run`.

    Returns
    -------
    Summary

    Raises
    ------
    InputError
        If the directory holds no run, or its input is gone.
    """
    out = Path(out)
    config = _read_run(out)
    images = read_input(config)
    resolved, prior, settings = _resolve(config, images)
    return _sample_and_write(resolved, images, prior, settings, out, progress_bar, log)


def condense_run(out: Path, **options: Any) -> Summary:
    """Make catalog, maps and figures anew from the samples of a run.

    Parameters
    ----------
    out : Path
        Directory of the run; its ``[catalog]`` settings may have been edited.
    **options
        Replace settings of ``[catalog]``, in its file too; None changes nothing.

    Returns
    -------
    Summary

    Raises
    ------
    InputError
        If the directory holds no samples, or they are of the prior alone, or an option is wrong.
    """
    from probcat.samples.samples import Samples

    out = Path(out)
    before = _read_run(out)
    config = before.update("catalog", **options).check()
    samples = Samples.from_netcdf(out / SAMPLES)
    if config.sampler.get("prior_only"):
        raise InputError(f"{out}: samples of the prior alone have no objects to condense")
    summary = write_results(samples, read_input(config), config, out)
    if config != before:
        write_config(out / CONFIG, config)
    return summary


def describe_run(out: Path) -> str:
    """Give the settings and the closing table of a run as text.

    Raises
    ------
    InputError
        If the directory holds no run.
    """
    from probcat.samples.diagnostics import diagnose
    from probcat.samples.samples import Samples

    out = Path(out)
    _read_run(out)
    text = [(out / CONFIG).read_text(encoding="utf-8").rstrip()]
    if (out / SAMPLES).is_file():
        samples = Samples.from_netcdf(out / SAMPLES)
        text += ["", str(diagnose(samples)), "", acceptance_table(samples)]
        text += ["", str(summarize(samples))]
    else:
        text += ["", f"not finished; go on with: probcat run --out {out} --resume"]
    return "\n".join(text)


def _refined(
    config: RunConfig, images: list[Image], progress_bar: bool, log: Callable[[str], None]
) -> list[Image]:
    """Images with PSFs refined as often as the configuration says."""
    from probcat.run.refine_psf import refine_psf

    rounds = config.image.get("refine_psf", 0)
    if not rounds:
        return images
    log(f"refining PSFs: {rounds} rounds of a short run")
    _, _, settings = _resolve(config, images)
    refined = refine_psf(
        images,
        rounds=rounds,
        rng_key=int(config.sampler.get("seed", RUN_KEYS["seed"])),
        settings=settings,
        progress_bar=progress_bar,
        **config.prior,
    )
    for image in refined:
        if image.psf.variation is None:
            log(f"{image.name}: PSF: {image.psf.notes[-1]}")
    return refined


def _sample_and_write(
    config: RunConfig,
    images: list[Image],
    prior: Any,
    settings: Any,
    out: Path,
    progress_bar: bool,
    log: Callable[[str], None],
) -> Summary:
    """Sample, save the samples, and write what follows from them."""
    import jax

    from probcat.sampler.sample import sample

    start = time.monotonic()
    counts = {key: config.sampler[key] for key in RUN_KEYS if key != "seed"}
    samples = sample(
        images,
        prior,
        rng_key=jax.random.key(config.sampler["seed"]),
        settings=settings,
        directory=out / CHAIN,
        progress_bar=progress_bar,
        **counts,
    )
    about = {
        "seed": config.sampler["seed"],
        "version": __version__,
        "files": list(config.image["files"]),
        "seconds": time.monotonic() - start,
    }
    samples = replace(samples, attrs={**samples.attrs, **about})
    samples.to_netcdf(out / SAMPLES)
    if config.sampler["prior_only"]:
        log("samples of the prior alone: no catalog or maps")
        return summarize(samples)
    return write_results(samples, images, config, out)


def _resolve(config: RunConfig, images: list[Image]) -> tuple[RunConfig, Any, Any]:
    """Fill in every default: the configuration as used, the prior, the sampler's settings."""
    from probcat.model.prior.prior import Prior
    from probcat.sampler.sample import sample
    from probcat.sampler.settings import SamplerSettings

    prior = Prior.from_image(images, **config.prior)
    given = {key: value for key, value in config.sampler.items() if key not in RUN_KEYS}
    settings = SamplerSettings(**given)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(sample).parameters.items()
        if name in RUN_KEYS
    }
    run = {**RUN_KEYS, **defaults}
    run |= {key: value for key, value in config.sampler.items() if key in RUN_KEYS}
    resolved = replace(
        config,
        image=absolute(config.image),
        prior=prior.to_config(),
        sampler={**run, **asdict(settings)},
    )
    return resolved, prior, settings


def check_directory(out: Path, overwrite: bool) -> None:
    """Refuse a directory that holds a run already."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out must name a directory")
    held = [name for name in (CONFIG, SAMPLES, CATALOG, CHAIN) if (out / name).exists()]
    if held and not overwrite:
        raise InputError(
            f"{out}: already holds a run ({', '.join(held)}); "
            "use --resume to go on with it, --overwrite to replace it, or another --out"
        )


def _clear(out: Path) -> None:
    """Make the directory, and take away what an earlier run wrote into it, nothing else."""
    out.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, SAMPLES, PSFS, CATALOG, ASSIGNMENT, MODEL, REPORT, *FIGURES):
        (out / name).unlink(missing_ok=True)
    # Those of several images have their labels in their names.
    for name in (ASSIGNMENT, MODEL, "residual.png"):
        stem, suffix = Path(name).stem, Path(name).suffix
        for path in out.glob(f"{stem}_*{suffix}"):
            path.unlink()
    shutil.rmtree(out / CHAIN, ignore_errors=True)


def _read_run(out: Path) -> RunConfig:
    """Read the configuration of a run."""
    if not (out / CONFIG).is_file():
        raise InputError(f"{out}: holds no run (no {CONFIG})")
    return read_config(out / CONFIG)
