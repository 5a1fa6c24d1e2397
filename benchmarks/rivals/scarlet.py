"""Models of scarlet2 for a blend whose positions and stars are given.

The settings are those of the "Real-World Example" in the documentation of scarlet2 0.5.1, except
that positions of stars are kept, because they are exact here. A star is a point source. A galaxy
is one image, free in every pixel of its box, times one spectrum. Nothing is tuned with the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

MAX_STEPS = 1000
"""Largest number of steps of the optimiser."""
LEAST_CHANGE = 1e-4
"""Relative change of the loss below which the optimiser stops."""
SPECTRUM_STEP = 0.05
"""Step size of a spectrum, as a fraction of its norm."""
MORPHOLOGY_STEP = 1e-3
"""Step size of the image of a galaxy."""
TINY = 1e-6
"""Smallest distance of a constrained parameter from its bounds at the start, as in scarlet2."""


@dataclass(frozen=True, eq=False)
class Models:
    """Fitted light of all objects.

    Attributes
    ----------
    light : ndarray, shape (bands, n, ny, nx)
        Light as observed, in the unit of the images and not negative.
    steps : int
        Number of steps of the optimiser, `MAX_STEPS` if it did not converge.
    chi2 : float
        Chi-square per pixel of all bands with the weights of the fit, NaN if the fit failed.
    """

    light: np.ndarray
    steps: int
    chi2: float


def fit_scarlet(
    images: Sequence[Any],
    x: np.ndarray,
    y: np.ndarray,
    is_star: np.ndarray,
    *,
    wide: bool = False,
) -> Models:
    """Fit one source for each object.

    Parameters
    ----------
    images : sequence of probcat.Image
        Bands on one pixel grid without sky, which scarlet2 does not model. Their PSFs have one
        shape and one sample per pixel.
    x, y : ndarray, shape (n,)
        Positions in pixels, from 0.
    is_star : ndarray of bool, shape (n,)
        Whether an object is a star.
    wide : bool
        Whether boxes of galaxies are as wide as the image, and the Gaussian at the start fills
        them. By default scarlet2 chooses the boxes, which are small in a blend.

    Returns
    -------
    Models
    """
    import jax.numpy as jnp
    import scarlet2

    scarlet2.set_validation(False)
    observation = scarlet2.Observation(
        np.stack([image.clean_data for image in images]),
        weights=np.stack([_weights(image) for image in images]),
        psf=np.stack([image.psf.pixels for image in images]),
        channels=[image.band for image in images],
    )
    frame = scarlet2.Frame.from_observations(observation)
    observation.match(frame)
    with scarlet2.Scene(frame) as scene:
        for center, star in zip(np.stack([y, x], axis=1), is_star, strict=True):
            center = jnp.array(center)
            if star:
                spectrum = scarlet2.init.pixel_spectrum(observation, center, correct_psf=True)
                scarlet2.PointSource(center, jnp.maximum(spectrum, TINY))
            else:
                size = max(images[0].shape) // 2 * 2 + 1 if wide else None
                scarlet2.Source(center, *_begin(observation, center, size))
    _set_parameters(scene, is_star)
    losses: list[Any] = []
    scene = scene.fit(
        observation,
        max_iter=MAX_STEPS,
        e_rel=LEAST_CHANGE,
        progress_bar=False,
        callback=lambda _scene, _change, loss: losses.append(loss),
    )
    light = [observation.render(scene.evaluate_source(source)) for source in scene.sources]
    chi2 = float(observation.goodness_of_fit(scene()))
    return Models(np.maximum(np.moveaxis(np.array(light), 0, 1), 0.0), len(losses), chi2)


def _weights(image: Any) -> np.ndarray:
    """Inverse variances with the photon noise of sources, as in variance planes of surveys."""
    gain = image.photon_gain or np.inf
    variance = image.variance + np.maximum(image.clean_data, 0.0) / gain
    return np.where(image.weight > 0, 1.0 / variance, 0.0)


def _begin(observation: Any, center: Any, size: int | None) -> tuple[Any, Any]:
    """Spectrum and image of a galaxy at the start."""
    import jax.numpy as jnp
    from scarlet2 import GaussianMorphology, init

    room = np.minimum(center, np.subtract(observation.data.shape[1:], 1) - center).min()
    # scarlet2 returns moments of NaN for a box that leaves the image.
    for boxes in (None, [2 * int(room) + 1]):
        try:
            spectrum, image = init.from_gaussian_moments(observation, center, box_sizes=boxes)
            break
        except ValueError:
            pass
    else:
        spectrum, image = init.pixel_spectrum(observation, center), init.compact_morphology()
    if size is not None:
        own = GaussianMorphology.from_image(image)
        image = GaussianMorphology(own.size, own.ellipticity, shape=(size, size))()
    return jnp.maximum(spectrum, TINY), jnp.clip(image, TINY, 1.0 - TINY)


def _set_parameters(scene: Any, is_star: np.ndarray) -> None:
    """Make all spectra, and the images of galaxies, free parameters."""
    import scarlet2
    from numpyro.distributions import constraints

    with scarlet2.Parameters(scene):
        for number, (source, star) in enumerate(zip(scene.sources, is_star, strict=True)):
            scarlet2.Parameter(
                source.spectrum,
                name=f"spectrum_{number}",
                constraint=constraints.positive,
                stepsize=partial(scarlet2.relative_step, factor=SPECTRUM_STEP),
            )
            if not star:
                scarlet2.Parameter(
                    source.morphology,
                    name=f"morphology_{number}",
                    constraint=constraints.unit_interval,
                    stepsize=partial(scarlet2.relative_step, factor=MORPHOLOGY_STEP),
                )
