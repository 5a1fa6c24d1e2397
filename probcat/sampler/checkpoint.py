"""Kill-safe storage of a running chain: numbered blocks, the last state, and a manifest."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from probcat.errors import InputError
from probcat.files.atomic import replacing

MANIFEST = "manifest.json"
"""Name of the file that names the last state; it is written last."""


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays; a kill leaves either the old file or the whole new one."""
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays that `save_arrays` wrote."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def flatten_state(state: Any) -> dict[str, np.ndarray]:
    """Leaves of a state by number, with random keys as their raw bits."""
    leaves = jax.tree.leaves(state)
    return {f"leaf_{i}": np.asarray(_raw(leaf)) for i, leaf in enumerate(leaves)}


def restore_state(template: Any, arrays: dict[str, np.ndarray]) -> Any:
    """State with the structure of a template and the leaves of `flatten_state`."""
    leaves, structure = jax.tree.flatten(template)
    restored = []
    for i, leaf in enumerate(leaves):
        value = jax.numpy.asarray(arrays[f"leaf_{i}"])
        restored.append(jax.random.wrap_key_data(value) if _is_key(leaf) else value)
    return jax.tree.unflatten(structure, restored)


def digest(tree: Any) -> str:
    """Hexadecimal SHA-256 digest of all arrays of a pytree."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def _is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed random key."""
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _raw(leaf: Any) -> Any:
    """Leaf, with a random key as its bits."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


class Checkpoint:
    """Blocks of a run in a directory.

    Parameters
    ----------
    directory : Path or None
        Directory to write to; with None nothing is written.
    identity : dict
        Everything that must match before a stored run may be resumed.
    """

    def __init__(self, directory: Path | None, identity: dict[str, Any]) -> None:
        self.directory = None if directory is None else Path(directory)
        self.identity = identity

    def read(self) -> dict[str, Any] | None:
        """Return the manifest of a run to resume, or None if there is none.

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
        """Write a block of draws and the state after it.

        Parameters
        ----------
        state : CatalogState
            State after the block.
        block : dict of str to ndarray, or None
            Arrays of the draws; None during warm-up.
        number : int
            Number of the block, from 1.
        progress : dict
            Further entries of the manifest.
        """
        if self.directory is None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        if block is not None:
            save_arrays(self.directory / f"block_{number:05d}.npz", block)
        name = f"state_{int(state.i):06d}.npz"
        save_arrays(self.directory / name, flatten_state(state))
        manifest = {"identity": self.identity, "state": name, **progress}
        with replacing(self.directory / MANIFEST) as partial:
            partial.write_text(json.dumps(manifest), encoding="utf-8")
        for old in self.directory.glob("state_*.npz"):
            if old.name != name:
                old.unlink()
