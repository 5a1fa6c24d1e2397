"""Posterior samples and their diagnostics, with numpy and no jax.

Imports `image`, `files` and the names of `model`.
"""
