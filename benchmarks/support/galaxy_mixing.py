"""Mixing of the properties of single galaxies, which are followed from draw to draw."""

from typing import Any, NamedTuple

import numpy as np

from benchmarks.support.timing import convergence

RADIUS = 1.5
"""Largest distance in pixels of a sampled source from the true galaxy that it stands for."""
FLUX_RATIO = 3.0
"""Largest ratio, up or down, of the flux of a sampled source to that of the true galaxy."""
PROPERTIES = ("log_flux", "log_radius", "sersic_n")
"""Properties of a galaxy that are followed; logarithms are natural."""


class Galaxies(NamedTuple):
    """True galaxies.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        Positions in pixels of the first image.
    flux : ndarray, shape (n,)
        Fluxes in the first image.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray


def slots_of_truth(samples: Any, galaxies: Galaxies) -> np.ndarray:
    """Find the source that stands for each true galaxy in every draw.

    This is the nearest source, star or galaxy, within `RADIUS` whose flux is within a factor of
    `FLUX_RATIO`.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    galaxies : Galaxies
        The true galaxies.

    Returns
    -------
    ndarray of int, shape (galaxy, chain, draw)
        Positions on the source axis, -1 where there is no such source.
    """
    sources, found = samples.sources, []
    with np.errstate(invalid="ignore", divide="ignore"):
        for x, y, flux in zip(*galaxies, strict=True):
            distance = np.hypot(sources["x"] - x, sources["y"] - y)
            ratio = np.abs(np.log(sources["flux"] / flux))
            near = sources["active"] & (distance < RADIUS) & (ratio < np.log(FLUX_RATIO))
            nearest = np.where(near, distance, np.inf).argmin(axis=-1)
            found.append(np.where(near.any(axis=-1), nearest, -1))
    return np.array(found, dtype=int).reshape(-1, samples.num_chains, samples.num_draws)


def slots_of_objects(catalog: Any) -> np.ndarray:
    """Find the member of each extended object in every draw.

    Parameters
    ----------
    catalog : CondensedCatalog
        Condensed draws; objects count that probably exist and are probably extended.

    Returns
    -------
    ndarray of int, shape (object, chain, draw)
        Positions on the source axis, -1 where the object has no member.
    """
    rows = np.flatnonzero((catalog["prob_exist"] > 0.5) & (catalog["prob_star"] < 0.5))
    member = [catalog.members == row for row in rows]
    found = [np.where(one.any(axis=-1), one.argmax(axis=-1), -1) for one in member]
    return np.array(found, dtype=int).reshape(-1, *catalog.members.shape[:2])


def follow(samples: Any, slots: np.ndarray) -> dict[str, np.ndarray]:
    """Return the properties of one galaxy in every draw.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    slots : ndarray of int, shape (chain, draw)
        Positions of the galaxy on the source axis, -1 where it is absent.

    Returns
    -------
    dict of str to ndarray, shape (chain, draw)
        Values by name of `PROPERTIES`. Where the galaxy is absent or a star, a property without a
        value gets the least value of all other draws. A property that no draw has is left out.
    """

    def taken(name: str) -> np.ndarray:
        values = np.take_along_axis(samples.sources[name], np.maximum(slots, 0)[..., None], axis=-1)
        return values[..., 0].astype(np.float64)

    extended = (slots >= 0) & (taken("is_extended") > 0.5)
    columns = {
        "log_flux": (slots >= 0, np.log(np.maximum(taken("flux"), np.finfo(np.float32).tiny))),
        "log_radius": (extended, np.log(np.where(extended, taken("half_light_radius"), 1.0))),
        "sersic_n": (extended, taken("sersic_n")),
    }
    return {
        name: np.where(valid, values, values[valid].min())
        for name, (valid, values) in columns.items()
        if valid.any()
    }


def summarize_galaxies(samples: Any, slots: np.ndarray, cpu: float) -> dict[str, Any]:
    """Return how well the properties of galaxies mix.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    slots : ndarray of int, shape (galaxy, chain, draw)
        Positions of every galaxy on the source axis, -1 where it is absent.
    cpu : float
        CPU-seconds that the draws of all chains took.

    Returns
    -------
    dict
        The `number` of galaxies, the mean fraction of draws in which one is `present`, and for
        each of `PROPERTIES` median and largest R-hat (`rhat`, `rhat_worst`), and median and
        smallest number of effective samples per CPU-second (`ess_per_cpu_s`,
        `ess_per_cpu_s_slowest`).
    """
    results: dict[str, Any] = {"number": len(slots)}
    if not len(slots):
        return results
    results["present"] = float(np.mean(slots >= 0))
    followed = [follow(samples, one) for one in slots]
    for name in PROPERTIES:
        found = [convergence(galaxy[name]) for galaxy in followed if name in galaxy]
        if not found:
            continue
        rhat, ess = np.array(found).T
        results[name] = {
            "rhat": float(np.median(rhat)),
            "rhat_worst": float(rhat.max()),
            "ess_per_cpu_s": float(np.median(ess) / cpu),
            "ess_per_cpu_s_slowest": float(ess.min() / cpu),
        }
    return results
