"""What a report shows: a run read back, and its objects as every image sees them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.pixels.fits import read_model
from probcat.plots.drawing import outlines
from probcat.run.config import RunConfig, read_config
from probcat.samples.samples import SHAPE_NAMES

if TYPE_CHECKING:
    from probcat.catalog.catalog import CondensedCatalog
    from probcat.image.alignment import Alignment
    from probcat.image.image import Image
    from probcat.pixels.assignment import Assignment
    from probcat.pixels.model_image import PosteriorModel
    from probcat.samples.samples import Samples


@dataclass(frozen=True, eq=False)
class ImageContents:
    """One image, what was found in it, and where its objects lie.

    Parameters
    ----------
    label : str
    image : Image
    link : Alignment
        From the first image.
    assignment : Assignment
    model : PosteriorModel
    columns : mapping of str to ndarray, shape (n,)
        `x`, `y`, `half_light_radius`, `ellipticity_1`, `ellipticity_2` in its pixels, and the
        outlines' `width`, `height` (pixels, full length) and `angle` (degrees).
    """

    label: str
    image: Image
    link: Alignment
    assignment: Assignment
    model: PosteriorModel
    columns: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class RunContents:
    """A finished run.

    Parameters
    ----------
    directory : Path
    config : RunConfig
    samples : Samples
        Positions in pixels of the first image.
    catalog : CondensedCatalog
    table : astropy.table.Table
        What ``catalog.fits`` holds; its ``meta`` is the header.
    alternatives : mapping of int to list of (float, str)
        By ``alternative_group`` the configurations of its objects: their probabilities, and
        the ids of the objects that are there. Empty where the catalog has none.
    images : tuple of ImageContents
    """

    directory: Path
    config: RunConfig
    samples: Samples
    catalog: CondensedCatalog
    table: Any
    alternatives: dict[int, list[tuple[float, str]]]
    images: tuple[ImageContents, ...]


def read_contents(directory: Path) -> RunContents:
    """Read a run back from its directory.

    Parameters
    ----------
    directory : Path
        Of a run that is finished.

    Returns
    -------
    RunContents

    Raises
    ------
    InputError
        If there is no finished run, it sampled the prior alone, its images are gone, or its
        catalog and maps are not those of its samples.
    """
    from probcat.catalog.condense import condense
    from probcat.catalog.fits import read_catalog
    from probcat.image.alignment import align_images, image_labels
    from probcat.run.files import CATALOG, CONFIG, SAMPLES
    from probcat.run.inputs import read_input
    from probcat.samples.per_image import samples_per_image
    from probcat.samples.samples import Samples

    if not (directory / CONFIG).is_file():
        raise InputError(f"{directory}: holds no run (no {CONFIG})")
    config = read_config(directory / CONFIG)
    if config.sampler.get("prior_only"):
        raise InputError(f"{directory}: samples of the prior alone have nothing to report")
    if not (directory / SAMPLES).is_file():
        raise InputError(
            f"{directory}: is not finished (no {SAMPLES}); "
            f"go on with: probcat run --out {directory} --resume"
        )
    samples = Samples.from_netcdf(directory / SAMPLES)
    images = read_input(config)
    names = inspect.signature(condense).parameters
    catalog = condense(samples, **{k: v for k, v in config.catalog.items() if k in names})
    table = read_catalog(directory / CATALOG)
    if not _agree(table, catalog):
        raise InputError(_stale(directory / CATALOG, directory))
    alternatives = _read_alternatives(directory / CATALOG)
    several = zip(
        image_labels(images),
        images,
        align_images(images),
        samples_per_image(samples, images),
        strict=True,
    )
    found = tuple(
        _read_image(directory, catalog, label, image, link, view, len(images) > 1)
        for label, image, link, view in several
    )
    return RunContents(directory, config, samples, catalog, table, alternatives, found)


def _agree(table: Any, catalog: CondensedCatalog) -> bool:
    """Whether a catalog file is what the samples condense to now."""
    return len(table) == len(catalog) and all(
        np.allclose(np.asarray(table[name]), np.asarray(catalog[name]), rtol=0, atol=1e-3)
        for name in ("x", "y", "prob_exist")
    )


def _read_alternatives(path: Path) -> dict[int, list[tuple[float, str]]]:
    """Read the configurations of blends, if the catalog's file has any."""
    from astropy.table import Table

    from probcat.files.fits import open_fits

    found: dict[int, list[tuple[float, str]]] = {}
    with open_fits(path) as hdus:
        if "ALTERNATIVES" not in hdus:
            return found
        table = Table.read(hdus["ALTERNATIVES"])
    columns = (table[name].tolist() for name in ("alternative_group", "prob", "object_ids"))
    for group, prob, ids in zip(*columns, strict=True):
        text = ids.decode() if isinstance(ids, bytes) else ids
        found.setdefault(int(group), []).append((float(prob), text.strip()))
    return found


def _stale(path: Path, directory: Path) -> str:
    return (
        f"{path}: does not belong to the samples beside it; "
        f"make it anew with: probcat condense {directory}"
    )


def _read_image(
    directory: Path,
    catalog: CondensedCatalog,
    label: str,
    image: Image,
    link: Alignment,
    view: Samples,
    one_of_several: bool,
) -> ImageContents:
    """Read maps and model of one image."""
    from probcat.pixels.fits import read_assignment
    from probcat.run.files import ASSIGNMENT, MODEL

    end = f"_{label}" if one_of_several else ""
    path = {name: directory / name.replace(".", f"{end}.") for name in (ASSIGNMENT, MODEL)}
    assignment = read_assignment(path[ASSIGNMENT])
    if assignment.shape != image.shape or not np.array_equal(
        assignment.object_ids, catalog["object_id"]
    ):
        raise InputError(_stale(path[ASSIGNMENT], directory))
    model = read_model(path[MODEL])
    if model.mean.shape != image.shape:
        raise InputError(_stale(path[MODEL], directory))
    columns = _seen_objects(view, catalog)
    shapes = zip(
        ("width", "height", "angle"), outlines(columns, np.arange(len(catalog))), strict=True
    )
    return ImageContents(label, image, link, assignment, model, columns | dict(shapes))


def _seen_objects(view: Samples, catalog: CondensedCatalog) -> dict[str, np.ndarray]:
    """Average positions and shapes of the objects' members, in the pixels of a view."""
    members = np.asarray(catalog.members)
    extended = np.asarray(view.sources["is_extended"], dtype=bool)
    found = {"prob_star": np.asarray(catalog["prob_star"])}
    for name in ("x", "y", *SHAPE_NAMES):
        use = (members >= 0) & (extended if name in SHAPE_NAMES else True)
        row, values = members[use], np.asarray(view.sources[name], np.float64)[use]
        count = np.bincount(row, minlength=len(catalog))
        total = np.bincount(row, values, minlength=len(catalog))
        found[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found
