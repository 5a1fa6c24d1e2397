"""What happens in the warm-up only: tempering, and a start on the first image alone.

Imports the sampler's floors from `compiled_block` down.
"""
