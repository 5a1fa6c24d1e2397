"""Proposal distributions of the moves: how to sample from them, and their log densities.

Every distribution comes as a pair of functions, ``sample_*`` and ``log_*_density``, since the
acceptance ratio of a move needs the density of its own proposal and that of the reverse one.
Imports `window` and `probcat.model`.
"""
