"""Cholesky roots and their inverses, block by block, as loops over matrix products.

The routines of LAPACK that `jax.numpy.linalg` calls on a CPU are not used: with two devices on one
host, a program that factored matrices on both was seen to hang.
"""

import jax
import jax.numpy as jnp
from jax import Array

BLOCK = 16
"""Number of columns that are eliminated together."""


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
    size = matrix.shape[0]
    padded = _pad(matrix)
    row = jnp.arange(padded.shape[0], dtype=jnp.int32)[:, None]

    def eliminate(block: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, root = state
        first = block * BLOCK
        panel = jax.lax.dynamic_slice(rest, (0, first), (rest.shape[0], BLOCK))
        corner = jax.lax.dynamic_slice(panel, (first, 0), (BLOCK, BLOCK))
        inverse = _inverse_of_small_root(_small_cholesky(corner))
        # The panel above the diagonal block is zero but for rounding errors.
        panel = jnp.where(row >= first, jnp.matmul(panel, inverse.T, precision="highest"), 0.0)
        root = jax.lax.dynamic_update_slice(root, panel, (0, first))
        return rest - jnp.matmul(panel, panel.T, precision="highest"), root

    start = (padded, jnp.zeros_like(padded))
    root = jax.lax.fori_loop(0, padded.shape[0] // BLOCK, eliminate, start)[1]
    return jnp.tril(root[:size, :size])


def inverse_of_root(root: Array) -> Array:
    """Compute the inverse of a lower triangular matrix, shape (n, n)."""
    size = root.shape[0]
    padded = _pad(root)
    unit = jnp.eye(padded.shape[0], dtype=root.dtype)

    def substitute(block: Array, inverse: Array) -> Array:
        first = block * BLOCK
        rows = jax.lax.dynamic_slice(padded, (first, 0), (BLOCK, padded.shape[0]))
        corner = jax.lax.dynamic_slice(rows, (0, first), (BLOCK, BLOCK))
        own = jax.lax.dynamic_slice(unit, (first, 0), (BLOCK, padded.shape[0]))
        # Rows of the result that are not known yet are zero.
        left = own - jnp.matmul(rows, inverse, precision="highest")
        solved = jnp.matmul(_inverse_of_small_root(corner), left, precision="highest")
        return jax.lax.dynamic_update_slice(inverse, solved, (first, 0))

    blocks = padded.shape[0] // BLOCK
    return jax.lax.fori_loop(0, blocks, substitute, jnp.zeros_like(padded))[:size, :size]


def _pad(matrix: Array) -> Array:
    """Matrix with a unit matrix below it, so that its side is a whole number of blocks."""
    size = matrix.shape[0]
    more = -size % BLOCK
    diagonal = jnp.concatenate([jnp.zeros(size, matrix.dtype), jnp.ones(more, matrix.dtype)])
    return jnp.pad(matrix, ((0, more), (0, more))) + jnp.diag(diagonal)


def _small_cholesky(matrix: Array) -> Array:
    """Root of a matrix of one block, column by column."""
    row = jnp.arange(matrix.shape[0], dtype=jnp.int32)

    def eliminate(index: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, root = state
        column = rest[:, index] * jax.lax.rsqrt(rest[index, index])
        column = jnp.where(row >= index, column, 0.0)
        root = root.at[:, index].set(column)
        return rest - column[:, None] * column[None], root

    start = (matrix, jnp.zeros_like(matrix))
    return jax.lax.fori_loop(0, matrix.shape[0], eliminate, start)[1]


def _inverse_of_small_root(root: Array) -> Array:
    """Inverse of a lower triangular matrix of one block, row by row."""
    unit = jnp.eye(root.shape[0], dtype=root.dtype)

    def substitute(index: Array, inverse: Array) -> Array:
        known = jnp.matmul(root[index], inverse, precision="highest")
        return inverse.at[index].set((unit[index] - known) / root[index, index])

    return jax.lax.fori_loop(0, root.shape[0], substitute, jnp.zeros_like(root))
