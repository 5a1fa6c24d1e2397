"""Proposing the shape of an extended source by multiple tries."""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.moves.base import FLUX, Model, Window, X, Y, extended_patch, total
from probcat.moves.proposals import flux_conditional, log_mass_above
from probcat.prior import sample_shape

NUM_TRIES = 4


def try_shapes(
    rng_key: Array, model: Model, window: Window, residual: Array, source: Array, upward: Array
) -> tuple[Array, Array, Array]:
    """Choose among shapes drawn from the prior by how well each explains a residual.

    Going up, one of `NUM_TRIES` shapes is chosen with probability proportional to
    its likelihood with the flux integrated out; going down, the source's own shape
    stands among the tries.  With weights ``w`` the ratio of proposal densities,
    relative to the prior, is ``w_chosen / mean(w)`` in both directions (multiple-try
    Metropolis, Liu, Liang & Wong 2000, JASA 95, 121, with independent tries).

    Parameters
    ----------
    rng_key : Array
    model, window : Model, Window
    residual : Array, shape (W, W)
        Without the source.
    source : Array, shape (7,)
        Position of the source, and its shape when going down.
    upward : Array, bool

    Returns
    -------
    shape : Array, shape (4,)
    patch : Array, shape (W, W)
        Unit-flux image with that shape.
    log_weight_ratio : Array
        ``log(w_chosen / mean(w))``.
    """
    key_draw, key_choice = jax.random.split(rng_key)
    shapes = sample_shape(model.prior, key_draw, (NUM_TRIES,))
    shapes = shapes.at[0].set(jnp.where(upward, shapes[0], source[FLUX + 1 :]))
    size = residual.shape[-1]
    patches = jax.vmap(lambda shape: extended_patch(model, source[X], source[Y], shape, size))(
        shapes
    )
    scores = jax.vmap(total)(window.weight * residual * patches)
    information = jax.vmap(total)(window.weight * patches**2)
    mean, precision = flux_conditional(model.prior, scores, information)
    low, _ = model.prior.flux_limits
    log_weight = 0.5 * mean**2 * precision + log_mass_above(mean, precision, low)
    chosen = jnp.where(upward, jax.random.categorical(key_choice, log_weight), 0)
    log_mean = jax.scipy.special.logsumexp(log_weight) - jnp.log(jnp.float32(NUM_TRIES))
    return shapes[chosen], patches[chosen], log_weight[chosen] - log_mean
