"""Cholesky roots and their inverses as plain loops.

LAPACK's routines, which `jax.numpy.linalg` calls on a CPU, wait for each other if two devices of a
host factor matrices in parallel. For matrices of about a hundred rows these loops are as fast.
"""

import jax
import jax.numpy as jnp
from jax import Array


def cholesky(matrix: Array) -> Array:
    """Compute the lower triangular root of a symmetric positive definite matrix.

    Parameters
    ----------
    matrix : Array, shape (n, n)
        The matrix. If it is not positive definite, the root has elements that are not finite.

    Returns
    -------
    Array, shape (n, n)
    """
    row = jnp.arange(matrix.shape[0], dtype=jnp.int32)

    def eliminate(index: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, root = state
        column = rest[:, index] * jax.lax.rsqrt(rest[index, index])
        column = jnp.where(row >= index, column, 0.0)
        root = root.at[:, index].set(column)
        return rest - column[:, None] * column[None], root

    start = (matrix, jnp.zeros_like(matrix))
    return jax.lax.fori_loop(0, matrix.shape[0], eliminate, start)[1]


def inverse_of_root(root: Array) -> Array:
    """Compute the inverse of a lower triangular matrix, shape (n, n)."""
    unit = jnp.eye(root.shape[0], dtype=root.dtype)

    def substitute(index: Array, inverse: Array) -> Array:
        # Rows of the result that are not known yet are zero.
        known = jnp.matmul(root[index], inverse, precision="highest")
        return inverse.at[index].set((unit[index] - known) / root[index, index])

    return jax.lax.fori_loop(0, root.shape[0], substitute, jnp.zeros_like(root))
