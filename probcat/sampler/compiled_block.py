"""Blocks of draws: one compiled program, with chains distributed over the local devices."""

import math
import os
from contextlib import suppress
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from probcat.sampler.kernel import CatalogKernel
from probcat.sampler.replica_exchange import coldest
from probcat.sampler.scene.scene import Scene
from probcat.sampler.state import CatalogState, ChainSample


def run_block(
    kernel: CatalogKernel, length: int, state: CatalogState, scene: Scene
) -> tuple[CatalogState, ChainSample]:
    """Make a block of draws, by a program that is compiled once for every kernel.

    Chains are divided evenly among as many of the local devices as their number allows. A host
    counts as one device unless ``jax_num_cpu_devices`` is set; with one device per core, chains
    advance on all cores without waiting for each other.

    Parameters
    ----------
    kernel : CatalogKernel
        Kernel that makes a draw.
    length : int
        Number of draws.
    state : CatalogState
        State before the first draw, whose buffers are given up.
    scene : Scene
        Images and prior.

    Returns
    -------
    state : CatalogState
        State after the last draw.
    draws : ChainSample
        Draws of the coldest chains, with leading axes (chain, draw).
    """
    mesh = _mesh(kernel)
    if mesh is not None:
        # Placed in the same way at every call, or the second one would compile again.
        specs: tuple[Any, ...] = _specs()
        state = CatalogState._make(
            jax.device_put(part, NamedSharding(mesh, spec))
            for part, spec in zip(state, specs, strict=True)
        )
        scene = jax.device_put(scene, NamedSharding(mesh, PartitionSpec()))
    return _compiled(jax.default_backend())(kernel, length, state, scene)


def _mesh(kernel: CatalogKernel) -> Mesh | None:
    """Devices that chains are divided among; None for a single one."""
    groups = kernel.layout.num_chains // len(kernel.layout.ladder)
    number = math.gcd(groups, jax.local_device_count())
    return Mesh(jax.local_devices()[:number], "chain") if number > 1 else None


def _specs() -> CatalogState:
    """Division of every field of the state among devices."""
    fields = CatalogState._fields
    shared = ("i", "rng_key")
    return CatalogState._make(PartitionSpec(*([] if f in shared else ["chain"])) for f in fields)


@cache
def _compiled(backend: str) -> Any:
    """Jitted program of a block, with the options of a backend."""
    options = _cpu_options() if backend == "cpu" else None
    return jax.jit(_block, static_argnums=(0, 1), donate_argnums=(2,), compiler_options=options)


def _cpu_options() -> dict[str, Any]:
    """Options that halve the time to compile for a CPU, at no cost in speed here."""
    options: dict[str, Any] = {"xla_backend_optimization_level": 1}
    newer = {**options, "xla_cpu_use_fusion_emitters": False}
    with suppress(Exception):  # XLA raises various types for an option that it does not know
        jax.jit(lambda x: x).lower(jnp.float32(0.0)).compile(compiler_options=newer)
        return newer
    return options


def use_all_cores() -> None:
    """Count every core of the host as a device, unless JAX runs already or the user has chosen."""
    given = os.environ.get("XLA_FLAGS", "")
    if "device_count" in given or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    with suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def num_compilations() -> int:
    """Count the programs compiled so far in this process."""
    return int(_compiled(jax.default_backend())._cache_size())


def _block(
    kernel: CatalogKernel, length: int, state: CatalogState, scene: Scene
) -> tuple[CatalogState, ChainSample]:
    """Make a block of draws on all devices."""

    def draws(state: CatalogState, scene: Scene) -> tuple[CatalogState, ChainSample]:
        def step(state: CatalogState, _: None) -> tuple[CatalogState, ChainSample]:
            state = kernel.sample(state, (scene,), {})
            return state, coldest(state.sample, len(kernel.layout.ladder))

        state, draws = jax.lax.scan(step, state, None, length=length)
        return state, jax.tree.map(lambda values: jnp.swapaxes(values, 0, 1), draws)

    mesh = _mesh(kernel)
    if mesh is None:
        return draws(state, scene)
    spread = jax.shard_map(
        draws,
        mesh=mesh,
        in_specs=(_specs(), PartitionSpec()),
        out_specs=(_specs(), PartitionSpec("chain")),
        check_vma=False,
    )
    result: tuple[CatalogState, ChainSample] = spread(state, scene)
    return result
