"""The model of an image, averaged over rendered draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from probcat.errors import InputError
from probcat.model.background import Terms, background_terms
from probcat.model.background_names import LEVEL
from probcat.model.extended_sources import EMPTY_SHAPE
from probcat.pixels.noise import pixel_noise
from probcat.samples.per_image import of_one_image, samples_per_image
from probcat.samples.samples import SHAPE_NAMES, Samples

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.model.renderer import Renderer


class RenderSources(NamedTuple):
    """Sources of some draws as the renderer takes them, leading axes (draw, source).

    Attributes
    ----------
    x, y : Array
        Positions in pixels.
    flux : Array
        Fluxes in the image's unit; 0 where inactive.
    shape : Array, shape (draw, source, 4)
        Half-light radius, two ellipticity components and Sersic index; finite for points too.
    extended, active : Array
        Whether a source is extended, and whether a slot holds a source.
    background : Array, shape (draw, term)
        Coefficients of the background.
    """

    x: Any
    y: Any
    flux: Any
    shape: Any
    extended: Any
    active: Any
    background: Any


class PosteriorModel(NamedTuple):
    """Model of an image, averaged over the posterior; arrays of shape (ny, nx).

    Attributes
    ----------
    mean, std : ndarray of float32
        Posterior mean and standard deviation in the image's unit, including the background.
    residual : ndarray of float32
        Data minus mean in standard deviations of the noise (`probcat.pixels.noise`); NaN where the
        pixel has zero weight.
    """

    mean: np.ndarray
    std: np.ndarray
    residual: np.ndarray


@overload
def posterior_model(
    samples: Samples, images: Image, renderer: Renderer | None = None, *, max_draws: int = 200
) -> PosteriorModel: ...


@overload
def posterior_model(
    samples: Samples, images: Sequence[Image], renderer: None = None, *, max_draws: int = 200
) -> list[PosteriorModel]: ...


def posterior_model(
    samples: Samples,
    images: Image | Sequence[Image],
    renderer: Renderer | None = None,
    *,
    max_draws: int = 200,
) -> PosteriorModel | list[PosteriorModel]:
    """Compute the posterior mean of the model of an image, and its residual.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    images : Image or sequence of Image
        The image that was sampled; if several were sampled, all of them in the same order.
    renderer : Renderer, optional
        Renderer of a single image; by default that of the image's PSF.
    max_draws : int
        Number of evenly spaced draws to use.

    Returns
    -------
    PosteriorModel or list of PosteriorModel
        Model of the image; for a sequence of images a list, each in the pixels of its image.

    Raises
    ------
    InputError
        If the images are not those that were sampled, or there are no draws.
    """
    if not isinstance(images, Sequence):
        samples, image = of_one_image(samples, images)
        renderer = default_renderer(samples, image) if renderer is None else renderer
        return _model(samples, image, renderer, max_draws)
    if renderer is not None:
        raise InputError("a renderer can be given for a single image only")
    return [
        _model(own, image, default_renderer(own, image), max_draws)
        for own, image in zip(samples_per_image(samples, images), images, strict=True)
    ]


def _model(samples: Samples, image: Image, renderer: Renderer, max_draws: int) -> PosteriorModel:
    """Model of one image, with samples in its pixels."""
    mean, std, background = _moments(samples, image, renderer, max_draws)
    noise = pixel_noise(image, samples, mean - background)
    residual = np.where(image.weight > 0, (image.clean_data - mean) / noise, np.nan)
    return PosteriorModel(mean, std, residual.astype(np.float32))


def mean_light(
    samples: Samples, image: Image, renderer: Renderer, max_draws: int = 200
) -> np.ndarray:
    """Return the posterior mean of the light of all sources of one image.

    Parameters
    ----------
    samples : Samples
        Samples in the pixels of the image.
    image : Image
        Gives the shape.
    renderer : Renderer
        Renderer of the image.
    max_draws : int
        Number of evenly spaced draws to use.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
    """
    mean, _, background = _moments(samples, image, renderer, max_draws)
    return mean - background


def _moments(
    samples: Samples, image: Image, renderer: Renderer, max_draws: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of the rendered draws, and the mean background."""
    draws = thin_draws(samples, choose_draws(samples, max_draws))
    terms = background_of(samples, image)
    arguments = (renderer, terms, jax.tree.map(jnp.asarray, draws))
    mean, std = map(np.asarray, _moments_of_draws(image.shape, *arguments))
    return mean, std, np.asarray(terms.image(jnp.asarray(draws.background.mean(axis=0))))


@partial(jax.jit, static_argnums=0)
def _moments_of_draws(
    shape: tuple[int, int], renderer: Renderer, terms: Terms, draws: RenderSources
) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of the images of all draws."""

    def render(draw: RenderSources) -> jax.Array:
        return renderer.image(*draw[:-1], shape) + terms.image(draw.background)

    # Deviations from one draw avoid cancellation in single precision.
    reference = render(jax.tree.map(lambda values: values[0], draws))

    def step(sums: tuple[jax.Array, jax.Array], draw: RenderSources) -> tuple[Any, None]:
        deviation = render(draw) - reference
        return (sums[0] + deviation, sums[1] + deviation**2), None

    zero = jnp.zeros(shape, jnp.float32)
    first, second = jax.lax.scan(step, (zero, zero), draws)[0]
    first, second = first / len(draws.x), second / len(draws.x)
    return reference + first, jnp.sqrt(jnp.maximum(second - first**2, 0.0))


def mean_background(samples: Samples, image: Image) -> np.ndarray:
    """Return the posterior mean of the background of an image.

    Parameters
    ----------
    samples : Samples
        Samples in the pixels of the image.
    image : Image
        Gives the shape.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
    """
    total = samples.num_chains * samples.num_draws
    terms = thin_draws(samples, np.arange(total)).background.mean(axis=0)
    return np.asarray(background_of(samples, image).image(jnp.asarray(terms)))


def background_of(samples: Samples, image: Image) -> Terms:
    """Return the terms of the background on the pixels of an image.

    Parameters
    ----------
    samples : Samples
        Samples in the pixels of the image; their attributes name the model of the background.
    image : Image
        Gives the shape.

    Returns
    -------
    Terms
    """
    model = samples.attrs.get("background_model", [LEVEL])[0]
    mesh = float(samples.attrs.get("background_mesh", 1.0))
    return background_terms(model, image.shape, mesh, (0, 0), image.shape)


def default_renderer(samples: Samples, image: Image) -> Renderer:
    """Make the renderer of an image, with the stamp sizes of the sampler.

    If the width of the PSF was sampled, its posterior mean is used.

    Parameters
    ----------
    samples : Samples
        Samples in the pixels of the image.
    image : Image
        Gives the PSF.

    Returns
    -------
    Renderer
    """
    from probcat.model.renderer import Renderer

    renderer = Renderer.from_psf(
        image.psf,
        extended_radius=int(samples.attrs.get("extended_radius", 0)),
        large_radius=int(samples.attrs.get("large_radius", 0)),
        large_size=samples.attrs.get("large_size") or math.inf,
        with_extended=bool(np.any(samples.sources["is_extended"])),
    )
    if "psf_width_change_x" not in samples.scalars:
        return renderer
    width = [float(np.mean(samples.scalars[f"psf_width_change_{axis}"])) for axis in "xy"]
    return renderer.widened(width)


def choose_draws(samples: Samples, max_draws: int) -> np.ndarray:
    """Choose evenly spaced draws of all chains.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    max_draws : int
        Largest number of draws to choose.

    Returns
    -------
    ndarray of int64, shape (n,)
        Indices into (chain, draw) flattened.

    Raises
    ------
    InputError
        If there are no draws.
    """
    total = samples.num_chains * samples.num_draws
    if not total:
        raise InputError("there are no draws")
    return np.unique(np.linspace(0, total - 1, min(max_draws, total)).round().astype(np.int64))


def thin_draws(samples: Samples, chosen: np.ndarray) -> RenderSources:
    """Collect the sources of some draws, with finite numbers also for inactive slots.

    Parameters
    ----------
    samples : Samples
        Samples in the pixels of an image.
    chosen : ndarray of int, shape (n,)
        Draws, as indices into (chain, draw) flattened.

    Returns
    -------
    RenderSources
    """

    def pick(name: str) -> np.ndarray:
        return np.asarray(samples.sources[name]).reshape(-1, samples.capacity)[chosen]

    active = pick("active").astype(bool)
    extended = pick("is_extended").astype(bool) & active
    shape = np.stack([pick(name) for name in SHAPE_NAMES], axis=-1)
    # A point source has no shape; the renderer gets one that it can compute and discard.
    shape = np.where(extended[..., None], shape, EMPTY_SHAPE).astype(np.float32)
    x, y, flux = (
        np.where(active, pick(name), 0.0).astype(np.float32) for name in ("x", "y", "flux")
    )
    total = samples.num_chains * samples.num_draws
    terms = [np.asarray(samples.scalars.get("background", np.zeros(total))).reshape(total)]
    while (name := f"background_term{len(terms)}") in samples.scalars:
        terms.append(np.asarray(samples.scalars[name]).reshape(total))
    background = np.stack(terms, axis=1)[chosen].astype(np.float32)
    return RenderSources(x, y, flux, shape, extended, active, background)
