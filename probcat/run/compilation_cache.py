"""A cache of compiled programs in the user's cache directory.

Compiling takes a minute or two if galaxies are in the model. JAX can keep what it compiled, so that
a later run on an image of the same size starts at once. The command line uses this by default;
``PROBCAT_CACHE`` moves the cache, or switches it off.
"""

from __future__ import annotations

import hashlib
import os
import platform
import warnings
from pathlib import Path

import platformdirs

VARIABLE = "PROBCAT_CACHE"
"""Environment variable with the directory of the cache, or ``off``."""
MAX_SIZE = 2 * 2**30
"""Largest size of the cache in bytes; programs that were not used for longest are removed."""


def use_compilation_cache() -> str | None:
    """Let JAX keep compiled programs in the user's cache directory, and find them there.

    Nothing changes if the cache is switched off, if the user has chosen a directory by JAX's own
    variable ``JAX_COMPILATION_CACHE_DIR``, or if the directory cannot be written.

    Returns
    -------
    str or None
        One line that says why there is no cache, where the user should know.
    """
    import jax

    chosen = os.environ.get(VARIABLE, "")
    own = getattr(jax.config, "jax_compilation_cache_dir", None)
    if own or chosen.lower() in ("off", "0", "no", "false"):
        return None
    root = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("probcat"))
    folder = root / f"programs-{machine_fingerprint()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return (
            f"compiled programs cannot be kept in {folder}: {reason}; "
            f"set {VARIABLE} to another directory, or to off"
        )
    # A damaged entry is compiled again.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", MAX_SIZE)
    return None


def machine_fingerprint() -> str:
    """Short text that differs between processors whose programs must not be mixed.

    A home directory may be shared by machines of different instruction sets.
    """
    import jaxlib

    about = [jaxlib.__version__, platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        about += sorted({line for line in lines if line.startswith(("flags", "Features"))})
    except OSError:
        about.append(platform.platform())
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:12]
