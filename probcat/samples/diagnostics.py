"""Convergence of chains, judged by quantities that do not depend on the order of sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from probcat.samples.block_light import MAX_BLOCKS, block_light
from probcat.samples.chains import MIN_DRAWS, ess_of, rhat_of
from probcat.samples.samples import Samples

_CUTS = (3, 10, 30)
"""Multiples of the prior's lowest flux above which sources are counted."""
_CUT_WIDTH = 0.2
"""Width of a cut in the natural logarithm of the flux."""
_MIN_REACH = 0.05
"""Smallest fraction of draws with a source above a cut for which its count is judged."""
_MIN_COUNT_SCATTER = 0.05
"""Standard deviation below which a count of sources above a cut is constant."""
_LIGHT = "light_at_"
"""Start of the name of the light of a block, which ends in the position of the block."""


@dataclass(frozen=True)
class Diagnostics:
    """Agreement of the chains, by quantity.

    Parameters
    ----------
    names : tuple of str
        Quantities that vary between draws. The last one may be ``light_at_<x>_<y>``, the light of
        the block of pixels whose R-hat is the 99 % quantile of those of all blocks.
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
    limits : ndarray, shape (n,)
        Largest R-hat of each quantity that is no argument against convergence.
    worst_block : tuple of float, optional
        Position x, y of the block whose light has the largest R-hat, and that R-hat.
    light : mapping of str to ndarray, shape (chain, draw)
        The light of the block that is among the names, for a plot.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    rhat: np.ndarray
    ess: np.ndarray
    drift: np.ndarray
    reasons: tuple[str, ...]
    full_arrays: bool = False
    limits: np.ndarray = field(default_factory=lambda: np.zeros(0))
    worst_block: tuple[float, float, float] | None = None
    light: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def converged(self) -> bool:
        """Whether there is no argument against convergence."""
        return not self.reasons

    @property
    def worst_rhat(self) -> tuple[str, float]:
        """The quantity whose R-hat is the largest relative to its limit, and its value.

        The value is NaN, and the name "none", if there is no quantity.
        """
        with np.errstate(invalid="ignore"):
            index = _largest((self.rhat - 1.0) / (self.limits - 1.0))
        return self._entry(index, self.rhat)

    @property
    def least_ess(self) -> tuple[str, float]:
        """The quantity with the smallest effective sample size, and its value.

        The light of blocks is not judged by it.
        """
        in_block = np.array([name.startswith(_LIGHT) for name in self.names], dtype=bool)
        index = _largest(np.where(in_block, np.nan, -self.ess))
        return self._entry(index, self.ess)

    def _entry(self, index: int | None, values: np.ndarray) -> tuple[str, float]:
        """Name and value of a quantity."""
        return (
            ("none", float("nan")) if index is None else (self.names[index], float(values[index]))
        )

    def __str__(self) -> str:
        width = max([len(name) for name in self.names], default=8)
        lines = [f"{'':{width}}        mean         std   R-hat     ESS  drift"]
        columns = zip(self.names, self.mean, self.std, self.rhat, self.ess, self.drift, strict=True)
        for name, mean, std, rhat, ess, drift in columns:
            row = f"{mean:12.6g}{std:12.4g}{rhat:8.3f}{ess:8.0f}{drift:7.2f}"
            lines.append(f"{name:{width}}{row}")
        return "\n".join([*lines, *self.reasons])


def _largest(values: np.ndarray) -> int | None:
    """Index of the largest value; None if all are NaN."""
    return None if np.isnan(values).all() else int(np.nanargmax(values))


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
        extended sources; and `num_above_<m>_flux_min`, the number of sources brighter than m times
        the lowest flux of the prior, if the attributes have it. In this number a source of flux f
        counts as Phi(ln(f / cut) / 0.2), with the normal distribution function Phi, so that a flux
        that scatters about the cut does not make the number jump.
    """
    active = np.asarray(samples.sources["active"], dtype=bool)
    flux = np.where(active, samples.sources["flux"], 0.0).astype(np.float64)
    found = {name: np.asarray(values, np.float64) for name, values in samples.scalars.items()}
    found["num_sources"] = active.sum(axis=-1).astype(np.float64)
    found["total_flux"] = flux.sum(axis=-1)
    extended = np.asarray(samples.sources["is_extended"], dtype=bool) & active
    if extended.any():
        found["num_extended"] = extended.sum(axis=-1).astype(np.float64)
    return found | _counts_above(flux, samples.attrs)


def _counts_above(flux: np.ndarray, attrs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Soft numbers of sources above fixed cuts that some draws reach; 0 is the flux of no source.

    A count that is the same in nearly all draws would be judged by its rarest changes.
    """
    flux_min = (attrs.get("prior") or {}).get("flux_min")
    found: dict[str, np.ndarray] = {}
    if flux_min is None:
        return {}
    for multiple in _CUTS:
        cut = multiple * float(flux_min)
        if np.mean((flux > cut).any(axis=-1)) < _MIN_REACH:
            continue
        with np.errstate(divide="ignore"):
            count = ndtr(np.log(flux / cut) / _CUT_WIDTH).sum(axis=-1)
        if count.std() >= _MIN_COUNT_SCATTER:
            found[f"num_above_{multiple}_flux_min"] = count
    return found


def diagnose(
    samples: Samples,
    *,
    max_rhat: float = 1.05,
    min_ess: float = 100.0,
    max_drift: float = 0.5,
    max_rhat_of_light: float = 1.1,
    max_blocks: int = MAX_BLOCKS,
) -> Diagnostics:
    """Judge the convergence of the chains.

    The two halves of a single chain are compared with each other. Quantities that never change,
    such as a fixed background, are left out. The light is compared in blocks of about one FWHM of
    the PSF (`probcat.samples.block_light`). The largest R-hat of hundreds of blocks is large by
    chance, so that only their 99 % quantile is judged, which of fewer than 100 blocks is the
    largest. If four chains are worth 100 independent draws, a quantity exceeds the default limit
    with a probability of 1 % (8 half chains: R-hat^2 - 1 is 0.08 chi^2 / 7 of 7 degrees of
    freedom).

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    max_rhat, min_ess, max_drift : float
        Largest R-hat, smallest effective sample size and largest drift (in standard deviations)
        of a quantity of the whole catalog that are no argument against convergence.
    max_rhat_of_light : float
        Largest 99 % quantile of the R-hat of blocks that is no argument against convergence.
    max_blocks : int
        Largest number of blocks in which the light is compared.

    Returns
    -------
    Diagnostics
    """
    full = _full_arrays(samples.attrs)
    moving = {name: v for name, v in label_free(samples).items() if np.ptp(v) > 0}
    if not moving or samples.num_draws < MIN_DRAWS:
        empty = np.zeros(0)
        reason = "too few draws to judge" if moving else "nothing varies between draws"
        return Diagnostics((), empty, empty, empty, empty, empty, (reason,), full, empty)
    values = np.stack(list(moving.values()))
    rhat, limits = rhat_of(values), np.full(len(values), max_rhat)
    blocks = _judge_blocks(samples, max_blocks)
    names = tuple(moving)
    if blocks is not None:
        names = (*names, blocks.name)
        values = np.concatenate([values, blocks.light[None]])
        rhat, limits = np.append(rhat, blocks.rhat), np.append(limits, max_rhat_of_light)
    ess, drift = ess_of(values), _drift(values)
    reasons = []
    for row, name in enumerate(moving):
        against = []
        if not rhat[row] <= max_rhat:
            against.append(f"R-hat {rhat[row]:.3f} > {max_rhat:g}")
        if not ess[row] >= min_ess:
            against.append(f"ESS {ess[row]:.0f} < {min_ess:g}")
        if not abs(drift[row]) <= max_drift:
            against.append(f"drift {drift[row]:+.2f} sd")
        if against:
            reasons.append(f"{name}: {', '.join(against)}")
    if blocks is not None and not blocks.rhat <= max_rhat_of_light:
        reasons.append(f"{blocks.name}: R-hat {blocks.rhat:.3f} > {max_rhat_of_light:g}, {blocks}")
    return Diagnostics(
        names,
        values.mean(axis=(1, 2)),
        values.std(axis=(1, 2)),
        *(rhat, ess, drift, tuple(reasons), full, limits),
        worst_block=None if blocks is None else blocks.worst,
        light={} if blocks is None else {blocks.name: blocks.light},
    )


class _JudgedBlock(NamedTuple):
    """The block at the 99 % quantile of R-hat, and the worst one: x, y and R-hat."""

    name: str
    rhat: float
    light: np.ndarray
    num_blocks: int
    worst: tuple[float, float, float]

    def __str__(self) -> str:
        x, y, rhat = self.worst
        return (
            f"99 % quantile of the light in {self.num_blocks} blocks; "
            f"worst {rhat:.3f} at ({x:.1f}, {y:.1f})"
        )


def _judge_blocks(samples: Samples, max_blocks: int) -> _JudgedBlock | None:
    """Compare the light in blocks; None if there is none that varies."""
    blocks = block_light(samples, max_blocks)
    if blocks is None:
        return None
    moving = np.flatnonzero(np.ptp(blocks.light, axis=(1, 2)) > 0)
    if not len(moving):
        return None
    rhat = rhat_of(blocks.light[moving])
    order = np.argsort(-np.nan_to_num(rhat, nan=np.inf, posinf=np.inf), kind="stable")
    chosen, worst = order[len(order) // 100], order[0]
    x, y = blocks.x[moving], blocks.y[moving]
    return _JudgedBlock(
        f"{_LIGHT}{x[chosen]:.0f}_{y[chosen]:.0f}",
        float(rhat[chosen]),
        blocks.light[moving[chosen]],
        len(moving),
        (float(x[worst]), float(y[worst]), float(rhat[worst])),
    )


def _drift(values: np.ndarray) -> np.ndarray:
    """Mean of the second half of the draws minus that of the first, in standard deviations."""
    half = values.shape[2] // 2
    change = values[:, :, -half:].mean(axis=(1, 2)) - values[:, :, :half].mean(axis=(1, 2))
    drift: np.ndarray = change / values.std(axis=(1, 2))
    return drift


def _full_arrays(attrs: Mapping[str, Any]) -> bool:
    """Whether an array was enlarged after warm-up, by the numbers that the sampler recorded."""
    warmup = int(attrs.get("num_warmup", 0))
    return any(int(each["draw"]) >= warmup for each in attrs.get("grown", []))
