"""Replica exchange: chains at several temperatures exchange their catalogs.

Chains come in groups with one chain for each temperature, the coldest first, and neighbours on
the ladder exchange states with probability
``min(1, exp((beta_a - beta_b) (lnL_b - lnL_a)))`` (Geyer 1991; Earl & Deem 2005, Phys. Chem.
Chem. Phys. 7, 3910, eq. 2), which leaves the product of all tempered posteriors unchanged.
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.sampler.state import MOVE_NAMES, CatalogState, ChainSample, chain_keys

STAYS = ("beta", "step_size", "hmc_acceptance", "moves", "overflow")
"""Fields of a draw that belong to a temperature instead of a catalog."""


def exchange(rng_key: Array, state: CatalogState, num_temperatures: int) -> CatalogState:
    """Propose to exchange every other pair of neighbours: odd and even pairs take turns.

    Parameters
    ----------
    rng_key : Array
        Random key.
    state : CatalogState
        State of all chains.
    num_temperatures : int
        Number of chains in a group.

    Returns
    -------
    CatalogState
    """
    sample = state.sample
    number = sample.mu.shape[0]
    chain = jnp.arange(number, dtype=jnp.int32)
    level = chain % num_temperatures
    ahead = (level + state.i) % 2 == 0
    paired = jnp.where(ahead, level < num_temperatures - 1, level > 0)
    partner = jnp.where(paired, chain + jnp.where(ahead, 1, -1), chain)
    change = sample.log_likelihood[partner] - sample.log_likelihood
    log_ratio = (sample.beta - sample.beta[partner]) * change
    uniform = jax.vmap(jax.random.uniform)(chain_keys(rng_key, state))
    accepted = jnp.log(uniform[jnp.minimum(chain, partner)]) < log_ratio
    source = jnp.where(accepted, partner, chain)

    exchanged = {
        name: jax.tree.map(lambda values: values[source], getattr(sample, name))
        for name in ChainSample._fields
        if name not in STAYS
    }
    tried = (paired & ahead).astype(jnp.float32)
    counts = jnp.stack([tried, tried * accepted.astype(jnp.float32)], axis=-1)
    moves = sample.moves.at[:, MOVE_NAMES.index("exchange"), 0, 0].add(counts)
    sample = sample._replace(**exchanged, moves=moves)
    planes = (state.residual, state.sky_subtracted)
    residual, sky_subtracted = jax.tree.map(lambda plane: plane[source], planes)
    return state._replace(sample=sample, residual=residual, sky_subtracted=sky_subtracted)


def coldest(sample: ChainSample, num_temperatures: int) -> ChainSample:
    """Draws of the coldest chains, with an overflow in any chain of their groups."""
    if num_temperatures == 1:
        return sample
    cold = jax.tree.map(lambda values: values[::num_temperatures], sample)
    groups = sample.overflow.reshape(-1, num_temperatures, sample.overflow.shape[-1])
    return cold._replace(overflow=jnp.any(groups, axis=1))
