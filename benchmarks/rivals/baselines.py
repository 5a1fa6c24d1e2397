"""Detections of sep and photutils, hard labels, and shares of light built on them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

THRESHOLD = 1.5
"""Detection threshold in sigma of the detection image; a default of SExtractor, as those below."""
MIN_PIXELS = 5
"""Smallest number of pixels of a detection."""
NUM_LEVELS = 32
"""Number of thresholds for deblending."""
CONTRAST = 0.005
"""Smallest fraction of the flux that a deblended object has."""


@dataclass(frozen=True, eq=False)
class Segments:
    """Detections of a program.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        Centroids in pixels, from 0.
    labels : ndarray of int, shape (ny, nx)
        Segmentation map: pixels of detection k have the value k + 1, others 0.
    covariance : ndarray, shape (n, 2, 2)
        Second moments of the light along (x, y) in square pixels, including the PSF.
    """

    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    covariance: np.ndarray

    @property
    def masks(self) -> np.ndarray:
        """Masks of all detections, bool, shape (n, ny, nx)."""
        return self.labels[None] == np.arange(1, len(self.x) + 1)[:, None, None]


def detection_image(images: Sequence[Any]) -> np.ndarray:
    """Return the sum of all bands without sky, in units of their noise, with unit noise."""
    from probcat.numerics.robust import sky_level
    from probcat.pixels.assign import pixel_noise

    planes = [
        (image.clean_data - sky_level(image.clean_data, image.weight > 0)) / pixel_noise(image)
        for image in images
    ]
    return np.sum(planes, axis=0) / np.sqrt(len(planes))


def segment_sep(detection: np.ndarray) -> Segments:
    """Detect and deblend with sep, which has the algorithms of SExtractor."""
    import sep

    data = np.ascontiguousarray(detection, dtype=np.float32)
    found, labels = sep.extract(
        data,
        THRESHOLD,
        err=1.0,
        minarea=MIN_PIXELS,
        deblend_nthresh=NUM_LEVELS,
        deblend_cont=CONTRAST,
        segmentation_map=True,
    )
    moments = [[found["x2"], found["xy"]], [found["xy"], found["y2"]]]
    return Segments(found["x"], found["y"], labels, np.moveaxis(np.array(moments), -1, 0))


def segment_photutils(detection: np.ndarray, fwhm: float) -> Segments:
    """Detect and deblend with photutils."""
    from astropy.convolution import convolve
    from photutils.segmentation import (
        SourceCatalog,
        deblend_sources,
        detect_sources,
        make_2dgaussian_kernel,
    )
    from photutils.utils.exceptions import NoDetectionsWarning

    kernel = make_2dgaussian_kernel(fwhm, size=2 * int(fwhm) + 1)
    smooth = convolve(detection, kernel)
    # As in the documentation of photutils, the threshold is in units of the noise before smoothing.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        segments = detect_sources(smooth, THRESHOLD, MIN_PIXELS)
    if segments is None:
        none = np.zeros(0)
        return Segments(none, none, np.zeros(detection.shape, int), np.zeros((0, 2, 2)))
    segments = deblend_sources(
        smooth,
        segments,
        MIN_PIXELS,
        n_levels=NUM_LEVELS,
        contrast=CONTRAST,
        progress_bar=False,
    )
    segments.relabel_consecutive()
    catalog = SourceCatalog(detection, segments, convolved_data=smooth)
    covariance = np.array([np.asarray(c.value) for c in np.atleast_3d(catalog.covariance)])
    return Segments(catalog.x_centroid, catalog.y_centroid, segments.data, covariance)


def hard_shares(segments: Segments) -> np.ndarray:
    """Return shares that give all light of a segment to its detection, and no other light."""
    return segments.masks.astype(float)


def nearest_shares(segments: Segments, shape: tuple[int, int]) -> np.ndarray:
    """Return shares that give all light of a pixel to the nearest detection."""
    rows, cols = np.indices(shape)
    distance = [np.hypot(cols - x, rows - y) for x, y in zip(segments.x, segments.y, strict=True)]
    if not distance:
        return np.zeros((0, *shape))
    nearest = np.argmin(distance, axis=0)
    return (nearest[None] == np.arange(len(distance))[:, None, None]).astype(float)


def gaussian_shares(segments: Segments, data: np.ndarray) -> np.ndarray:
    """Return shares in proportion to Gaussian models of the detections.

    Parameters
    ----------
    segments : Segments
        Detections. A model has their moments, and the flux of their segments.
    data : ndarray, shape (ny, nx)
        Image of the band without sky.

    Returns
    -------
    ndarray, shape (n, ny, nx)
        Shares of light, zero where no model has light.
    """
    rows, cols = np.indices(data.shape)
    models = []
    for x, y, covariance, mask in zip(
        segments.x, segments.y, segments.covariance, segments.masks, strict=True
    ):
        covariance = covariance + 1e-3 * np.eye(2)
        delta = np.stack([cols - x, rows - y], axis=-1)
        squared = np.einsum("...i,ij,...j", delta, np.linalg.inv(covariance), delta)
        flux = max(float(data[mask].sum()), 0.0)
        models.append(flux / np.sqrt(np.linalg.det(covariance)) * np.exp(-0.5 * squared))
    model = np.array(models).reshape(-1, *data.shape)
    total = model.sum(axis=0)
    return np.where(total > 1e-30, model / np.where(total > 1e-30, total, 1.0), 0.0)
