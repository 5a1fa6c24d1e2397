"""RenderSources as the renderer takes them, and the model image averaged over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np

from probcat.errors import InputError
from probcat.model.background import Terms, background_terms
from probcat.model.background_names import LEVEL
from probcat.samples.per_image import of_one_image, samples_per_image
from probcat.samples.samples import SHAPE_NAMES, Samples

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.model.renderer import Renderer

# A point source has no shape; the renderer is given one that it can compute and discard.
_NO_SHAPE = (1.0, 0.0, 0.0, 1.0)


class RenderSources(NamedTuple):
    """Sources of thinned draws, leading axes (draw, source); fluxes are 0 where inactive.

    The background has axes (draw, term), as `background_image` takes it.
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

    Parameters
    ----------
    mean, std : ndarray of float32
        In the image's unit, background included.
    residual : ndarray of float32
        (data - mean) in standard deviations of the noise, NaN where the pixel weighs nothing.
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
    """Average the rendered draws of one image."""
    draws = thin_draws(samples, choose_draws(samples, max_draws))

    terms = background_of(samples, image)

    def render(draw: RenderSources) -> jax.Array:
        return renderer.image(*draw[:-1], image.shape) + terms.image(draw.background)

    @jax.jit
    def moments(draws: RenderSources) -> tuple[jax.Array, jax.Array]:
        # Deviations from one draw keep the variance clear of float32 cancellation.
        reference = render(jax.tree.map(lambda values: values[0], draws))

        def step(sums: tuple[jax.Array, jax.Array], draw: RenderSources) -> tuple[Any, None]:
            deviation = render(draw) - reference
            return (sums[0] + deviation, sums[1] + deviation**2), None

        zero = jnp.zeros(image.shape, jnp.float32)
        first, second = jax.lax.scan(step, (zero, zero), draws)[0]
        first, second = first / len(draws.x), second / len(draws.x)
        return reference + first, jnp.sqrt(jnp.maximum(second - first**2, 0.0))

    mean, std = map(np.asarray, moments(jax.tree.map(jnp.asarray, draws)))
    sky = np.asarray(terms.image(jnp.asarray(draws.background.mean(axis=0))))
    residual = (image.clean_data - mean) / noise_of(samples, image, mean - sky)
    return PosteriorModel(mean, std, residual.astype(np.float32))


def mean_background(samples: Samples, image: Image) -> np.ndarray:
    """Posterior mean of the background of an image, float32 (ny, nx)."""
    total = samples.num_chains * samples.num_draws
    terms = thin_draws(samples, np.arange(total)).background.mean(axis=0)
    return np.asarray(background_of(samples, image).image(jnp.asarray(terms)))


def noise_of(samples: Samples, image: Image, light: np.ndarray) -> np.ndarray:
    """Give the standard deviation of every pixel, NaN where it weighs nothing.

    Parameters
    ----------
    samples : Samples
        Posterior means of the PSF's error and the scale of the noise are used.
    image : Image
    light : ndarray, shape (ny, nx)
        Of all sources.

    Returns
    -------
    ndarray, shape (ny, nx)
    """
    error, scale = (
        float(np.mean(samples.scalars[name])) if name in samples.scalars else constant
        for name, constant in (
            ("psf_error_floor", float(samples.attrs.get("psf_error_floor") or 0.0)),
            ("noise_scale", 1.0),
        )
    )
    light = np.maximum(light, 0.0)
    good = image.weight > 0
    base = np.where(good, 1.0 / np.where(good, image.weight, 1.0), np.nan)
    return np.sqrt(scale**2 * (base + image.photon_variance * light) + (error * light) ** 2)


def background_of(samples: Samples, image: Image) -> Terms:
    """Terms of the background of an image on its pixels."""
    model = samples.attrs.get("background_model", [LEVEL])[0]
    mesh = float(samples.attrs.get("background_mesh", 1.0))
    return background_terms(model, image.shape, mesh, (0, 0), image.shape)


def default_renderer(samples: Samples, image: Image) -> Renderer:
    """Make the renderer of the image's PSF, with the footprint that the sampler used.

    Of a width that was sampled its mean is taken.
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
    width = [float(np.mean(samples.scalars[f"psf_width_{axis}"])) for axis in "xy"]
    return renderer.widened(width)


def choose_draws(samples: Samples, max_draws: int) -> np.ndarray:
    """Evenly spaced draws over all chains, as indices into (chain, draw) flattened."""
    total = samples.num_chains * samples.num_draws
    if not total:
        raise InputError("there are no draws")
    return np.unique(np.linspace(0, total - 1, min(max_draws, total)).round().astype(np.int64))


def thin_draws(samples: Samples, chosen: np.ndarray) -> RenderSources:
    """Gather the chosen draws with finite numbers everywhere."""

    def pick(name: str) -> np.ndarray:
        return np.asarray(samples.sources[name]).reshape(-1, samples.capacity)[chosen]

    active = pick("active").astype(bool)
    extended = pick("is_extended").astype(bool) & active
    shape = np.stack([pick(name) for name in SHAPE_NAMES], axis=-1)
    shape = np.where(extended[..., None], shape, np.array(_NO_SHAPE)).astype(np.float32)
    x, y, flux = (
        np.where(active, pick(name), 0.0).astype(np.float32) for name in ("x", "y", "flux")
    )
    total = samples.num_chains * samples.num_draws
    terms = [np.asarray(samples.scalars.get("background", np.zeros(total))).reshape(total)]
    while (name := f"background_term{len(terms)}") in samples.scalars:
        terms.append(np.asarray(samples.scalars[name]).reshape(total))
    background = np.stack(terms, axis=1)[chosen].astype(np.float32)
    return RenderSources(x, y, flux, shape, extended, active, background)
