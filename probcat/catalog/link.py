"""Linking of the sources of many sampled catalogs to objects.

Draws are unordered catalogs, so which source of one draw is which source of the next is a question
of inference. `link` alternates between matching every draw to the objects, one to one, and
updating the objects from their members (relabelling: Stephens 2000, JRSS B 62, 795).
"""

from __future__ import annotations

import heapq

import numpy as np
from scipy.sparse import coo_array, csr_array, eye_array
from scipy.spatial import cKDTree

from probcat.catalog.mixture import Objects, Points, Scales, fit_objects, match_draws

_MAX_POINTS = 130_000
"""Draws are thinned to about this many sources while objects are being found."""
_MAX_ROUNDS = 12
"""Largest number of rounds of matching and updating."""
_MAX_SPAWNS = 3
"""Number of rounds that may add objects."""
_EXCLUSIVE_LOG_FLUX = 1.2
"""Difference in log flux of two objects that may be one.

A source that is a star in some draws and a galaxy in others, or one source in some and two in
others, differs by about this much.
"""
_FLUX_BIN = 0.4
"""Width in natural log flux of the bins in which unassigned sources are counted."""
_MIN_CLUTTER = 0.05
"""Smallest fraction of the sources in a bin that count as unassigned."""


def link(points: Points, scales: Scales, min_fraction: float) -> np.ndarray:
    """Find objects, and the object of each source.

    Seeds are density peaks of all sources. Each round then matches every draw to the objects,
    drops objects that few draws contain, joins objects that agree and never occur together, makes
    new objects of clustered sources that are left, and updates all objects, until little changes.
    This is done with evenly spaced draws; at the end all draws are matched.

    Parameters
    ----------
    points : Points
        Sampled sources.
    scales : Scales
        Lengths of the problem.
    min_fraction : float
        Objects in a smaller fraction of the draws are dropped.

    Returns
    -------
    ndarray of int64, shape (n,)
        Object of each source, -1 for none. No object occurs twice in a draw.
    """
    sparse = points.thin(_MAX_POINTS)
    label = find_seeds(sparse, scales, min_fraction)
    for number in range(_MAX_ROUNDS):
        before, count = label, label.max(initial=-1)
        label = _rematch(sparse, label, scales)
        settled = np.count_nonzero(before != label) <= 1e-3 * len(label)
        label = _drop_rare(sparse, label, min_fraction)
        label = _join_exclusive(sparse, label, scales)
        if number < _MAX_SPAWNS:
            rest = np.flatnonzero(label < 0)
            new = find_seeds(sparse.take(rest), scales, min_fraction)
            label[rest] = np.where(new >= 0, new + label.max(initial=-1) + 1, -1)
        if settled and label.max(initial=-1) == count:
            break
    # The objects that the thinned draws define are those of all draws.
    objects = fit_objects(sparse, label, scales)
    label = match_draws(points, objects, scales, _clutter(sparse, label, points))
    for _ in range(2):
        label = _rematch(points, _drop_rare(points, label, min_fraction), scales)
    return _drop_rare(points, label, min_fraction)


def _rematch(points: Points, label: np.ndarray, scales: Scales) -> np.ndarray:
    """Update the objects from their members, then match every draw to them."""
    objects = fit_objects(points, label, scales)
    return match_draws(points, objects, scales, _clutter(points, label))


def _clutter(points: Points, label: np.ndarray, like: Points | None = None) -> np.ndarray:
    """Estimate the density of sources that belong to no object, about each source.

    It is a density per draw, square pixel, and unit of log flux and of colours, and varies only
    with flux, since most of these sources are faint. At least 5 % of the sources of any flux are
    counted, so that the density is never zero.

    Parameters
    ----------
    points : Points
        Sampled sources.
    label : ndarray of int, shape (n,)
        Object of each source, -1 for none.
    like : Points, optional
        The m sources about which to estimate the density; by default `points`.

    Returns
    -------
    ndarray, shape (m,)
    """
    like = points if like is None else like
    if not len(label):
        return np.ones(len(like.sample))
    low, high = np.percentile(points.features, [2.0, 98.0], axis=0)
    span = np.maximum(high - low, 1.0)
    log_flux = points.features[:, 2]
    number = 1 + int(np.ptp(log_flux) / _FLUX_BIN)
    edges = log_flux.min() + _FLUX_BIN * np.arange(number + 1)
    everything, unassigned = (
        np.histogram(values, edges)[0] for values in (log_flux, log_flux[label < 0])
    )
    count = np.maximum(unassigned, _MIN_CLUTTER * np.maximum(everything, 1))
    density = count * span[2] / (points.num_samples * _FLUX_BIN * np.prod(span))
    flux_bin = np.searchsorted(edges, like.features[:, 2], side="right") - 1
    return density[np.clip(flux_bin, 0, number - 1)]


def _compress(label: np.ndarray) -> np.ndarray:
    """Renumber objects without gaps, keeping their order."""
    used = np.unique(label[label >= 0])
    return np.where(label >= 0, np.searchsorted(used, label), -1)


def _drop_rare(points: Points, label: np.ndarray, min_fraction: float) -> np.ndarray:
    """Release the members of objects that too few draws contain."""
    count = np.bincount(label[label >= 0], minlength=1)
    rare = count < min_fraction * points.num_samples
    return _compress(np.where((label >= 0) & rare[label], -1, label))


def _join_exclusive(points: Points, label: np.ndarray, scales: Scales) -> np.ndarray:
    """Join objects that agree in position and flux and (almost) never occur together.

    Two objects agree if their squared distance is below 1, measured with the sum of both
    covariances and of generous widths in position, flux and colour. They never occur together if
    at most 2 % of the draws with the rarer object contain both. The closest pairs are joined first,
    and each object at most once.
    """
    objects = fit_objects(points, label, scales)
    pairs = _agreeing_pairs(objects, scales)
    if not len(pairs):
        return label
    present = np.zeros((len(objects), points.num_samples), dtype=bool)
    member = label >= 0
    present[label[member], points.sample[member]] = True
    count = present.sum(axis=1)
    target = np.arange(len(objects))
    joined = np.zeros(len(objects), dtype=bool)
    for one, other in pairs:
        if joined[one] or joined[other]:
            continue
        together = (present[one] & present[other]).sum()
        if together <= 0.02 * min(count[one], count[other]):
            rarer, keeper = sorted((one, other), key=lambda index: count[index])
            target[rarer] = keeper
            joined[[one, other]] = True
    new = np.where(member, target[label], -1)
    # If a draw contains both objects, the source of the object that is kept remains its member.
    moved = np.flatnonzero(member & (new != label))
    new[moved[present[new[moved], points.sample[moved]]]] = -1
    return _compress(new)


def _agreeing_pairs(objects: Objects, scales: Scales) -> np.ndarray:
    """Pairs of objects that agree in all features, the closest first, shape (pairs, 2)."""
    if len(objects) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = cKDTree(objects.mean[:, :2]).query_pairs(scales.radius, output_type="ndarray")
    one, other = pairs.T
    delta = objects.mean[one] - objects.mean[other]
    width = scales.covariance(scales.radius / 2.0, _EXCLUSIVE_LOG_FLUX, scales.log_flux)
    covariance = objects.covariance[one] + objects.covariance[other] + width
    distance = np.einsum("ni,ni->n", delta, np.linalg.solve(covariance, delta[..., None])[..., 0])
    order = np.argsort(distance, kind="stable")
    return pairs[order][distance[order] < 1.0]


def link_greedily(points: Points, radius: float, min_fraction: float) -> np.ndarray:
    """Link sources as PCAT does (Portillo et al. 2017, AJ 154, 132, section 4).

    Sources of the first draws are linked within `radius`. The source with the most unused links
    becomes a seed, and the brightest unused source of every draw within `radius` of the seed
    becomes its member; then the next seed is chosen.

    Parameters
    ----------
    points : Points
        Sampled sources.
    radius : float
        Linking radius in pixels.
    min_fraction : float
        Seeds with members in a smaller fraction of the draws are skipped.

    Returns
    -------
    ndarray of int64, shape (n,)
        Object of each source, -1 for none.
    """
    label = np.full(len(points.sample), -1, dtype=np.int64)
    position = points.features[:, :2]
    tree = cKDTree(position)
    first = points.sample < max(1, points.num_samples * _MAX_POINTS // max(len(label), 1))
    sources = np.flatnonzero(first)
    links = cKDTree(position[sources])
    around = [np.asarray(near) for near in links.query_ball_point(position[sources], radius)]
    heap = [(-len(near), source) for source, near in enumerate(around)]
    heapq.heapify(heap)
    least = max(min_fraction * points.num_samples, 1.0)
    seed = 0
    while heap:
        _, centre = heapq.heappop(heap)
        current = (label[sources[around[centre]]] < 0).sum()
        if label[sources[centre]] >= 0:
            continue
        if heap and current < -heap[0][0]:
            heapq.heappush(heap, (-current, centre))
            continue
        near = np.asarray(tree.query_ball_point(position[sources[centre]], radius))
        near = near[label[near] < 0]
        near = near[np.argsort(-points.features[near, 2], kind="stable")]
        _, brightest = np.unique(points.sample[near], return_index=True)
        if len(brightest) >= least:
            label[near[brightest]] = seed
            seed += 1
    return label


def find_seeds(points: Points, scales: Scales, min_fraction: float) -> np.ndarray:
    """Choose density peaks one by one, each with its nearest source in every draw.

    The score of a source is the sum over draws of the Epanechnikov kernel at its nearest neighbour
    there. The source with the highest score is taken, its neighbours are used up, and so on. Scores
    only decrease, so a heap of outdated scores finds the highest one without updating all.

    Parameters
    ----------
    points : Points
        Sampled sources.
    scales : Scales
        Lengths of the problem.
    min_fraction : float
        Peaks with members in a smaller fraction of the draws are skipped.

    Returns
    -------
    ndarray of int64, shape (n,)
        Seed of each source, -1 for none.
    """
    label = np.full(len(points.sample), -1, dtype=np.int64)
    if not len(label):
        return label
    kernel = _kernel_matrix(points, scales)
    start, neighbour, weight = kernel.indptr, kernel.indices, kernel.data
    score = np.asarray(kernel.sum(axis=1)).ravel()
    least = max(min_fraction * points.num_samples, 1.0)
    heap = [(-value, source) for source, value in enumerate(score)]
    heapq.heapify(heap)
    seed = 0
    while heap and -heap[0][0] >= 0.5 * least:
        _, centre = heapq.heappop(heap)
        if label[centre] >= 0:
            continue
        near = slice(start[centre], start[centre + 1])
        free = label[neighbour[near]] < 0
        order = np.argsort(-weight[near][free], kind="stable")
        near, value = neighbour[near][free][order], weight[near][free][order]
        _, first = np.unique(points.sample[near], return_index=True)
        current = value[first].sum()
        if heap and current < -heap[0][0]:
            heapq.heappush(heap, (-current, centre))
        elif len(first) >= least:
            label[near[first]] = seed
            seed += 1
    return label


def _kernel_matrix(points: Points, scales: Scales) -> csr_array:
    """Epanechnikov kernel between sources of different draws; 1 on the diagonal.

    Different colours reduce it by at most half, since colours of faint sources are uncertain.
    """
    scaled = points.features[:, :3] / [scales.radius, scales.radius, 2.0 * scales.log_flux]
    colours = points.features[:, 3:] / (2.0 * scales.log_flux)
    pairs = cKDTree(scaled).query_pairs(1.0, output_type="ndarray")
    pairs = pairs[points.sample[pairs[:, 0]] != points.sample[pairs[:, 1]]]
    kernel = 1.0 - ((scaled[pairs[:, 0]] - scaled[pairs[:, 1]]) ** 2).sum(axis=1)
    if scales.num_colours:
        apart = ((colours[pairs[:, 0]] - colours[pairs[:, 1]]) ** 2).mean(axis=1)
        kernel *= 0.5 + 0.5 * np.exp(-0.5 * apart)
    size = len(scaled)
    upper = coo_array((kernel, (pairs[:, 0], pairs[:, 1])), shape=(size, size)).tocsr()
    return (upper + upper.T + eye_array(size, format="csr")).tocsr()
