"""How far a PSF that is being measured is trusted, and pixels that depart from it."""

PSF_ERROR = 0.005
"""Error of the PSF as a fraction of it, part of every pixel's noise.

Without it the brightest star alone would decide the PSF.
"""
MAX_DEVIATION = 5.0
"""Standard deviations from the model beyond which a pixel is left out."""
PSF_ERROR_IN_CLIPPING = 0.05
"""Error of the PSF as a fraction of it, part of the standard deviation for `MAX_DEVIATION`.

It is larger than `PSF_ERROR`, since the PSF is not yet known well when pixels are left out.
"""
