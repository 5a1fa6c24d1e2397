"""Owners of the light of each pixel: model images, assignment maps, blends and flags.

Imports `catalog`, `samples` and `model`; never `sampler`.
"""
