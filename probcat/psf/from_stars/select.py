"""Selection of the stars that a PSF is measured from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from probcat.errors import InputError
from probcat.psf.from_stars.photometry import Field, FittedSources, light_of

if TYPE_CHECKING:
    from probcat.psf.psf import PSF

MIN_SNR = 50.0
"""Least signal-to-noise ratio of a star that is selected."""
MIN_NAMED_SNR = 10.0
"""Least signal-to-noise ratio of a star that the user named."""
MAX_CONTAMINATION = (0.02, 0.05, 0.1, 0.2)
"""Limits on the light of other sources at the core of a star over its peak, tried in turn."""
MIN_STARS = 5
"""Least number of stars that a PSF is measured from."""
ENOUGH_STARS = 30
"""Number of stars from which on no weaker limit on the contamination is tried."""
MAX_STARS = 100
"""Greatest number of stars that are used."""
SIZE_RANGE = (0.75, 1.25)
"""Least and greatest size of a star over the typical size."""
MAX_MISFIT = 3.0
"""Greatest misfit of a star over the median misfit."""
ALLOWED_MISFIT = 0.03
"""Misfit as a fraction of the peak up to which every star is accepted."""
MAX_BAD_FRACTION = 0.1
"""Greatest fraction of bad pixels in the box around a star."""
MIN_NEIGHBOUR = 0.1
"""Least value of the brightest neighbour of a peak over the peak; below it is a hot pixel."""
SIZE_BOX = 7
"""Half side in pixels of the box in which sizes are measured."""


def select_stars(
    field: Field,
    psf: PSF,
    sources: FittedSources,
    residual: np.ndarray,
    named: int | None,
    where: str,
) -> np.ndarray:
    """Select bright, isolated sources of typical size, without bad pixels; or check named ones.

    Parameters
    ----------
    field : Field
        The pixels.
    psf : PSF
        The present estimate of the PSF.
    sources : FittedSources
        All sources that were fitted.
    residual : ndarray, shape (ny, nx)
        Signal minus the light of the sources.
    named : int or None
        Number of stars that the user named, which are the first sources; None if the stars are
        to be selected.
    where : str
        Name of the image, for messages.

    Returns
    -------
    ndarray of int
        Indices of the selected sources, the brightest first; at most `MAX_STARS`.

    Raises
    ------
    InputError
        If fewer than `MIN_STARS` are left.
    """
    signal = signal_to_noise(field, psf, sources)
    whole = usable(field, psf, sources)
    least = MIN_SNR if named is None else MIN_NAMED_SNR
    bright = signal > least
    if named is None:
        candidates = bright
        contaminated = contamination(psf, sources, field.half)
        for limit in MAX_CONTAMINATION:
            alone = bright & whole & (contaminated < limit)
            serve = alone & _alike(field, psf, sources, residual, alone)
            if serve.sum() >= ENOUGH_STARS:
                break
    else:
        candidates = np.arange(len(signal)) < named
        serve = alone = candidates & bright & whole
    if serve.sum() < MIN_STARS:
        lost = {
            f"fainter than S/N {least:g}": ~bright,
            "near bad pixels": bright & ~whole,
            "blended": bright & whole & ~alone,
            "unlike the others": alone & ~serve,
        }
        counts = {reason: int(np.sum(kind & candidates)) for reason, kind in lost.items()}
        raise InputError(_too_few(where, int(serve.sum()), int(candidates.sum()), counts, named))
    order = np.argsort(-sources.flux, kind="stable")
    return order[serve[order]][:MAX_STARS]


def _too_few(
    where: str, found: int, candidates: int, counts: dict[str, int], named: int | None
) -> str:
    """Return the message on why too few stars are left, and what to do."""
    kind = f"peaks above S/N {MIN_SNR:g}" if named is None else "named stars in the image"
    why = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)
    hint = "name stars with --psf-stars FILE" if named is None else "name more"
    return (
        f"{where}: {found} of {candidates} {kind} can be used for the PSF"
        + (f" ({why})" if why else "")
        + f"; {MIN_STARS} are needed: {hint}, or give the PSF with --psf FILE"
    )


def _alike(
    field: Field, psf: PSF, sources: FittedSources, residual: np.ndarray, among: np.ndarray
) -> np.ndarray:
    """Whether sources have the typical size of compact ones and fit about as well, bool (n,)."""
    left = misfit(field, psf, sources, residual)
    size = np.full(len(left), np.nan)
    for number in np.flatnonzero(among):
        x, y = sources.position[number]
        box = field.box(x, y, min(SIZE_BOX, field.half))
        own = light_of(psf, sources, int(number), box)
        size[number] = measure_size(residual[box] + own, field.good[box])
    among = among & np.isfinite(size)
    if not among.any():
        return among
    typical = np.percentile(size[among], 25.0)
    limit = max(ALLOWED_MISFIT, MAX_MISFIT * float(np.median(left[among])))
    inside = (size > SIZE_RANGE[0] * typical) & (size < SIZE_RANGE[1] * typical)
    return among & inside & (left <= limit)


def measure_size(pixels: np.ndarray, good: np.ndarray) -> float:
    """Measure the diameter of the area above half of the peak at the middle of a box.

    Parameters
    ----------
    pixels : ndarray, shape (odd, odd)
        Light in the box.
    good : ndarray of bool, shape (odd, odd)
        True where a pixel can be used.

    Returns
    -------
    float
        Diameter in pixels; NaN if a pixel of the area is bad, the peak is elsewhere, or the
        middle is a hot pixel.
    """
    zoom, middle = 5, pixels.shape[0] // 2
    beside = pixels[
        [middle - 1, middle + 1, middle, middle], [middle, middle, middle - 1, middle + 1]
    ]
    if beside.max() < MIN_NEIGHBOUR * pixels[middle, middle]:
        return math.nan
    fine = ndimage.zoom(pixels, zoom, order=3)
    centre, step = fine.shape[0] // 2, (pixels.shape[0] - 1) / (fine.shape[0] - 1)
    core = fine[centre - zoom : centre + zoom + 1, centre - zoom : centre + zoom + 1]
    regions, _ = ndimage.label(fine > 0.5 * core.max())
    own = regions[centre, centre]
    size = 2.0 * step * math.sqrt(np.count_nonzero(regions == own) / math.pi)
    reach = math.ceil(0.75 * size)
    near = slice(max(middle - reach, 0), middle + reach + 1)
    return size if own > 0 and good[near, near].all() else math.nan


def signal_to_noise(field: Field, psf: PSF, sources: FittedSources) -> np.ndarray:
    """Return the signal-to-noise ratio of every source as if it were isolated, shape (n,)."""
    columns, rows = np.rint(sources.position).astype(int).T
    return sources.flux / (field.sigma[rows, columns] * math.sqrt(psf.effective_area))


def contamination(psf: PSF, sources: FittedSources, half: int) -> np.ndarray:
    """Return the light of other sources at the core of every source over its peak, shape (n,)."""
    offset = sources.position[:, None] - sources.position[None]
    distance = np.hypot(offset[..., 0], offset[..., 1])
    reach = np.linspace(0.0, half, 8 * half + 1)
    profile = np.maximum(psf.evaluate_grid(reach, np.zeros(1))[0], 0.0) / psf.peak
    # The core reaches half the FWHM to either side.
    near = np.interp(distance - 0.5 * psf.fwhm, reach, profile, right=0.0)
    np.fill_diagonal(near, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = near @ sources.flux / sources.flux
    return np.where(sources.flux > 0, ratio, np.inf)


def misfit(field: Field, psf: PSF, sources: FittedSources, residual: np.ndarray) -> np.ndarray:
    """Return the root mean square residual of every core beyond noise, over its peak, (n,)."""
    reach = max(1, round(0.75 * psf.fwhm))
    found = np.full(len(sources.flux), np.inf)
    for number, ((x, y), flux) in enumerate(zip(*sources, strict=True)):
        box = field.box(x, y, reach)
        if flux > 0 and field.good[box].all():
            excess = np.mean(residual[box] ** 2 - field.sigma[box] ** 2)
            found[number] = math.sqrt(max(excess, 0.0)) / (flux * psf.peak)
    return found


def usable(field: Field, psf: PSF, sources: FittedSources) -> np.ndarray:
    """Whether the core of every source has no bad pixel and its box has few, bool (n,)."""
    reach, half = max(1, round(1.5 * psf.fwhm)), field.half
    height, width = field.signal.shape
    found = np.zeros(len(sources.flux), bool)
    for number, (x, y) in enumerate(sources.position):
        rows, columns = field.box(x, y)
        # The padding around the image does not count as bad.
        rows = slice(max(rows.start, half), min(rows.stop, height - half))
        columns = slice(max(columns.start, half), min(columns.stop, width - half))
        core = field.good[field.box(x, y, reach)].all()
        found[number] = core and np.mean(~field.good[rows, columns]) <= MAX_BAD_FRACTION
    return found
