"""Fixed weights for proposals, close to those of variances that depend on the model.

Proposals of known density need weights that no move changes; the accept step uses the variances
themselves.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter

from probcat.model.prior.densities import prior_mean
from probcat.model.prior.prior import Prior

if TYPE_CHECKING:
    from probcat.sampler.scene.plane import Plane

UNSMOOTHED_SIGNAL = 5.0
"""Signal-to-noise ratio from which the light of a pixel is used without smoothing."""


def depends_on_model(planes: "Sequence[Plane]", prior: Prior) -> bool:
    """Whether variances depend on the light of the model or on a sampled scale of the noise."""
    sampled = prior.psf_error_floor is not None or prior.noise_scale is not None
    return sampled or any(plane.photon > 0.0 for plane in planes)


def reference_weights(
    planes: "Sequence[Plane]", prior: Prior, arrays: Sequence[tuple[np.ndarray, np.ndarray]]
) -> list[np.ndarray]:
    """Compute inverse variances of all images from the data instead of the model.

    Parameters
    ----------
    planes : sequence of Plane
        Images of the scene.
    prior : Prior
        Prior of backgrounds, of the error of the PSF and of the scale of the noise.
    arrays : sequence of (ndarray, ndarray)
        Padded pixels and inverse variances without sources, of every image.

    Returns
    -------
    list of ndarray, shape (Hp, Wp)
        Inverse variances; zero where masked.
    """
    error = float(np.max(prior_mean(prior.psf_error_floor, 0.0)))
    scale = float(np.max(prior_mean(prior.noise_scale, 1.0)))
    found = []
    for plane, level, (data, weight) in zip(planes, prior.backgrounds, arrays, strict=True):
        good = weight > 0.0
        base = scale**2 / np.where(good, weight, 1.0)
        light = np.where(good, data - np.ravel(prior_mean(level, 0.0))[0], 0.0)
        fraction = np.maximum(uniform_filter(good.astype(float), 5), 1e-3)
        smooth = uniform_filter(light, 5) / fraction
        light = np.maximum(np.where(light > UNSMOOTHED_SIGNAL * np.sqrt(base), light, smooth), 0.0)
        variance = base + scale**2 * plane.photon * light + (error * light) ** 2
        found.append(np.where(good, 1.0 / variance, 0.0).astype(np.float32))
    return found
