"""Shapes as matrices: how they add, and how they look in another frame.

A shape is half-light radius, two components of the reduced shear, and Sersic index; its
matrix S has the determinant radius**4, and S / |S|^(1/2) is that of the unit ellipse.
"""

import jax.numpy as jnp
from jax import Array


def semi_major(shape: Array) -> Array:
    """Half-light radius along the major axis, of shapes (..., 4)."""
    shear = jnp.sqrt(shape[..., 1] ** 2 + shape[..., 2] ** 2)
    return shape[..., 0] * jnp.sqrt((1.0 + shear) / (1.0 - shear))


def to_matrix(shape: Array) -> Array:
    """Elements (xx, xy, yy) of the shape matrix of a shape, determinant radius**4."""
    norm = shape[1] ** 2 + shape[2] ** 2
    scale = shape[0] ** 2 / (1.0 - norm)
    parts = [1.0 + norm + 2.0 * shape[1], 2.0 * shape[2], 1.0 + norm - 2.0 * shape[1]]
    return scale * jnp.stack(parts)


def from_matrix(matrix: Array, sersic_n: Array) -> tuple[Array, Array]:
    """Shape of a shape matrix, and whether that is positive definite."""
    determinant = matrix[0] * matrix[2] - matrix[1] ** 2
    trace = matrix[0] + matrix[2]
    proper = (determinant > 1e-8) & (trace > 0.0)
    root = jnp.sqrt(jnp.where(proper, determinant, 1.0))
    divisor = jnp.where(proper, trace + 2.0 * root, 1.0)
    first = (matrix[0] - matrix[2]) / divisor
    second = 2.0 * matrix[1] / divisor
    return jnp.stack([jnp.sqrt(root), first, second, sersic_n]), proper


def log_matrix_jacobian(shape: Array) -> Array:
    """Log derivative of the shape matrix by radius and ellipticity, but for a constant."""
    return 5.0 * jnp.log(shape[0]) - 2.0 * jnp.log1p(-(shape[1] ** 2) - shape[2] ** 2)


def transformed(shape: Array, affine: Array) -> Array:
    """Shape as it appears after a linear map (2, 2) of the plane: S becomes A S A^T."""
    # For the radius and shear alone the scale of S does not matter; unit radius keeps the
    # determinant far from the limit of what is proper.
    matrix = to_matrix(shape.at[0].set(1.0))
    full = jnp.stack([jnp.stack([matrix[0], matrix[1]]), jnp.stack([matrix[1], matrix[2]])])
    new = jnp.einsum("ij,jk,lk->il", affine, full, affine, precision="highest")
    scale = jnp.abs(affine[0, 0] * affine[1, 1] - affine[0, 1] * affine[1, 0])
    unit = jnp.stack([new[0, 0], new[0, 1], new[1, 1]]) / scale
    result, _ = from_matrix(unit, shape[3])
    return result.at[0].set(shape[0] * jnp.sqrt(scale))
