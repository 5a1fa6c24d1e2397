"""Describe objects by their members: moments, quantiles, agreement of the chains."""

from __future__ import annotations

from itertools import combinations

import numpy as np

QUANTILES = (0.16, 0.50, 0.84)
SUFFIXES = ("q16", "q50", "q84")
# Objects and draws are laid out in full at most this many numbers at a time.
_CHUNK = 2**22


def describe(name: str, index: np.ndarray, values: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Give mean, standard deviation and quantiles by object; NaN where it has no value.

    Parameters
    ----------
    name : str
        The mean's; the others end in `_err`, `_q16`, `_q50` and `_q84`.
    index : ndarray of int, shape (n,)
        Object of each value.
    values : ndarray, shape (n,)
    size : int
        Number of objects.

    Returns
    -------
    dict of str to ndarray, shape (size,)
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
        place = level * (safe - 1)
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, safe - 1)
        below, above = ordered[start + low], ordered[start + high]
        found[f"{name}_{end}"] = below + (place - low) * (above - below)
    return {key: np.where(count > 0, column, np.nan) for key, column in found.items()}


def covariances(
    values: dict[str, np.ndarray], index: np.ndarray, size: int
) -> dict[str, np.ndarray]:
    """Give the covariance of every two quantities by object, as `<one>_<other>_cov`.

    Parameters
    ----------
    values : dict of str to ndarray, shape (n,)
    index : ndarray of int, shape (n,)
        Object of each value.
    size : int
        Number of objects.

    Returns
    -------
    dict of str to ndarray, shape (size,)
        Divided by the number of members, as the variances are; NaN without any.
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


def chain_disagreement(
    index: np.ndarray, chain: np.ndarray, draw: np.ndarray, light: np.ndarray, sizes: tuple
) -> np.ndarray:
    """Give the split R-hat of the light of every object, which is 0 where a draw lacks it.

    Every chain is cut in halves (Gelman et al. 2013, Bayesian Data Analysis, eq. 11.4). An
    object whose light never changes within chains gets 1 if they agree, else infinity.

    Parameters
    ----------
    index, chain, draw : ndarray of int, shape (n,)
        Object of each member, and where it was drawn.
    light : ndarray, shape (n,)
    sizes : tuple of int
        Numbers of objects, chains and draws a chain.

    Returns
    -------
    ndarray, shape (objects,)
        NaN if there are fewer than four draws.
    """
    size, num_chains, num_draws = sizes
    half = num_draws // 2
    if half < 2:
        return np.full(size, np.nan)
    found = np.empty(size)
    order = np.argsort(index, kind="stable")
    start = np.searchsorted(index[order], np.arange(size + 1))
    step = max(1, _CHUNK // (num_chains * num_draws))
    for low in range(0, size, step):
        high = min(low + step, size)
        part = order[start[low] : start[high]]
        full = np.zeros((high - low, num_chains, num_draws))
        full[index[part] - low, chain[part], draw[part]] = light[part]
        halves = np.stack([full[..., :half], full[..., -half:]], axis=2)
        halves = halves.reshape(high - low, 2 * num_chains, half)
        within = halves.var(axis=2, ddof=1).mean(axis=1)
        between = halves.mean(axis=2).var(axis=1, ddof=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.sqrt((half - 1) / half + between / within)
        found[low:high] = np.where(within > 0, ratio, np.where(between > 0, np.inf, 1.0))
    return found
