"""What a point-spread function is, and how to get one.

Imports `files` and `numerics`.
"""
