"""The prior: its distributions, their densities, and the defaults read off an image.

A part of `probcat.model`; imports what that room may.
"""
