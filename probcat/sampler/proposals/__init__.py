"""What moves propose: fluxes, colours, shapes, pairs, positions, and their densities.

Imports `window` and `probcat.model`.
"""
