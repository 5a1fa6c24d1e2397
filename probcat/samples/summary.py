"""The closing table of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from probcat.samples.diagnostics import Diagnostics, diagnose

if TYPE_CHECKING:
    from probcat.samples.samples import Samples

INTERVAL = (0.05, 0.95)


class Columns(Protocol):
    """Anything whose columns are taken by name, as a `probcat.CondensedCatalog`."""

    def __getitem__(self, name: str, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Summary:
    """What a run found, and whether its samples can be trusted.

    Parameters
    ----------
    num_objects : int or None
        Objects of the condensed catalog that exist with more than even odds.
    num_sources : tuple of float
        Median of N, and the ends of its central 90 % interval.
    chi2_per_pixel : float
        Posterior mean over the pixels that count; NaN if not recorded.
    rhat, ess : tuple of (str, float)
        Name and value of the quantity with the largest R-hat, and of that with the smallest
        bulk effective sample size (`probcat.samples.diagnostics.diagnose`).
    acceptance : dict of str to float
        Share of proposals accepted, by move.
    num_chains, num_draws : int
        Size of the sample.
    seconds : float
        Time the run took; NaN if not recorded.
    expected_objects : float or None
        Sum of the objects' probabilities of existence; None without a condensed catalog.
    convergence_of_n : tuple of float
        R-hat and bulk effective sample size of N; NaN where N never changes.
    converged : bool
        Whether nothing speaks against convergence.
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
    converged: bool = False

    def rows(self) -> list[tuple[str, str]]:
        """Give the table as pairs of a name and a value."""
        median, low, high = self.num_sources
        rows = [
            ("sources N", f"{median:.0f} (median; 90 % between {low:.0f} and {high:.0f})"),
            ("chi2 per pixel", f"{self.chi2_per_pixel:.3f}"),
            ("R-hat, worst", f"{self.rhat[1]:.3f} ({self.rhat[0]})"),
            ("ESS, least", f"{self.ess[1]:.0f} ({self.ess[0]})"),
            ("draws", f"{self.num_draws} of each of {self.num_chains} chains"),
        ]
        if self.num_objects is not None:
            rows.insert(0, ("objects", f"{self.num_objects} (prob_exist > 0.5)"))
        if self.acceptance:
            parts = [f"{name} {100 * share:.2g} %" for name, share in self.acceptance.items()]
            rows.append(("accepted", ", ".join(parts)))
        if math.isfinite(self.seconds):
            rows.append(("time", f"{self.seconds:.0f} s"))
        return rows

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)

    def cards(self) -> dict[str, Any]:
        """Give the figures as FITS keywords with comments; what is not finite is left out."""
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
            "ESS": (self.ess[1], f"least effective samples: {self.ess[0]}"),
            "CONVERGD": (self.converged, "whether nothing speaks against convergence"),
            "NCHAIN": (self.num_chains, "chains"),
            "NDRAW": (self.num_draws, "draws of each chain"),
        }
        return {key: card for key, card in cards.items() if math.isfinite(card[0])}


def summarize(
    samples: Samples, catalog: Columns | None = None, diagnostics: Diagnostics | None = None
) -> Summary:
    """Sum up samples and, if there is one, their condensed catalog.

    Parameters
    ----------
    samples : Samples
        The draws.
    catalog : CondensedCatalog, optional
        Catalog that was condensed from them; its column `prob_exist` is used.
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
        converged=diagnostics.converged,
    )


def _number(value: float | None) -> float:
    """Give NaN for what is not there."""
    return math.nan if value is None else value


def _convergence_of_n(diagnostics: Diagnostics) -> tuple[float, float]:
    """R-hat and effective samples of the number of sources."""
    if "num_sources" not in diagnostics.names:
        return math.nan, math.nan
    row = diagnostics.names.index("num_sources")
    return float(diagnostics.rhat[row]), float(diagnostics.ess[row])


def _acceptance(stats: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Give the share of accepted proposals by move, both ways together.

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
    shares = {move: accepted.get(move, 0.0) / count for move, count in tried.items() if count}
    if "hmc_acceptance" in stats:
        shares["hmc"] = float(np.mean(stats["hmc_acceptance"]))
    return shares


def acceptance_table(samples: Samples) -> str:
    """Give the share of accepted proposals by move and signal-to-noise ratio as text."""
    edges = [0.0, *samples.attrs.get("signal_edges", []), math.inf]
    shares = samples.attrs.get("acceptance_by_signal", {})
    if not shares:
        return ""
    bins = [f"{low:g}-{high:g}" for low, high in pairwise(edges)]
    width = max(len(name) for name in shares) + 5
    lines = [f"{'accepted (%), by S/N':{width}}" + "".join(f"{label:>9}" for label in bins)]
    for name, ways in shares.items():
        for way, values in ways.items():
            if any(value is not None for value in values):
                cells = ("-" if v is None else f"{100 * v:.2g}" for v in values)
                lines.append(f"{name + ' ' + way:{width}}" + "".join(f"{c:>9}" for c in cells))
    return "\n".join(lines)
