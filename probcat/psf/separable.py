"""Low-rank separable tables of a PSF, for drawing point sources."""

import jax.numpy as jnp
import numpy as np

from probcat.errors import InputError
from probcat.psf.arrays import TAPER, taper
from probcat.psf.point_tables import PointTables

DEGREES = range(3, 13)
ROUNDED_FWHM = 2.3548
"""`probcat.numerics.robust.FWHM_PER_SIGMA` to four digits, which `spread` is defined with.

The chain that follows from a seed depends on every digit of it where widths of PSFs are sampled.
"""
# Sub-pixel offsets at which errors are looked for. No degree has its nodes at all of them.
CHECK_OFFSETS = np.linspace(-0.5, 0.5, 10)


def build(psf, radius, tolerance, degree=None):
    """Tables of the least rank that meets the tolerance.

    The factors are the singular vectors of the interpolated PSF on the footprint: with the
    sinc interpolation S, ``P = S_y pixels S_x^T``. In each pixel a factor becomes the
    polynomial through the Chebyshev-Lobatto nodes of the sub-pixel offset; they include both
    ends, so that it is continuous from pixel to pixel.

    Parameters
    ----------
    psf : probcat.psf.psf.PSF
    radius : int
        Half side of the footprint in pixels.
    tolerance : float
        Greatest error as a fraction of the peak.
    degree : int, optional
        Degree of the polynomials, by default the least that takes up a quarter of the
        tolerance.

    Returns
    -------
    PointTables

    Raises
    ------
    InputError
        If `radius` is less than 1, or the tolerance cannot be met.
    """
    if radius < 1:
        raise InputError(f"the footprint radius must be at least 1 px, not {radius}")
    limit = tolerance * psf.peak
    truth = _footprint(psf, radius)
    for chosen in DEGREES if degree is None else [degree]:
        tables = _polynomials(psf, radius, chosen, 0.01 * limit)
        rows, cols = (on_check_offsets(table) for table in tables)
        if np.abs(truth - rows.T @ cols).max() < 0.25 * limit:
            break
    residual = truth
    for rank, (row, col) in enumerate(zip(rows, cols, strict=True), start=1):
        residual = residual - np.multiply.outer(row, col)
        if np.abs(residual).max() <= limit:
            first, second = (jnp.asarray(table[:, :rank], jnp.float32) for table in tables)
            return PointTables(first, second, spread(psf))
    raise InputError(f"no point-source tables of the PSF meet the tolerance {tolerance:g}")


def error(psf, tables):
    """Greatest error of tables as a fraction of the peak, over all displacements."""
    rows, cols = (on_check_offsets(np.asarray(table, float)) for table in tables[:2])
    radius = tables.rows.shape[-1] // 2
    return float(np.abs(_footprint(psf, radius) - rows.T @ cols).max() / psf.peak)


def spread(psf):
    """Variance of a Gaussian of the width of a PSF."""
    return jnp.float32((psf.fwhm / ROUNDED_FWHM) ** 2)


def interpolation(psf, radius, offsets, axis):
    """Interpolation weights (offsets * D, samples), tapered to the footprint."""
    where = (np.arange(-radius, radius + 1) - offsets[:, None]).ravel()
    weights = psf.basis(where, axis)
    if radius >= psf.radius:
        return weights
    return weights * taper((radius + 0.5 - np.abs(where)) / TAPER)[:, None]


def _footprint(psf, radius):
    """PSF, tapered to the footprint, at all its pixels and check offsets."""
    rows, cols = (interpolation(psf, radius, CHECK_OFFSETS, axis) for axis in (0, 1))
    return rows @ psf.pixels @ cols.T


def on_check_offsets(table):
    """Values (K, offsets * D) of a polynomial table (degree + 1, K, D)."""
    powers = np.vander(CHECK_OFFSETS, len(table), increasing=True)
    values = np.einsum("mj,jkd->kmd", powers, table)
    return values.reshape(len(values), -1)


def _polynomials(psf, radius, degree, negligible):
    """Tables (degree + 1, K, D), float64, along y and along x, of all terms that count."""
    nodes = 0.5 * np.cos(np.pi * np.arange(degree + 1) / degree)
    left, singular, right = np.linalg.svd(psf.pixels, full_matrices=False)
    keep = max(1, np.count_nonzero(singular > negligible))
    samples = (left[:, :keep] * singular[:keep], right[:keep].T)
    # The singular vectors on the footprint follow from those of a small matrix.
    placed = [interpolation(psf, radius, nodes, axis) @ samples[axis] for axis in (0, 1)]
    bases, roots = zip(*(np.linalg.qr(vectors) for vectors in placed), strict=True)
    inner_left, singular, inner_right = np.linalg.svd(roots[0] @ roots[1].T, full_matrices=False)
    turns = (inner_left * np.sqrt(singular), inner_right.T * np.sqrt(singular))
    to_coefficients = np.linalg.inv(np.vander(nodes, increasing=True))

    def table(vectors):
        shaped = vectors.reshape(degree + 1, 2 * radius + 1, -1)
        return np.einsum("jm,mdk->jkd", to_coefficients, shaped)

    return tuple(table(basis @ turn) for basis, turn in zip(bases, turns, strict=True))
