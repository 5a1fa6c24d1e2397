"""Shapes of galaxies as matrices: how they add, and how they look in another frame.

An ellipse has a half-light radius r, which is that of the circle of the same area, and two
components (g1, g2) of the reduced shear. Its shape matrix S has the determinant r**4, and its
half-light ellipse is d^T S^-1 d = 1. A shape is (r, g1, g2, Sersic index).

All functions take numbers and arrays of numpy or of jax, and return arrays of the same library.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def matrix_elements(radius: Any, g1: Any, g2: Any) -> tuple[Any, Any, Any]:
    """Return the elements of the shape matrix of an ellipse.

    It is r**2 B B^T with the area-preserving shear B = (1 - g**2)**-1/2 [[1 + g1, g2],
    [g2, 1 - g1]] of a circle (Bernstein & Jarvis 2002, AJ 123, 583, section 2.2).

    Parameters
    ----------
    radius : array_like
        Half-light radius, in pixels or any other unit of length.
    g1, g2 : array_like
        Components of the reduced shear, of shapes that broadcast with `radius`.

    Returns
    -------
    xx, xy, yy : array_like
        Elements of the symmetric matrix, in the unit of the radius squared.
    """
    norm = g1 * g1 + g2 * g2
    scale = radius * radius / (1.0 - norm)
    return scale * (1.0 + norm + 2.0 * g1), scale * 2.0 * g2, scale * (1.0 + norm - 2.0 * g1)


def semi_axes(radius: Any, g1: Any, g2: Any) -> tuple[Any, Any]:
    """Return the semi-major and the semi-minor axis of the half-light ellipse.

    Parameters
    ----------
    radius, g1, g2 : array_like
        As in `matrix_elements`.

    Returns
    -------
    major, minor : array_like
        In the unit of the radius.
    """
    stretch = _stretch(g1, g2)
    return radius * stretch, radius / stretch


def major_axis_angle(g1: Any, g2: Any) -> Any:
    """Return the angle of the major axis in radians, from +x towards +y, within -pi/2 and pi/2.

    Parameters
    ----------
    g1, g2 : array_like
        Components of the reduced shear. With (-g1, g2) the angle counts from +y towards +x.
    """
    return 0.5 * _namespace(g1, g2).arctan2(g2, g1)


def elliptical_radius(dx: Any, dy: Any, g1: Any, g2: Any) -> Any:
    """Return the distance from a centre that is constant on ellipses of a shape.

    On an ellipse it is the radius of the circle of the same area.

    Parameters
    ----------
    dx, dy : array_like
        Displacement from the centre.
    g1, g2 : array_like
        Components of the reduced shear; a length too near to one is reduced.

    Returns
    -------
    array_like
        In the unit of the displacement.
    """
    xp = _namespace(dx, dy, g1, g2)
    # The inverse of the shear that makes the ellipse of a circle of the same area.
    norm = xp.sqrt(xp.maximum(1.0 - g1**2 - g2**2, 1e-6))
    return xp.hypot((1.0 - g1) * dx - g2 * dy, (1.0 + g1) * dy - g2 * dx) / norm


def semi_major(shape: Any) -> Any:
    """Return the half-light radius along the major axis, (...), of shapes (..., 4)."""
    return shape[..., 0] * _stretch(shape[..., 1], shape[..., 2])


def to_matrix(shape: Any) -> Any:
    """Return `matrix_elements` (3, ...) of a shape (r, g1, g2, ...) as one array."""
    norm = shape[1] ** 2 + shape[2] ** 2
    scale = shape[0] ** 2 / (1.0 - norm)
    parts = [1.0 + norm + 2.0 * shape[1], 2.0 * shape[2], 1.0 + norm - 2.0 * shape[1]]
    # The factor comes last: chains of a seed depend on the order.
    return scale * _namespace(shape).stack(parts)


def from_matrix(matrix: Any, sersic_n: Any) -> tuple[Any, Any]:
    """Return the shape of a shape matrix.

    Parameters
    ----------
    matrix : array, shape (3, ...)
        Elements (xx, xy, yy).
    sersic_n : array, shape (...)
        Sersic index, which the shape is given.

    Returns
    -------
    shape : array, shape (4, ...)
        Half-light radius, two components of the reduced shear, and Sersic index.
    proper : array of bool, shape (...)
        Whether the matrix is positive definite; the shape means nothing where it is not.
    """
    xp = _namespace(matrix)
    determinant = matrix[0] * matrix[2] - matrix[1] ** 2
    trace = matrix[0] + matrix[2]
    proper = (determinant > 1e-8) & (trace > 0.0)
    root = xp.sqrt(xp.where(proper, determinant, 1.0))
    divisor = xp.where(proper, trace + 2.0 * root, 1.0)
    first = (matrix[0] - matrix[2]) / divisor
    second = 2.0 * matrix[1] / divisor
    return xp.stack([xp.sqrt(root), first, second, sersic_n]), proper


def log_matrix_jacobian(shape: Any) -> Any:
    """Return ln |d(xx, xy, yy) / d(r, g1, g2)| of a shape, up to a constant."""
    xp = _namespace(shape)
    return 5.0 * xp.log(shape[0]) - 2.0 * xp.log1p(-(shape[1] ** 2) - shape[2] ** 2)


def transformed(shape: Any, affine: Any) -> Any:
    """Return a shape as it appears after a linear map of the plane: S becomes A S A^T.

    Parameters
    ----------
    shape : array, shape (4, ...)
        Half-light radius, two components of the reduced shear, and Sersic index, which stays
        as it is. Not-a-numbers stay not-a-numbers.
    affine : array, shape (2, 2) or (2, 2, ...)
        The linear map A, one for all shapes or one for each of them.

    Returns
    -------
    array, shape (4, ...)
        The radius is multiplied by the square root of ``|det A|``.
    """
    xp = _namespace(shape)
    # For the shear alone the scale of S does not matter; a unit radius keeps the determinant
    # far from the limit of what is proper.
    matrix = to_matrix(_with_radius(shape, 1.0))
    full = xp.stack([xp.stack([matrix[0], matrix[1]]), xp.stack([matrix[1], matrix[2]])])
    # On an accelerator jax multiplies matrices in lower precision unless told otherwise.
    exact = {} if xp is np else {"precision": "highest"}
    new = xp.einsum("ij...,jk...,lk...->il...", affine, full, affine, **exact)
    scale = xp.abs(affine[0, 0] * affine[1, 1] - affine[0, 1] * affine[1, 0])
    unit = xp.stack([new[0, 0], new[0, 1], new[1, 1]]) / scale
    result, _ = from_matrix(unit, shape[3])
    return _with_radius(result, shape[0] * xp.sqrt(scale))


def _stretch(g1: Any, g2: Any) -> Any:
    """Return the semi-major axis in units of the half-light radius."""
    xp = _namespace(g1, g2)
    shear = xp.sqrt(g1**2 + g2**2)
    return xp.sqrt((1.0 + shear) / (1.0 - shear))


def _with_radius(shape: Any, radius: Any) -> Any:
    """Return a copy of a shape (4, ...) with another radius."""
    if isinstance(shape, np.ndarray):
        shape = shape.copy()
        shape[0] = radius
        return shape
    return shape.at[0].set(radius)


def _namespace(*arrays: Any) -> Any:
    """Return the library of the arrays: that of jax where one of them is jax's, or else numpy."""
    # Asked of the arrays, since catalogs are made without importing jax.
    for array in arrays:
        found = getattr(array, "__array_namespace__", None)
        if found is not None and found() is not np:
            return found()
    return np
