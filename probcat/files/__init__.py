"""Opening FITS files and writing files atomically; no probcat objects.

Imports `numerics` and `errors`.
"""
