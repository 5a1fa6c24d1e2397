"""Posterior samples and their diagnostics; numpy, without JAX.

Imports `image`, `files` and the names of `model`.
"""
