"""What follows from the samples of a run: catalog, maps, model and figures, as files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat import __version__
from probcat.image.alignment import image_labels
from probcat.run.config import RunConfig
from probcat.run.files import ALTERNATIVES, ASSIGNMENT, CATALOG, FIGURES, MEMBERS, MODEL
from probcat.samples.per_image import samples_per_image
from probcat.samples.summary import Summary, summarize

if TYPE_CHECKING:
    from probcat.catalog.catalog import CondensedCatalog
    from probcat.image.image import Image
    from probcat.pixels.assignment import Assignment
    from probcat.pixels.model_image import PosteriorModel
    from probcat.samples.samples import Samples


def write_results(
    samples: Samples, images: Sequence[Image], config: RunConfig, out: Path
) -> Summary:
    """Condense samples, assign pixels, and write catalog, maps, model and figures.

    Parameters
    ----------
    samples : Samples
        Compacted draws.
    images : sequence of Image
        The data. Of several every one has its own maps and model, in files whose names end in
        its band.
    config : RunConfig
        Its ``[catalog]`` section is used, and seed and inputs are recorded.
    out : Path
        Directory of the results.

    Returns
    -------
    Summary
    """
    from probcat.catalog.condense import condense
    from probcat.catalog.fits import write_alternatives, write_catalog
    from probcat.pixels.flags import flag_cards, flag_run
    from probcat.samples.diagnostics import diagnose

    catalog = condense(samples, **_options_of(condense, config.catalog))
    diagnostics = diagnose(samples)
    summary = summarize(samples, catalog, diagnostics)
    labels = [f"_{label}" for label in image_labels(images)] if len(images) > 1 else [""]
    columns = {"flags": flag_run(catalog, diagnostics)}
    for image, view, label in zip(images, samples_per_image(samples, images), labels, strict=True):
        own = provenance(config, image, summary)
        what = (label, own, image is images[0])
        found = _write_image_results(view, image, catalog, config, out, what)
        columns["flags"] = columns["flags"] | found.pop("flags")
        # Blends are those of the first image.
        columns = {**found, **columns}
    catalog = catalog.with_columns(columns)
    cards = provenance(config, images[0], summary) | flag_cards()
    write_catalog(out / CATALOG, catalog.to_table(images), cards)
    write_alternatives(out / ALTERNATIVES, catalog.alternatives_table(), cards)
    catalog.to_netcdf(out / MEMBERS)
    return summary


def _write_image_results(
    samples: Samples,
    image: Image,
    catalog: CondensedCatalog,
    config: RunConfig,
    out: Path,
    what: tuple[str, dict[str, Any], bool],
) -> dict[str, np.ndarray]:
    """Write maps, model and figures of one image; give columns that follow from its pixels."""
    from probcat import plots
    from probcat.pixels.assign import assign_pixels
    from probcat.pixels.blends import blend_columns, find_footprints, positions
    from probcat.pixels.fits import write_assignment, write_model
    from probcat.pixels.flags import flag_pixels
    from probcat.pixels.model_image import mean_background, posterior_model

    label, cards, first = what
    assignment = assign_pixels(
        samples, catalog, image, **_options_of(assign_pixels, config.catalog)
    )
    # The same draws, so that noise of maps and residuals is the same.
    model = posterior_model(samples, image, **_options_of(posterior_model, config.catalog))
    write_assignment(_labelled(out / ASSIGNMENT, label), assignment, cards)
    write_model(_labelled(out / MODEL, label), image, model, cards)
    if first:
        write_figures(samples, image, catalog, assignment, model, out)
    else:
        figure = plots.plot_residual(image, model)
        figure.savefig(_labelled(out / "residual.png", label), dpi=120)
    place = positions(samples, catalog)
    footprints = find_footprints(catalog, assignment, image, place)
    light = model.mean - mean_background(samples, image)
    columns = blend_columns(catalog, footprints, light)
    return {**columns, "flags": flag_pixels(footprints, image, place)}


def _labelled(path: Path, label: str) -> Path:
    return path.with_name(f"{path.stem}{label}{path.suffix}")


def provenance(config: RunConfig, image: Image, summary: Summary) -> dict[str, Any]:
    """Give the header of every file: program, seed, inputs, and how well the run went.

    Returns
    -------
    dict
        FITS keyword to (value, comment).
    """
    cards: dict[str, Any] = {
        "CREATOR": (f"probcat {__version__}", "program and version"),
        "SEED": (config.sampler["seed"], "seed of all random numbers"),
    }
    for number, name in enumerate(config.image["files"], start=1):
        cards[f"INPUT{number}"] = (Path(name).name, "input image")
    if image.band:
        cards["FILTER"] = (image.band, "band")
    if image.zero_point is not None:
        cards["MAGZERO"] = (image.zero_point, "AB magnitude of one unit of flux")
    return cards | summary.cards()


def write_figures(
    samples: Samples,
    image: Image,
    catalog: CondensedCatalog,
    assignment: Assignment,
    model: PosteriorModel,
    out: Path,
) -> None:
    """Draw the figures of a run as PNG files, see `FIGURES`."""
    from probcat import plots

    figures: dict[str, Any] = {
        "objects": plots.plot_scene(image, catalog).figure,
        "residual": plots.plot_residual(image, model),
        "traces": plots.plot_trace(samples),
        "blend": plots.plot_corner(samples, catalog, assignment),
        "pixels": plots.plot_assignment(assignment, image),
    }
    for name in FIGURES:
        figures[name.removesuffix(".png")].savefig(out / name, dpi=120)


def _options_of(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the options that a function takes."""
    names = inspect.signature(function).parameters
    return {key: value for key, value in options.items() if key in names}
