"""XLA's complaints about slow compilation do not reach the terminal.

The alarm itself goes off after two minutes in the back end of the compiler. Here another message
of its level, an error, takes its place: that of a folder for dumps that cannot be made.
"""

import os
import subprocess
import sys

import pytest

COMMAND = """
import os, sys
from click.testing import CliRunner
from probcat.run.cli import main
assert "jax" not in sys.modules
CliRunner().invoke(main, ["info", "nowhere"])
print(os.environ.get("TF_CPP_MIN_LOG_LEVEL"))
"""

BEFORE_JAX = """
from probcat.sampler.compiler_log import silence_compiler
silence_compiler()
import jax
jax.jit(lambda x: x + 1)(1.0)
"""

AFTER_JAX = """
import jax
from probcat.sampler.compiler_log import silence_compiler
silence_compiler()
jax.jit(lambda x: x + 1)(1.0)
"""


def run_python(code, **more):
    """Output and error messages of a fresh process, in which nothing is silenced beforehand."""
    kept = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | more, capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_the_command_line_silences_the_compiler_before_jax_starts():
    output, _ = run_python(COMMAND)
    assert output.strip() == "3"


def test_a_level_that_the_user_has_set_stays():
    output, _ = run_python(COMMAND, TF_CPP_MIN_LOG_LEVEL="0")
    assert output.strip() == "0"


@pytest.mark.parametrize(("code", "silent"), [(BEFORE_JAX, True), (AFTER_JAX, False)])
def test_errors_of_the_compiler_are_hidden_if_silenced_before_jax_starts(code, silent):
    _, errors = run_python(code, XLA_FLAGS="--xla_dump_to=/proc/none/folder")
    assert ("Could not create directory" in errors) != silent
    assert not (silent and errors)
