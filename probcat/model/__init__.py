"""What the sky is taken to be: the prior, the rendering, the background, the pixel noise.

Imports `image`, `psf` and `numerics`.
"""
