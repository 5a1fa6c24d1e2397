"""Low-rank separable tables of a PSF, from which point sources are rendered."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.errors import InputError
from probcat.psf.arrays import TAPER, taper
from probcat.psf.point_tables import PointTables
from probcat.psf.sampled import SampledPSF

DEGREES = range(3, 13)
"""Degrees of the polynomials that are tried."""
ROUNDED_FWHM = 2.3548
"""`probcat.numerics.robust.FWHM_PER_SIGMA` to five digits, which `spread` is defined with.

The chain that follows from a seed depends on every digit of it where widths of PSFs are sampled.
"""
CHECK_OFFSETS = np.linspace(-0.5, 0.5, 10)
"""Sub-pixel offsets at which errors are measured; no degree has its nodes at all of them."""


def build(psf: SampledPSF, radius: int, tolerance: float, degree: int | None = None) -> PointTables:
    """Return tables of the lowest rank that meets a tolerance.

    The factors are the singular vectors of the interpolated PSF on the stamp: with the sinc
    interpolation S, ``P = S_y pixels S_x^T``. In each pixel a factor becomes the polynomial
    through the Chebyshev-Lobatto nodes of the sub-pixel offset. These include both ends, so that
    the factor is continuous from pixel to pixel.

    Parameters
    ----------
    psf : SampledPSF
        The PSF.
    radius : int
        Half side of the stamp in pixels.
    tolerance : float
        Greatest error as a fraction of the peak.
    degree : int, optional
        Degree of the polynomials; by default the lowest whose error is a quarter of the
        tolerance.

    Returns
    -------
    PointTables
        The tables, in single precision.

    Raises
    ------
    InputError
        If `radius` is less than 1, or the tolerance cannot be met.
    """
    check_radius(radius)
    limit = tolerance * psf.peak
    truth = _on_stamp(psf, radius)
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


def check_radius(radius: int) -> None:
    """Refuse a stamp with a half side of less than a pixel."""
    if radius < 1:
        raise InputError(f"the radius of a stamp must be at least 1 px, not {radius}")


def error(psf: SampledPSF, tables: PointTables) -> float:
    """Return the greatest error of tables over all displacements, as a fraction of the peak."""
    rows, cols = (on_check_offsets(np.asarray(table, float)) for table in tables[:2])
    return float(np.abs(_on_stamp(psf, tables.radius) - rows.T @ cols).max() / psf.peak)


def spread(psf: SampledPSF) -> Array:
    """Return the variance of a Gaussian as wide as a PSF, in square pixels."""
    return jnp.float32((psf.fwhm / ROUNDED_FWHM) ** 2)


def interpolation(psf: SampledPSF, radius: int, offsets: np.ndarray, axis: int) -> np.ndarray:
    """Return interpolation weights (offsets * D, samples) along an axis, tapered to the stamp.

    D = 2 radius + 1 is the number of pixels along a side of the stamp.
    """
    where = (np.arange(-radius, radius + 1) - offsets[:, None]).ravel()
    weights = psf.basis(where, axis)
    if radius >= psf.radius:
        return weights
    return weights * taper((radius + 0.5 - np.abs(where)) / TAPER)[:, None]


def on_check_offsets(table: np.ndarray) -> np.ndarray:
    """Return values (K, offsets * D) of a polynomial table (degree + 1, K, D)."""
    powers = np.vander(CHECK_OFFSETS, len(table), increasing=True)
    values = np.einsum("mj,jkd->kmd", powers, table)
    return values.reshape(len(values), -1)


def _on_stamp(psf: SampledPSF, radius: int) -> np.ndarray:
    """Return the PSF, tapered to the stamp, at all its pixels and check offsets."""
    rows, cols = (interpolation(psf, radius, CHECK_OFFSETS, axis) for axis in (0, 1))
    return rows @ psf.pixels @ cols.T


def _polynomials(
    psf: SampledPSF, radius: int, degree: int, negligible: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 tables (degree + 1, K, D) along y and x of all terms that count."""
    nodes = 0.5 * np.cos(np.pi * np.arange(degree + 1) / degree)
    left, singular, right = np.linalg.svd(psf.pixels, full_matrices=False)
    keep = max(1, np.count_nonzero(singular > negligible))
    samples = (left[:, :keep] * singular[:keep], right[:keep].T)
    # The singular vectors on the stamp follow from those of a small matrix.
    on_nodes = [interpolation(psf, radius, nodes, axis) @ samples[axis] for axis in (0, 1)]
    bases, roots = zip(*(np.linalg.qr(vectors) for vectors in on_nodes), strict=True)
    inner_left, singular, inner_right = np.linalg.svd(roots[0] @ roots[1].T, full_matrices=False)
    rotations = (inner_left * np.sqrt(singular), inner_right.T * np.sqrt(singular))
    to_coefficients = np.linalg.inv(np.vander(nodes, increasing=True))

    def table(vectors: np.ndarray) -> np.ndarray:
        shaped = vectors.reshape(degree + 1, 2 * radius + 1, -1)
        return np.einsum("jm,mdk->jkd", to_coefficients, shaped)

    return table(bases[0] @ rotations[0]), table(bases[1] @ rotations[1])
