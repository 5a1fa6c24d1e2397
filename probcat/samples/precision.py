"""Objects whose probability or flux the draws do not determine precisely enough."""

from __future__ import annotations

from typing import Protocol

import numpy as np

MAX_PROB_MCSE = 0.05
"""Largest Monte Carlo standard error of a probability of existence that is precise."""
MIN_ESS_FLUX = 25.0
"""Smallest effective sample size of a flux that is precise.

The Monte Carlo standard error of its mean is then 0.2 of its posterior standard deviation.
"""
MIN_PROB = 0.5
"""Probability of existence above which the flux of an object must be precise."""


class Columns(Protocol):
    """A catalog whose columns are taken by name, such as `probcat.CondensedCatalog`."""

    def __getitem__(self, name: str, /) -> np.ndarray: ...


def is_imprecise(catalog: Columns) -> np.ndarray:
    """Compare the Monte Carlo errors of objects with their tolerances.

    Parameters
    ----------
    catalog : CondensedCatalog or astropy.table.Table
        Objects with the columns `prob_exist`, `prob_exist_mcse` and `ess_flux`. A catalog without
        the last two, of an earlier version, has no imprecise objects.

    Returns
    -------
    ndarray of bool, shape (objects,)
        Whether `prob_exist_mcse` is above `MAX_PROB_MCSE`, or `ess_flux` is below `MIN_ESS_FLUX`
        for an object that probably exists; false where the errors are NaN.
    """
    prob = np.asarray(catalog["prob_exist"], dtype=np.float64)
    try:
        error = np.asarray(catalog["prob_exist_mcse"], dtype=np.float64)
        ess = np.asarray(catalog["ess_flux"], dtype=np.float64)
    except KeyError:
        return np.zeros(len(prob), dtype=bool)
    vague: np.ndarray = (error > MAX_PROB_MCSE) | ((prob > MIN_PROB) & (ess < MIN_ESS_FLUX))
    return vague


def describe_imprecise(catalog: Columns) -> tuple[str, ...]:
    """Name the imprecise objects, the brightest first, and what is imprecise.

    Parameters
    ----------
    catalog : CondensedCatalog or astropy.table.Table
        As in `is_imprecise`; positions in pixels are used as well.

    Returns
    -------
    tuple of str
        Such as ``object 7 (12.3, 40.1): probability 0.55 +- 0.12``.
    """
    lines = []
    for row in np.flatnonzero(is_imprecise(catalog)):
        error, ess = float(catalog["prob_exist_mcse"][row]), float(catalog["ess_flux"][row])
        parts = []
        if error > MAX_PROB_MCSE:
            parts.append(f"probability {float(catalog['prob_exist'][row]):.2f} +- {error:.2f}")
        if catalog["prob_exist"][row] > MIN_PROB and ess < MIN_ESS_FLUX:
            parts.append(f"flux from {ess:.0f} effective draws")
        x, y = float(catalog["x"][row]), float(catalog["y"][row])
        name = f"object {int(catalog['object_id'][row])} ({x:.1f}, {y:.1f})"
        lines.append(f"{name}: {', '.join(parts)}")
    return tuple(lines)
