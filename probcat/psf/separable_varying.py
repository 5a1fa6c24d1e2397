r"""Low-rank separable tables of a PSF that varies over the image.

One basis along y and one along x serve all positions, so that

.. math:: P(x, y | X, Y) = \sum_{kl} u_k(y)\, M_{kl}(X, Y)\, v_l(x)

with a small matrix M, which is linear in the weights of the components. The bases are those of
a truncated higher-order singular value decomposition of the components (De Lathauwer et al.
2000, SIAM J. Matrix Anal. Appl. 21, 1253), turned such that M is the unit matrix for the mean
PSF: without M the tables are those of the mean.
"""

import bisect

import jax.numpy as jnp
import numpy as np

from probcat.errors import InputError
from probcat.psf.point_tables import PointTables
from probcat.psf.position_weights import weights
from probcat.psf.separable import CHECK_OFFSETS, DEGREES, interpolation, on_check_offsets, spread

# Terms of the mean are scaled to one down to this share of the first.
_FAINTEST = 1e-4


def build(psf, radius, tolerance, degree=None):
    """Tables of the least rank that meets the tolerance at all positions.

    Parameters
    ----------
    psf : probcat.psf.varying.VaryingPSF
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
    limit, values = tolerance * psf.peak, _values(psf)
    spans, cores = _spanned(psf, values, 0.01 * limit)
    truth = _footprint(psf, radius, spans), cores
    for chosen in DEGREES if degree is None else [degree]:
        tables = [_polynomials(psf, radius, chosen, axis, spans[axis]) for axis in (0, 1)]
        if _worst(truth, (_drawn(tables), cores), values, 0.25 * limit) < 0.25 * limit:
            break
    tables, cores = _ordered(tables, cores, values)
    drawn = _drawn(tables)

    def meets(rank):
        first = [vectors[:, :rank] for vectors in drawn], cores[:, :rank, :rank]
        return _worst(truth, first, values, limit) <= limit

    ranks = range(1, min(cores.shape[1:]) + 1)
    if not meets(ranks[-1]):
        raise InputError(f"no point-source tables of the PSF meet the tolerance {tolerance:g}")
    rank = ranks[bisect.bisect_left(ranks, True, key=meets)]
    first = [table[:, :rank] for table in tables]
    return _turned(psf, first, cores[:, :rank, :rank], values)


def error(psf, tables):
    """Greatest error of tables as a fraction of the peak, over all positions."""
    values = _values(psf)
    spans, cores = _spanned(psf, values, 1e-9 * psf.peak)
    truth = _footprint(psf, tables.radius, spans), cores
    drawn = _drawn([np.asarray(table, float) for table in tables[:2]])
    return _worst(truth, (drawn, np.asarray(tables.matrices, float)), values) / psf.peak


def _values(psf):
    """Weights of the components (N, K) at positions all over the image."""
    return np.stack([weights(psf.variation, place) for place in psf.variation.places()])


def _spanned(psf, values, negligible):
    """Sample vectors along y and x that span the components, and these in terms of them."""
    # A component counts by how much of it there is.
    scaled = psf.components * np.abs(values).max(axis=0)[:, None, None]
    spans = []
    for matrix in (np.concatenate(scaled, axis=1), np.concatenate(scaled, axis=0).T):
        vectors, singular, _ = np.linalg.svd(matrix, full_matrices=False)
        spans.append(vectors[:, : max(1, np.count_nonzero(singular > negligible))])
    return spans, spans[0].T @ psf.components @ spans[1]


def _footprint(psf, radius, spans):
    """Interpolated vectors (offsets * D, p) along y and x, tapered to the footprint."""
    return [interpolation(psf, radius, CHECK_OFFSETS, axis) @ spans[axis] for axis in (0, 1)]


def _drawn(tables):
    """Do the same from polynomial tables (degree + 1, p, D)."""
    return [on_check_offsets(table).T for table in tables]


def _worst(truth, other, values, enough=np.inf):
    """Greatest difference of two forms, (vectors, cores), of the PSF at all positions.

    Or one that exceeds what is `enough`.
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


def _polynomials(psf, radius, degree, axis, vectors):
    """Table (degree + 1, p, D) through the Chebyshev-Lobatto nodes of the offset."""
    nodes = 0.5 * np.cos(np.pi * np.arange(degree + 1) / degree)
    drawn = interpolation(psf, radius, nodes, axis) @ vectors
    drawn = drawn.reshape(degree + 1, 2 * radius + 1, -1)
    return np.einsum("jm,mdk->jkd", np.linalg.inv(np.vander(nodes, increasing=True)), drawn)


def _ordered(tables, cores, values):
    """Turn the bases into orthonormal ones on the footprint, the most important term first."""
    turns = []
    for drawn in _drawn(tables):
        _, singular, right = np.linalg.svd(drawn, full_matrices=False)
        keep = singular > 1e-9 * singular[0]
        turns.append((right[keep].T / singular[keep], singular[keep, None] * right[keep]))
    cores = turns[0][1] @ cores @ turns[1][1].T
    scaled = cores * np.abs(values).max(axis=0)[:, None, None]
    rotations = [
        np.linalg.svd(matrix, full_matrices=False)[0]
        for matrix in (np.concatenate(scaled, axis=1), np.concatenate(scaled, axis=0).T)
    ]
    tables = [
        np.einsum("jpd,pr->jrd", table, turn @ rotation)
        for table, (turn, _), rotation in zip(tables, turns, rotations, strict=True)
    ]
    return tables, rotations[0].T @ cores @ rotations[1]


def _turned(psf, tables, cores, values):
    """Turn and scale the bases such that the matrix of the mean PSF is the unit matrix."""
    left, singular, right = np.linalg.svd(np.tensordot(values.mean(axis=0), cores, 1))
    scale = np.sqrt(np.maximum(singular, _FAINTEST * singular[0]))
    turns = (left * scale, right.T * scale)
    turned = [
        jnp.asarray(np.einsum("jpd,pr->jrd", table, turn), jnp.float32)
        for table, turn in zip(tables, turns, strict=True)
    ]
    matrices = left.T @ cores @ right.T / np.multiply.outer(scale, scale)
    matrices = jnp.asarray(matrices, jnp.float32)
    variation = psf.variation.single()
    return PointTables(turned[0], turned[1], spread(psf), None, variation, matrices)
