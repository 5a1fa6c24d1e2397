"""Contents of a report: a run read back, with its objects in the pixels of every image."""

from __future__ import annotations

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
    """One image of a run, its maps and model, and the positions of objects in it.

    Parameters
    ----------
    label : str
        Label of the image: its band, with a number if there are several of the band.
    image : Image
        The image.
    alignment : Alignment
        How the image relates to the first one.
    assignment : Assignment
        Maps of the image.
    model : PosteriorModel
        Model of the image.
    columns : mapping of str to ndarray, shape (n,)
        `x`, `y`, `half_light_radius`, `ellipticity_1` and `ellipticity_2` in its pixels, and
        `width`, `height` (pixels, full lengths) and `angle` (degrees) of the outlines.
    """

    label: str
    image: Image
    alignment: Alignment
    assignment: Assignment
    model: PosteriorModel
    columns: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class RunContents:
    """A finished run.

    Parameters
    ----------
    directory : Path
        Directory of the run.
    config : RunConfig
        Settings of the run.
    samples : Samples
        Draws, with positions in pixels of the first image.
    catalog : CondensedCatalog
        Objects and their members.
    table : astropy.table.Table
        Table of ``catalog.fits``, with its header in ``meta``.
    alternatives : mapping of int to list of (float, str)
        Configurations by ``alternative_group``: their probabilities, and the numbers of the objects
        that are present.
    images : tuple of ImageContents
        All images of the run.
    """

    directory: Path
    config: RunConfig
    samples: Samples
    catalog: CondensedCatalog
    table: Any
    alternatives: dict[int, list[tuple[float, str]]]
    images: tuple[ImageContents, ...]


def read_contents(directory: Path) -> RunContents:
    """Read a run back from its directory; nothing is condensed or computed from draws again.

    Parameters
    ----------
    directory : Path
        Directory of a finished run.

    Returns
    -------
    RunContents

    Raises
    ------
    InputError
        If there is no finished run, it sampled the prior alone, its images are missing, or
        its catalog, members or maps do not belong to its samples.
    """
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
            f"resume it with: probcat run --out {directory} --resume"
        )
    samples = Samples.from_netcdf(directory / SAMPLES)
    images = read_input(config)
    catalog = _read_members(directory, samples, config)
    table = read_catalog(directory / CATALOG)
    if not _agree(table, catalog):
        raise InputError(_stale(directory / CATALOG, directory))
    several = zip(
        image_labels(images),
        images,
        align_images(images),
        samples_per_image(samples, images),
        strict=True,
    )
    found = tuple(
        _read_image(directory, catalog, label, image, alignment, own, len(images) > 1)
        for label, image, alignment, own in several
    )
    alternatives = _alternatives(directory)
    return RunContents(directory, config, samples, catalog, table, alternatives, found)


def _read_members(directory: Path, samples: Samples, config: RunConfig) -> CondensedCatalog:
    """Read the condensed catalog, and check that it belongs to the samples and settings."""
    from probcat.catalog.catalog import CondensedCatalog
    from probcat.run.files import MEMBERS

    path = directory / MEMBERS
    if not path.is_file():
        raise InputError(f"{directory}: holds no {MEMBERS}; write it with: {_remedy(directory)}")
    catalog = CondensedCatalog.from_netcdf(path)
    active = np.asarray(samples.sources["active"], dtype=bool)
    same = catalog.members.shape == active.shape and active[catalog.members >= 0].all()
    asked = {key: value for key, value in config.catalog.items() if value is not None}
    changed = any(asked.get(key, value) != value for key, value in catalog.attrs.items())
    if changed or not same:
        raise InputError(_stale(path, directory))
    return catalog


def _agree(table: Any, catalog: CondensedCatalog) -> bool:
    """Whether the table of a catalog file holds the objects of a condensed catalog."""
    return len(table) == len(catalog) and all(
        np.allclose(np.asarray(table[name]), np.asarray(catalog[name]), rtol=0, atol=1e-3)
        for name in ("x", "y", "prob_exist")
    )


def _alternatives(directory: Path) -> dict[int, list[tuple[float, str]]]:
    """Probabilities and objects of the configurations of every group."""
    from probcat.catalog.fits import read_alternatives
    from probcat.run.files import ALTERNATIVES

    found: dict[int, list[tuple[float, str]]] = {}
    table = read_alternatives(directory / ALTERNATIVES)
    columns = (table[name].tolist() for name in ("alternative_group", "prob", "object_ids"))
    for group, prob, ids in zip(*columns, strict=True):
        found.setdefault(int(group), []).append((float(prob), str(ids)))
    return found


def _remedy(directory: Path) -> str:
    return f"probcat condense {directory}"


def _stale(path: Path, directory: Path) -> str:
    return (
        f"{path}: does not belong to the samples and settings of the run; "
        f"write it again with: {_remedy(directory)}"
    )


def _read_image(
    directory: Path,
    catalog: CondensedCatalog,
    label: str,
    image: Image,
    alignment: Alignment,
    samples: Samples,
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
    columns = catalog.member_means(samples, ("x", "y", *SHAPE_NAMES))
    columns["prob_star"] = np.asarray(catalog["prob_star"])
    columns |= dict(zip(("width", "height", "angle"), outlines(columns), strict=True))
    return ImageContents(label, image, alignment, assignment, model, columns)
