"""A scene: images and prior in the form that the sampler works on, and its rendering.

Imports `window`, `geometry`, `proposals` and `probcat.model`.
"""
