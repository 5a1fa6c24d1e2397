"""A PSF corrected with all bright stars of sampled catalogs.

In a crowded field few stars are isolated, and a PSF measured from those few has errors of percents.
Sampled catalogs give the positions and fluxes of all other stars; with these known, the PSF is the
solution of a linear least-squares problem for the whole image.
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
from probcat.psf.from_stars.quality import MAX_DEVIATION, PSF_ERROR, PSF_ERROR_IN_CLIPPING
from probcat.psf.separable import spread
from probcat.sampler.sample import sample
from probcat.sampler.settings import SamplerSettings
from probcat.samples.per_image import samples_per_image
from probcat.samples.samples import Samples

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.psf.psf import PSF

PRIOR_OF_DOUBT = {**UNCERTAIN_PSF, "psf_error_floor_scatter": 0.03}
"""Prior parameters for a PSF that needs refining.

It is less certain than other PSFs; without the larger scatter bright stars would be split in two.
"""
MIN_SNR = 50.0
"""Signal-to-noise ratio of the faintest star that the PSF is fitted to."""
MIN_STARS = 3
"""Smallest number of such stars in a draw."""


class _Stars(NamedTuple):
    """Stars of a draw: their interpolation along y and x, (n, D, s), fluxes, and flat pixels."""

    along_y: np.ndarray
    along_x: np.ndarray
    flux: np.ndarray
    pixel: np.ndarray

    def light(self, samples: np.ndarray, size: int) -> np.ndarray:
        """Return the light of all stars in a flat image of that size, for samples of a PSF."""
        rows = np.matmul(self.along_y, samples)
        stamps = np.matmul(rows, self.along_x.swapaxes(1, 2)) * self.flux[:, None, None]
        return np.bincount(self.pixel.ravel(), stamps.ravel(), minlength=size)

    def gather(self, image: np.ndarray) -> np.ndarray:
        """Apply the transpose of `light` to a flat image."""
        rows = np.matmul(image[self.pixel] * self.flux[:, None, None], self.along_x)
        samples = rows.shape[-1]
        return self.along_y.reshape(-1, samples).T @ rows.reshape(-1, samples)


class _Problem(NamedTuple):
    """The least-squares problem of one draw, with flat pixels."""

    stars: _Stars
    weight: np.ndarray
    residual: np.ndarray


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
    """Refine PSFs with catalogs that are sampled with uncertain PSFs.

    The PSFs must be known to a few percent. If they are worse than that, the catalogs split bright
    stars, and a PSF refitted to them becomes worse: compare the number of stars in the notes of
    the refined PSF with the stars that the image shows. More than one round rarely helps.

    Parameters
    ----------
    images : Image or sequence of Image
        Images of one run, as `probcat.sample` takes them.
    rounds : int
        Number of times that catalogs are sampled and the PSFs corrected.
    rng_key : Array or int
        Key or seed of all random numbers.
    num_chains, num_warmup, num_samples : int
        As in `probcat.sample`; a rough catalog is enough.
    settings : SamplerSettings, optional
        Settings of the sampler; by default those of `probcat.sample`.
    progress_bar : bool
        Show a progress bar.
    **parameters
        Parameters of the default prior, see `probcat.Prior.from_image`.

    Returns
    -------
    list of Image
        The same images with their refined PSFs. A PSF that varies across its image is unchanged.

    Raises
    ------
    InputError
        If every PSF varies across its image, or the catalogs have too few bright stars.
    """
    images = list(images) if isinstance(images, Sequence) else [images]
    if all(image.psf.variation is not None for image in images):
        names = ", ".join(image.name or "image" for image in images)
        raise InputError(
            f"{names}: cannot refine a PSF that varies across the image; drop --refine-psf"
        )
    key = jax.random.key(rng_key) if isinstance(rng_key, int) else rng_key
    for number in range(rounds):
        samples = sample(
            images,
            Prior.from_image(images, **{**PRIOR_OF_DOUBT, **parameters}),
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
    """Correct the PSFs of images with the catalogs that were sampled from them.

    For each of the last draws of every chain, all light but that of bright stars is subtracted from
    the image. Weighted least squares for all these draws together then gives the samples of the
    PSF, in the band-limited interpolation that `probcat.PSF` uses. Their correction is as smooth as
    the pixels allow, and components that are not significant above the noise are discarded
    (`probcat.psf.from_stars.denoise.without_noise`).

    Parameters
    ----------
    images : sequence of Image
        The images that were sampled, in the same order. A PSF that varies across its image is
        left unchanged.
    samples : Samples
        Catalogs sampled from these images.
    num_draws : int
        Number of draws of every chain that are used, counted from the last.

    Returns
    -------
    list of Image
        The images with corrected PSFs.

    Raises
    ------
    InputError
        If the catalogs have too few bright stars.
    """
    last = samples.select_draws(slice(-num_draws, None))
    pairs = zip(images, samples_per_image(last, images), strict=True)
    return [
        image if image.psf.variation is not None else _with_corrected_psf(image, own)
        for image, own in pairs
    ]


def _with_corrected_psf(image: Image, samples: Samples) -> Image:
    """Return an image with its PSF corrected, by samples in its own pixels and unit."""
    psf, size = image.psf, image.data.size
    oversampling, weight = psf.oversampling, image.weight.ravel()
    grid = np.arange(-psf.radius * oversampling, psf.radius * oversampling + 1)
    start = psf.evaluate_grid(grid / oversampling, grid / oversampling)
    noise = math.sqrt(psf.effective_area / np.median(weight[weight > 0]))
    pixel_variance = 1.0 / np.where(weight > 0, weight, 1.0)
    problems, num_stars, total = [], 0, np.zeros_like(start)
    for draw in _single_draws(samples):
        widened = _widen(start, draw, psf)
        stars = _bright_stars(image, draw, MIN_SNR * noise, grid)
        light = stars.light(widened, size)
        residual = (image.clean_data - posterior_model(draw, image).mean).ravel().astype(float)
        sigma = np.sqrt(pixel_variance + (PSF_ERROR_IN_CLIPPING * light) ** 2)
        good = (weight > 0) & (np.abs(residual) < MAX_DEVIATION * sigma)
        variance = pixel_variance + (PSF_ERROR * light) ** 2
        problems.append(_Problem(stars, np.where(good, 1.0 / variance, 0.0), residual))
        num_stars, total = num_stars + len(stars.flux), total + widened
    if num_stars < MIN_STARS * len(problems):
        raise InputError(
            f"{image.name or 'image'}: too few stars to refine the PSF: {num_stars} of S/N above "
            f"{MIN_SNR:.0f} in {len(problems)} catalogs; drop --refine-psf"
        )
    corrected = total / len(problems) + _correction(problems, size)
    refined = without_noise(unit_psf(corrected, oversampling))
    note = f"refined with {num_stars / len(problems):.0f} stars of {len(problems)} sampled catalogs"
    return replace(image, psf=replace(refined, notes=(*psf.notes, note), shift=(0.0, 0.0)))


def _single_draws(samples: Samples) -> Iterator[Samples]:
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


def _widen(start: np.ndarray, draw: Samples, psf: PSF) -> np.ndarray:
    """Return the samples of the PSF with the width that a draw has."""
    step, variance = psf.oversampling, float(spread(psf))
    for axis, name in ((0, "psf_width_change_y"), (1, "psf_width_change_x")):
        if name in draw.scalars:
            moved = float(draw.scalars[name][0, 0]) * variance
            kernel = [moved, *[0.0] * (step - 1), 1.0 - 2.0 * moved, *[0.0] * (step - 1), moved]
            start = ndimage.convolve1d(start, kernel, axis=axis, mode="constant")
    return start


def _bright_stars(image: Image, draw: Samples, flux_min: float, grid: np.ndarray) -> _Stars:
    """Return the bright stars of one draw; their light outside the image is zero."""
    x, y, flux = (np.asarray(draw.sources[name], float)[0, 0] for name in ("x", "y", "flux"))
    active, extended = (
        np.asarray(draw.sources[name], bool)[0, 0] for name in ("active", "is_extended")
    )
    chosen = active & ~extended & (np.nan_to_num(flux) > flux_min)
    x, y, flux = x[chosen], y[chosen], flux[chosen]
    half = image.psf.radius
    oversampling = image.psf.oversampling
    ny, nx = image.data.shape
    side = np.arange(-half, half + 1)
    rows, columns = (np.rint(centre).astype(int)[:, None] + side for centre in (y, x))
    along_y, along_x = (
        np.sinc((pixels - centre[:, None])[..., None] * oversampling - grid)
        for pixels, centre in ((rows, y), (columns, x))
    )
    along_y = along_y * ((rows >= 0) & (rows < ny))[..., None]
    along_x = along_x * ((columns >= 0) & (columns < nx))[..., None]
    pixel = np.clip(rows, 0, ny - 1)[:, :, None] * nx + np.clip(columns, 0, nx - 1)[:, None, :]
    return _Stars(along_y, along_x, flux, pixel)


def _correction(problems: list[_Problem], size: int) -> np.ndarray:
    """Return the least-squares correction of the samples, from all draws together."""
    information = sum(
        float(np.sum(weight[stars.pixel] * stars.flux[:, None, None] ** 2))
        for stars, weight, _ in problems
    )

    def normal(samples: np.ndarray) -> np.ndarray:
        parts = [stars.gather(weight * stars.light(samples, size)) for stars, weight, _ in problems]
        return np.sum(parts, axis=0)

    pull = np.sum([stars.gather(weight * rest) for stars, weight, rest in problems], axis=0)
    return smooth_correction(normal, pull, information)
