"""The noise of a pixel: that of the image, with the scale and the errors that were sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.samples.samples import Samples


def pixel_noise(
    image: Image, samples: Samples | None = None, light: np.ndarray | None = None
) -> np.ndarray:
    r"""Return the standard deviation of every pixel.

    Its square is, as in `probcat.model.pixel_noise`,

    .. math:: v = s^2 (1 / w + m / g) + (\epsilon m)^2

    with the weight w, the light m of all sources, the gain g if the photon noise of sources comes
    from the model, the scale s of the noise, and the relative error epsilon of the PSF.

    Parameters
    ----------
    image : Image
        Gives w and g.
    samples : Samples, optional
        Samples in the pixels of this image, whose posterior means of s and epsilon are used; by
        default s is 1 and epsilon 0.
    light : ndarray, shape (ny, nx), optional
        Posterior mean of m in the image's unit; by default 0.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Standard deviations in the image's unit. A pixel with zero weight gets the median of the
        others, or infinity if there are none.
    """
    error, scale = (0.0, 1.0) if samples is None else _sampled_noise(samples)
    weight = np.asarray(image.weight)
    good = weight > 0
    variance = scale**2 / np.where(good, weight, 1.0)
    if light is not None:
        light = np.maximum(light, 0.0)
        variance = variance + scale**2 * image.photon_variance * light + (error * light) ** 2
    sigma = np.sqrt(variance).astype(np.float32)
    sigma[~good] = np.median(sigma[good]) if good.any() else np.inf
    return sigma


def depends_on_light(image: Image, samples: Samples) -> bool:
    """Return whether the noise of pixels changes with the light of the sources.

    Parameters
    ----------
    image : Image
        An image.
    samples : Samples
        Samples in the pixels of this image.
    """
    return image.photon_variance > 0.0 or _sampled_noise(samples)[0] > 0.0


def _sampled_noise(samples: Samples) -> tuple[float, float]:
    """Posterior mean of the relative error of the PSF and of the scale of the noise."""
    fixed = {"psf_error_floor": samples.attrs.get("psf_error_floor") or 0.0, "noise_scale": 1.0}
    error, scale = (
        float(np.mean(samples.scalars[name])) if name in samples.scalars else float(value)
        for name, value in fixed.items()
    )
    return error, scale
