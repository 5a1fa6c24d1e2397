"""Pixels, variance, mask and WCS of one exposure, and the alignment of several exposures.

Imports `psf`, `files` and `numerics`.
"""
