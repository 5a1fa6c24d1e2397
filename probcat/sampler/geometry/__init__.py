"""Static sizes of a run, and the tiling of the plane into windows.

Imports `window`, `settings`, `probcat.model` and `probcat.image`.
"""
