"""The closing table of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.samples.diagnostics import Diagnostics, diagnose
from probcat.samples.precision import Columns, describe_imprecise

if TYPE_CHECKING:
    from probcat.samples.samples import Samples

INTERVAL = (0.05, 0.95)
"""Quantiles between which the number of sources is quoted."""


@dataclass(frozen=True)
class Summary:
    """Number of objects that a run found, and how well its chains agree.

    Parameters
    ----------
    num_objects : int or None
        Number of objects that exist with a probability above one half; None without a catalog.
    num_sources : tuple of float
        Median number of sources N, and the ends of its central 90 % interval.
    chi2_per_pixel : float
        Posterior mean of chi2 per pixel with weight; NaN if it was not recorded.
    rhat, ess : tuple of (str, float)
        Name and value of the quantity with the largest R-hat relative to its limit, and of the one
        with the smallest bulk effective sample size (`probcat.samples.diagnostics.diagnose`).
    acceptance : dict of str to float
        Fraction of proposals that were accepted, by move.
    num_chains, num_draws : int
        Number of chains, and of draws per chain.
    seconds : float
        Duration of the run; NaN if it was not recorded.
    expected_objects : float or None
        Sum of the probabilities that objects exist; None without a catalog.
    convergence_of_n : tuple of float
        R-hat and bulk effective sample size of N; NaN if N never changes.
    reasons : tuple of str
        Arguments against the convergence of the chains.
    imprecise : tuple of str
        Objects whose probability or flux has a large Monte Carlo error, and what is imprecise
        (`probcat.samples.precision`); empty without a catalog. They do not decide convergence.
    """

    num_objects: int | None
    num_sources: tuple[float, float, float]
    chi2_per_pixel: float
    rhat: tuple[str, float]
    ess: tuple[str, float]
    acceptance: dict[str, float]
    num_chains: int
    num_draws: int
    seconds: float
    expected_objects: float | None = None
    convergence_of_n: tuple[float, float] = (math.nan, math.nan)
    reasons: tuple[str, ...] = ()
    imprecise: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether there is no argument against convergence."""
        return not self.reasons

    @property
    def verdict(self) -> str:
        """Sentence on whether the chains have converged, and what is to blame if not."""
        if self.reasons:
            return f"NOT CONVERGED: {_first_of(self.reasons, 'reasons')}"
        if self.imprecise:
            return f"converged, but for {_first_of(self.imprecise, 'objects')}"
        return "converged"

    def rows(self) -> list[tuple[str, str]]:
        """Return the table as pairs of a name and a value."""
        median, low, high = self.num_sources
        rows = [
            ("verdict", self.verdict),
            ("sources N", f"{median:.0f} (median; 90 % between {low:.0f} and {high:.0f})"),
            ("chi2 per pixel", f"{self.chi2_per_pixel:.3f}"),
            ("R-hat, worst", f"{self.rhat[1]:.3f} ({self.rhat[0]})"),
            ("ESS, least", f"{self.ess[1]:.0f} ({self.ess[0]})"),
            ("draws", f"{self.num_draws} in each of {self.num_chains} chains"),
        ]
        if self.num_objects is not None:
            rows.insert(1, ("objects", f"{self.num_objects} (prob_exist > 0.5)"))
        if self.acceptance:
            parts = [f"{name} {100 * rate:.2g} %" for name, rate in self.acceptance.items()]
            rows.append(("accepted", ", ".join(parts)))
        if math.isfinite(self.seconds):
            rows.append(("time", f"{self.seconds:.0f} s"))
        return rows

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)

    def cards(self) -> dict[str, Any]:
        """Return the finite values as FITS keywords with comments."""
        median, low, high = self.num_sources
        cards = {
            "NOBJ": (_number(self.num_objects), "objects with prob_exist > 0.5"),
            "NOBJ_EXP": (_number(self.expected_objects), "sum of prob_exist"),
            "NSRC": (median, "median number of sources"),
            "NSRC_LO": (low, "5 % quantile of the number of sources"),
            "NSRC_HI": (high, "95 % quantile of the number of sources"),
            "RHAT_N": (self.convergence_of_n[0], "R-hat of the number of sources"),
            "ESS_N": (self.convergence_of_n[1], "effective samples of the number of sources"),
            "CHI2PX": (self.chi2_per_pixel, "posterior mean chi2 per pixel"),
            "RHAT": (self.rhat[1], f"worst R-hat: {self.rhat[0]}"),
            "ESS": (self.ess[1], f"smallest ESS: {self.ess[0]}"),
            "CONVERGD": (self.converged, "no argument against convergence"),
            "NIMPREC": (len(self.imprecise), "objects with a large Monte Carlo error"),
            "NCHAIN": (self.num_chains, "number of chains"),
            "NDRAW": (self.num_draws, "draws in each chain"),
        }
        return {key: card for key, card in cards.items() if math.isfinite(card[0])}


def summarize(
    samples: Samples, catalog: Columns | None = None, diagnostics: Diagnostics | None = None
) -> Summary:
    """Summarize samples and, if there is one, their condensed catalog.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    catalog : CondensedCatalog, optional
        Catalog that was condensed from them; its probabilities and their errors are used.
    diagnostics : Diagnostics, optional
        Diagnostics of the samples; by default they are computed.

    Returns
    -------
    Summary
    """
    counts = samples.num_sources
    quantiles = np.quantile(counts, (0.5, *INTERVAL))
    chi2 = samples.scalars.get("chi2_per_pixel")
    diagnostics = diagnose(samples) if diagnostics is None else diagnostics
    return Summary(
        num_objects=None if catalog is None else int(np.sum(catalog["prob_exist"] > 0.5)),
        num_sources=(float(quantiles[0]), float(quantiles[1]), float(quantiles[2])),
        chi2_per_pixel=math.nan if chi2 is None else float(np.mean(chi2)),
        rhat=diagnostics.worst_rhat,
        ess=diagnostics.least_ess,
        acceptance=_acceptance(samples.stats),
        num_chains=samples.num_chains,
        num_draws=samples.num_draws,
        seconds=float(samples.attrs.get("seconds", math.nan)),
        expected_objects=None if catalog is None else float(np.sum(catalog["prob_exist"])),
        convergence_of_n=_convergence_of_n(diagnostics),
        reasons=diagnostics.reasons,
        imprecise=() if catalog is None else describe_imprecise(catalog),
    )


def _first_of(lines: tuple[str, ...], noun: str) -> str:
    """First line, and the number of further ones."""
    further = len(lines) - 1
    return lines[0] + (f"; and {further} more {noun}" if further else "")


def _number(value: float | None) -> float:
    """Return a number as it is, and NaN for None."""
    return math.nan if value is None else value


def _convergence_of_n(diagnostics: Diagnostics) -> tuple[float, float]:
    """R-hat and effective sample size of the number of sources."""
    if "num_sources" not in diagnostics.names:
        return math.nan, math.nan
    row = diagnostics.names.index("num_sources")
    return float(diagnostics.rhat[row]), float(diagnostics.ess[row])


def _acceptance(stats: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Fraction of accepted proposals by move, with both directions together.

    The counts are ``tried_<move>_<up or down>`` and ``accepted_<move>_<up or down>``.
    """
    tried: dict[str, float] = {}
    accepted: dict[str, float] = {}
    for name, values in stats.items():
        kind, _, rest = name.partition("_")
        move = rest.removesuffix("_up").removesuffix("_down")
        for key, counts in (("tried", tried), ("accepted", accepted)):
            if kind == key:
                counts[move] = counts.get(move, 0.0) + float(np.sum(values))
    rates = {move: accepted.get(move, 0.0) / count for move, count in tried.items() if count}
    if "hmc_acceptance" in stats:
        rates["hmc"] = float(np.mean(stats["hmc_acceptance"]))
    return rates


def acceptance_table(samples: Samples) -> str:
    """Return the fraction of accepted proposals by move and signal-to-noise ratio as text.

    Parameters
    ----------
    samples : Samples
        Samples of a run; their attributes hold the rates.

    Returns
    -------
    str
        A table with one line per move and direction; empty if no rates were recorded.
    """
    edges = [0.0, *samples.attrs.get("signal_edges", []), math.inf]
    rates = samples.attrs.get("acceptance_by_signal", {})
    if not rates:
        return ""
    bins = [f"{low:g}-{high:g}" for low, high in pairwise(edges)]
    width = max(len(name) for name in rates) + 5
    lines = [f"{'accepted (%), by S/N':{width}}" + "".join(f"{label:>9}" for label in bins)]
    for name, directions in rates.items():
        for direction, values in directions.items():
            if any(value is not None for value in values):
                cells = ("-" if v is None else f"{100 * v:.2g}" for v in values)
                lines.append(
                    f"{name + ' ' + direction:{width}}" + "".join(f"{c:>9}" for c in cells)
                )
    return "\n".join(lines)
