"""R-hat, effective sample sizes and Monte Carlo errors of chains, computed by arviz."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

MIN_DRAWS = 4
"""Smallest number of draws per chain from which convergence can be judged."""


def import_arviz() -> ModuleType:
    """Import arviz without the notice that version 0.23 shows once a day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz


def rhat_of(values: np.ndarray) -> np.ndarray:
    """Compute the rank-normalised split R-hat (Vehtari et al. 2021, eq. 14).

    Parameters
    ----------
    values : ndarray, shape (n, chain, draw)
        Values of n quantities. The halves of a single chain are compared with each other.

    Returns
    -------
    ndarray, shape (n,)
        Infinite for a quantity that is constant within chains that differ.
    """
    return _apply("rhat", values)


def ess_of(values: np.ndarray, method: str = "bulk") -> np.ndarray:
    """Compute effective sample sizes (Vehtari et al. 2021, section 4).

    Parameters
    ----------
    values : ndarray, shape (n, chain, draw)
        Values of n quantities. The halves of a single chain are compared with each other.
    method : {"bulk", "mean"}
        Whether values are normalised by rank. With "mean", the variance of the mean of the values
        is their variance divided by the result.

    Returns
    -------
    ndarray, shape (n,)
    """
    return _apply("ess", values, method=method)


def _apply(function: str, values: np.ndarray, **options: str) -> np.ndarray:
    """Apply a function of arviz to every quantity."""
    if not len(values):
        return np.zeros(0)
    arviz = import_arviz()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # A quantity that is constant within chains gets an infinite R-hat, without a warning.
        warnings.simplefilter("ignore")
        found = getattr(arviz, function)(_dataset(values), **options)
    return np.asarray(found["values"], dtype=np.float64)


def _dataset(values: np.ndarray) -> xarray.Dataset:
    """Quantities as arviz takes them, with a single chain as two."""
    import xarray as xr

    if values.shape[1] == 1:
        half = values.shape[2] // 2
        values = np.concatenate([values[:, :, :half], values[:, :, -half:]], axis=1)
    dims = ("quantity", "chain", "draw")
    coords = {name: np.arange(size) for name, size in zip(dims, values.shape, strict=True)}
    return xr.Dataset({"values": (dims, values)}, coords=coords)
