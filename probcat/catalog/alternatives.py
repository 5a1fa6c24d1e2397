"""Objects that stand in for one another: the explanations of a blend, with probabilities.

Some light is one bright source in some draws and two fainter ones in others, or a source sits
here or there. Condensed, that gives objects of which a draw holds some and not the others.
Such objects form a group, and what a draw holds of a group is a configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

# Objects exclude each other if they occur together at most this often, relative to chance.
_RARELY = 0.1
# By chance they would have occurred together in at least this many draws, and in none of as
# many with a probability below exp(-5).
_LEAST_EXPECTED = 5.0
# The flux that one object loses when the other is there, in units of the other's flux and of
# its own scatter.
_TAKES, _CLEARLY = 0.5, 2.0
_LEAST_DRAWS = 5
_MOST_MEMBERS = 8
# Configurations that are less probable are not counted.
_LEAST_PROBABLE = 0.05
_CHUNK = 2**25


@dataclass(frozen=True, eq=False)
class Alternative:
    """One configuration of a group of objects.

    Parameters
    ----------
    object_ids : tuple of int
        The objects of the group that are there, the brightest first; the others are not.
    probability : float
        Share of the draws that hold just these of the group.
    draws : ndarray of int, shape (n, 2)
        Chain and draw of each of them.
    """

    object_ids: tuple[int, ...]
    probability: float
    draws: np.ndarray


@dataclass(frozen=True)
class Presence:
    """Which draw holds which object, and how bright.

    Parameters
    ----------
    light : scipy.sparse.csr_array, shape (objects, draws)
        Flux of the member; its structure tells what is there.
    position : ndarray, shape (objects, 2)
    size : ndarray, shape (objects,)
        Half-light radius, pixels; 0 of point sources.
    """

    light: csr_array
    position: np.ndarray
    size: np.ndarray

    @classmethod
    def from_members(
        cls,
        index: np.ndarray,
        sample: np.ndarray,
        flux: np.ndarray,
        num_samples: int,
        place: tuple[np.ndarray, np.ndarray],
    ) -> Presence:
        """Collect members; `place` is positions and sizes of the objects."""
        position, size = place
        shape = (len(position), num_samples)
        # A flux that vanishes in single precision is there still.
        light = csr_array((np.maximum(flux, np.finfo(np.float32).tiny), (index, sample)), shape)
        return cls(light, position, np.nan_to_num(size))


def group_columns(presence: Presence, reach: float) -> dict[str, np.ndarray]:
    """Give `alternative_group` and `num_alternatives` of objects sorted by flux.

    Parameters
    ----------
    presence : Presence
    reach : float
        As in `find_groups`.

    Returns
    -------
    dict of str to ndarray of int64, shape (objects,)
        Number of the first object of the group, counted from 1, 0 of objects in none; and how
        many configurations have a probability of at least 0.05.
    """
    group = find_groups(presence, reach)
    number = np.ones(len(group), dtype=np.int64)
    least = _LEAST_PROBABLE * presence.light.shape[1]
    for first in np.unique(group[group >= 0]):
        rows = np.flatnonzero(group == first)
        held = presence.light[rows].toarray() > 0
        count = np.unique(np.packbits(held, axis=0), axis=1, return_counts=True)[1]
        number[rows] = max(int((count >= least).sum()), 1)
    return {"alternative_group": group + 1, "num_alternatives": number}


def find_groups(presence: Presence, reach: float) -> np.ndarray:
    """Group objects that stand in for one another.

    Two objects within `reach`, or within each other's half-light radius beyond it, are linked
    if they occur together at most a tenth as often as they would by chance; or if one has
    clearly less light in draws that hold the other, by half the other's light or more. The
    links that the draws support best are followed first, up to eight objects a group.

    Parameters
    ----------
    presence : Presence
    reach : float
        Pixels.

    Returns
    -------
    ndarray of int64, shape (objects,)
        The first row of each object's group; -1 of those in none.
    """
    pairs, strength = _links(presence, reach)
    parent = np.arange(len(presence.position))
    members = {int(row): [int(row)] for row in np.unique(pairs)}
    for one, other in pairs[np.argsort(-strength, kind="stable")]:
        low, high = sorted((int(parent[one]), int(parent[other])))
        if low == high or len(members[low]) + len(members[high]) > _MOST_MEMBERS:
            continue
        members[low] += members.pop(high)
        parent[members[low]] = low
    lonely = np.bincount(parent, minlength=len(parent))[parent] == 1
    return np.where(lonely, -1, parent)


def _links(presence: Presence, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Find pairs of objects that stand in for one another, and the evidence of each."""
    none = np.zeros((0, 2), dtype=np.int64), np.zeros(0)
    position, size = presence.position, presence.size
    if len(position) < 2:
        return none
    # Few objects are large, so that the search about all goes by the reach alone.
    pairs = [cKDTree(position).query_pairs(reach, output_type="ndarray").reshape(-1, 2)]
    large = np.flatnonzero(size > 0)
    if large.size:
        around = cKDTree(position).query_ball_point(position[large], reach + size[large])
        one = np.repeat(large, [len(near) for near in around])
        pairs.append(np.stack([one, np.concatenate(around).astype(np.int64)], axis=1))
    both = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    both = both[both[:, 0] < both[:, 1]]
    count = np.diff(presence.light.indptr)
    num_samples = presence.light.shape[1]
    # An object that is always there and alike takes part in no alternative.
    both = both[(count[both] < num_samples).any(axis=1)]
    step = max(1, _CHUNK // max(num_samples, 1) // 8)
    strength = [
        _evidence(presence.light, both[low : low + step]) for low in range(0, len(both), step)
    ]
    found = np.concatenate([*strength, np.zeros(0)])
    return both[found > 0], found[found > 0]


def _evidence(light: csr_array, pairs: np.ndarray) -> np.ndarray:
    """Log likelihood ratio of linked against independent objects; 0 of pairs not linked."""
    num_samples = light.shape[1]
    one, other = (light[pairs[:, column]].toarray() for column in (0, 1))
    together = ((one > 0) & (other > 0)).sum(axis=1)
    counts = [(each > 0).sum(axis=1) for each in (one, other)]
    expected = counts[0] * counts[1] / num_samples
    exclusive = (expected >= _LEAST_EXPECTED) & (together <= _RARELY * expected)
    # Of a Poisson number of joint draws.
    ratio = np.log(np.maximum(together, 1) / np.maximum(expected, 1e-9))
    strength = np.where(exclusive, together * ratio + expected - together, 0.0)
    for mine, yours in ((one, other), (other, one)):
        strength = np.maximum(strength, _loses_light(mine, yours))
    return strength


def _loses_light(mine: np.ndarray, yours: np.ndarray) -> np.ndarray:
    """Evidence that an object has less light where another is there; 0 if not clearly so."""
    here, with_you = mine > 0, (mine > 0) & (yours > 0)
    alone = here & ~with_you
    number = [group.sum(axis=1) for group in (alone, with_you)]
    mean, square = [], []
    for group, count in zip((alone, with_you), number, strict=True):
        total = np.where(group, mine, 0.0)
        mean.append(total.sum(axis=1) / np.maximum(count, 1))
        square.append(np.where(group, (mine - mean[-1][:, None]) ** 2, 0.0).sum(axis=1))
    within = (square[0] + square[1]) / np.maximum(number[0] + number[1], 1)
    drop = mean[0] - mean[1]
    taken = np.where(with_you, yours, 0.0).sum(axis=1) / np.maximum(number[1], 1)
    linked = (drop >= _TAKES * taken) & (drop >= _CLEARLY * np.sqrt(within)) & (drop > 0)
    linked &= np.minimum(number[0], number[1]) >= _LEAST_DRAWS
    # Two Gaussians of one width against one, in the smaller group's draws.
    evidence = 0.5 * np.minimum(number[0], number[1]) * np.log1p(drop**2 / np.maximum(within, 1e-9))
    return np.where(linked, evidence, 0.0)


def draws_by_row(members: np.ndarray, size: int) -> list[np.ndarray]:
    """List the draws that hold each object, as indices into (chain, draw) flattened.

    Parameters
    ----------
    members : ndarray of int, shape (chain, draw, source)
        Row of the object that each source is a member of, -1 for none.
    size : int
        Number of objects.

    Returns
    -------
    list of ndarray of int64
    """
    draw, source = np.nonzero(members.reshape(-1, members.shape[-1]) >= 0)
    row = members.reshape(-1, members.shape[-1])[draw, source]
    order = np.argsort(row, kind="stable")
    return np.split(draw[order], np.searchsorted(row[order], np.arange(1, size)))[:size]


def configurations(
    held: Sequence[np.ndarray], object_ids: Sequence[int], shape: tuple[int, int]
) -> list[Alternative]:
    """List what the draws hold of some objects, the most frequent first.

    Parameters
    ----------
    held : sequence of ndarray of int
        For every object the draws that hold it, as `draws_by_row` gives them; at most 62.
    object_ids : sequence of int
        Numbers of these objects, rising.
    shape : tuple of int
        Numbers of chains and of draws a chain.

    Returns
    -------
    list of Alternative
        Probabilities sum to one; the objects may all be missing in one of them.
    """
    code = np.zeros(shape[0] * shape[1], dtype=np.int64)
    for bit, draws in enumerate(held):
        code[draws] |= 1 << bit
    values, inverse, count = np.unique(code, return_inverse=True, return_counts=True)
    found = []
    for number in np.argsort(-count, kind="stable"):
        there = [int(one) for bit, one in enumerate(object_ids) if values[number] >> bit & 1]
        draws = np.stack(np.divmod(np.flatnonzero(inverse == number), shape[1]), axis=1)
        found.append(Alternative(tuple(there), float(count[number] / code.size), draws))
    return found
