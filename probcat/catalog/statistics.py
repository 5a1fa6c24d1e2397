"""Statistics of the members of objects: moments, quantiles, agreement of chains, precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from probcat.samples.chains import MIN_DRAWS, ess_of
from probcat.samples.samples import SHAPE_NAMES, Samples

QUANTILES = (0.16, 0.50, 0.84)
"""Quantiles that are listed for every property."""
SUFFIXES = ("q16", "q50", "q84")
"""Endings of the columns of these quantiles."""
_CHUNK = 2**22
"""Largest number of elements of an array (objects, chains, draws)."""


def moments(name: str, index: np.ndarray, values: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Compute mean, standard deviation and quantiles of every object.

    Parameters
    ----------
    name : str
        Name of the mean; the others end in `_err`, `_q16`, `_q50` and `_q84`.
    index : ndarray of int, shape (n,)
        Object of each value.
    values : ndarray, shape (n,)
        Values of a property.
    size : int
        Number of objects.

    Returns
    -------
    dict of str to ndarray, shape (size,)
        NaN for an object without values.
    """
    count = np.bincount(index, minlength=size)
    safe = np.maximum(count, 1)
    mean = np.bincount(index, values, minlength=size) / safe
    variance = np.bincount(index, (values - mean[index]) ** 2, minlength=size) / safe
    order = np.lexsort((values, index))
    ordered = np.append(values[order], np.nan)
    start = np.cumsum(count) - count
    found: dict[str, np.ndarray] = {name: mean, f"{name}_err": np.sqrt(variance)}
    for end, level in zip(SUFFIXES, QUANTILES, strict=True):
        rank = level * (safe - 1)
        low = np.floor(rank).astype(np.int64)
        high = np.minimum(low + 1, safe - 1)
        below, above = ordered[start + low], ordered[start + high]
        found[f"{name}_{end}"] = below + (rank - low) * (above - below)
    return {key: np.where(count > 0, column, np.nan) for key, column in found.items()}


def mean_of_members(
    samples: Samples, members: np.ndarray, names: Sequence[str], size: int
) -> dict[str, np.ndarray]:
    """Compute means over the members of every object.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    members : ndarray of int, shape (chain, draw, source)
        Object of which each source is a member, -1 for none.
    names : sequence of str
        Names of source properties.
    size : int
        Number of objects.

    Returns
    -------
    dict of str to ndarray of float64, shape (size,)
        Means by property; those of shape properties are over extended members, NaN if an object
        has none.
    """
    extended = np.asarray(samples.sources["is_extended"], dtype=bool)
    found = {}
    for name in names:
        use = (members >= 0) & (extended if name in SHAPE_NAMES else True)
        row, values = members[use], np.asarray(samples.sources[name], np.float64)[use]
        count = np.bincount(row, minlength=size)
        total = np.bincount(row, values, minlength=size)
        found[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found


def covariances(
    values: dict[str, np.ndarray], index: np.ndarray, size: int
) -> dict[str, np.ndarray]:
    """Compute the covariances of all pairs of quantities, of every object.

    Parameters
    ----------
    values : dict of str to ndarray, shape (n,)
        Values by quantity.
    index : ndarray of int, shape (n,)
        Object of each value.
    size : int
        Number of objects.

    Returns
    -------
    dict of str to ndarray, shape (size,)
        Covariances by `<one>_<other>_cov`, normalised by the number of members as the variances
        are; NaN for an object without members.
    """
    count = np.bincount(index, minlength=size)
    safe = np.maximum(count, 1)
    deviation = {
        name: column - (np.bincount(index, column, minlength=size) / safe)[index]
        for name, column in values.items()
    }
    found = {}
    for one, other in combinations(values, 2):
        product = np.bincount(index, deviation[one] * deviation[other], minlength=size)
        found[f"{one}_{other}_cov"] = np.where(count > 0, product / safe, np.nan)
    return found


def rhat_of_objects(
    index: np.ndarray,
    chain: np.ndarray,
    draw: np.ndarray,
    flux: np.ndarray,
    sizes: tuple[int, int, int],
) -> np.ndarray:
    """Compute the split R-hat of every object's light.

    The light is 0 in draws that do not contain the object. Every chain is split in halves (Gelman
    et al. 2013, Bayesian Data Analysis, eq. 11.4). An object whose light never changes within
    chains gets 1 if the chains agree, else infinity.

    Parameters
    ----------
    index, chain, draw : ndarray of int, shape (n,)
        Object, chain and draw of each member.
    flux : ndarray, shape (n,)
        Flux of each member.
    sizes : tuple of int
        Numbers of objects, chains and draws per chain.

    Returns
    -------
    ndarray, shape (objects,)
        NaN if there are fewer than four draws.
    """
    size, _, num_draws = sizes
    half = num_draws // 2
    if half < 2:
        return np.full(size, np.nan)
    found = np.empty(size)
    for rows, full, _ in _light_of_objects(index, chain, draw, flux, sizes):
        halves = np.stack([full[..., :half], full[..., -half:]], axis=2)
        halves = halves.reshape(len(full), -1, half)
        within = halves.var(axis=2, ddof=1).mean(axis=1)
        between = halves.mean(axis=2).var(axis=1, ddof=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.sqrt((half - 1) / half + between / within)
        found[rows] = np.where(within > 0, ratio, np.where(between > 0, np.inf, 1.0))
    return found


def precision_of_objects(
    index: np.ndarray,
    chain: np.ndarray,
    draw: np.ndarray,
    flux: np.ndarray,
    sizes: tuple[int, int, int],
) -> dict[str, np.ndarray]:
    """Compute how precisely the draws determine probability and flux of every object.

    Both follow from effective sample sizes of means (Vehtari et al. 2021, Bayesian Analysis 16,
    667, section 4), which are small if chains differ. The mean flux of the members is a ratio of
    two means, of flux and of existence; the variance of a ratio is that of the mean of
    exists (flux - mean flux), divided by the square of the probability.

    Parameters
    ----------
    index, chain, draw, flux, sizes
        As in `rhat_of_objects`.

    Returns
    -------
    dict of str to ndarray, shape (objects,)
        `prob_exist_mcse`, the Monte Carlo standard error of the probability of existence; and
        `ess_flux`, the squared ratio of the standard deviation of the flux to the Monte Carlo
        standard error of its mean. Both are NaN if there are fewer than four draws.
    """
    size, _, num_draws = sizes
    error, ess = np.full(size, np.nan), np.full(size, np.nan)
    if num_draws < MIN_DRAWS:
        return {"prob_exist_mcse": error, "ess_flux": ess}
    for rows, full, exists in _light_of_objects(index, chain, draw, flux, sizes):
        prob = exists.mean(axis=(1, 2), keepdims=True)
        mean = full.mean(axis=(1, 2), keepdims=True) / prob
        error[rows] = exists.std(axis=(1, 2)) / np.sqrt(ess_of(exists, "mean"))
        ess[rows] = prob[:, 0, 0] * ess_of(exists * (full - mean), "mean")
    return {"prob_exist_mcse": error, "ess_flux": ess}


def _light_of_objects(
    index: np.ndarray,
    chain: np.ndarray,
    draw: np.ndarray,
    flux: np.ndarray,
    sizes: tuple[int, int, int],
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield rows of objects with their light and existence, shape (rows, chains, draws)."""
    size, num_chains, num_draws = sizes
    order = np.argsort(index, kind="stable")
    start = np.searchsorted(index[order], np.arange(size + 1))
    step = max(1, _CHUNK // (num_chains * num_draws))
    for low in range(0, size, step):
        high = min(low + step, size)
        part = order[start[low] : start[high]]
        full = np.zeros((high - low, num_chains, num_draws))
        exists = np.zeros_like(full)
        full[index[part] - low, chain[part], draw[part]] = flux[part]
        exists[index[part] - low, chain[part], draw[part]] = 1.0
        yield slice(low, high), full, exists
