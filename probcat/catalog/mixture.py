"""Objects as components of a mixture, and the matching of sampled catalogs to them.

An object is a component in (x, y, log flux, colours) of which a draw contains at most one source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import gammaln

from probcat.numerics.auction import auction

_DEGREES = 4.0
"""Degrees of freedom of Student's t.

With few of them, a bright star remains the same object in a draw in which it is many of its tiny
standard deviations away; with a Gaussian it would not.
"""
_NUM_CANDIDATES = 8
"""Number of nearest objects that a source can be matched to."""
_REACH = 2.0
"""Largest distance of a member from its object in linking radii.

With a distance of one, a third of the draws of the faintest objects would be lost.
"""
_SHRINKAGE = 4.0
"""Number of members that the prior scatter of an object counts for."""
_CHUNK = 200_000
"""Approximate number of sources to match at a time."""


@dataclass(frozen=True)
class Points:
    """All sampled sources.

    Parameters
    ----------
    features : ndarray of float64, shape (n, 3 + colours)
        x and y in pixels, natural logarithm of the flux, and colours: natural logarithms of the
        ratios of the fluxes in further bands to the first.
    sample : ndarray of int, shape (n,)
        Draw of each source, in increasing order.
    is_extended : ndarray of bool, shape (n,)
        Whether a source is extended.
    num_samples : int
        Number of draws.
    """

    features: np.ndarray
    sample: np.ndarray
    is_extended: np.ndarray
    num_samples: int

    def take(self, keep: np.ndarray) -> Points:
        """Return some of the sources, of the same number of draws."""
        return replace(
            self,
            features=self.features[keep],
            sample=self.sample[keep],
            is_extended=self.is_extended[keep],
        )

    def thin(self, max_points: int) -> Points:
        """Return evenly spaced draws, renumbered, with at most about `max_points` sources."""
        stride = max(1, -(-len(self.sample) // max_points))
        points = self.take(self.sample % stride == 0)
        num_samples = -(-self.num_samples // stride)
        return replace(points, sample=points.sample // stride, num_samples=num_samples)


@dataclass(frozen=True)
class Scales:
    """Lengths of the linking problem.

    Parameters
    ----------
    radius : float
        Initial linking radius in pixels: sources of different draws closer than this are candidates
        for one object.
    log_flux : float
        Difference in natural log flux of sources that are candidates for one object.
    floor : tuple of float
        Smallest standard deviation of an object in position (pixels) and log flux.
    num_colours : int
        Number of colours.
    """

    radius: float
    log_flux: float = 0.4
    floor: tuple[float, float] = (0.03, 0.03)
    num_colours: int = 0

    def covariance(
        self, position: float, log_flux: float, colour: float | None = None
    ) -> np.ndarray:
        """Return a diagonal covariance of the features from standard deviations.

        Parameters
        ----------
        position : float
            Standard deviation in x and y.
        log_flux : float
            Standard deviation in log flux.
        colour : float, optional
            Standard deviation in colours; by default `log_flux`.

        Returns
        -------
        ndarray, shape (d, d)
        """
        colours = [log_flux if colour is None else colour] * self.num_colours
        return np.diag([position, position, log_flux, *colours]) ** 2


@dataclass(frozen=True)
class Objects:
    """Components of the mixture.

    Parameters
    ----------
    mean : ndarray, shape (k, d)
        Means of the d features.
    covariance : ndarray, shape (k, d, d)
        Covariances of the features.
    fraction : ndarray, shape (k,)
        Fraction of the draws that contain the object.
    extended_fraction : ndarray, shape (k,)
        Fraction of its members that are extended, with one more of each type counted.
    """

    mean: np.ndarray
    covariance: np.ndarray
    fraction: np.ndarray
    extended_fraction: np.ndarray

    def __len__(self) -> int:
        return len(self.mean)


def fit_objects(points: Points, label: np.ndarray, scales: Scales) -> Objects:
    """Fit means and covariances of objects to their members.

    Covariances are shrunk towards a prior with the weight of four members: a third of the linking
    radius and half of the width in log flux. Outlying members have the smaller weights of
    Student's t.

    Parameters
    ----------
    points : Points
        Sampled sources.
    label : ndarray of int, shape (n,)
        Object of each source, -1 for none; every object has a member.
    scales : Scales
        Lengths of the problem.

    Returns
    -------
    Objects
    """
    member = label >= 0
    index, features = label[member], points.features[member]
    dim = features.shape[1]
    size = int(label.max(initial=-1)) + 1
    count = np.bincount(index, minlength=size).astype(np.float64)
    prior = scales.covariance(scales.radius / 3.0, scales.log_flux / 2.0)
    floor = scales.covariance(*scales.floor)
    weight = np.ones(len(index))
    for _ in range(3):
        total = np.bincount(index, weight, minlength=size)
        mean = _sums(index, features * weight[:, None], size) / total[:, None]
        delta = features - mean[index]
        outer = (delta[:, :, None] * delta[:, None, :]).reshape(-1, dim**2) * weight[:, None]
        scatter = _sums(index, outer, size).reshape(-1, dim, dim)
        covariance = (scatter + _SHRINKAGE * prior) / (count + _SHRINKAGE)[:, None, None] + floor
        distance = _mahalanobis(delta, np.linalg.inv(covariance)[index])
        weight = (_DEGREES + dim) / (_DEGREES + distance)
    is_extended = np.bincount(index, points.is_extended[member], minlength=size)
    return Objects(
        mean, covariance, count / points.num_samples, (is_extended + 1.0) / (count + 2.0)
    )


def _sums(index: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Sums over the rows of each object."""
    return np.stack([np.bincount(index, column, minlength=size) for column in values.T], axis=1)


def _mahalanobis(delta: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distance over the last axis."""
    return np.einsum("...i,...ij,...j->...", delta, precision, delta, optimize=True)


def match_draws(
    points: Points, objects: Objects, scales: Scales, clutter: np.ndarray
) -> np.ndarray:
    r"""Match the sources of every draw to objects, one to one.

    Linking source i to object k changes the log likelihood by

        log t(f_i; m_k, S_k) + log P(type_i | k) + log[p_k / (1 - p_k)] - log c

    where t is Student's density with mean m_k and scale matrix S_k, p_k the fraction of draws that
    contain the object, and c the density of sources that belong to no object. Sources beyond twice
    the linking radius are not linked.

    Parameters
    ----------
    points : Points
        Sampled sources.
    objects : Objects
        Components of the mixture.
    scales : Scales
        Lengths of the problem.
    clutter : ndarray, shape (n,)
        c about each source, per draw, square pixel, and unit of log flux and of colours.

    Returns
    -------
    ndarray of int64, shape (n,)
        Object of each source, -1 for none.
    """
    label = np.full(len(points.sample), -1, dtype=np.int64)
    if not len(objects):
        return label
    tree = cKDTree(objects.mean[:, :2])
    precision = np.linalg.inv(objects.covariance)
    fraction, dim = np.clip(objects.fraction, 0.02, 0.98), points.features.shape[1]
    constant = (
        np.log(fraction / (1.0 - fraction))
        - 0.5 * np.linalg.slogdet(objects.covariance)[1]
        + gammaln(0.5 * (_DEGREES + dim))
        - gammaln(0.5 * _DEGREES)
        - 0.5 * dim * np.log(_DEGREES * np.pi)
    )
    by_type = np.log(np.stack([1.0 - objects.extended_fraction, objects.extended_fraction]))
    for low, high in _chunks(points.sample):
        features = points.features[low:high]
        _, index = tree.query(
            features[:, :2],
            k=np.arange(1, 1 + min(_NUM_CANDIDATES, len(objects))),
            distance_upper_bound=_REACH * scales.radius,
        )
        row, candidate = np.nonzero(index < len(objects))
        column = index[row, candidate]
        distance = _mahalanobis(features[row] - objects.mean[column], precision[column])
        benefits = np.full(index.shape, -np.inf)
        benefits[row, candidate] = (
            constant[column]
            - np.log(clutter[low:high])[row]
            + by_type[points.is_extended[low:high][row].astype(np.int64), column]
            - 0.5 * (_DEGREES + dim) * np.log1p(distance / _DEGREES)
        )
        useful = benefits > 0
        sample = points.sample[low:high] - points.sample[low]
        columns = np.where(useful, sample[:, None] * len(objects) + index, -1)
        matched = auction(columns, benefits, (int(sample[-1]) + 1) * len(objects))
        label[low:high] = np.where(matched >= 0, matched % len(objects), -1)
    return label


def _chunks(sample: np.ndarray) -> list[tuple[int, int]]:
    """Split sources into ranges of about `_CHUNK` that contain complete draws."""
    cuts = np.searchsorted(sample, sample[::_CHUNK])
    cuts = np.unique(np.append(cuts, len(sample)))
    return list(pairwise(cuts))
