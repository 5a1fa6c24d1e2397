"""Gibbs and Metropolis updates of the parameters that all sources or all pixels share.

Imports the sampler's floors from `state` down.
"""
