"""Settings and fixtures that every test shares."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

# Before JAX starts: programs of tests run once, so that compiling well does not pay.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
)
# What one worker or subprocess of a test run has compiled serves all others of that run.
CACHE = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    CACHE = tempfile.mkdtemp(prefix="probcat-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
# Reading that cache, XLA takes its own tuning options for features that this machine lacks.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

DATA = Path(os.environ.get("PROBCAT_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))

MAPS = Path("/proc/self/maps")
MOST_MAPS = 30_000
"""Compiled programs take memory maps, of which Linux allows a process 65,530; then XLA aborts."""


def pytest_unconfigure():
    """Remove the cache of compiled programs; workers inherit that of their controller."""
    if CACHE is not None:
        shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture(autouse=True)
def few_memory_maps():
    """Forget compiled programs before there are too many of them."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def data_path():
    """Find a file of the reference data, or skip the test with a line that says so.

    Returns
    -------
    callable
        ``data_path("m2/m2_r.fits")`` is the absolute path of that file.
    """

    def find(name):
        path = (DATA / name).resolve()
        if not path.exists():
            pytest.skip(f"reference data not found: {path} (set PROBCAT_DATA)")
        return path

    return find
