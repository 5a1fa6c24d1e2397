"""Celestial coordinates for a page: a polynomial from pixels to the tangent plane."""

from __future__ import annotations

from typing import Any

import numpy as np

_DEGREE = 3
"""Degree of the polynomial."""
_GRID = 12
"""Number of grid points along a side of the image."""
_MAX_MISFIT = 0.05
"""Largest deviation from the WCS in pixels."""


def sky_polynomial(wcs: Any, shape: tuple[int, int]) -> dict[str, Any] | None:
    """Fit a polynomial to the map from pixels to the tangent plane at the image's centre.

    The projection is gnomonic (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3).

    Parameters
    ----------
    wcs : astropy.wcs.WCS or None
        WCS of the image.
    shape : tuple of int
        Shape (ny, nx) of the image.

    Returns
    -------
    dict or None
        `ra` and `dec` of the centre in radians; `xi` and `eta`, the coefficients in radians of
        u^i v^j for i + j up to 3, where u and v run from -1 to 1 over the image. None if there is
        no celestial WCS, or the polynomial deviates from it by more than 0.05 pixels.
    """
    if wcs is None or not wcs.has_celestial:
        return None
    ny, nx = shape
    u, v = (part.ravel() for part in np.meshgrid(*[np.linspace(-1.0, 1.0, _GRID)] * 2))
    x, y = (0.5 * (n - 1) + 0.5 * n * w for n, w in ((nx, u), (ny, v)))
    centre = np.radians(wcs.pixel_to_world_values(0.5 * (nx - 1), 0.5 * (ny - 1)))
    ra, dec = (np.radians(part) for part in wcs.pixel_to_world_values(x, y))
    sine, cosine = np.sin(centre[1]), np.cos(centre[1])
    below = sine * np.sin(dec) + cosine * np.cos(dec) * np.cos(ra - centre[0])
    if not np.all(np.isfinite(below)) or below.min() <= 0.0:
        return None
    xi = np.cos(dec) * np.sin(ra - centre[0]) / below
    eta = (cosine * np.sin(dec) - sine * np.cos(dec) * np.cos(ra - centre[0])) / below
    powers = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
    design = np.stack([u**i * v**j for i, j in powers], axis=1)
    plane = np.stack([xi, eta], axis=1)
    solution = np.linalg.lstsq(design, plane, rcond=None)[0]
    first = [powers.index(power) for power in ((1, 0), (0, 1))]
    pixel = np.sqrt(abs(np.linalg.det(solution[first])) / (0.25 * nx * ny))
    if not np.abs(design @ solution - plane).max() < _MAX_MISFIT * pixel:
        return None
    return {
        "ra": float(centre[0]),
        "dec": float(centre[1]),
        "xi": solution[:, 0].tolist(),
        "eta": solution[:, 1].tolist(),
    }
