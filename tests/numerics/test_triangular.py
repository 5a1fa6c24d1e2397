"""Roots of matrices, against numpy."""

import jax
import numpy as np
import pytest

from probcat.numerics.triangular import cholesky, inverse_of_root


@pytest.mark.parametrize("size", [1, 7, 60])
def test_root_and_its_inverse(size):
    rng = np.random.default_rng(size)
    part = rng.normal(size=(3, size, 2 * size)).astype(np.float32)
    matrix = part @ part.transpose(0, 2, 1) / size
    root = jax.vmap(cholesky)(matrix)
    np.testing.assert_allclose(root, np.linalg.cholesky(matrix), rtol=1e-4, atol=1e-4)
    unit = np.broadcast_to(np.eye(size), matrix.shape)
    np.testing.assert_allclose(jax.vmap(inverse_of_root)(root) @ root, unit, atol=2e-4)


def test_root_of_a_matrix_that_is_not_positive_definite_is_not_finite():
    assert not np.all(np.isfinite(cholesky(np.array([[1.0, 2.0], [2.0, 1.0]], np.float32))))
