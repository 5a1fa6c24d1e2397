"""Blocks of draws: compiled once, chains spread over the devices there are."""

import math
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from probcat.exchange import coldest
from probcat.kernel import CatalogKernel
from probcat.scene import Scene
from probcat.state import CatalogState, Draw


def run_block(
    kernel: CatalogKernel, length: int, state: CatalogState, scene: Scene
) -> tuple[CatalogState, Draw]:
    """Make a number of draws; compiled once per kernel.

    Chains are divided evenly among as many of the local devices as their number allows.
    A host counts as one device unless ``jax_num_cpu_devices`` says otherwise; with one
    device a core, chains advance on all cores without waiting for each other.

    Parameters
    ----------
    kernel : CatalogKernel
    length : int
    state : CatalogState
        Its buffers are given up.
    scene : Scene

    Returns
    -------
    state : CatalogState
        After the last draw.
    draws : Draw
        Leading axes (chain, draw).
    """
    return _compiled(jax.default_backend())(kernel, length, state, scene)


@cache
def _compiled(backend: str) -> Any:
    # On a CPU the last optimizations take as long as all the others and gain nothing here.
    options = {"xla_llvm_disable_expensive_passes": True} if backend == "cpu" else None
    return jax.jit(_block, static_argnums=(0, 1), donate_argnums=(2,), compiler_options=options)


def num_compilations() -> int:
    """Count the programs compiled so far in this process."""
    return int(_compiled(jax.default_backend())._cache_size())


def _block(
    kernel: CatalogKernel, length: int, state: CatalogState, scene: Scene
) -> tuple[CatalogState, Draw]:
    def draws(state: CatalogState, scene: Scene) -> tuple[CatalogState, Draw]:
        def step(state: CatalogState, _: None) -> tuple[CatalogState, Draw]:
            state = kernel.sample(state, (scene,), {})
            return state, coldest(state.draw, len(kernel.layout.ladder))

        state, draws = jax.lax.scan(step, state, None, length=length)
        return state, jax.tree.map(lambda values: jnp.swapaxes(values, 0, 1), draws)

    groups = kernel.layout.num_chains // len(kernel.layout.ladder)
    number = math.gcd(groups, jax.local_device_count())
    if number == 1:
        return draws(state, scene)
    by_chain, same = PartitionSpec("chain"), PartitionSpec()
    fields = dict.fromkeys(CatalogState._fields, by_chain) | {"i": same, "rng_key": same}
    specs = CatalogState(**fields)
    mesh = Mesh(jax.local_devices()[:number], "chain")
    spread = jax.shard_map(
        draws, mesh=mesh, in_specs=(specs, same), out_specs=(specs, by_chain), check_vma=False
    )
    result: tuple[CatalogState, Draw] = spread(state, scene)
    return result
