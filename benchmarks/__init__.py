"""Measurements of the sampler; each module prints its figures and writes them as JSON."""
