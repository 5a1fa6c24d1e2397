"""Draws as the renderer takes them, and the model image averaged over them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from probcat.errors import InputError
from probcat.samples import SHAPE_NAMES, Samples

if TYPE_CHECKING:
    from probcat.image import Image
    from probcat.render import Renderer

# A point source has no shape; the renderer is given one that it can compute and discard.
_NO_SHAPE = (1.0, 0.0, 0.0, 1.0)


class Draws(NamedTuple):
    """Sources of thinned draws, leading axes (draw, source); fluxes are 0 where inactive."""

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


def posterior_model(
    samples: Samples, image: Image, renderer: Renderer | None = None, *, max_draws: int = 200
) -> PosteriorModel:
    """Average the rendered draws.

    Parameters
    ----------
    samples : Samples
    image : Image
    renderer : Renderer, optional
        By default that of the image's PSF.
    max_draws : int
        Evenly spaced draws that are used.

    Returns
    -------
    PosteriorModel
    """
    renderer = default_renderer(samples, image) if renderer is None else renderer
    draws = thin_draws(samples, choose_draws(samples, max_draws))

    def render(draw: Draws) -> jax.Array:
        return renderer.image(*draw[:-1], image.shape) + draw.background

    @jax.jit
    def moments(draws: Draws) -> tuple[jax.Array, jax.Array]:
        # Deviations from one draw keep the variance clear of float32 cancellation.
        reference = render(jax.tree.map(lambda values: values[0], draws))

        def step(sums: tuple[jax.Array, jax.Array], draw: Draws) -> tuple[Any, None]:
            deviation = render(draw) - reference
            return (sums[0] + deviation, sums[1] + deviation**2), None

        zero = jnp.zeros(image.shape, jnp.float32)
        first, second = jax.lax.scan(step, (zero, zero), draws)[0]
        first, second = first / len(draws.x), second / len(draws.x)
        return reference + first, jnp.sqrt(jnp.maximum(second - first**2, 0.0))

    mean, std = map(np.asarray, moments(jax.tree.map(jnp.asarray, draws)))
    residual = (image.clean_data - mean) * np.sqrt(image.weight)
    residual = np.where(image.weight > 0, residual, np.nan).astype(np.float32)
    return PosteriorModel(mean, std, residual)


def default_renderer(samples: Samples, image: Image) -> Renderer:
    """Make the renderer of the image's PSF, with the footprint that the sampler used."""
    from probcat.render import Renderer

    return Renderer.from_psf(
        image.psf,
        extended_radius=int(samples.attrs.get("extended_radius", 0)),
        large_radius=int(samples.attrs.get("large_radius", 0)),
        large_size=samples.attrs.get("large_size") or math.inf,
        with_extended=bool(np.any(samples.sources["extended"])),
    )


def choose_draws(samples: Samples, max_draws: int) -> np.ndarray:
    """Evenly spaced draws over all chains, as indices into (chain, draw) flattened."""
    total = samples.num_chains * samples.num_draws
    if not total:
        raise InputError("there are no draws")
    return np.unique(np.linspace(0, total - 1, min(max_draws, total)).round().astype(np.int64))


def thin_draws(samples: Samples, chosen: np.ndarray) -> Draws:
    """Gather the chosen draws with finite numbers everywhere."""

    def pick(name: str) -> np.ndarray:
        return np.asarray(samples.sources[name]).reshape(-1, samples.capacity)[chosen]

    active = pick("active").astype(bool)
    extended = pick("extended").astype(bool) & active
    shape = np.stack([pick(name) for name in SHAPE_NAMES], axis=-1)
    shape = np.where(extended[..., None], shape, np.array(_NO_SHAPE)).astype(np.float32)
    x, y, flux = (
        np.where(active, pick(name), 0.0).astype(np.float32) for name in ("x", "y", "flux")
    )
    total = samples.num_chains * samples.num_draws
    background = np.asarray(samples.scalars.get("background", np.zeros(total))).reshape(total)
    return Draws(x, y, flux, shape, extended, active, background[chosen].astype(np.float32))
