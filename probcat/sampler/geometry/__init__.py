"""Static sizes of a run, and the tiling of the images by windows.

Imports `window`, `settings`, `probcat.model` and `probcat.image`.
"""
