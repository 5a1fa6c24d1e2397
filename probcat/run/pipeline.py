"""A run from end to end: image, samples, catalog, maps, figures, in one directory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probcat import __version__
from probcat.errors import InputError
from probcat.model.prior.describe import describe_images, describe_prior
from probcat.run.config import RunConfig, absolute, write_config
from probcat.run.directory import check_directory, clear_directory, read_run_config, resume_command
from probcat.run.files import CATALOG, CHAIN, CONFIG, PSFS, SAMPLES
from probcat.run.inputs import read_input
from probcat.run.refined_psfs import with_psfs, write_psfs
from probcat.run.results import write_results
from probcat.sampler.progress import show_phase
from probcat.samples.summary import Summary, acceptance_table, summarize

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.model.prior.prior import Prior
    from probcat.sampler.settings import SamplerSettings


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
        Images and settings; settings that are not given take their defaults.
    out : Path
        Directory of the results, created if it does not exist.
    overwrite : bool
        Replace a run that ``out`` holds.
    progress_bar : bool
        Show a progress bar.
    log : callable
        Receives each line about the input and the progress of the run.

    Returns
    -------
    Summary
        The closing table.

    Raises
    ------
    InputError
        If the input or a setting cannot be used; nothing has been written then.
    """
    out = Path(out)
    check_directory(out, overwrite)
    with show_phase("reading", progress_bar):
        images = read_input(config)
    for image in images:
        for note in image.notes:
            log(f"{image.name}: {note}")
    refined = _refine_psfs(config, images, progress_bar, log)
    resolved, prior, settings = _resolve(config, refined)
    for line in [*describe_images(refined), *describe_prior(resolved.prior, config.prior, refined)]:
        log(line)
    clear_directory(out)
    if refined is not images:
        write_psfs(out / PSFS, refined)
        images = with_psfs(out / PSFS, images)
        resolved = resolved.update("image", refine_psf=0, refined_psf=str((out / PSFS).resolve()))
    write_config(out / CONFIG, resolved)
    return _sample_and_write(resolved, images, prior, settings, out, progress_bar, log)


def resume_run(
    out: Path, *, progress_bar: bool = True, log: Callable[[str], None] = print
) -> Summary:
    """Resume a run that was stopped.

    Parameters
    ----------
    out : Path
        Directory of the run.
    progress_bar, log
        As in `start_run`.

    Returns
    -------
    Summary
        The closing table.

    Raises
    ------
    InputError
        If the directory holds no run, or its images cannot be read any more.
    """
    out = Path(out)
    config = read_run_config(out)
    with show_phase("reading", progress_bar):
        images = read_input(config)
    resolved, prior, settings = _resolve(config, images)
    return _sample_and_write(resolved, images, prior, settings, out, progress_bar, log)


def condense_run(out: Path, **options: Any) -> Summary:
    """Condense the samples of a run again, and rewrite its catalog, maps and figures.

    Parameters
    ----------
    out : Path
        Directory of the run; its ``[catalog]`` settings may have been edited.
    **options
        New values of settings of ``[catalog]``, which are written to the configuration of the
        run; None changes nothing.

    Returns
    -------
    Summary
        The closing table.

    Raises
    ------
    InputError
        If the directory holds no samples, or samples of the prior alone, or a setting is refused.
    """
    from probcat.samples.samples import Samples

    out = Path(out)
    before = read_run_config(out)
    config = before.update("catalog", **options).check()
    if config.run_settings().prior_only:
        raise InputError(f"{out}: samples of the prior alone have no objects to condense")
    samples = Samples.from_netcdf(out / SAMPLES)
    summary = write_results(samples, read_input(config), config, out)
    if config != before:
        write_config(out / CONFIG, config)
    return summary


def describe_run(out: Path) -> str:
    """Return the closing table of a run, its convergence and acceptance, and its configuration.

    Parameters
    ----------
    out : Path
        Directory of the run.

    Returns
    -------
    str
        Paragraphs of text, the closing table first.

    Raises
    ------
    InputError
        If the directory holds no run.
    """
    from probcat.catalog.fits import read_catalog
    from probcat.samples.diagnostics import diagnose
    from probcat.samples.samples import Samples

    out = Path(out)
    read_run_config(out)
    if (out / SAMPLES).is_file():
        samples = Samples.from_netcdf(out / SAMPLES)
        diagnostics = diagnose(samples)
        catalog = read_catalog(out / CATALOG) if (out / CATALOG).is_file() else None
        summary = summarize(samples, catalog, diagnostics)
        found = [str(summary), str(diagnostics), acceptance_table(samples)]
    else:
        found = [f"This run is not finished; resume it with: {resume_command(out)}"]
    settings = (out / CONFIG).read_text(encoding="utf-8").rstrip()
    return "\n\n".join(part for part in [*found, settings] if part)


def _refine_psfs(
    config: RunConfig, images: list[Image], progress_bar: bool, log: Callable[[str], None]
) -> list[Image]:
    """Return images with PSFs refined in as many rounds as the configuration asks for."""
    from probcat.run.refine_psf import refine_psf

    rounds = config.image.get("refine_psf", 0)
    if not rounds:
        return images
    log(f"refining the PSF from a short run ({rounds} round{'s' if rounds > 1 else ''})")
    refined = refine_psf(
        images,
        rounds=rounds,
        rng_key=config.run_settings().seed,
        settings=config.sampler_settings(),
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
    prior: Prior,
    settings: SamplerSettings,
    out: Path,
    progress_bar: bool,
    log: Callable[[str], None],
) -> Summary:
    """Sample, save the samples, and write the results that follow from them."""
    import jax

    from probcat.sampler.sample import sample

    start = time.monotonic()
    counts = asdict(config.run_settings())
    seed = counts.pop("seed")
    samples = sample(
        images,
        prior,
        rng_key=jax.random.key(seed),
        settings=settings,
        directory=out / CHAIN,
        progress_bar=progress_bar,
        **counts,
    )
    record = {
        "seed": seed,
        "version": __version__,
        "files": list(config.image["files"]),
        "seconds": time.monotonic() - start,
    }
    samples = replace(samples, attrs={**samples.attrs, **record})
    samples.to_netcdf(out / SAMPLES)
    if counts["prior_only"]:
        log("samples of the prior alone: no catalog and no maps are written")
        return summarize(samples)
    with show_phase("condensing", progress_bar):
        return write_results(samples, images, config, out)


def _resolve(config: RunConfig, images: list[Image]) -> tuple[RunConfig, Prior, SamplerSettings]:
    """Return the configuration with all defaults filled in, the prior and the sampler settings."""
    from probcat.model.prior.prior import Prior

    prior = Prior.from_image(images, **config.prior)
    settings = config.sampler_settings()
    resolved = replace(
        config,
        image=absolute(config.image),
        prior=prior.to_config(),
        sampler={**asdict(config.run_settings()), **asdict(settings)},
    )
    return resolved, prior, settings
