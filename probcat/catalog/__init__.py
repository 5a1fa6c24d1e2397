"""Samples condensed to a catalog of objects; numpy, without JAX.

Imports `samples`, `files` and `numerics`; never `sampler`.
"""
