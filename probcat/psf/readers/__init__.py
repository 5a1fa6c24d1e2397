"""Reading PSFs from FITS files and from the models of other programs.

A part of `probcat.psf`; imports what that room may.
"""
