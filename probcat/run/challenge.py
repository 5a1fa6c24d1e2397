"""Sets of simulated blends for training and comparing deblenders, and scores of submissions.

A set is a directory with

- ``X.npy``: images, float32, shape (image, ny, nx), without sky, in electrons;
- ``y_true.npz``: ``masks``, bool, shape (image, object, ny, nx), the pixels in which an object
  exceeds three sigma of the noise of the sky, and ``number``, the number of objects of each image.
  Galaxies are transparent, so that masks overlap;
- ``fractions.npy``: share of each object of the noise-free light of every pixel, float16, the same
  shape; zero where there is no light;
- ``catalog.ecsv``: a row for each object: `image`, `object`, position, flux, type and shape;
- ``psf.fits`` and ``challenge.toml``: the PSF, and how the set was made.

A submission is a file like ``y_true.npz``. Its score is the mean over all true masks of the
intersection over union with the mask that is matched to it, from logical and / or; masks that are
empty on both sides do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tomli_w
from tqdm.auto import tqdm

from probcat import __version__
from probcat.errors import InputError
from probcat.metrics import score_segmentation, true_shares
from probcat.metrics.score_pixels import true_masks
from probcat.model.simulate import simulate_image
from probcat.psf.psf import PSF

FEWEST, MOST = 2, 6
"""Smallest and largest number of sources of an image."""
SIGNAL = (10.0, 200.0)
"""Range of the signal-to-noise ratios of isolated stars that have the sources' fluxes."""
SIZES = (0.2, 0.8)
"""Range of half-light radii of galaxies in arcseconds."""
MOFFAT_INDEX = 3.5
"""Index of the Moffat profile of the PSF."""
IMAGES, MASKS, FRACTIONS, CATALOG = "X.npy", "y_true.npz", "fractions.npy", "catalog.ecsv"
"""Names of the files of a set."""


@dataclass(frozen=True)
class Camera:
    """What an image of a survey looks like.

    Attributes
    ----------
    name, band : str
        Survey and band.
    pixel_scale : float
        Side of a pixel in arcseconds.
    fwhm : float
        FWHM of the PSF in arcseconds.
    sky : float
        Level of the sky in electrons per pixel.
    zero_point : float
        AB magnitude of one electron in the whole exposure.
    """

    name: str = "none"
    band: str = "i"
    pixel_scale: float = 0.2
    fwhm: float = 0.7
    sky: float = 2.0e5
    zero_point: float = 37.2


def survey_camera(name: str, band: str) -> Camera:
    """Return the camera of a survey, from the presets of surveycodex.

    Raises
    ------
    InputError
        If surveycodex is not installed, or knows no such survey or band.
    """
    try:
        import surveycodex
        from surveycodex.utilities import mag2counts, mean_sky_level
    except ImportError:
        raise InputError(
            "--survey needs the package surveycodex: pip install surveycodex"
        ) from None
    known = sorted(surveycodex.available_surveys)
    if name not in known:
        raise InputError(f"--survey {name}: unknown; surveycodex knows {', '.join(known)}")
    survey = surveycodex.get_survey(name)
    if band not in survey.available_filters:
        bands = ", ".join(survey.available_filters)
        raise InputError(f"--band {band}: {name} has {bands}")
    one = survey.get_filter(band)
    unit = float(mag2counts(20.0, survey, one).to_value("electron"))
    return Camera(
        name,
        band,
        float(survey.pixel_scale.to_value("arcsec")),
        float(one.psf_fwhm.to_value("arcsec")),
        float(mean_sky_level(survey, one).to_value("electron")),
        20.0 + 2.5 * float(np.log10(unit)),
    )


def write_challenge(
    folder: str | Path,
    number: int,
    *,
    camera: Camera | None = None,
    size: int = 48,
    seed: int = 0,
    progress_bar: bool = True,
) -> Path:
    """Simulate a set of blends, and write it.

    Parameters
    ----------
    folder : str or Path
        Directory of the set, which must not hold one yet.
    number : int
        Number of images.
    camera : Camera, optional
        Pixels, PSF and sky; by default those of ten years of a ground-based survey.
    size : int
        Side of an image in pixels.
    seed : int
        Seed of all random numbers.
    progress_bar : bool
        Whether to show progress.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    InputError
        If the directory holds a set, or number or size are too small.
    """
    from astropy.io import fits
    from astropy.table import Table

    camera, folder = camera or Camera(), Path(folder)
    if number < 1 or size < 16:
        raise InputError(
            f"--number {number} --size {size}: a set needs at least one image of at least 16 px"
        )
    if (folder / IMAGES).exists():
        raise InputError(f"{folder} already holds a set of blends; choose another directory")
    psf = PSF.moffat(camera.fwhm / camera.pixel_scale, MOFFAT_INDEX)
    noise = float(np.sqrt(camera.sky))
    images = np.zeros((number, size, size), np.float32)
    masks = np.zeros((number, MOST, size, size), bool)
    fractions = np.zeros(masks.shape, np.float16)
    rows: list[dict[str, Any]] = []
    counts = np.zeros(number, np.int64)
    for index in tqdm(range(number), unit="image", disable=not progress_bar):
        rng = np.random.default_rng([seed, index])
        sources = _draw_blend(rng, camera, psf, size, noise)
        key = jax.random.fold_in(jax.random.key(seed), index)
        made = simulate_image(sources, psf, (size, size), key, noise=noise, gain=1.0)
        count = counts[index] = len(sources["x"])
        images[index] = made.image.data
        masks[index, :count] = true_masks(made.light, noise)
        fractions[index, :count] = true_shares(made.light)[0]
        for one in range(count):
            values = {name: made.sources[name][one] for name in made.sources}
            rows.append({"image": index, "object": one, **values})
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / IMAGES, images)
    np.savez_compressed(folder / MASKS, masks=masks, number=counts)
    np.save(folder / FRACTIONS, fractions)
    table = Table(rows)
    table["mag"] = camera.zero_point - 2.5 * np.log10(table["flux"])
    table.write(folder / CATALOG, format="ascii.ecsv", overwrite=True)
    fits.writeto(folder / "psf.fits", np.asarray(psf.pixels, np.float32), overwrite=True)
    about = {"probcat": __version__, "number": number, "size": size, "seed": seed, "noise": noise}
    about |= {name: getattr(camera, name) for name in Camera.__dataclass_fields__}
    (folder / "challenge.toml").write_text(tomli_w.dumps(about))
    return folder


def _draw_blend(
    rng: np.random.Generator, camera: Camera, psf: PSF, size: int, noise: float
) -> dict[str, np.ndarray]:
    """Draw the sources of a blend around the middle of an image."""
    count = int(rng.integers(FEWEST, MOST + 1))
    fwhm = camera.fwhm / camera.pixel_scale
    middle, edge = 0.5 * (size - 1.0), 4.0
    position = rng.normal(middle, 2.0 * fwhm, (count, 2)).clip(edge, size - 1.0 - edge)
    signal = _log_uniform(rng, SIGNAL, count)
    modulus, angle = rng.uniform(0.0, 0.5, count), rng.uniform(0.0, 2.0 * np.pi, count)
    radius = _log_uniform(rng, SIZES, count) / camera.pixel_scale
    return {
        "x": position[:, 0],
        "y": position[:, 1],
        "flux": signal * noise * float(np.sqrt(psf.effective_area)),
        "is_extended": rng.random(count) < 0.7,
        "half_light_radius": radius,
        "ellipticity_1": modulus * np.cos(angle),
        "ellipticity_2": modulus * np.sin(angle),
        "sersic_n": rng.choice([1.0, 4.0], count, p=[0.7, 0.3]),
    }


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float], count: int) -> np.ndarray:
    """Numbers whose logarithms are uniform between limits."""
    low, high = map(float, np.log(limits))
    return np.exp(rng.uniform(low, high, count))


def score_submission(folder: str | Path, submission: str | Path) -> dict[str, float]:
    """Score the masks of a submission against those of a set.

    Parameters
    ----------
    folder : str or Path
        Directory of the set.
    submission : str or Path
        File with `masks`, bool, shape (image, any, ny, nx).

    Returns
    -------
    dict of str to float
        `mean_iou` over all true masks, `average_precision_0.5` and `panoptic_quality`, means over
        images.

    Raises
    ------
    InputError
        If a file cannot be read, or the shapes do not fit.
    """
    truth, found = _read_masks(Path(folder) / MASKS), _read_masks(Path(submission))
    if found.shape[0] != truth.shape[0] or found.shape[2:] != truth.shape[2:]:
        raise InputError(
            f"{submission}: masks have the shape {found.shape}; {folder} needs "
            f"({truth.shape[0]}, any, {truth.shape[2]}, {truth.shape[3]})"
        )
    scores = []
    best: list[np.ndarray] = []
    for own, true in zip(found, truth, strict=True):
        one = score_segmentation(own[own.any(axis=(1, 2))], true[true.any(axis=(1, 2))])
        best.append(one.best)
        scores.append((one.average_precision(0.5), one.panoptic_quality))
    precision, quality = np.mean(scores, axis=0)
    return {
        "mean_iou": float(np.mean(np.concatenate(best))),
        "average_precision_0.5": float(precision),
        "panoptic_quality": float(quality),
    }


def _read_masks(path: Path) -> np.ndarray:
    """Masks of a file, shape (image, object, ny, nx)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            masks = stored["masks"]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: no array 'masks' can be read ({error})") from None
    if masks.ndim != 4:
        raise InputError(f"{path}: masks have {masks.ndim} axes; (image, object, ny, nx) is needed")
    return np.asarray(masks) > 0.5
