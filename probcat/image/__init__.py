"""Pixels, variance, mask and WCS of one exposure, and how several exposures relate.

Imports `psf`, `files` and `numerics`.
"""
