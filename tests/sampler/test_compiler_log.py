"""XLA's complaints about slow compilation do not reach the terminal."""

import os
import signal
import subprocess
import sys
import time

import pytest

ALARM_S = 120.0
"""Seconds after which XLA complains about a compilation."""

COMPILE = """
import sys
if sys.argv[1] == "silent":
    from probcat.sampler.compiler_log import silence_compiler
    silence_compiler()
import jax, jax.numpy as jnp
def program(x):
    for step in range(800):
        x = jnp.sin(x) * jnp.cos(x[::-1]) + jnp.sort(x)
        root = jnp.linalg.cholesky(jnp.eye(32) + x[:, None] * x)
        x = jnp.fft.irfft(jnp.fft.rfft(x) * step, 32) + root[step % 32]
    return x
lowered = jax.jit(program).lower(jnp.ones(32))
print("compiling", flush=True)
lowered.compile()
"""

COMMAND = """
import os, sys
from click.testing import CliRunner
from probcat.run.cli import main
assert "jax" not in sys.modules
CliRunner().invoke(main, ["info", "nowhere"])
print(os.environ.get("TF_CPP_MIN_LOG_LEVEL"))
"""


def clean_environment():
    return {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}


def test_the_command_line_silences_the_compiler_before_jax_starts():
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "3"


@pytest.mark.slow
def test_a_slow_compilation_is_silent():
    """Processes that are stopped in mid-compilation until the alarm has gone off."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMPILE, mode],
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for mode in ("silent", "loud")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "compiling\n"
        time.sleep(4.0)
        os.kill(process.pid, signal.SIGSTOP)
    time.sleep(ALARM_S + 5.0)
    for process in processes:
        os.kill(process.pid, signal.SIGCONT)
    silent, loud = (process.communicate()[1] for process in processes)
    assert all(process.returncode == 0 for process in processes)
    assert "slow_operation_alarm" in loud
    assert not silent
