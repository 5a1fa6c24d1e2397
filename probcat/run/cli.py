"""The command line: ``probcat demo``, ``probcat run``, and commands for a finished run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from probcat import __version__
from probcat.errors import InputError
from probcat.run import options
from probcat.run.compilation_cache import use_compilation_cache
from probcat.run.options import GroupedCommand, add_options, option
from probcat.run.settings import EXPORT_FORMATS, ImageSettings
from probcat.sampler.compiler_log import silence_compiler
from probcat.sampler.progress import show_phase

_IMAGE_KEYS = {field.name for field in fields(ImageSettings)}
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _keep_programs() -> None:
    """Keep compiled programs for later runs, or say why not."""
    if note := use_compilation_cache():
        click.echo(note, err=True)


class _Group(click.Group):
    """A group of commands in which an input error ends in one message and exit status 2."""

    command_class = GroupedCommand

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print an `InputError` without a traceback."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"probcat: error: {error}", err=True)
            ctx.exit(2)


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="probcat")
def main() -> None:
    """Probabilistic cataloguing: a posterior over the catalogs of an astronomical image."""
    silence_compiler()


@main.command(short_help="Catalog a simulated blend and score the result.")
@add_options(
    *options.sampling_options(options.demo_defaults),
    option(
        "--out",
        group="Output",
        metavar="DIRECTORY",
        type=click.Path(path_type=Path),
        default="probcat-demo",
        show_default=True,
        help="Directory of the results.",
    ),
    options.OVERWRITE,
    options.QUIET,
)
def demo(out: Path, overwrite: bool, quiet: bool, **sampling: Any) -> None:
    """Catalog a simulated blend of stars and galaxies, and score the catalog against the truth."""
    with show_phase("starting", not quiet):
        from probcat.run.demo import run_demo
        from probcat.sampler.compiled_block import use_all_cores

    use_all_cores()
    _keep_programs()
    with _resumable(out):
        click.echo(run_demo(out, overwrite=overwrite, progress_bar=not quiet, **sampling))


@main.command(short_help="Catalog one or several images.")
@click.argument("images", nargs=-1, metavar="IMAGE [IMAGE ...]", type=click.Path(path_type=Path))
@add_options(
    *options.INPUT,
    *options.PSF,
    *options.NOISE,
    *options.sampling_options(options.run_defaults),
    options.PRIOR_ONLY,
    option(
        "--out",
        group="Output",
        metavar="DIRECTORY",
        type=click.Path(path_type=Path),
        required=True,
        help="Directory of the results; must be given.",
    ),
    options.OVERWRITE,
    options.RESUME,
    options.QUIET,
)
def run(
    images: tuple[Path, ...],
    out: Path,
    config: str | None,
    uncertain_psf: bool,
    until_converged: bool | None,
    overwrite: bool,
    resume: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Catalog IMAGE, a FITS file with the extensions SCI, VAR (or ERR, IVAR), MASK and PSF.

    Several images, or several bands of a file, share one catalog; its positions are in pixels
    of the first image. The results are catalog.fits, assignment.fits, model.fits, samples.nc,
    config.toml and figures.
    """
    with show_phase("starting", not quiet):
        from probcat.model.prior.parameters import UNCERTAIN_PSF
        from probcat.run.config import RunConfig, read_config
        from probcat.run.pipeline import resume_run, start_run
        from probcat.sampler.compiled_block import use_all_cores

    use_all_cores()
    _keep_programs()
    given = _given(files=tuple(map(str, images)), **settings)
    if until_converged is not None:
        given["until_converged"] = until_converged
    if resume:
        if config is not None or overwrite or uncertain_psf or given:
            raise InputError("--resume takes all settings from --out; give no others with it")
        with _resumable(out):
            click.echo(resume_run(out, progress_bar=not quiet))
        return
    image = {key: given.pop(key) for key in list(given) if key in _IMAGE_KEYS}
    resolved = RunConfig() if config is None else read_config(config)
    resolved = resolved.update("image", **image).update("sampler", **given)
    if "max_time" in given and not resolved.sampler.get("until_converged"):
        raise InputError("--max-time ends a run that continues; add --until-converged")
    if uncertain_psf:
        resolved = resolved.update("prior", **UNCERTAIN_PSF)
    with _resumable(out):
        click.echo(start_run(resolved.check(), out, overwrite=overwrite, progress_bar=not quiet))


@main.command(short_help="Simulate blends for training and comparing deblenders.")
@option(
    "--challenge",
    "folder",
    metavar="DIRECTORY",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory of the set: images, true masks, shares of light, and catalogs.",
)
@option("-n", "--number", type=int, default=100, show_default=True, help="Number of images.")
@option("--survey", metavar="NAME", help="Camera of a survey, such as LSST or HSC (surveycodex).")
@option("--band", default="i", show_default=True, help="Band of the survey.")
@option("--size", type=int, default=48, show_default=True, help="Side of an image in pixels.")
@option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@add_options(options.QUIET)
def simulate(
    folder: Path, number: int, survey: str | None, band: str, size: int, seed: int, quiet: bool
) -> None:
    """Simulate blends of stars and galaxies with their true masks.

    Objects are transparent: their masks overlap. `probcat compare DIRECTORY SUBMISSION` scores the
    masks that another program found.
    """
    with show_phase("starting", not quiet):
        from probcat.run.challenge import Camera, survey_camera, write_challenge

    camera = survey_camera(survey, band) if survey else Camera(band=band)
    made = write_challenge(
        folder, number, camera=camera, size=size, seed=seed, progress_bar=not quiet
    )
    click.echo(f"{made}: {number} images of {size}x{size} px")


@main.command(short_help="Condense the samples of a run again.")
@click.argument("directory", type=click.Path(path_type=Path))
@add_options(*options.CATALOG)
def condense(directory: Path, **settings: Any) -> None:
    """Condense the samples of the run in DIRECTORY again; rewrite its catalog, maps and figures.

    Options that are given replace the settings of the catalog in its config.toml.
    """
    from probcat.run.pipeline import condense_run

    click.echo(condense_run(directory, **settings))


@main.command(short_help="Print the closing table and the settings of a run.")
@click.argument("directory", type=click.Path(path_type=Path))
def info(directory: Path) -> None:
    """Print the closing table, convergence and settings of the run in DIRECTORY."""
    from probcat.run.pipeline import describe_run

    click.echo(describe_run(directory))


@main.command(short_help="Write a run as a page for the browser.")
@click.argument("directory", type=click.Path(path_type=Path))
@option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The page; by default DIRECTORY/report.html.",
)
def report(directory: Path, out: Path | None) -> None:
    """Write the run in DIRECTORY as a page for any browser: its images, objects and chains."""
    from probcat.run.report.page import write_report

    click.echo(write_report(directory, out))


@main.command(short_help="Write the catalog of a run in another format.")
@click.argument("directory", type=click.Path(path_type=Path))
@option(
    "--format",
    metavar="FORMAT",
    type=click.Choice(EXPORT_FORMATS),
    required=True,
    help=f"One of {', '.join(EXPORT_FORMATS)}; must be given. The format ds9 writes regions.",
)
@option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The file; by default catalog.<ending> in DIRECTORY.",
)
@option(
    "--min-prob",
    metavar="PROB",
    type=float,
    default=0.0,
    show_default=True,
    help="Leave out objects that exist with a smaller probability.",
)
@option(
    "--frame",
    metavar="image|fk5",
    type=click.Choice(["image", "fk5"]),
    help="Coordinates of ds9 regions; by default fk5 if the image has a WCS, else image.",
)
def export(
    directory: Path, format: str, out: Path | None, min_prob: float, frame: str | None
) -> None:
    """Write the catalog of the run in DIRECTORY in the format of other programs."""
    from probcat.run.export import export_run

    click.echo(export_run(directory, format, out, min_prob=min_prob, frame=frame))


@main.command(short_help="Score a run against a truth.")
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("truth", type=click.Path(path_type=Path))
@option(
    "--match-radius",
    metavar="PIXELS",
    type=float,
    help="Largest distance of a match; by default half of the PSF's FWHM.",
)
@option(
    "--max-mag-difference",
    metavar="MAG",
    type=float,
    help="Largest difference in magnitude of a match; by default there is no limit.",
)
@option(
    "--threshold",
    metavar="PROB",
    type=float,
    defaults=options.compare_defaults,
    help="The mask of an object is where its footprint is more probable than this.",
)
@option("--json", "file", metavar="FILE", type=click.Path(), help="Also write the scores here.")
def compare(directory: Path, truth: Path, file: str | None, **settings: Any) -> None:
    """Score the run in DIRECTORY against TRUTH.

    TRUTH is a table of sources (x, y or ra, dec, and perhaps flux or mag and a type), a FITS
    file of noise-free images TRUTH_<band> of all components, or labels or masks (FITS, .npy,
    .npz). If DIRECTORY is a set that `probcat simulate --challenge` wrote, TRUTH is a submission:
    a .npz file with masks of the same images.
    """
    from probcat.run.challenge import MASKS, score_submission

    if (directory / MASKS).is_file():
        scores = score_submission(directory, truth)
        click.echo("\n".join(f"{name:24} {value:.4f}" for name, value in scores.items()))
        if file is not None:
            Path(file).write_text(json.dumps(scores, indent=1))
        return
    from probcat.run.compare import compare as compare_run

    comparison = compare_run(directory, truth, **_given(**settings))
    click.echo(str(comparison))
    if file is not None:
        comparison.write_json(file)


def _given(**settings: Any) -> dict[str, Any]:
    """Return the options that were given: neither None, nor an unset flag, nor an empty list."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in settings.items()
        if value is not None and value is not False and value != ()
    }


@contextmanager
def _resumable(out: Path) -> Iterator[None]:
    """Turn an interruption into a message on how to resume, and exit status 130."""
    from probcat.run.directory import resume_command
    from probcat.run.files import CONFIG

    try:
        yield
    except KeyboardInterrupt:
        if (out / CONFIG).is_file():
            message = f"stopped; the draws so far are in {out}. Resume with:\n  "
            message += resume_command(out)
        else:
            message = "stopped before sampling began; there is nothing to resume"
        click.echo(f"\nprobcat: {message}", err=True)
        sys.exit(130)
