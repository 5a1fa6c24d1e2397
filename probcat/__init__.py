"""Probabilistic cataloguing: a posterior over catalogs of an astronomical image."""

__version__ = "0.1.0"
