"""A scene: images and prior in the form that the sampler works on, and how it is rendered.

Imports `window`, `geometry`, `proposals` and `probcat.model`.
"""
