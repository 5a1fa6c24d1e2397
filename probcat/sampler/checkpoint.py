"""Kill-safe storage of a running chain: numbered blocks, the last state, a manifest."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from probcat.errors import InputError

MANIFEST = "manifest.json"


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays so that a kill leaves the old file or the new one, never half."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def flatten_state(state: Any) -> dict[str, np.ndarray]:
    """Leaves of a state by number; keys as their raw bits."""
    leaves = jax.tree.leaves(state)
    return {f"leaf_{i}": np.asarray(_raw(leaf)) for i, leaf in enumerate(leaves)}


def restore_state(template: Any, arrays: dict[str, np.ndarray]) -> Any:
    """State with the structure of a template; shapes come from the arrays."""
    leaves, structure = jax.tree.flatten(template)
    restored = []
    for i, leaf in enumerate(leaves):
        value = jax.numpy.asarray(arrays[f"leaf_{i}"])
        restored.append(jax.random.wrap_key_data(value) if _is_key(leaf) else value)
    return jax.tree.unflatten(structure, restored)


def _is_key(leaf: Any) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _raw(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


class Checkpoint:
    """Blocks of a run in a directory.

    Parameters
    ----------
    directory : Path or None
        Where to write; None writes nothing.
    identity : dict
        What must be the same for a run to be gone on with.
    """

    def __init__(self, directory: Path | None, identity: dict[str, Any]) -> None:
        self.directory = None if directory is None else Path(directory)
        self.identity = identity

    def read(self) -> dict[str, Any] | None:
        """Manifest of a run to go on with, or None.

        Raises
        ------
        InputError
            If the directory holds another run.
        """
        if self.directory is None or not (self.directory / MANIFEST).is_file():
            return None
        manifest: dict[str, Any] = json.loads((self.directory / MANIFEST).read_text())
        if manifest["identity"] != self.identity:
            found = manifest["identity"]
            differ = [key for key in self.identity if found.get(key) != self.identity[key]]
            raise InputError(
                f"{self.directory}: holds a chain with another {', '.join(differ)}; "
                "use another directory"
            )
        return manifest

    def load_state(self, manifest: dict[str, Any]) -> dict[str, np.ndarray]:
        """Arrays of the last state."""
        assert self.directory is not None
        return load_arrays(self.directory / manifest["state"])

    def load_block(self, number: int) -> dict[str, np.ndarray]:
        """Arrays of a block of draws."""
        assert self.directory is not None
        return load_arrays(self.directory / f"block_{number:05d}.npz")

    def save(
        self,
        state: Any,
        block: dict[str, np.ndarray] | None,
        number: int,
        progress: dict[str, Any],
    ) -> None:
        """Write a block of draws (or none, in warm-up) and the state after it."""
        if self.directory is None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        if block is not None:
            save_arrays(self.directory / f"block_{number:05d}.npz", block)
        name = f"state_{int(state.i):06d}.npz"
        save_arrays(self.directory / name, flatten_state(state))
        manifest = {"identity": self.identity, "state": name, **progress}
        temporary = self.directory / (MANIFEST + ".tmp")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(manifest, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.directory / MANIFEST)
        for old in self.directory.glob("state_*.npz"):
            if old.name != name:
                old.unlink()
