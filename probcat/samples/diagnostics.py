"""Convergence of chains, judged by quantities that do not depend on the order of sources."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from probcat.samples.samples import Samples

_FLUX_QUANTILES = (0.25, 0.5, 0.75)
"""Quantiles of all sampled fluxes above which sources are counted."""
_MIN_DRAWS = 4
"""Smallest number of draws per chain from which convergence can be judged."""


@dataclass(frozen=True)
class Diagnostics:
    """Agreement of the chains, by quantity.

    Parameters
    ----------
    names : tuple of str
        Quantities that vary between draws.
    mean, std : ndarray, shape (n,)
        Mean and standard deviation over all draws.
    rhat : ndarray, shape (n,)
        Rank-normalised split R-hat (Vehtari et al. 2021, Bayesian Analysis 16, 667, eq. 14).
    ess : ndarray, shape (n,)
        Bulk effective sample size (ibid., section 4.1).
    drift : ndarray, shape (n,)
        Mean of the second half of the draws minus that of the first, in standard deviations.
    reasons : tuple of str
        Arguments against convergence, one line each; empty if there are none.
    full_arrays : bool
        Whether an array of the sampler was full after warm-up, so that it had to be enlarged.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    rhat: np.ndarray
    ess: np.ndarray
    drift: np.ndarray
    reasons: tuple[str, ...]
    full_arrays: bool = False

    @property
    def converged(self) -> bool:
        """Whether there is no argument against convergence."""
        return not self.reasons

    @property
    def worst_rhat(self) -> tuple[str, float]:
        """The quantity with the largest R-hat, and its value; ("none", nan) if there is none."""
        return self._extreme(self.rhat)

    @property
    def least_ess(self) -> tuple[str, float]:
        """The quantity with the smallest effective sample size, and its value."""
        return self._extreme(self.ess, -1.0)

    def _extreme(self, values: np.ndarray, sign: float = 1.0) -> tuple[str, float]:
        if not np.isfinite(values).any():
            return "none", float("nan")
        index = int(np.nanargmax(sign * values))
        return self.names[index], float(values[index])

    def __str__(self) -> str:
        width = max([len(name) for name in self.names], default=8)
        lines = [f"{'':{width}}        mean         std   R-hat     ESS  drift"]
        columns = zip(self.names, self.mean, self.std, self.rhat, self.ess, self.drift, strict=True)
        for name, mean, std, rhat, ess, drift in columns:
            row = f"{mean:12.6g}{std:12.4g}{rhat:8.3f}{ess:8.0f}{drift:7.2f}"
            lines.append(f"{name:{width}}{row}")
        return "\n".join([*lines, *self.reasons])


def import_arviz() -> ModuleType:
    """Import arviz without the notice that version 0.23 shows once a day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz


def label_free(samples: Samples) -> dict[str, np.ndarray]:
    """Compute quantities of the catalogs that do not depend on the order of sources.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.

    Returns
    -------
    dict of str to float64 ndarray, shape (chain, draw)
        The scalars of the samples; `num_sources` and `total_flux`; `num_extended` if there are
        extended sources; and `num_above_<p>`, the number of sources brighter than the p % quantile
        of all sampled fluxes.
    """
    active = np.asarray(samples.sources["active"], dtype=bool)
    flux = np.where(active, samples.sources["flux"], 0.0).astype(np.float64)
    found = {name: np.asarray(values, np.float64) for name, values in samples.scalars.items()}
    found["num_sources"] = active.sum(axis=-1).astype(np.float64)
    found["total_flux"] = flux.sum(axis=-1)
    extended = np.asarray(samples.sources["is_extended"], dtype=bool) & active
    if extended.any():
        found["num_extended"] = extended.sum(axis=-1).astype(np.float64)
    if active.any():
        for level in _FLUX_QUANTILES:
            above = flux > np.quantile(flux[active], level)
            found[f"num_above_{100 * level:.0f}"] = above.sum(axis=-1).astype(np.float64)
    return found


def diagnose(
    samples: Samples, *, max_rhat: float = 1.05, min_ess: float = 100.0, max_drift: float = 0.5
) -> Diagnostics:
    """Judge the convergence of the chains.

    The two halves of a single chain are compared with each other. Quantities that never change,
    such as a fixed background, are left out.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    max_rhat, min_ess, max_drift : float
        Largest R-hat, smallest effective sample size and largest drift (in standard deviations)
        that are no argument against convergence.

    Returns
    -------
    Diagnostics
    """
    full = _full_arrays(samples.attrs)
    moving = {name: v for name, v in label_free(samples).items() if np.ptp(v) > 0}
    if not moving or samples.num_draws < _MIN_DRAWS:
        empty = np.zeros(0)
        reason = "too few draws to judge" if moving else "nothing varies between draws"
        return Diagnostics((), empty, empty, empty, empty, empty, (reason,), full)
    values = np.stack(list(moving.values()))
    rhat, ess = _convergence(moving)
    std = values.std(axis=(1, 2))
    half = samples.num_draws // 2
    change = values[:, :, -half:].mean(axis=(1, 2)) - values[:, :, :half].mean(axis=(1, 2))
    drift = change / std
    reasons = []
    for name, one_rhat, one_ess, one_drift in zip(moving, rhat, ess, drift, strict=True):
        against = []
        if not one_rhat <= max_rhat:
            against.append(f"R-hat {one_rhat:.3f} > {max_rhat:g}")
        if not one_ess >= min_ess:
            against.append(f"ESS {one_ess:.0f} < {min_ess:g}")
        if not abs(one_drift) <= max_drift:
            against.append(f"drift {one_drift:+.2f} sd")
        if against:
            reasons.append(f"{name}: {', '.join(against)}")
    mean = values.mean(axis=(1, 2))
    return Diagnostics(tuple(moving), mean, std, rhat, ess, drift, tuple(reasons), full)


def _full_arrays(attrs: Mapping[str, Any]) -> bool:
    """Whether an array was enlarged after warm-up, by the numbers that the sampler recorded."""
    warmup = int(attrs.get("num_warmup", 0))
    return any(int(each["draw"]) >= warmup for each in attrs.get("grown", []))


def _convergence(moving: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Compute R-hat and bulk ESS of arrays of shape (chain, draw)."""
    import xarray as xr

    arviz = import_arviz()
    variables = {}
    for name, values in moving.items():
        if values.shape[0] == 1:
            half = values.shape[1] // 2
            values = np.stack([values[0, :half], values[0, -half:]])
        variables[name] = (("chain", "draw"), values)
    shape = next(iter(variables.values()))[1].shape
    coords = {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}
    dataset = xr.Dataset(variables, coords=coords)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # A quantity that is constant within chains gets an infinite R-hat, without a warning.
        warnings.simplefilter("ignore")
        rhat, ess = arviz.rhat(dataset), arviz.ess(dataset)
    return tuple(  # type: ignore[return-value]
        np.array([float(result[name]) for name in moving]) for result in (rhat, ess)
    )
