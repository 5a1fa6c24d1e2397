"""Alternatives: objects that replace one another, and the probabilities of their configurations.

Some light is one bright source in some draws and two fainter ones in others, or a source is in one
place or in another. When they are condensed, each of these sources becomes an object that only
some draws contain. Such objects form a group, and the subset of them that a draw contains is a
configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

_RARELY = 0.1
"""Objects exclude each other if they occur together at most this often, relative to chance."""
_MIN_EXPECTED = 5.0
"""Smallest number of draws expected to contain both objects by chance.

Then the probability that none of them does is below exp(-5).
"""
_LOST_FLUX = 0.5
"""Flux that an object must lose where the other one is present, in units of the other's flux."""
_LOST_SIGMA = 2.0
"""The same flux in standard deviations of the object's flux."""
_MIN_DRAWS = 5
"""Smallest number of draws with, and of draws without, the other object."""
_MAX_GROUP = 8
"""Largest number of objects in a group."""
_MIN_PROBABLE = 0.05
"""Probability from which a configuration counts in `num_alternatives`."""
_CHUNK = 2**25
"""Approximate number of matrix elements to expand at a time."""


@dataclass(frozen=True, eq=False)
class Alternative:
    """One configuration of a group of objects.

    Parameters
    ----------
    object_ids : tuple of int
        Objects of the group that are present, the brightest first; the others are absent.
    probability : float
        Fraction of the draws with this configuration.
    draws : ndarray of int, shape (n, 2)
        Chain and draw of each of them.
    """

    object_ids: tuple[int, ...]
    probability: float
    draws: np.ndarray


@dataclass(frozen=True)
class Presence:
    """Which draws contain which objects, and how bright they are there.

    Parameters
    ----------
    flux : scipy.sparse.csr_array, shape (objects, draws)
        Flux of the member; elements are stored only where there is one.
    position : ndarray, shape (objects, 2)
        Mean positions (x, y) in pixels.
    size : ndarray, shape (objects,)
        Half-light radii in pixels; 0 for point sources.
    """

    flux: csr_array
    position: np.ndarray
    size: np.ndarray

    @classmethod
    def from_members(
        cls,
        index: np.ndarray,
        sample: np.ndarray,
        flux: np.ndarray,
        num_samples: int,
        objects: tuple[np.ndarray, np.ndarray],
    ) -> Presence:
        """Collect the members of objects.

        Parameters
        ----------
        index, sample : ndarray of int, shape (n,)
            Object and draw of each member.
        flux : ndarray, shape (n,)
            Flux of each member.
        num_samples : int
            Number of draws.
        objects : tuple of ndarray
            Positions (objects, 2) and sizes (objects,); NaN sizes count as 0.

        Returns
        -------
        Presence
        """
        position, size = objects
        shape = (len(position), num_samples)
        # A flux that vanishes in single precision must remain a stored element.
        stored = csr_array((np.maximum(flux, np.finfo(np.float32).tiny), (index, sample)), shape)
        return cls(stored, position, np.nan_to_num(size))


def group_columns(presence: Presence, reach: float) -> dict[str, np.ndarray]:
    """Compute the columns `alternative_group` and `num_alternatives`.

    Parameters
    ----------
    presence : Presence
        Objects, sorted by flux.
    reach : float
        Largest distance in pixels, see `find_groups`.

    Returns
    -------
    dict of str to ndarray of int64, shape (objects,)
        Number of the first object of the group, counted from 1, or 0 for an object in no group; and
        the number of configurations with a probability of at least 0.05.
    """
    group = find_groups(presence, reach)
    number = np.ones(len(group), dtype=np.int64)
    least = _MIN_PROBABLE * presence.flux.shape[1]
    for first in np.unique(group[group >= 0]):
        rows = np.flatnonzero(group == first)
        present = presence.flux[rows].toarray() > 0
        count = np.unique(np.packbits(present, axis=0), axis=1, return_counts=True)[1]
        number[rows] = max(int((count >= least).sum()), 1)
    return {"alternative_group": group + 1, "num_alternatives": number}


def find_groups(presence: Presence, reach: float) -> np.ndarray:
    """Group objects that replace one another.

    Two objects closer than `reach`, or closer than that to the half-light radius of one of them,
    are linked if they occur together at most a tenth as often as they would by chance; or if one
    has clearly less flux in draws that contain the other, by at least half of the other's flux.
    Links with the strongest evidence are followed first, up to eight objects in a group.

    Parameters
    ----------
    presence : Presence
        Objects.
    reach : float
        Largest distance in pixels.

    Returns
    -------
    ndarray of int64, shape (objects,)
        First row of each object's group; -1 for objects in no group.
    """
    pairs, evidence = _links(presence, reach)
    first = np.arange(len(presence.position))
    groups = {int(row): [int(row)] for row in np.unique(pairs)}
    for one, other in pairs[np.argsort(-evidence, kind="stable")]:
        low, high = sorted((int(first[one]), int(first[other])))
        if low == high or len(groups[low]) + len(groups[high]) > _MAX_GROUP:
            continue
        groups[low] += groups.pop(high)
        first[groups[low]] = low
    alone = np.bincount(first, minlength=len(first))[first] == 1
    return np.where(alone, -1, first)


def _links(presence: Presence, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Find pairs of objects that replace one another, and the evidence for each."""
    position, size = presence.position, presence.size
    if len(position) < 2:
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0)
    # Few objects are large, so the search around all uses only the common distance.
    pairs = [cKDTree(position).query_pairs(reach, output_type="ndarray").reshape(-1, 2)]
    large = np.flatnonzero(size > 0)
    if large.size:
        around = cKDTree(position).query_ball_point(position[large], reach + size[large])
        one = np.repeat(large, [len(near) for near in around])
        pairs.append(np.stack([one, np.concatenate(around).astype(np.int64)], axis=1))
    both = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    both = both[both[:, 0] < both[:, 1]]
    count = np.diff(presence.flux.indptr)
    num_samples = presence.flux.shape[1]
    # Two objects that are always present are no alternatives.
    both = both[(count[both] < num_samples).any(axis=1)]
    step = max(1, _CHUNK // max(num_samples, 1) // 8)
    parts = [_evidence(presence.flux, both[low : low + step]) for low in range(0, len(both), step)]
    evidence = np.concatenate([*parts, np.zeros(0)])
    return both[evidence > 0], evidence[evidence > 0]


def _evidence(flux: csr_array, pairs: np.ndarray) -> np.ndarray:
    """Log likelihood ratio of linked and independent objects; 0 for pairs that are not linked."""
    num_samples = flux.shape[1]
    one, other = (flux[pairs[:, column]].toarray() for column in (0, 1))
    together = ((one > 0) & (other > 0)).sum(axis=1)
    counts = [(each > 0).sum(axis=1) for each in (one, other)]
    expected = counts[0] * counts[1] / num_samples
    exclusive = (expected >= _MIN_EXPECTED) & (together <= _RARELY * expected)
    # The number of draws with both objects is a Poisson variable.
    ratio = np.log(np.maximum(together, 1) / np.maximum(expected, 1e-9))
    evidence = np.where(exclusive, together * ratio + expected - together, 0.0)
    for first, second in ((one, other), (other, one)):
        evidence = np.maximum(evidence, _loses_flux(first, second))
    return evidence


def _loses_flux(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Evidence that objects have less flux where others are present; 0 where this is not clear."""
    present, with_second = first > 0, (first > 0) & (second > 0)
    without = present & ~with_second
    number = [group.sum(axis=1) for group in (without, with_second)]
    mean, square = [], []
    for group, count in zip((without, with_second), number, strict=True):
        total = np.where(group, first, 0.0)
        mean.append(total.sum(axis=1) / np.maximum(count, 1))
        square.append(np.where(group, (first - mean[-1][:, None]) ** 2, 0.0).sum(axis=1))
    within = (square[0] + square[1]) / np.maximum(number[0] + number[1], 1)
    drop = mean[0] - mean[1]
    taken = np.where(with_second, second, 0.0).sum(axis=1) / np.maximum(number[1], 1)
    linked = (drop >= _LOST_FLUX * taken) & (drop >= _LOST_SIGMA * np.sqrt(within)) & (drop > 0)
    linked &= np.minimum(number[0], number[1]) >= _MIN_DRAWS
    # Two Gaussians of the same width against one, in the draws of the smaller group.
    evidence = 0.5 * np.minimum(number[0], number[1]) * np.log1p(drop**2 / np.maximum(within, 1e-9))
    return np.where(linked, evidence, 0.0)


def draws_by_row(members: np.ndarray, size: int) -> list[np.ndarray]:
    """List the draws that contain each object, as indices into (chain, draw) flattened.

    Parameters
    ----------
    members : ndarray of int, shape (chain, draw, source)
        Row of the object of which each source is a member, -1 for none.
    size : int
        Number of objects.

    Returns
    -------
    list of ndarray of int64
        Draws of each object.
    """
    draw, source = np.nonzero(members.reshape(-1, members.shape[-1]) >= 0)
    row = members.reshape(-1, members.shape[-1])[draw, source]
    order = np.argsort(row, kind="stable")
    return np.split(draw[order], np.searchsorted(row[order], np.arange(1, size)))[:size]


def configurations(
    draws_of: Sequence[np.ndarray], object_ids: Sequence[int], shape: tuple[int, int]
) -> list[Alternative]:
    """List the configurations of some objects in the draws, the most frequent first.

    Parameters
    ----------
    draws_of : sequence of ndarray of int
        For each object the draws that contain it, see `draws_by_row`; at most 62 objects.
    object_ids : sequence of int
        Numbers of these objects, increasing.
    shape : tuple of int
        Numbers of chains and of draws per chain.

    Returns
    -------
    list of Alternative
        Probabilities sum to one; in one of the configurations all objects may be absent.
    """
    code = np.zeros(shape[0] * shape[1], dtype=np.int64)
    for bit, draws in enumerate(draws_of):
        code[draws] |= 1 << bit
    values, inverse, count = np.unique(code, return_inverse=True, return_counts=True)
    found = []
    for number in np.argsort(-count, kind="stable"):
        present = [int(one) for bit, one in enumerate(object_ids) if values[number] >> bit & 1]
        draws = np.stack(np.divmod(np.flatnonzero(inverse == number), shape[1]), axis=1)
        found.append(Alternative(tuple(present), float(count[number] / code.size), draws))
    return found
