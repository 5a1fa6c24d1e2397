"""Estimate of an effective PSF from the stars of an image."""

from __future__ import annotations

import inspect
import math
import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from probcat.errors import InputError
from probcat.psf.from_stars.denoise import without_noise
from probcat.psf.from_stars.least_squares import Star, fit_samples, unit_psf
from probcat.psf.from_stars.photometry import (
    Field,
    FittedSources,
    find_peaks,
    fit_sources,
    light_of,
)
from probcat.psf.from_stars.quality import MAX_DEVIATION, PSF_ERROR, PSF_ERROR_IN_CLIPPING
from probcat.psf.from_stars.select import (
    MAX_STARS,
    MIN_SNR,
    MIN_STARS,
    SIZE_BOX,
    measure_size,
    select_stars,
)
from probcat.psf.psf import PSF

CLEAR_SNR = 20.0
"""Least signal-to-noise ratio of the peak pixel of sources whose sizes are measured."""
NEEDED_SAMPLES = 2.5
"""Least number of samples per FWHM."""
WANTED_SAMPLES = 4.0
"""Number of samples per FWHM if there are enough stars."""
STARS_PER_SAMPLE = 6
"""Number of stars per sample of a pixel that are enough."""
STARS_PER_CELL = 16
"""Number of stars per sample of a pixel for photutils' builder.

The builder is slow and inaccurate where no pixel falls on a sample.
"""
NUM_ROUNDS = 3
"""Number of times that the PSF and the light of all other sources are fitted."""
BUILDER_STEPS = 5
"""Greatest number of iterations of photutils' builder."""
MAX_LISTED = 20
"""Greatest number of stars whose positions are noted."""


class _Task(NamedTuple):
    """Arguments of `estimate_psf` that its steps need.

    Attributes
    ----------
    tools : module
        The module ``photutils.psf``.
    named : ndarray or None, shape (n, 2)
        Positions of stars that the user named, in padded pixels.
    oversampling : int or None
        Samples per pixel, if the user set them.
    where : str
        Name of the image, for messages.
    """

    tools: Any
    named: np.ndarray | None
    oversampling: int | None
    where: str


def estimate_psf(
    data: Any,
    variance: Any,
    mask: Any = None,
    *,
    positions: Any = None,
    oversampling: int | None = None,
    where: str = "image",
) -> PSF:
    """Build an effective PSF from stars of the image.

    The stars are bright, isolated and without bad pixels, or the user names them. The light of
    all other peaks is fitted and subtracted. The ``EPSFBuilder`` of photutils (Anderson & King
    2000, PASP 112, 1360) then finds the PSF together with the positions of the stars, and a
    weighted least-squares fit of its samples, in the band-limited interpolation that
    `probcat.PSF` uses, corrects for the smoothing of the builder. Components that are not
    significant above the noise are discarded (`probcat.psf.from_stars.denoise.without_noise`).

    Parameters
    ----------
    data : array_like, shape (ny, nx)
        Pixel values.
    variance : array_like, shape (ny, nx)
        Variance of every pixel, in the unit of the data squared.
    mask : array_like of bool, shape (ny, nx), optional
        True where a pixel must not be used, such as the pixels of saturated stars.
    positions : array_like, shape (n, 2), optional
        Positions (x, y) of the stars to use, in pixels counted from 0; by default stars are
        selected.
    oversampling : int, optional
        Samples per pixel; by default they follow from the width of the PSF and the number of
        stars.
    where : str
        Name of the image, for messages.

    Returns
    -------
    PSF
        The PSF, with a note on the stars that were used.

    Raises
    ------
    InputError
        If photutils is not installed, or too few stars can be used.
    """
    tools = _import_photutils(where)
    pixels, noise = np.asarray(data, float), np.asarray(variance, float)
    bad = np.zeros(pixels.shape, bool) if mask is None else np.asarray(mask, bool)
    named = None if positions is None else _inside(positions, pixels.shape, where)
    size = _typical_size(Field.from_image(pixels, noise, bad, SIZE_BOX), named, where)
    # The box reaches four FWHM to either side, but not beyond the size of the image.
    half = max(3, min(math.ceil(4.0 * size), (min(pixels.shape) - 1) // 2))
    field = Field.from_image(pixels, noise, bad, half)
    named = None if named is None else named + half
    task = _Task(tools, named, oversampling, where)
    stars, positions, psf = _fit_in_rounds(field, PSF.moffat(size, 3.0), task)
    psf = without_noise(psf)
    note = _note_on_stars(stars, positions, psf, None if named is None else len(named))
    return replace(psf, notes=(note,), shift=(0.0, 0.0))


def _import_photutils(where: str) -> Any:
    """Return the module ``photutils.psf``; refuse if it is not installed."""
    try:
        import photutils.psf
    except ImportError:
        raise InputError(
            f"{where}: estimating a PSF needs photutils; pip install 'probcat[psf]', "
            "or give the PSF with --psf FILE"
        ) from None
    return photutils.psf


def _typical_size(field: Field, named: np.ndarray | None, where: str) -> float:
    """Return the size of stars in pixels: the lower quartile, as blends and galaxies are larger."""
    centres = find_peaks(field, threshold=CLEAR_SNR) if named is None else named + field.half
    sizes: list[float] = []
    for x, y in centres[: 3 * MAX_STARS]:
        box = field.box(x, y)
        sizes.append(measure_size(field.signal[box], field.good[box]))
    found = np.array(sizes)[np.isfinite(sizes)]
    if len(found) < MIN_STARS:
        raise InputError(
            f"{where}: {len(found)} bright, whole peaks are too few to estimate a PSF from; "
            f"{MIN_STARS} are needed: give the PSF with --psf FILE"
        )
    return float(np.percentile(found, 25.0))


def _inside(positions: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Return the named stars that lie in the image."""
    found = np.asarray(positions, float)
    if found.ndim != 2 or found.shape[1] != 2:
        raise InputError(f"{where}: positions of stars have shape {found.shape}, not (n, 2)")
    inside = np.all((found > -0.5) & (found < np.array(shape[::-1]) - 0.5), axis=1)
    return found[inside]


def _fit_in_rounds(field: Field, psf: PSF, task: _Task) -> tuple[list[Star], np.ndarray, PSF]:
    """Fit all sources with the PSF, and the PSF to the stars without the others, by turns."""
    named = task.named
    centres = _find_bright(field, psf) if named is None else named
    near = field.around(centres)
    positions = find_peaks(near)
    if named is not None:
        positions = np.concatenate([named, _apart(positions, named, psf.fwhm)])
    for number in range(NUM_ROUNDS):
        sources, level, model = fit_sources(near, psf, positions)
        residual = np.where(near.good, near.signal - level - model, 0.0)
        count = None if named is None else len(named)
        chosen = select_stars(near, psf, sources, residual, count, task.where)
        stars = [_cut_out(near, psf, sources, residual, one) for one in chosen]
        samples = task.oversampling or _samples(psf.fwhm, len(stars))
        if number == 0:
            psf = _build(task, stars, samples)
        psf = fit_samples(psf, stars, samples)
        fresh = find_peaks(near, near.signal - residual)
        positions = sources.position
        positions = np.concatenate([positions, _apart(fresh, positions, 0.7 * psf.fwhm)])
    return stars, sources.position[chosen] - field.half, psf


def _find_bright(field: Field, psf: PSF) -> np.ndarray:
    """Return the peaks that are bright enough to be selected as stars."""
    peaks = find_peaks(field)
    columns, rows = peaks.astype(int).T
    flux = field.signal[rows, columns] / psf.peak
    bright = flux > MIN_SNR * field.sigma[rows, columns] * math.sqrt(psf.effective_area)
    return peaks[bright][: 3 * MAX_STARS]


def _apart(positions: np.ndarray, others: np.ndarray, distance: float) -> np.ndarray:
    """Return the positions that are farther than a distance from all others."""
    offset = positions[:, None] - others[None]
    return positions[np.hypot(offset[..., 0], offset[..., 1]).min(axis=1) > distance]


def _samples(fwhm: float, stars: int) -> int:
    """Return samples per pixel: enough for the width, and more if there are many stars."""
    needed, wanted = (
        max(1, math.ceil(number / fwhm)) for number in (NEEDED_SAMPLES, WANTED_SAMPLES)
    )
    while wanted > needed and stars < STARS_PER_SAMPLE * wanted**2:
        wanted -= 1
    return wanted


def _cut_out(
    field: Field, psf: PSF, sources: FittedSources, residual: np.ndarray, number: int
) -> Star:
    """Return the pixels around a star, minus the light of all others and a local level."""
    x, y = sources.position[number]
    box = field.box(x, y)
    own = light_of(psf, sources, number, box)
    offset = np.abs(np.arange(-field.half, field.half + 1))
    border = (np.maximum.outer(offset, offset) > field.half - 2) & field.good[box]
    level = np.median(residual[box][border]) if border.any() else 0.0
    left, light = residual[box] - level, np.maximum(own, 0.0)
    tolerance = MAX_DEVIATION * np.hypot(field.sigma[box], PSF_ERROR_IN_CLIPPING * light)
    good = field.good[box] & (np.abs(left) < tolerance)
    weight = np.where(good, 1.0 / np.hypot(field.sigma[box], PSF_ERROR * light), 0.0)
    data = np.where(field.good[box], left + own, 0.0)
    return Star(data, weight, x - box[1].start, y - box[0].start, float(sources.flux[number]))


def _build(task: _Task, stars: list[Star], oversampling: int) -> PSF:
    """Return the PSF that photutils' builder makes of the stars."""
    tools, cutouts = task.tools, []
    # If no flux is given, the star fills its bad pixels to measure one; before 3.0 it always does.
    takes_flux = "flux" in inspect.signature(tools.EPSFStar).parameters
    for star in stars:
        options = {"flux": star.flux} if takes_flux else {}
        centre = (star.x, star.y)
        cutout = tools.EPSFStar(
            star.data, weights=star.root_weight, cutout_center=centre, **options
        )
        cutout.flux = star.flux
        cutouts.append(cutout)
    while oversampling > 1 and len(stars) < STARS_PER_CELL * oversampling**2:
        oversampling -= 1
    builder = tools.EPSFBuilder(
        oversampling=oversampling,
        smoothing_kernel="quartic" if oversampling > 1 else None,
        maxiters=BUILDER_STEPS,
        progress_bar=False,
    )
    try:
        with warnings.catch_warnings():
            # The builder warns of single stars that it cannot fit, and leaves them out.
            warnings.simplefilter("ignore")
            built, _ = builder(tools.EPSFStars(cutouts))
    except ValueError as error:
        raise InputError(
            f"{task.where}: no PSF can be built from {len(stars)} stars ({error}); "
            "give it with --psf FILE"
        ) from None
    return unit_psf(np.asarray(built.data), oversampling)


def _note_on_stars(stars: list[Star], positions: np.ndarray, psf: PSF, named: int | None) -> str:
    """Return one line on the stars that were used and the PSF."""
    signal = [
        star.flux * float(star.root_weight.max()) / math.sqrt(psf.effective_area) for star in stars
    ]
    shown = ", ".join(f"({x:.0f}, {y:.0f})" for x, y in positions[:MAX_LISTED])
    more = f" and {len(stars) - MAX_LISTED} more" if len(stars) > MAX_LISTED else ""
    how = f"{len(stars)} chosen" if named is None else f"{len(stars)} of {named} named"
    return (
        f"estimated from {how} stars of S/N {min(signal):.0f} to {max(signal):.0f}, "
        f"{psf.oversampling} samples per pixel, FWHM {psf.fwhm:.3g} px; stars at (x, y) = "
        f"{shown}{more}"
    )
