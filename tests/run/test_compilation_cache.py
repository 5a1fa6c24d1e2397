"""The cache of compiled programs."""

import subprocess
import sys

import pytest

from probcat.run.compilation_cache import VARIABLE, machine_fingerprint

PROGRAM = """
import sys, warnings
warnings.simplefilter("error")
import jax
import jax.numpy as jnp
from jax._src import monitoring
from probcat.run.compilation_cache import use_compilation_cache

print("note:", use_compilation_cache())
hits = []
monitoring.register_event_listener(lambda name, **_: hits.append(name))
jax.jit(lambda x: jnp.cumsum(jnp.sin(x) @ x))(jnp.ones((40, 40))).block_until_ready()
print("hits:", sum("cache_hits" in name for name in hits))
"""


def run(environment):
    clean = {"PATH": "/usr/bin:/bin", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    clean |= {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    return lines["note"], int(lines["hits"])


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    where = {VARIABLE: str(tmp_path)}
    assert run(where) == ("None", 0)
    note, hits = run(where)
    assert note == "None"
    assert hits > 0
    # A damaged cache is compiled again.
    entries = list(tmp_path.glob("*/*-cache"))
    assert entries
    for entry in entries:
        entry.write_bytes(b"damaged")
    assert run(where) == ("None", 0)


def test_it_can_be_switched_off(tmp_path):
    assert (
        run({VARIABLE: "off", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})[0] == "None"
    )
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    note, _ = run({VARIABLE: str(blocked)})
    assert str(blocked) in note
    assert VARIABLE in note


def test_the_users_own_directory_for_jax_is_kept(tmp_path):
    mine, ours = tmp_path / "mine", tmp_path / "ours"
    run({"JAX_COMPILATION_CACHE_DIR": str(mine), VARIABLE: str(ours)})
    assert mine.is_dir()
    assert not ours.exists()


def test_the_fingerprint_is_stable():
    assert machine_fingerprint() == machine_fingerprint()
    assert len(machine_fingerprint()) == 12


@pytest.fixture(autouse=True)
def _no_cache_of_the_tests(monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
