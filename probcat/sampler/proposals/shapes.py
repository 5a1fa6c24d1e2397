"""Proposing the shape of an extended source by multiple tries.

With weights ``w`` of shapes drawn independently from the prior, choosing one with
probability proportional to ``w`` going up, and setting the source's own shape among
fresh ones going down, makes the ratio of proposal densities, relative to the prior,
``w_chosen / mean(w)`` in both directions (multiple-try Metropolis, Liu, Liang & Wong
2000, JASA 95, 121).
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.sampler.proposals.fluxes import choose, flux_conditional, log_mass_above
from probcat.sampler.window.light import apply_colours, extended_unit_image
from probcat.sampler.window.slots import total
from probcat.sampler.window.structures import NUM_SHAPE, Model, RandomNumbers, Window, X, Y


def propose_shapes(
    numbers: RandomNumbers, model: Model, window: Window, source: Array, upward: Array
) -> tuple[Array, Array]:
    """Shapes to choose from and their images, of unit flux in every band, at a position.

    The first one is the source's own when going down.

    Returns
    -------
    shapes : Array, shape (T, 4)
    images : Array, shape (T, W, W)
    """
    first = jnp.where(upward, numbers.shapes[0], source[-NUM_SHAPE:])
    shapes = jnp.concatenate([first[None], numbers.shapes[1:]])
    images = jax.vmap(
        lambda shape: extended_unit_image(model, window, source[X], source[Y], shape)
    )(shapes)
    return shapes, images


def select_shape(
    uniform: Array,
    model: Model,
    window: Window,
    residual: Array,
    shapes: Array,
    images: Array,
    upward: Array,
    colours: Array,
) -> tuple[Array, Array, Array]:
    """Choose a shape by how well it explains a residual, its flux integrated out.

    Parameters
    ----------
    uniform : Array
    model, window : Model, Window
    residual : Array, shape (W, W)
        Without the source.
    shapes, images : Array
        As `tries` returns them.
    upward : Array, bool
        Going down the first shape, the source's own, is the chosen one.
    colours : Array, shape (B - 1,)
        In which the images are compared; the same in both directions.

    Returns
    -------
    shape : Array, shape (4,)
    image : Array, shape (W, W)
    log_weight_ratio : Array
        ``log(w_chosen / mean(w))``.
    """
    seen = jax.vmap(lambda image: apply_colours(model, image, colours))(images)
    scores = jax.vmap(total)((window.weight * residual)[None] * seen)
    information = jax.vmap(total)(window.weight[None] * seen**2)
    mean, precision = flux_conditional(model.prior, scores, information)
    low, _ = model.prior.flux_limits
    log_weight = 0.5 * mean**2 * precision + log_mass_above(mean, precision, low)
    chosen = jnp.where(upward, choose(uniform, log_weight), 0)
    log_mean = jax.scipy.special.logsumexp(log_weight) - jnp.log(jnp.float32(shapes.shape[0]))
    return shapes[chosen], images[chosen], log_weight[chosen] - log_mean
