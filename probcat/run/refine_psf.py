"""A PSF corrected by all bright stars of sampled catalogs.

Stars of a crowded field are seldom alone, so that a PSF that is measured from the few that are
has errors of percents. Catalogs say where all others are and how bright: given them the PSF is a
linear least-squares problem for the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from scipy import ndimage

from probcat.errors import InputError
from probcat.model.prior.parameters import UNCERTAIN_PSF
from probcat.model.prior.prior import Prior
from probcat.pixels.model_image import posterior_model
from probcat.psf.from_stars.denoise import without_noise
from probcat.psf.from_stars.least_squares import smooth_correction, unit_psf
from probcat.psf.separable import spread
from probcat.sampler.sample import sample
from probcat.sampler.settings import SamplerSettings
from probcat.samples.per_image import samples_per_image
from probcat.samples.samples import Samples

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.psf.psf import PSF

DOUBTED = {**UNCERTAIN_PSF, "psf_error_floor_scatter": 0.03}
"""A PSF that wants refining is less certain than others: else bright stars are split in two."""
FAINTEST = 50.0
"""Signal-to-noise ratio of the stars that the PSF is fitted to."""
FEWEST = 3
"""Least number of them in a draw."""
FLOOR = 0.005
"""Error of the PSF relative to it, so that not one star alone makes it."""
CLIPPED, ROUGH = 5.0, 0.05
"""Pixels that are off by so many standard deviations are left out, and the error of a PSF
relative to it that is part of these."""


class _Stars(NamedTuple):
    """Stars of a draw: interpolation along y and x, (n, D, s), fluxes, and their pixels."""

    down: np.ndarray
    across: np.ndarray
    flux: np.ndarray
    pixel: np.ndarray

    def light(self, samples: np.ndarray, size: int) -> np.ndarray:
        """Light of all of them in a flat image of that size, for the samples of a PSF."""
        rows = np.matmul(self.down, samples)
        stamps = np.matmul(rows, self.across.swapaxes(1, 2)) * self.flux[:, None, None]
        return np.bincount(self.pixel.ravel(), stamps.ravel(), minlength=size)

    def gathered(self, image: np.ndarray) -> np.ndarray:
        """Transpose of `light`."""
        rows = np.matmul(image[self.pixel] * self.flux[:, None, None], self.across)
        samples = rows.shape[-1]
        return self.down.reshape(-1, samples).T @ rows.reshape(-1, samples)


def refine_psf(
    images: Image | Sequence[Image],
    *,
    rounds: int = 1,
    rng_key: Any = 0,
    num_chains: int = 4,
    num_warmup: int = 100,
    num_samples: int = 40,
    settings: SamplerSettings | None = None,
    progress_bar: bool = True,
    **parameters: Any,
) -> list[Image]:
    """Sample catalogs with PSFs of uncertain error and width, and correct the PSFs by them.

    That is for PSFs that are known to a few percent. Where they are farther off, catalogs split
    bright stars, and a PSF that follows them becomes worse: compare the number of stars that
    the notes of the result give with what the image shows. More rounds than one seldom help.

    Parameters
    ----------
    images : Image or sequence of Image
    rounds : int
        Times that this is done, with the PSFs of the round before.
    rng_key : Array or int
    num_chains, num_warmup, num_samples : int
        As in `probcat.sample`; a rough catalog is enough.
    settings : SamplerSettings, optional
    progress_bar : bool
        Show a progress bar.
    **parameters
        Of the default prior, see `probcat.Prior.from_image`.

    Returns
    -------
    list of Image

    Raises
    ------
    InputError
        If every PSF varies over its image, or catalogs hold too few bright stars.
    """
    images = list(images) if isinstance(images, Sequence) else [images]
    if all(image.psf.variation is not None for image in images):
        names = ", ".join(image.name or "image" for image in images)
        raise InputError(f"{names}: only a PSF that does not vary can be refined; leave that out")
    key = jax.random.key(rng_key) if isinstance(rng_key, int) else rng_key
    for number in range(rounds):
        samples = sample(
            images,
            Prior.from_image(images, **{**DOUBTED, **parameters}),
            rng_key=jax.random.fold_in(key, number),
            num_chains=num_chains,
            num_warmup=num_warmup,
            num_samples=num_samples,
            settings=settings,
            progress_bar=progress_bar,
        )
        images = correct_psf(images, samples)
    return images


def correct_psf(images: Sequence[Image], samples: Samples, num_draws: int = 1) -> list[Image]:
    """Correct the PSFs of images by the catalogs that were sampled from them.

    For each of the last draws of every chain all light but that of bright stars is taken off;
    the samples of the PSF, of the band-limited interpolation that `probcat.PSF` uses, follow by
    weighted least squares from all of these together. Their correction is as smooth as the
    pixels allow, and what does not stand out of its noise is left away
    (`probcat.psf.from_stars.denoise.without_noise`).

    Parameters
    ----------
    images : sequence of Image
        Those that were sampled, in the same order. A PSF that varies stays as it is.
    samples : Samples
    num_draws : int
        Draws of every chain that are used, the last ones.

    Returns
    -------
    list of Image

    Raises
    ------
    InputError
        If catalogs hold too few bright stars.
    """
    last = samples.select_draws(slice(-num_draws, None))
    pairs = zip(images, samples_per_image(last, images), strict=True)
    return [
        image if image.psf.variation is not None else _refined(image, view) for image, view in pairs
    ]


def _refined(image: Image, view: Samples) -> Image:
    psf, size = image.psf, image.data.size
    oversampling, weight = psf.oversampling, image.weight.ravel()
    grid = np.arange(-psf.radius * oversampling, psf.radius * oversampling + 1)
    start = psf.evaluate_grid(grid / oversampling, grid / oversampling)
    noise = math.sqrt(psf.effective_area / np.median(weight[weight > 0]))
    noisy = 1.0 / np.where(weight > 0, weight, 1.0)
    problems, number, changed = [], 0, np.zeros_like(start)
    for one in _each_draw(view):
        own = _widened(start, one, psf)
        stars = _bright(image, one, FAINTEST * noise, grid)
        light = stars.light(own, size)
        left = (image.clean_data - posterior_model(one, image).mean).ravel().astype(float)
        good = (weight > 0) & (np.abs(left) < CLIPPED * np.sqrt(noisy + (ROUGH * light) ** 2))
        variance = noisy + (FLOOR * light) ** 2
        problems.append((stars, np.where(good, 1.0 / variance, 0.0), left))
        number, changed = number + len(stars.flux), changed + own
    if number < FEWEST * len(problems):
        raise InputError(
            f"{image.name or 'image'}: {number} stars of S/N {FAINTEST:.0f} in {len(problems)} "
            "catalogs are too few to refine its PSF by"
        )
    samples = changed / len(problems) + _correction(problems, size)
    refined = without_noise(unit_psf(samples, oversampling))
    note = f"refined by {number / len(problems):.0f} stars of {len(problems)} sampled catalogs"
    return replace(image, psf=replace(refined, notes=(*psf.notes, note), shift=(0.0, 0.0)))


def _each_draw(samples: Samples) -> Iterator[Samples]:
    """Yield samples of one draw each."""
    groups = (samples.sources, samples.scalars, samples.stats)
    for chain in range(samples.num_chains):
        for draw in range(samples.num_draws):
            here = slice(chain, chain + 1), slice(draw, draw + 1)
            sources, scalars, stats = (
                {name: np.asarray(values)[here] for name, values in group.items()}
                for group in groups
            )
            yield Samples(sources, scalars, stats, samples.attrs)


def _widened(start: np.ndarray, one: Samples, psf: PSF) -> np.ndarray:
    """Give the samples of the PSF the width that a draw has."""
    step, variance = psf.oversampling, float(spread(psf))
    for axis, name in ((0, "psf_width_change_y"), (1, "psf_width_change_x")):
        if name in one.scalars:
            share = float(one.scalars[name][0, 0]) * variance
            pixels = [share, *[0.0] * (step - 1), 1.0 - 2.0 * share, *[0.0] * (step - 1), share]
            start = ndimage.convolve1d(start, pixels, axis=axis, mode="constant")
    return start


def _bright(image: Image, one: Samples, flux_min: float, grid: np.ndarray) -> _Stars:
    """Bright stars of one draw; light that falls off the image goes to a pixel of no weight."""
    x, y, flux = (np.asarray(one.sources[name], float)[0, 0] for name in ("x", "y", "flux"))
    active, extended = (np.asarray(one.sources[n], bool)[0, 0] for n in ("active", "is_extended"))
    chosen = active & ~extended & (np.nan_to_num(flux) > flux_min)
    x, y, flux = x[chosen], y[chosen], flux[chosen]
    half = image.psf.radius
    oversampling = image.psf.oversampling
    ny, nx = image.data.shape
    side = np.arange(-half, half + 1)
    rows, columns = (np.rint(v).astype(int)[:, None] + side for v in (y, x))
    down, across = (
        np.sinc((pixels - place[:, None])[..., None] * oversampling - grid)
        for pixels, place in ((rows, y), (columns, x))
    )
    # Off the image nothing is seen.
    down = down * ((rows >= 0) & (rows < ny))[..., None]
    across = across * ((columns >= 0) & (columns < nx))[..., None]
    pixel = np.clip(rows, 0, ny - 1)[:, :, None] * nx + np.clip(columns, 0, nx - 1)[:, None, :]
    return _Stars(down, across, flux, pixel)


def _correction(problems: list[tuple[_Stars, np.ndarray, np.ndarray]], size: int) -> np.ndarray:
    """Least-squares correction of the samples, from all draws together."""
    information = sum(
        float(np.sum(weight[stars.pixel] * stars.flux[:, None, None] ** 2))
        for stars, weight, _ in problems
    )

    def normal(samples: np.ndarray) -> np.ndarray:
        parts = [
            stars.gathered(weight * stars.light(samples, size)) for stars, weight, _ in problems
        ]
        return np.sum(parts, axis=0)

    pull = np.sum([stars.gathered(weight * left) for stars, weight, left in problems], axis=0)
    return smooth_correction(normal, pull, information)
