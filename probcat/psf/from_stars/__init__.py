"""Estimating a PSF from the stars of an image.

A part of `probcat.psf`, which imports what that room may import.
"""
