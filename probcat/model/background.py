"""Background of an image: a level, a plane, or a mesh of levels with linear interpolation.

Every term is the product of a function of the row and a function of the column, so that a
background is the product of two thin matrices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.model.background_names import LEVEL, PLANE


class Terms(NamedTuple):
    """Terms of the background of one image.

    Attributes
    ----------
    rows, cols : Array, shapes (K, H), (K, W)
        Factors of every term along y and along x.
    """

    rows: Array
    cols: Array

    def image(self, coefficients: Array) -> Array:
        """Background for coefficients (K,), shape (H, W)."""
        return jnp.matmul(self.rows.T, coefficients[:, None] * self.cols, precision="highest")


def mesh_nodes(length: int, spacing: float) -> int:
    """Count the nodes of a mesh along an axis of the image, from one end to the other."""
    return max(2, round((length - 1) / spacing) + 1)


def num_terms(model: str, shape: tuple[int, int], spacing: float) -> int:
    """Count the coefficients of a background.

    Parameters
    ----------
    model : {"level", "plane", "mesh"}
        Background model.
    shape : tuple of int
        (ny, nx) of the image.
    spacing : float
        Approximate spacing in pixels of the nodes of a mesh.
    """
    if model == LEVEL:
        return 1
    if model == PLANE:
        return 3
    return mesh_nodes(shape[0], spacing) * mesh_nodes(shape[1], spacing)


def factors(
    model: str, shape: tuple[int, int], spacing: float, row: np.ndarray, col: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the factors of all terms.

    The coefficients of a plane are the level at the centre and half the rise across the image
    along x and along y. Those of a mesh are its levels at the nodes, row by row; outside the
    image a mesh continues with its values at the border.

    Parameters
    ----------
    model, shape, spacing
        Background model, as in `num_terms`.
    row : ndarray, shape (H,)
        Rows of the image at which to evaluate.
    col : ndarray, shape (W,)
        Columns of the image at which to evaluate.

    Returns
    -------
    rows, cols : ndarray, shapes (K, H), (K, W)
    """
    ny, nx = shape
    if model == LEVEL:
        return np.ones((1, len(row))), np.ones((1, len(col)))
    if model == PLANE:
        up, right = ((at - 0.5 * (n - 1)) / max(0.5 * n, 1.0) for at, n in ((row, ny), (col, nx)))
        one_row, one_col = np.ones(len(row)), np.ones(len(col))
        return np.stack([one_row, one_row, up]), np.stack([one_col, right, one_col])
    hats = []
    for at, n in ((row, ny), (col, nx)):
        nodes = np.linspace(0.0, n - 1.0, mesh_nodes(n, spacing))
        step = nodes[1] - nodes[0]
        inside = np.clip(at, 0.0, n - 1.0)
        hats.append(np.maximum(1.0 - np.abs(inside[None] - nodes[:, None]) / step, 0.0))
    high, wide = (len(hat) for hat in hats)
    return np.repeat(hats[0], wide, axis=0), np.tile(hats[1], (high, 1))


def background_terms(
    model: str,
    shape: tuple[int, int],
    spacing: float,
    first: tuple[int, int],
    padded_shape: tuple[int, int],
) -> Terms:
    """Terms on the padded pixels of an image.

    Parameters
    ----------
    model, shape, spacing
        Background model, as in `num_terms`.
    first : tuple of int
        Pixel (x, y) of the image that the padded array starts at.
    padded_shape : tuple of int
        Shape of the padded array.

    Returns
    -------
    Terms
    """
    row = first[1] + np.arange(padded_shape[0])
    col = first[0] + np.arange(padded_shape[1])
    rows, cols = factors(model, shape, spacing, row, col)
    return Terms(jnp.asarray(rows, jnp.float32), jnp.asarray(cols, jnp.float32))


def project(terms: Terms, image: Array) -> Array:
    """Sum of an image times every term, shape (K,)."""
    along = jnp.matmul(terms.rows, image, precision="highest")
    return jnp.sum(along * terms.cols, axis=1)


def normal_matrix(terms: Terms, weight: Array) -> Array:
    """Sum of weights times products of two terms, shape (K, K)."""
    if terms.rows.shape[0] == 1:
        return jnp.sum(jnp.sum(weight, axis=0))[None, None]

    def one(term: tuple[Array, Array]) -> Array:
        row, col = term
        return project(terms, weight * row[:, None] * col[None])

    return jax.lax.map(one, (terms.rows, terms.cols))


def draw_coefficients(
    rng_key: Array, terms: Terms, weight: Array, residual: Array, current: Array, prior: tuple
) -> Array:
    """Draw the coefficients of a background from their conditional Gaussian.

    Parameters
    ----------
    rng_key : Array
        Random key.
    terms : Terms
        Terms of the background.
    weight : Array, shape (H, W)
        Inverse variances.
    residual : Array, shape (H, W)
        Data minus background minus all sources.
    current : Array, shape (K,)
        Coefficients of the background in `residual`.
    prior : (Array, Array), each of shape (K,)
        Mean and standard deviation of the normal prior.

    Returns
    -------
    Array, shape (K,)
        New coefficients.
    """
    mean, scale = prior
    precision = normal_matrix(terms, weight) + jnp.diag(1.0 / scale**2)
    pull = project(terms, weight * residual) + (mean - current) / scale**2
    noise = jax.random.normal(rng_key, current.shape)
    if current.shape[0] == 1:
        return current + pull / precision[0] + noise * jax.lax.rsqrt(precision[0])
    root = jnp.linalg.cholesky(precision)
    centre = jax.scipy.linalg.cho_solve((root, True), pull)
    return current + centre + jax.scipy.linalg.solve_triangular(root.T, noise, lower=False)
