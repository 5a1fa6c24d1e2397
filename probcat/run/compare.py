"""Score a finished run against a truth."""

from __future__ import annotations

from pathlib import Path

from probcat.errors import InputError
from probcat.metrics.compare import MASK_THRESHOLD, Comparison, score_found
from probcat.metrics.score_pixels import Found
from probcat.metrics.truth import Truth


def compare(
    directory: str | Path,
    truth: str | Path | Truth,
    *,
    match_radius: float | None = None,
    max_mag_difference: float | None = None,
    threshold: float = MASK_THRESHOLD,
) -> Comparison:
    """Score a run against a truth.

    Parameters
    ----------
    directory : path_like
        Directory of a finished run.
    truth : path_like or Truth
        The truth, or a file that `probcat.read_truth` reads.
    match_radius : float, optional
        Largest distance of a match, in pixels of the first image; by default half of the full
        width at half maximum of its PSF.
    max_mag_difference : float, optional
        Largest difference in magnitude of a match, in the first band; by default there is no limit.
    threshold : float
        The mask of an object is where its `footprint` exceeds this value.

    Returns
    -------
    Comparison
        The scores that the truth allows.

    Raises
    ------
    InputError
        If the directory holds no finished run, the truth cannot be read or does not fit the
        images, or an option is out of range.
    """
    found = read_found(directory)
    image = found.images[0]
    if not isinstance(truth, Truth):
        from probcat.metrics.truth_files import read_truth

        truth = read_truth(truth, image.shape, image.wcs)
    result = score_found(
        found,
        truth,
        match_radius=match_radius,
        max_mag_difference=max_mag_difference,
        threshold=threshold,
    )
    return Comparison(result.scores, {"run": str(directory), **result.about})


def read_found(directory: str | Path) -> Found:
    """Read the catalog and the maps of a finished run, and its images.

    Parameters
    ----------
    directory : path_like
        Directory of a finished run.

    Returns
    -------
    Found

    Raises
    ------
    InputError
        If the directory holds no run, or one of its files is missing.
    """
    from probcat.catalog.fits import read_catalog
    from probcat.image.alignment import image_labels
    from probcat.pixels.fits import read_assignment
    from probcat.run.directory import read_run_config
    from probcat.run.files import ASSIGNMENT, CATALOG
    from probcat.run.inputs import read_input

    directory = Path(directory)
    config = read_run_config(directory)
    if not (directory / CATALOG).is_file():
        raise InputError(f"{directory}: holds no {CATALOG}; finish the run, or condense it")
    images = read_input(config)
    labels = image_labels(images)
    stem, suffix = ASSIGNMENT.split(".")
    names = [f"{stem}_{label}.{suffix}" for label in labels] if len(images) > 1 else [ASSIGNMENT]
    assignments = [read_assignment(directory / name) for name in names]
    return Found(read_catalog(directory / CATALOG), images, labels, assignments)
