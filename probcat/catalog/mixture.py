"""Objects as components of a mixture, and the matching of sampled catalogs to them.

An object is a component in (x, y, log flux, colours) that a draw holds at most once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import gammaln

from probcat.numerics.auction import auction

# Student's t with few degrees of freedom: a draw in which a bright star sits many (tiny)
# standard deviations off is still that star, where a Gaussian would disown it.
_DEGREES = 4.0
_NUM_CANDIDATES = 8
# Members may be this many linking radii from their object, if its own scatter allows: a limit
# of one would cut off a third of the draws of the faintest.
_REACH = 2.0
_CHUNK = 200_000


@dataclass(frozen=True)
class Points:
    """All sampled sources.

    Parameters
    ----------
    features : ndarray of float64, shape (n, 3 + colours)
        x, y in pixels, natural logarithm of flux, and those of the ratios of the fluxes in
        further bands to it.
    sample : ndarray of int, shape (n,)
        Which draw a source is of, in rising order.
    is_extended : ndarray of bool, shape (n,)
    num_samples : int
    """

    features: np.ndarray
    sample: np.ndarray
    is_extended: np.ndarray
    num_samples: int

    def take(self, keep: np.ndarray) -> Points:
        """Keep some of the sources; the number of draws stays."""
        return replace(
            self,
            features=self.features[keep],
            sample=self.sample[keep],
            is_extended=self.is_extended[keep],
        )

    def thin(self, max_points: int) -> Points:
        """Keep evenly spaced draws, renumbered, so that at most about `max_points` are left."""
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
        Sources within it may be the same at first sight, pixels.
    log_flux : float
        Width in natural log flux within which sources are alike.
    floor : tuple of float
        Least standard deviation of an object in position (pixels) and log flux.
    num_colours : int
    """

    radius: float
    log_flux: float = 0.4
    floor: tuple[float, float] = (0.03, 0.03)
    num_colours: int = 0

    def covariance(
        self, position: float, log_flux: float, colour: float | None = None
    ) -> np.ndarray:
        """Diagonal covariance of the features; colours as log flux unless given."""
        colours = [log_flux if colour is None else colour] * self.num_colours
        return np.diag([position, position, log_flux, *colours]) ** 2


@dataclass(frozen=True)
class Objects:
    """Components of the mixture.

    Parameters
    ----------
    mean : ndarray, shape (k, d)
        Of the d features.
    covariance : ndarray, shape (k, d, d)
    share : ndarray, shape (k,)
        Share of the draws that hold the object.
    extended_share : ndarray, shape (k,)
        Share of its members that are extended, smoothed by one of each kind.
    """

    mean: np.ndarray
    covariance: np.ndarray
    share: np.ndarray
    extended_share: np.ndarray

    def __len__(self) -> int:
        return len(self.mean)


def fit_objects(points: Points, label: np.ndarray, scales: Scales) -> Objects:
    """Describe objects by their members.

    Scatter is shrunk towards a third of the linking scales with the weight of four members,
    and members far out count less, with the weights of Student's t.

    Parameters
    ----------
    points : Points
    label : ndarray of int, shape (n,)
        Object of each source, -1 for none; every object has a member.
    scales : Scales

    Returns
    -------
    Objects
    """
    member = label >= 0
    index, features = label[member], points.features[member]
    dim = features.shape[1]
    size = int(label.max(initial=-1)) + 1
    count = np.bincount(index, minlength=size).astype(np.float64)
    shrunk = 4.0
    prior = scales.covariance(scales.radius / 3.0, scales.log_flux / 2.0)
    floor = scales.covariance(*scales.floor)
    weight = np.ones(len(index))
    for _ in range(3):
        total = np.bincount(index, weight, minlength=size)
        mean = _sums(index, features * weight[:, None], size) / total[:, None]
        delta = features - mean[index]
        outer = (delta[:, :, None] * delta[:, None, :]).reshape(-1, dim**2) * weight[:, None]
        scatter = _sums(index, outer, size).reshape(-1, dim, dim)
        covariance = (scatter + shrunk * prior) / (count + shrunk)[:, None, None] + floor
        distance = _mahalanobis(delta, np.linalg.inv(covariance)[index])
        weight = (_DEGREES + dim) / (_DEGREES + distance)
    is_extended = np.bincount(index, points.is_extended[member], minlength=size)
    return Objects(
        mean, covariance, count / points.num_samples, (is_extended + 1.0) / (count + 2.0)
    )


def _sums(index: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Sum rows of `values` by object."""
    return np.stack([np.bincount(index, column, minlength=size) for column in values.T], axis=1)


def _mahalanobis(delta: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distance over the last axis."""
    return np.einsum("...i,...ij,...j->...", delta, precision, delta, optimize=True)


def match_draws(
    points: Points, objects: Objects, scales: Scales, clutter: np.ndarray
) -> np.ndarray:
    r"""Match the sources of every draw to objects, one to one.

    Linking source i to object k gains the log likelihood ratio

        log t(f_i; m_k, S_k) + log P(type_i | k) + log[p_k / (1 - p_k)] - log c

    where t is Student's density, p_k the share of draws that hold the object and c the density
    of sources that belong to none. Sources beyond twice the linking radius gain minus infinity.

    Parameters
    ----------
    points : Points
    objects : Objects
    scales : Scales
    clutter : ndarray, shape (n,)
        c: density of sources of no object about each source, per draw, square pixel and unit of
        log flux and of colours.

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
    share, dim = np.clip(objects.share, 0.02, 0.98), points.features.shape[1]
    constant = (
        np.log(share / (1.0 - share))
        - 0.5 * np.linalg.slogdet(objects.covariance)[1]
        + gammaln(0.5 * (_DEGREES + dim))
        - gammaln(0.5 * _DEGREES)
        - 0.5 * dim * np.log(_DEGREES * np.pi)
    )
    by_type = np.log(np.stack([1.0 - objects.extended_share, objects.extended_share]))
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
    """Cut sources into ranges of about `_CHUNK` that do not cut a draw."""
    cuts = np.searchsorted(sample, sample[::_CHUNK])
    cuts = np.unique(np.append(cuts, len(sample)))
    return list(pairwise(cuts))
