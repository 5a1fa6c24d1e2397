"""Blocks of draws: compiled once, chains spread over the devices there are."""

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
    draws : ChainSample
        Leading axes (chain, draw).
    """
    mesh = _mesh(kernel)
    if mesh is not None:
        # Placed alike at every call, or the second one would compile again.
        specs: tuple[Any, ...] = _specs()
        state = CatalogState._make(
            jax.device_put(part, NamedSharding(mesh, spec))
            for part, spec in zip(state, specs, strict=True)
        )
        scene = jax.device_put(scene, NamedSharding(mesh, PartitionSpec()))
    return _compiled(jax.default_backend())(kernel, length, state, scene)


def _mesh(kernel: CatalogKernel) -> Mesh | None:
    """Devices that chains are divided among, if there are several."""
    groups = kernel.layout.num_chains // len(kernel.layout.ladder)
    number = math.gcd(groups, jax.local_device_count())
    return Mesh(jax.local_devices()[:number], "chain") if number > 1 else None


def _specs() -> CatalogState:
    """How every field of the state is divided."""
    fields = CatalogState._fields
    shared = ("i", "rng_key")
    return CatalogState._make(PartitionSpec(*([] if f in shared else ["chain"])) for f in fields)


@cache
def _compiled(backend: str) -> Any:
    options = _cpu_options() if backend == "cpu" else None
    return jax.jit(_block, static_argnums=(0, 1), donate_argnums=(2,), compiler_options=options)


def _cpu_options() -> dict[str, Any]:
    """Options that halve the time to compile for a CPU, and cost no speed here."""
    options: dict[str, Any] = {"xla_backend_optimization_level": 1}
    newer = {**options, "xla_cpu_use_fusion_emitters": False}
    with suppress(Exception):  # what is raised for an option that is not known varies
        jax.jit(lambda x: x).lower(jnp.float32(0.0)).compile(compiler_options=newer)
        return newer
    return options


def use_all_cores() -> None:
    """Count every core of a host as a device, as far as JAX has not started yet."""
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
