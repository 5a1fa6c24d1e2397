r"""Low-rank separable tables of a PSF that varies over the image.

One basis along y and one along x serve all positions, so that

.. math:: P(x, y | X, Y) = \sum_{kl} u_k(y)\, M_{kl}(X, Y)\, v_l(x)

with a small matrix M, which is linear in the weights of the components. The bases are those of
a truncated higher-order singular value decomposition of the components (De Lathauwer et al.
2000, SIAM J. Matrix Anal. Appl. 21, 1253), rotated and scaled so that M is the unit matrix for
the mean PSF: without M the tables are those of the mean.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from probcat.errors import InputError
from probcat.psf.point_tables import PointTables
from probcat.psf.position_weights import Variation, weights
from probcat.psf.sampled import SampledPSF
from probcat.psf.separable import (
    CHECK_OFFSETS,
    DEGREES,
    check_radius,
    interpolation,
    on_check_offsets,
    spread,
)

_FAINTEST = 1e-4
"""Fraction of the first term of the mean PSF, below which terms are not scaled to one."""

Form = tuple[Sequence[np.ndarray], np.ndarray]
"""A PSF as vectors (offsets * D, p) along y and along x, and matrices (K, p, p) of them."""


def build(
    psf: SampledPSF,
    components: np.ndarray,
    variation: Variation,
    radius: int,
    tolerance: float,
    degree: int | None = None,
) -> PointTables:
    """Return tables of the lowest rank that meets a tolerance at all positions.

    Parameters
    ----------
    psf : SampledPSF
        The mean of the PSF over the image.
    components : ndarray, shape (K, odd, odd)
        Samples of its components.
    variation : Variation
        Weights of the components.
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
    limit, values = tolerance * psf.peak, _weights_at_extremes(variation)
    spans, cores = _spanned(components, values, 0.01 * limit)
    truth = _on_stamp(psf, radius, spans), cores
    for chosen in DEGREES if degree is None else [degree]:
        tables = [_polynomials(psf, radius, chosen, axis, spans[axis]) for axis in (0, 1)]
        if _worst(truth, (_vectors(tables), cores), values, 0.25 * limit) < 0.25 * limit:
            break
    tables, cores = _ordered(tables, cores, values)
    vectors = _vectors(tables)

    def meets(rank: int) -> bool:
        first = [along[:, :rank] for along in vectors], cores[:, :rank, :rank]
        return bool(_worst(truth, first, values, limit) <= limit)

    ranks = range(1, min(cores.shape[1:]) + 1)
    if not meets(ranks[-1]):
        raise InputError(f"no point-source tables of the PSF meet the tolerance {tolerance:g}")
    rank = ranks[bisect.bisect_left(ranks, True, key=meets)]
    tables, matrices = _with_unit_mean(
        [table[:, :rank] for table in tables], cores[:, :rank, :rank], values
    )
    rows, cols, mixing = (jnp.asarray(array, jnp.float32) for array in (*tables, matrices))
    return PointTables(rows, cols, spread(psf), None, variation.single(), mixing)


def error(
    psf: SampledPSF, components: np.ndarray, variation: Variation, tables: PointTables
) -> float:
    """Return the greatest error of tables over all positions, as a fraction of the peak."""
    values = _weights_at_extremes(variation)
    spans, cores = _spanned(components, values, 1e-9 * psf.peak)
    truth = _on_stamp(psf, tables.radius, spans), cores
    vectors = _vectors([np.asarray(table, float) for table in tables[:2]])
    return _worst(truth, (vectors, np.asarray(tables.matrices, float)), values) / psf.peak


def _weights_at_extremes(variation: Variation) -> np.ndarray:
    """Return weights (N, K) of the components at positions that include their extremes."""
    return np.stack([weights(variation, position) for position in variation.extreme_positions()])


def _spanned(
    components: np.ndarray, values: np.ndarray, negligible: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return bases of sample vectors along y and x, and the components as matrices of them."""
    # A component counts by its greatest weight.
    scaled = components * np.abs(values).max(axis=0)[:, None, None]
    spans = []
    for matrix in (np.concatenate(scaled, axis=1), np.concatenate(scaled, axis=0).T):
        vectors, singular, _ = np.linalg.svd(matrix, full_matrices=False)
        spans.append(vectors[:, : max(1, np.count_nonzero(singular > negligible))])
    return spans, spans[0].T @ components @ spans[1]


def _on_stamp(psf: SampledPSF, radius: int, spans: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return interpolated vectors (offsets * D, p) along y and x, tapered to the stamp."""
    return [interpolation(psf, radius, CHECK_OFFSETS, axis) @ spans[axis] for axis in (0, 1)]


def _vectors(tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return vectors (offsets * D, p) of polynomial tables (degree + 1, p, D) along y and x."""
    return [on_check_offsets(table).T for table in tables]


def _worst(truth: Form, other: Form, values: np.ndarray, enough: float = np.inf) -> float:
    """Return the greatest difference of two forms of the PSF at all positions.

    The search ends at the first difference that exceeds `enough`.
    """
    worst = 0.0
    for value in values:
        if worst > enough:
            break
        images = [
            rows @ np.tensordot(value, cores, 1) @ cols.T for (rows, cols), cores in (truth, other)
        ]
        worst = max(worst, np.abs(images[0] - images[1]).max())
    return worst


def _polynomials(
    psf: SampledPSF, radius: int, degree: int, axis: int, vectors: np.ndarray
) -> np.ndarray:
    """Return the table (degree + 1, p, D) through the Chebyshev-Lobatto nodes of the offset."""
    nodes = 0.5 * np.cos(np.pi * np.arange(degree + 1) / degree)
    on_nodes = interpolation(psf, radius, nodes, axis) @ vectors
    on_nodes = on_nodes.reshape(degree + 1, 2 * radius + 1, -1)
    return np.einsum("jm,mdk->jkd", np.linalg.inv(np.vander(nodes, increasing=True)), on_nodes)


def _ordered(
    tables: Sequence[np.ndarray], cores: np.ndarray, values: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return bases that are orthonormal on the stamp, with the most important term first."""
    changes = []
    for vectors in _vectors(tables):
        _, singular, right = np.linalg.svd(vectors, full_matrices=False)
        keep = singular > 1e-9 * singular[0]
        changes.append((right[keep].T / singular[keep], singular[keep, None] * right[keep]))
    cores = changes[0][1] @ cores @ changes[1][1].T
    scaled = cores * np.abs(values).max(axis=0)[:, None, None]
    rotations = [
        np.linalg.svd(matrix, full_matrices=False)[0]
        for matrix in (np.concatenate(scaled, axis=1), np.concatenate(scaled, axis=0).T)
    ]
    rotated = [
        np.einsum("jpd,pr->jrd", table, change @ rotation)
        for table, (change, _), rotation in zip(tables, changes, rotations, strict=True)
    ]
    return rotated, rotations[0].T @ cores @ rotations[1]


def _with_unit_mean(
    tables: Sequence[np.ndarray], cores: np.ndarray, values: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Rotate and scale the bases so that the matrix of the mean PSF is the unit matrix."""
    left, singular, right = np.linalg.svd(np.tensordot(values.mean(axis=0), cores, 1))
    scale = np.sqrt(np.maximum(singular, _FAINTEST * singular[0]))
    changes = (left * scale, right.T * scale)
    changed = [
        np.einsum("jpd,pr->jrd", table, change)
        for table, change in zip(tables, changes, strict=True)
    ]
    return changed, left.T @ cores @ right.T / np.multiply.outer(scale, scale)
