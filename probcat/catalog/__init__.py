"""Samples condensed to objects, with numpy and no jax.

Imports `samples`, `files` and `numerics`; never `sampler`.
"""
