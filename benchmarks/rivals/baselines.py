"""What traditional programs make of a blend: detections, hard labels, and shares built on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

THRESHOLD = 1.5
"""Of the detection image, in its noise; with the other settings SExtractor's defaults."""
MIN_PIXELS = 5
NUM_LEVELS, CONTRAST = 32, 0.005


@dataclass(frozen=True, eq=False)
class Segments:
    """Detections of a program.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        Pixels, from 0.
    labels : ndarray of int, shape (ny, nx)
        Detection k owns the pixels of k + 1.
    covariance : ndarray, shape (n, 2, 2)
        Second moments of the light along (x, y), the PSF included.
    """

    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    covariance: np.ndarray

    @property
    def masks(self) -> np.ndarray:
        """Pixels of every detection, bool (n, ny, nx)."""
        return self.labels[None] == np.arange(1, len(self.x) + 1)[:, None, None]


def detection_image(images: Sequence[Any]) -> np.ndarray:
    """Sum of all bands less their sky, each in its noise; of unit noise itself."""
    from probcat.numerics.robust import sky_level
    from probcat.pixels.assign import pixel_noise

    planes = [
        (image.clean_data - sky_level(image.clean_data, image.weight > 0)) / pixel_noise(image)
        for image in images
    ]
    return np.sum(planes, axis=0) / np.sqrt(len(planes))


def segment_sep(detection: np.ndarray) -> Segments:
    """Detect and deblend with sep (SExtractor)."""
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

    kernel = make_2dgaussian_kernel(fwhm, size=2 * int(fwhm) + 1)
    smooth = convolve(detection, kernel)
    # Smoothing lowers the noise by the root of the kernel's squared sum.
    limit = THRESHOLD * float(np.sqrt(np.sum(kernel.array**2)))
    segments = detect_sources(smooth, limit, MIN_PIXELS)
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
    """All light of a segment to its detection, and of other pixels to none."""
    return segments.masks.astype(float)


def nearest_shares(segments: Segments, shape: tuple[int, int]) -> np.ndarray:
    """All light of a pixel to the nearest detection."""
    rows, cols = np.indices(shape)
    distance = [np.hypot(cols - x, rows - y) for x, y in zip(segments.x, segments.y, strict=True)]
    if not distance:
        return np.zeros((0, *shape))
    nearest = np.argmin(distance, axis=0)
    return (nearest[None] == np.arange(len(distance))[:, None, None]).astype(float)


def gaussian_shares(segments: Segments, data: np.ndarray) -> np.ndarray:
    """Light in proportion to Gaussians of the detections' moments and light in their segments.

    Parameters
    ----------
    segments : Segments
        Their moments are of the seeing-convolved light.
    data : ndarray, shape (ny, nx)
        The band, without its sky.
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
