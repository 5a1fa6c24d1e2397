"""Keep the compiler's warnings off the terminal. Imports no JAX."""

import os

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
"""Environment variable with the lowest level of XLA's messages that are shown: 3 for fatal ones."""


def silence_compiler() -> None:
    """Hide XLA's messages, such as those on programs that take minutes to compile.

    XLA writes "Very slow compile?" and ``slow_operation_alarm`` to the terminal from C++, where
    Python's `logging` and `warnings` do not reach. It reads the environment only once, when JAX
    is imported: call this function before. A level that the user has set stays as it is, and
    failures still raise exceptions.
    """
    os.environ.setdefault(LOG_LEVEL, "3")
