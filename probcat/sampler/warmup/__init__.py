"""The warm-up: tempering, and a start on the first image alone.

Imports the floors of the sampler from `compiled_block` down.
"""
