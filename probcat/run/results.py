"""Results of a run: catalog, members, maps, models and figures, written from its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    """Condense samples, assign pixels, and write catalog, members, maps, models and figures.

    Parameters
    ----------
    samples : Samples
        Compacted draws from the posterior.
    images : sequence of Image
        The images that were sampled. If there are several, each has maps and a model of its own,
        in files whose names end in its label.
    config : RunConfig
        Settings of the run; the section ``[catalog]`` is used, seed and inputs are recorded.
    out : Path
        Directory of the results.

    Returns
    -------
    Summary
        The closing table.
    """
    from probcat.catalog.condense import condense
    from probcat.catalog.fits import write_alternatives, write_catalog
    from probcat.pixels.flags import flag_cards, flag_run
    from probcat.samples.diagnostics import diagnose

    catalog = condense(samples, **config.condense_options())
    diagnostics = diagnose(samples)
    summary = summarize(samples, catalog, diagnostics)
    labels = [f"_{label}" for label in image_labels(images)] if len(images) > 1 else [""]
    columns = {"flags": flag_run(catalog, diagnostics)}
    # Images are processed one by one, since the maps of all would take much memory.
    for image, own, label in zip(images, samples_per_image(samples, images), labels, strict=True):
        cards = provenance(config, image, summary)
        what = (label, cards, image is images[0])
        found = _write_image_results(own, image, catalog, config, out, what)
        columns["flags"] = columns["flags"] | found.pop("flags")
        # Columns of blends are those of the first image.
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
    """Write maps, model and figures of one image; return the columns that follow from its pixels.

    The last argument is the label in names of files, the header, and whether it is the first image.
    """
    from probcat import plots
    from probcat.pixels.assign import assign_pixels
    from probcat.pixels.blends import blend_columns, find_footprints, positions
    from probcat.pixels.fits import write_assignment, write_model
    from probcat.pixels.flags import flag_pixels
    from probcat.pixels.model_image import mean_background, posterior_model

    label, cards, first = what
    options = config.assign_options()
    assignment = assign_pixels(samples, catalog, image, **options)
    # From the same draws as the maps, so that their noise is that of the residuals.
    model = posterior_model(samples, image, **config.model_options())
    write_assignment(_labelled(out / ASSIGNMENT, label), assignment, cards)
    write_model(_labelled(out / MODEL, label), image, model, cards)
    if first:
        write_figures(samples, image, catalog, assignment, model, out)
    else:
        figure = plots.plot_residual(image, model)
        figure.savefig(_labelled(out / "residual.png", label), dpi=120)
    position = positions(samples, catalog)
    footprints = find_footprints(catalog, assignment, image, position)
    light = model.mean - mean_background(samples, image)
    columns = blend_columns(catalog, footprints, light)
    return {**columns, "flags": flag_pixels(footprints, image, position)}


def _labelled(path: Path, label: str) -> Path:
    return path.with_name(f"{path.stem}{label}{path.suffix}")


def provenance(config: RunConfig, image: Image, summary: Summary) -> dict[str, Any]:
    """Return the keywords of every file: program, seed, inputs, and diagnostics of the run.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    image : Image
        Image of the file.
    summary : Summary
        The closing table.

    Returns
    -------
    dict
        Values and comments by FITS keyword.
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
    """Write the figures of a run, see `probcat.run.files.FIGURES`.

    Parameters
    ----------
    samples : Samples
        Samples in the pixels of the image.
    image : Image
        First image of the run.
    catalog : CondensedCatalog
        Catalog that was condensed from the samples.
    assignment : Assignment
        Maps of the image.
    model : PosteriorModel
        Model of the image.
    out : Path
        Directory of the PNG files.
    """
    from probcat import plots

    # Positions are in pixels of the first image, so that it can be plotted without the others.
    of_image = replace(catalog, attrs={**catalog.attrs, "images": {}})
    figures: dict[str, Any] = {
        "objects": plots.plot_scene(image, of_image).figure,
        "residual": plots.plot_residual(image, model),
        "traces": plots.plot_trace(samples),
        "blend": plots.plot_corner(samples, catalog, assignment),
        "pixels": plots.plot_assignment(assignment, image),
    }
    for name in FIGURES:
        figures[name.removesuffix(".png")].savefig(out / name, dpi=120)
