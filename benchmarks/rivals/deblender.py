"""One interface for programs that divide an image among objects.

A deblender takes an `Image` and returns a `Deblended`. What it was told beyond the image, its noise
and its PSF stands in its `Rival`.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.rivals.baselines import (
    Segments,
    gaussian_shares,
    hard_shares,
    segment_photutils,
    segment_sep,
)


@dataclass(frozen=True, eq=False)
class Deblended:
    """Objects of a deblender in one image.

    Attributes
    ----------
    x, y, flux : ndarray, shape (n,)
        Positions in pixels from 0, and fluxes.
    masks : ndarray of bool, shape (n, ny, nx)
        Pixels of each object; they may overlap.
    shares : ndarray, shape (n, ny, nx)
        Share of each object of the light of every pixel.
    seconds : float
        CPU-seconds that the program took.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    masks: np.ndarray
    shares: np.ndarray
    seconds: float = 0.0


@dataclass(frozen=True)
class Rival:
    """A deblender, and what is to be known of it.

    Attributes
    ----------
    deblend : callable
        Takes an `Image` and returns a `Deblended`.
    told : str
        What it is told beyond the image, its noise and its PSF; empty for nothing.
    package : str
        Package that it needs; empty for none beyond those of the tests.
    """

    deblend: Callable[[Any], Deblended]
    told: str = ""
    package: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether its package is found."""
        return not self.package or find_spec(self.package) is not None

    def run(self, image: Any) -> Deblended:
        """Deblend an image, and measure the CPU time."""
        start = time.process_time()
        found = self.deblend(image)
        return replace(found, seconds=time.process_time() - start)


def without_sky(image: Any) -> tuple[np.ndarray, np.ndarray]:
    """Data minus the median of the sky, and the standard deviation of the noise."""
    from probcat.numerics.robust import sky_level
    from probcat.pixels.noise import pixel_noise

    data = image.clean_data - sky_level(image.clean_data, image.weight > 0)
    return np.asarray(data, float), np.asarray(pixel_noise(image), float)


def from_segments(segments: Segments, data: np.ndarray, shares: np.ndarray) -> Deblended:
    """Objects of a segmentation map, whose fluxes are their shares of the light."""
    flux = np.sum(shares * data[None], axis=(1, 2))
    return Deblended(segments.x, segments.y, flux, segments.masks, shares)


def deblend_sep(image: Any, *, gaussians: bool = False) -> Deblended:
    """Deblend with sep: hard labels, or shares in proportion to Gaussians with their moments."""
    data, noise = without_sky(image)
    segments = segment_sep(data / noise)
    shares = gaussian_shares(segments, data) if gaussians else hard_shares(segments)
    return from_segments(segments, data, shares)


def deblend_photutils(image: Any, *, gaussians: bool = False) -> Deblended:
    """Deblend with photutils: hard labels, or shares in proportion to Gaussians."""
    data, noise = without_sky(image)
    segments = segment_photutils(data / noise, float(image.psf.fwhm))
    shares = gaussian_shares(segments, data) if gaussians else hard_shares(segments)
    return from_segments(segments, data, shares)


def psf_photometry(image: Any) -> Deblended:
    """Fit a PSF to every peak with photutils: every object is a star.

    The masks are where a star's model exceeds three sigma of the noise.
    """
    from astropy.table import QTable
    from photutils.detection import DAOStarFinder
    from photutils.psf import ImagePSF, PSFPhotometry
    from photutils.utils.exceptions import NoDetectionsWarning

    from probcat.metrics import true_shares
    from probcat.metrics.score_pixels import true_masks

    data, noise = without_sky(image)
    fwhm = float(image.psf.fwhm)
    finder = DAOStarFinder(threshold=3.0 * float(np.median(noise)), fwhm=fwhm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        peaks = finder(data)
    if peaks is None or not len(peaks):
        none = np.zeros(0)
        empty = np.zeros((0, *data.shape))
        return Deblended(none, none, none, empty.astype(bool), empty)
    stamp = np.asarray(image.psf.pixels, float)
    model = ImagePSF(stamp / stamp.sum())
    first = QTable({"x": peaks["x_centroid"], "y": peaks["y_centroid"], "flux": peaks["flux"]})
    side = 2 * int(fwhm) + 1
    fit = PSFPhotometry(model, (side, side), aperture_radius=fwhm)
    table = fit(data, error=noise, init_params=first)
    x, y, flux = (np.asarray(table[f"{name}_fit"], float) for name in ("x", "y", "flux"))
    good = np.isfinite(flux) & (flux > 0.0)
    x, y, flux = x[good], y[good], flux[good]
    rows, columns = np.indices(data.shape)
    light = np.array(
        [
            model.evaluate(columns, rows, one, *at)
            for one, at in zip(flux, zip(x, y, strict=True), strict=True)
        ]
    )
    light = np.maximum(light.reshape(-1, *data.shape), 0.0)
    return Deblended(x, y, flux, true_masks(light, noise), true_shares(light)[0])


RIVALS: dict[str, Rival] = {
    "sep": Rival(deblend_sep),
    "sep, Gaussians": Rival(lambda image: deblend_sep(image, gaussians=True)),
    "photutils": Rival(deblend_photutils),
    "photutils, Gaussians": Rival(lambda image: deblend_photutils(image, gaussians=True)),
    "photutils, PSF photometry": Rival(psf_photometry),
}
"""Deblenders by the name that tables have."""
