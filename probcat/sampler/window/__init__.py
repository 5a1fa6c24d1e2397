"""One window: its arrays, its light in every image, and its slots for sources.

Imports `probcat.model` only.
"""
