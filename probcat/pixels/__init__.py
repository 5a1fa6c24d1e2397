"""Who owns the light of a pixel: model images, assignment maps, blends and flags.

Imports `catalog`, `samples` and `model`; never `sampler`.
"""
