r"""Proposed shapes of an extended source, by multiple tries.

Several shapes are drawn from the prior, and one of them is chosen with a probability in proportion
to its weight w, the likelihood with the flux integrated out. To evaluate the reverse proposal the
source's own shape takes the place of one of the tries. In either direction the density of
proposing the shape s is then, in the acceptance ratio,

.. math:: q(s) = p(s)\, w(s) / \bar w

with the prior p and the mean weight :math:`\bar w` of all tries (multiple-try Metropolis: Liu,
Liang & Wong 2000, JASA 95, 121).
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.sampler.proposals.choices import choose_weighted
from probcat.sampler.proposals.fluxes import flux_conditional, log_mass_above
from probcat.sampler.window.light import apply_colours, extended_unit_image
from probcat.sampler.window.slots import total
from probcat.sampler.window.structures import NUM_SHAPE, Model, RandomNumbers, Window, X, Y


def propose_shapes(
    numbers: RandomNumbers, model: Model, window: Window, source: Array, is_new: Array
) -> tuple[Array, Array]:
    """Return the shapes to choose from, and their images at the position of a source.

    Parameters
    ----------
    numbers : RandomNumbers
        Random numbers of the move, with NUM_TRIES (T) shapes from the prior.
    model : Model
        Model of the images.
    window : Window
        Window that the images fill.
    source : Array
        Source of which the position is used, and the shape if it exists.
    is_new : Array, bool
        Whether the proposed state has the extended source. Otherwise the current state has it,
        and its shape is the first of the tries.

    Returns
    -------
    shapes : Array, shape (T, 4)
        Shapes to choose from.
    images : Array, shape (T, W, W)
        Images of unit flux in every band.
    """
    first = jnp.where(is_new, numbers.shapes[0], source[-NUM_SHAPE:])
    shapes = jnp.concatenate([first[None], numbers.shapes[1:]])
    images = jax.vmap(
        lambda shape: extended_unit_image(model, window, source[X], source[Y], shape)
    )(shapes)
    return shapes, images


def select_shape(
    uniform: Array,
    model: Model,
    window: Window,
    bare: Array,
    shapes: Array,
    images: Array,
    is_new: Array,
    colours: Array,
) -> tuple[Array, Array, Array]:
    """Choose a shape at random, with the likelihood of a residual as weight.

    The flux is integrated out of the likelihood.

    Parameters
    ----------
    uniform : Array, shape ()
        Uniform random number.
    model : Model
        Model, which has the flux limit.
    window : Window
        Window, which has the weights of pixels.
    bare : Array, shape (W, W)
        Residual without the source.
    shapes, images : Array
        Shapes and their images, as returned by `propose_shapes`.
    is_new : Array, bool
        Whether the proposed state has the extended source. Otherwise the first shape, which is
        the source's own, counts as the chosen one.
    colours : Array, shape (B - 1,)
        Colours in which the images are compared, the same in both directions.

    Returns
    -------
    shape : Array, shape (4,)
        Chosen shape.
    image : Array, shape (W, W)
        Image of the chosen shape, of unit flux in every band.
    log_ratio : Array, shape ()
        Log density of proposing the chosen shape over its prior, ``ln(w / mean(w))``.
    """
    coloured = jax.vmap(lambda image: apply_colours(model, image, colours))(images)
    scores = jax.vmap(total)((window.weight * bare)[None] * coloured)
    information = jax.vmap(total)(window.weight[None] * coloured**2)
    mean, precision = flux_conditional(model.prior, scores, information)
    low, _ = model.prior.flux_limits
    # The likelihood at the mean flux, from the residual there: 0.5 * mean**2 * precision is the
    # same but for a constant, and loses the differences between shapes of bright sources.
    left = bare[None] - mean[:, None, None] * coloured
    misfit = jax.vmap(total)(window.weight[None] * left**2)
    log_likelihood = -0.5 * (misfit + mean**2 * (precision - information))
    log_weight = log_likelihood + log_mass_above(mean, precision, low)
    chosen = jnp.where(is_new, choose_weighted(uniform, log_weight), 0)
    log_mean = jax.scipy.special.logsumexp(log_weight) - jnp.log(jnp.float32(shapes.shape[0]))
    return shapes[chosen], images[chosen], log_weight[chosen] - log_mean
