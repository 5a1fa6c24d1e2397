"""One image of a scene, before it is put into the sampler's arrays."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Plane:
    """One image of a scene.

    Parameters
    ----------
    data, weight : ndarray, shape (ny, nx)
        Pixel values and inverse variances; pixels of zero weight are ignored.
    psf : probcat.psf.psf.PSF
    extended_radius, large_radius : int
        Half sides in pixels of the footprints of extended sources.
    affine : ndarray, shape (2, 3)
        From pixels (x, y, 1) of the first image to pixels of this one.
    origin : tuple of int
        Pixel (x, y) of the image that its padded array starts at.
    flux_factor : float
        Flux in the unit of the image for one unit of that of its band.
    photon : float
        Variance that one unit of light adds; `weight` is then that of pixels without sources.
    """

    data: np.ndarray
    weight: np.ndarray
    psf: Any
    extended_radius: int = 24
    large_radius: int = 0
    affine: np.ndarray = field(default_factory=lambda: np.eye(2, 3))
    origin: tuple[int, int] = (0, 0)
    flux_factor: float = 1.0
    photon: float = 0.0
