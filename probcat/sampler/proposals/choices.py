"""Choices among the sources of a window: sampling by weights, and the weights themselves.

Log weights are arrays with one entry per slot, minus infinity for slots that cannot be chosen.
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.prior import Prior
from probcat.sampler.proposals.displacements import log_displacement_density
from probcat.sampler.window.slots import active
from probcat.sampler.window.structures import FLUX, Model, X, Y

DEATH_SLOPE = 3.0
"""Sources are chosen to vanish with weights in proportion to this negative power of the flux."""
PICK_SLOPE = 0.4
"""Sources are chosen to be merged or split with weights in proportion to this power of the flux."""
MIN_SPLIT_FLUX = 2.2
"""Flux below which sources are not split, in units of the flux limit."""
PARTNER_REACH = 1.5
"""Scale of the distance between two sources that become one galaxy, in FWHM of the PSF."""


def choose_weighted(uniform: Array, log_weight: Array) -> Array:
    """Choose an index with given log weights, by inversion of the cumulative distribution."""
    weight = jnp.exp(log_weight - jnp.max(log_weight))
    cumulative = jnp.cumsum(weight)
    return jnp.sum(cumulative < uniform * cumulative[-1], dtype=jnp.int32)


def choose_uniformly(uniform: Array, possible: Array) -> Array:
    """Choose one of the possible indices uniformly, or any index if none is possible."""
    cumulative = jnp.cumsum(possible.astype(jnp.float32))
    return jnp.sum(cumulative < uniform * cumulative[-1], dtype=jnp.int32)


def log_probability(log_weight: Array, index: Array) -> Array:
    """Return the log probability that `choose_weighted` chooses an index."""
    return log_weight[index] - jax.scipy.special.logsumexp(log_weight)


def empty_slot(occupied: Array) -> tuple[Array, Array]:
    """Return the index of the first empty slot, and whether there is one."""
    return jnp.argmin(occupied), ~jnp.all(occupied)


def death_weights(model: Model, flux: Array) -> Array:
    """Return the log weights of sources to vanish: mostly faint ones do.

    Parameters
    ----------
    model : Model
        Model, which has the flux limit.
    flux : Array, any shape
        Fluxes, zero in empty slots.
    """
    low, _ = model.prior.flux_limits
    weight = -DEATH_SLOPE * jnp.log(jnp.maximum(flux, low) / low)
    return jnp.where(flux > 0.0, weight, -jnp.inf)


def pick_weights(sources: Array) -> Array:
    """Return the log weights (S,) of sources to be merged or split: mostly bright ones are.

    The blends of bright sources take the most moves to be explored.
    """
    flux = sources[:, FLUX]
    return jnp.where(flux > 0.0, PICK_SLOPE * jnp.log(jnp.maximum(flux, 1e-20)), -jnp.inf)


def split_weights(prior: Prior, sources: Array) -> Array:
    """Return the log weights (S,) of sources to be split: `pick_weights` of bright enough ones."""
    return jnp.where(splittable(prior, sources[:, FLUX]), pick_weights(sources), -jnp.inf)


def splittable(prior: Prior, flux: Array) -> Array:
    """Return whether sources of given fluxes are bright enough to be split."""
    low, _ = prior.flux_limits
    return flux > MIN_SPLIT_FLUX * low


def neighbour_weights(sources: Array, x: Array, y: Array, scale: Array, excluded: Array) -> Array:
    """Return the log weights (S,) of sources to be chosen as the partner of one at (x, y).

    They fall with the distance as the density of `sample_displacement` does.

    Parameters
    ----------
    sources : Array, shape (S, columns)
        Candidates.
    x, y : Array, shape ()
        Position that partners should be near to, in pixels.
    scale : Array, shape () or (S,)
        Scale of the distances in pixels, one for all candidates or one for each.
    excluded : Array, int32
        Slot that must not be chosen; -1 if all may be.
    """
    square = (sources[:, X] - x) ** 2 + (sources[:, Y] - y) ** 2
    weight = log_displacement_density(square, scale)
    index = jnp.arange(sources.shape[0], dtype=jnp.int32)
    return jnp.where(active(sources) & (index != excluded), weight, -jnp.inf)
