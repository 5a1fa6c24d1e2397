"""Which sources of an image a PSF can be measured from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from probcat.errors import InputError
from probcat.psf.from_stars.photometry import Field, FittedSources, light_of

if TYPE_CHECKING:
    from probcat.psf.psf import PSF

BRIGHT, FAINTEST = 50.0, 10.0
"""Least signal-to-noise ratios of a star that is chosen, and of one that is named."""
ISOLATED = (0.02, 0.05, 0.1, 0.2)
"""Light of others at the core of a star over its own peak: the limits tried one by one."""
FEWEST, PLENTY, MOST = 5, 30, 100
"""Least stars, so many that no laxer limit is tried, and most that are used."""
SIZES = (0.75, 1.25)
"""Least and greatest size of a star over that of most."""
MISFIT, LEAST_MISFIT = 3.0, 0.03
"""A star may fit this many times worse than most, or leave this share of its peak."""
MASKED = 0.1
"""Greatest share of bad pixels around a star."""
LONELY = 0.1
"""A peak whose neighbours all lie below this share of it is a hot pixel or a cosmic ray."""
REACH = 7
"""Half side in pixels of the box in which sizes are measured."""


def choose_stars(
    field: Field,
    psf: PSF,
    sources: FittedSources,
    residual: np.ndarray,
    named: int | None,
    where: str,
) -> np.ndarray:
    """Choose bright, whole, isolated and alike sources; or check those that are named.

    Parameters
    ----------
    field : Field
    psf : PSF
        As far as it is known.
    sources : Sources
        All that were fitted.
    residual : ndarray, shape (ny, nx)
        What they leave of the signal.
    named : int, optional
        The first so many sources are the stars to use.
    where : str
        Name of the image, for messages.

    Returns
    -------
    ndarray of int
        Numbers of sources, the brightest first.

    Raises
    ------
    InputError
        If too few are left.
    """
    signal = signal_to_noise(field, psf, sources)
    whole = usable(field, psf, sources)
    least = BRIGHT if named is None else FAINTEST
    bright = signal > least
    if named is None:
        candidates = bright
        dirt = contamination(psf, sources, field.half)
        for limit in ISOLATED:
            alone = bright & whole & (dirt < limit)
            serve = alone & _alike(field, psf, sources, residual, alone)
            if serve.sum() >= PLENTY:
                break
    else:
        candidates = np.arange(len(signal)) < named
        serve = alone = candidates & bright & whole
    if serve.sum() < FEWEST:
        lost = {
            f"fainter than S/N {least:g}": ~bright,
            "near bad pixels": bright & ~whole,
            "blended": bright & whole & ~alone,
            "unlike the others": alone & ~serve,
        }
        counts = {reason: int(np.sum(kind & candidates)) for reason, kind in lost.items()}
        raise InputError(_too_few(where, int(serve.sum()), int(candidates.sum()), counts, named))
    order = np.argsort(-sources.flux, kind="stable")
    return order[serve[order]][:MOST]


def _too_few(
    where: str, found: int, candidates: int, counts: dict[str, int], named: int | None
) -> str:
    """Say why too few stars are left, and what to do."""
    kind = f"peaks above S/N {BRIGHT:g}" if named is None else "named stars in the image"
    why = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)
    hint = "name stars with --psf-stars FILE" if named is None else "name more"
    return (
        f"{where}: {found} of {candidates} {kind} can be used for the PSF"
        + (f" ({why})" if why else "")
        + f"; {FEWEST} are needed: {hint}, or give the PSF with --psf FILE"
    )


def _alike(
    field: Field, psf: PSF, sources: FittedSources, residual: np.ndarray, among: np.ndarray
) -> np.ndarray:
    """Whether sources are as large as most compact ones, and fit as well."""
    left = misfit(field, psf, sources, residual)
    size = np.full(len(left), np.nan)
    for number in np.flatnonzero(among):
        x, y = sources.position[number]
        box = field.box(x, y, min(REACH, field.half))
        own = light_of(psf, sources, int(number), box)
        size[number] = measure_size(residual[box] + own, field.good[box])
    among = among & np.isfinite(size)
    if not among.any():
        return among
    typical = np.percentile(size[among], 25.0)
    limit = max(LEAST_MISFIT, MISFIT * float(np.median(left[among])))
    inside = (size > SIZES[0] * typical) & (size < SIZES[1] * typical)
    return among & inside & (left <= limit)


def measure_size(pixels: np.ndarray, good: np.ndarray) -> float:
    """Diameter in pixels of the area above half the peak at the middle of a box.

    Parameters
    ----------
    pixels, good : ndarray, shape (odd, odd)
        Light, and which pixels can be used.

    Returns
    -------
    float
        NaN where a pixel of the area is bad, the peak is elsewhere, or it is a hot pixel.
    """
    zoom, middle = 5, pixels.shape[0] // 2
    beside = pixels[
        [middle - 1, middle + 1, middle, middle], [middle, middle, middle - 1, middle + 1]
    ]
    if beside.max() < LONELY * pixels[middle, middle]:
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
    """Signal-to-noise ratio of every source as if it were alone, shape (n,)."""
    columns, rows = np.rint(sources.position).astype(int).T
    return sources.flux / (field.sigma[rows, columns] * math.sqrt(psf.effective_area))


def contamination(psf: PSF, sources: FittedSources, half: int) -> np.ndarray:
    """Light of others at the core of every source over its own peak, shape (n,)."""
    offset = sources.position[:, None] - sources.position[None]
    distance = np.hypot(offset[..., 0], offset[..., 1])
    reach = np.linspace(0.0, half, 8 * half + 1)
    profile = np.maximum(psf.evaluate_grid(reach, np.zeros(1))[0], 0.0) / psf.peak
    # The core is as wide as half the FWHM on either side.
    near = np.interp(distance - 0.5 * psf.fwhm, reach, profile, right=0.0)
    np.fill_diagonal(near, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = near @ sources.flux / sources.flux
    return np.where(sources.flux > 0, share, np.inf)


def misfit(field: Field, psf: PSF, sources: FittedSources, residual: np.ndarray) -> np.ndarray:
    """Measure what sources leave in their cores beyond the noise, over their peaks, shape (n,)."""
    reach = max(1, round(0.75 * psf.fwhm))
    found = np.full(len(sources.flux), np.inf)
    for number, ((x, y), flux) in enumerate(zip(*sources, strict=True)):
        box = field.box(x, y, reach)
        if flux > 0 and field.good[box].all():
            excess = np.mean(residual[box] ** 2 - field.sigma[box] ** 2)
            found[number] = math.sqrt(max(excess, 0.0)) / (flux * psf.peak)
    return found


def usable(field: Field, psf: PSF, sources: FittedSources) -> np.ndarray:
    """Whether the pixels around every source serve, bool (n,): core whole, few others bad."""
    reach, half = max(1, round(1.5 * psf.fwhm)), field.half
    height, width = field.signal.shape
    found = np.zeros(len(sources.flux), bool)
    for number, (x, y) in enumerate(sources.position):
        rows, columns = field.box(x, y)
        # Padding around the image does not count as bad.
        rows = slice(max(rows.start, half), min(rows.stop, height - half))
        columns = slice(max(columns.start, half), min(columns.stop, width - half))
        core = field.good[field.box(x, y, reach)].all()
        found[number] = core and np.mean(~field.good[rows, columns]) <= MASKED
    return found
