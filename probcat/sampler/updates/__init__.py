"""Gibbs and Metropolis updates of the parameters that all sources or all pixels share.

Imports the floors of the sampler from `state` down.
"""
