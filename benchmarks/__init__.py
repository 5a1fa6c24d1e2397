"""Benchmarks of speed, convergence and accuracy; `benchmarks/README.md` lists the programs.

Every program runs as ``python -m benchmarks.programs.NAME``, prints its results, and writes a
summary with ``--json FILE``.
"""
