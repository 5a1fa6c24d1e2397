"""The command line: ``probcat demo``, ``run``, and what is done with a run afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from probcat import __version__
from probcat.errors import InputError
from probcat.sampler.compiler_log import silence_compiler

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Group(click.Group):
    """Commands whose input errors end in one message and exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print an `InputError` without a traceback."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"probcat: error: {error}", err=True)
            ctx.exit(2)


def _sampling_options(command: Any) -> Any:
    """Add the options that `run` and `demo` share."""
    for option in reversed(
        [
            click.option("--seed", type=click.IntRange(0), help="Seed of all random numbers [0]."),
            click.option("--num-chains", type=click.IntRange(1), help="Chains run side by side."),
            click.option("--num-warmup", type=click.IntRange(0), help="Draws thrown away first."),
            click.option("--num-samples", type=click.IntRange(1), help="Draws kept of each chain."),
            click.option(
                "--num-temperatures",
                type=click.IntRange(1),
                help="Tempered chains that exchange catalogs with each chain [1: none].",
            ),
            click.option("--overwrite", is_flag=True, help="Replace a run that --out holds."),
            click.option("--quiet", is_flag=True, help="No progress bar."),
        ]
    ):
        command = option(command)
    return command


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="probcat")
def main() -> None:
    """Probabilistic cataloguing: a posterior over the catalogs of an astronomical image."""
    silence_compiler()


@main.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("probcat-demo"),
    show_default=True,
    help="Folder for the results.",
)
@_sampling_options
def demo(out: Path, overwrite: bool, quiet: bool, **sampling: Any) -> None:
    """Catalog a simulated blend of stars and galaxies, and compare with the truth."""
    from probcat.run.demo import run_demo
    from probcat.sampler.compiled_block import use_all_cores

    use_all_cores()
    with _resumable(out):
        click.echo(run_demo(out, overwrite=overwrite, progress_bar=not quiet, **sampling))


@main.command()
@click.argument("images", nargs=-1, metavar="IMAGE [IMAGE ...]", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the results."
)
@click.option(
    "--band",
    "bands",
    multiple=True,
    help="Which band of a file of several: picks SCI_<band>, ...; repeat for more [all].",
)
@click.option("--psf", type=click.Path(path_type=Path), help="FITS file of the PSF.")
@click.option("--estimate-psf", is_flag=True, help="Build the PSF from stars of the image.")
@click.option(
    "--psf-stars",
    type=click.Path(path_type=Path),
    help="Stars to build it from: a table with x, y (from 0) or ra, dec.",
)
@click.option(
    "--refine-psf",
    type=click.IntRange(min=1),
    metavar="ROUNDS",
    help="Correct the PSFs first by all bright stars of a short run, so many times.",
)
@click.option(
    "--mask-plane",
    "mask_planes",
    multiple=True,
    metavar="NAME|BIT",
    help="What in MASK is bad, instead of the usual planes; repeat for more.",
)
@click.option("--saturation", type=float, help="Mask pixels at or above this [SATURATE].")
@click.option("--gain", type=float, help="Electrons per unit, where there is no variance.")
@click.option("--read-noise", type=float, help="Read noise in electrons, likewise.")
@click.option(
    "--model-variance",
    is_flag=True,
    help="Photon noise of sources from the model, by the gain, not from the pixels.",
)
@click.option(
    "--uncertain-psf", is_flag=True, help="Sample a small error and width of every PSF too."
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings, a TOML file.")
@click.option("--prior-only", is_flag=True, help="Sample the prior: the pixels weigh nothing.")
@click.option("--resume", is_flag=True, help="Go on with the run that --out holds.")
@_sampling_options
def run(
    images: tuple[Path, ...],
    out: Path,
    bands: tuple[str, ...],
    psf: Path | None,
    estimate_psf: bool,
    psf_stars: Path | None,
    refine_psf: int | None,
    mask_planes: tuple[str, ...],
    saturation: float | None,
    gain: float | None,
    read_noise: float | None,
    model_variance: bool,
    uncertain_psf: bool,
    config: Path | None,
    prior_only: bool,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    **sampling: Any,
) -> None:
    """Catalog IMAGE, a FITS file with extensions SCI, VAR (or ERR, IVAR), MASK and PSF.

    Several images, or bands of a file, share one catalog; positions are in pixels of the
    first. Writes into --out: catalog.fits, assignment.fits, model.fits, samples.nc,
    config.toml and figures.
    """
    from probcat.model.prior.parameters import UNCERTAIN_PSF
    from probcat.run.config import RunConfig, read_config
    from probcat.run.pipeline import resume_run, start_run
    from probcat.sampler.compiled_block import use_all_cores

    use_all_cores()
    named = {
        "files": [str(path) for path in images] or None,
        "band": list(bands) or None,
        "psf": None if psf is None else str(psf),
        "estimate_psf": estimate_psf or None,
        "psf_stars": None if psf_stars is None else str(psf_stars),
        "refine_psf": refine_psf,
        "mask_planes": list(mask_planes) or None,
        "saturation": saturation,
        "gain": gain,
        "read_noise": read_noise,
        "model_variance": model_variance or None,
    }
    if resume:
        given = [config, *named.values(), *sampling.values()]
        if overwrite or prior_only or uncertain_psf or any(value is not None for value in given):
            raise InputError("--resume takes all settings from --out; give no others with it")
        with _resumable(out):
            click.echo(resume_run(out, progress_bar=not quiet))
        return
    settings = RunConfig() if config is None else read_config(config)
    settings = settings.update("image", **named)
    if uncertain_psf:
        settings = settings.update("prior", **UNCERTAIN_PSF)
    settings = settings.update("sampler", prior_only=prior_only or None, **sampling).check()
    with _resumable(out):
        click.echo(start_run(settings, out, overwrite=overwrite, progress_bar=not quiet))


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--method", type=click.Choice(["mixture", "greedy"]), help="How to find objects.")
@click.option(
    "--radius", type=float, help="Sources within it may be the same at first sight, pixels."
)
@click.option("--min-prob", type=float, help="Least probability of an object that is kept.")
@click.option(
    "--substructure/--no-substructure",
    default=None,
    help="Whether sources may be parts of a galaxy [parts].",
)
def condense(
    directory: Path,
    method: str | None,
    radius: float | None,
    min_prob: float | None,
    substructure: bool | None,
) -> None:
    """Make catalog, maps and figures anew from the samples of a run in DIRECTORY.

    Options that are given replace those in its config.toml, section [catalog].
    """
    from probcat.run.pipeline import condense_run

    options = {
        "method": method,
        "radius": radius,
        "min_prob": min_prob,
        "substructure": substructure,
    }
    click.echo(condense_run(directory, **options))


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
def info(directory: Path) -> None:
    """Print the settings and the closing table of a run in DIRECTORY."""
    from probcat.run.pipeline import describe_run

    click.echo(describe_run(directory))


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The file [DIRECTORY/report.html].")
def report(directory: Path, out: Path | None) -> None:
    """Write a page of a run in DIRECTORY that opens in any browser: images, objects, chains."""
    from probcat.run.report.page import write_report

    click.echo(write_report(directory, out))


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--format",
    type=click.Choice(["ecsv", "ascii", "csv", "parquet", "ds9", "fits", "votable"]),
    required=True,
    help="Format of the file; ds9 gives regions.",
)
@click.option("--out", type=click.Path(path_type=Path), help="File [DIRECTORY/catalog.<ending>].")
@click.option(
    "--min-prob",
    type=float,
    default=0.0,
    show_default=True,
    help="Least probability of existence of an object that is written.",
)
@click.option(
    "--frame", type=click.Choice(["image", "fk5"]), help="Of regions [fk5 with a WCS, else image]."
)
def export(
    directory: Path, format: str, out: Path | None, min_prob: float, frame: str | None
) -> None:
    """Write the catalog of a run in DIRECTORY for other programs."""
    from probcat.run.export import export_run

    click.echo(export_run(directory, format, out, min_prob=min_prob, frame=frame))


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("truth", type=click.Path(path_type=Path))
@click.option(
    "--match-radius", type=float, help="Largest distance of a match, pixels [half the FWHM]."
)
@click.option(
    "--max-mag-difference", type=float, help="Largest difference of magnitudes of a match [any]."
)
@click.option(
    "--threshold",
    type=float,
    default=0.5,
    show_default=True,
    help="An object's mask is where its footprint is more probable than this.",
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the scores there.")
def compare(
    directory: Path,
    truth: Path,
    match_radius: float | None,
    max_mag_difference: float | None,
    threshold: float,
    file: Path | None,
) -> None:
    """Score the run in DIRECTORY against TRUTH.

    TRUTH is a table of sources (x, y or ra, dec; maybe flux or mag, and a type), a FITS file
    with noise-free images TRUTH_<band> of all components, or labels or masks (FITS, .npy, .npz).
    """
    from probcat.run.compare import compare as compare_run

    found = compare_run(
        directory,
        truth,
        match_radius=match_radius,
        max_mag_difference=max_mag_difference,
        threshold=threshold,
    )
    click.echo(str(found))
    if file is not None:
        found.write_json(file)


@contextmanager
def _resumable(out: Path) -> Iterator[None]:
    """Turn an interruption into a line that says how to go on, and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(
            f"\nprobcat: stopped; what was sampled is kept in {out}. Go on with:\n"
            f"  probcat run --out {out} --resume",
            err=True,
        )
        sys.exit(130)
