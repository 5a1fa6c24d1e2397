r"""Sources that are parts of a galaxy rather than objects of their own.

Real galaxies are no Sersic profiles: bulges, arms and clumps are left over, which the sampler
explains by further sources. Such a source is told from an independent one by the densities of
both, given the catalog of the draw. Independent sources have the density of the prior,

    \lambda_0 = (\mu / A) p(f),

parts of galaxy j, of flux F and half-light radius h,

    \lambda_j = n q(m) \exp(-f / a F) / (a F) + t N(d; 0, w^2) F / (f + F)^2,

where the first term is for irregularities, n of them expected, of flux a F on average, with an
exponential profile q in the elliptical radius m that is `extent` times as large as the galaxy:
a = s / (1 + (2 h / FWHM)^2), as the irregularities of a galaxy are shared out to the elements that
the PSF resolves it into. The second term is for a second component, there with probability t, of
any share of the light of both, at a distance of about w = c h, or of what the PSF lets be told. Of
two extended components the brighter is the galaxy; a point may outshine the galaxy that it is the
nucleus of. The defaults suit galaxies of COSMOS seen from the ground (`benchmarks.objects`, by
whose Brier scores and calibration they were chosen, n and s on blends with more faint galaxies
than it has now); smooth ones have no parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from probcat.numerics.shape_matrices import elliptical_radius
from probcat.samples.samples import Samples

# Half-light radius of an exponential profile in units of its scale length.
_EXPONENTIAL = 1.678
# Scale lengths beyond which there are no irregularities, and odds that count as none.
_REACH, _LEAST_ODDS = 6.0, 1e-3
# Standard deviations of a distance that are looked at.
_WIDTHS = 4.0
# Multiples of it are spread evenly, however many there are.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class SubstructurePrior:
    """What galaxies consist of besides their profile.

    Parameters
    ----------
    number : float
        Irregularities expected of a galaxy, n.
    share : float
        Their mean flux in units of the flux of a galaxy that is not resolved, s.
    extent : float
        Half-light radius of their distribution in units of the galaxy's.
    double : float
        Probability of a second component, t.
    centring : float
        Distance of its centre in units of the galaxy's half-light radius, c.
    blur : float
        Error of that distance in units of the FWHM of the PSF.
    """

    number: float = 0.5
    share: float = 0.08
    extent: float = 1.5
    double: float = 0.05
    centring: float = 0.15
    blur: float = 0.2


def find_substructure(samples: Samples, prior: SubstructurePrior | None = None) -> np.ndarray:
    """Find the galaxy that each sampled source is part of.

    A source that is a part with probability p is one in a share p of the draws like it: draws are
    given numbers spread evenly over (0, 1), and in those below p it is. Of a draw's sources the
    brightest come first; a part has no parts.

    Parameters
    ----------
    samples : Samples
    prior : SubstructurePrior, optional

    Returns
    -------
    ndarray of int32, shape (chain, draw, source)
        Position on the source axis of the galaxy; -1 of what is no part.
    """
    prior = SubstructurePrior() if prior is None else prior
    active = np.asarray(samples.sources["active"], bool)
    extended = np.asarray(samples.sources["is_extended"], bool) & active
    part_of = np.full(active.shape, -1, np.int32)
    if not extended.any():
        return part_of
    flux = np.where(active, np.asarray(samples.sources["flux"], float), 0.0)
    density = _independent_density(samples, np.maximum(flux, np.finfo(np.float32).tiny))
    fwhm = float(samples.attrs.get("psf_fwhm") or 0.0)
    number = np.arange(active.shape[0] * active.shape[1]).reshape(active.shape[:2])
    level = np.mod((number + 0.5) * _GOLDEN, 1.0)
    for draw in zip(*np.nonzero(extended.any(-1) & (active.sum(-1) > 1)), strict=True):
        slots = np.flatnonzero(active[draw])
        one = {name: np.asarray(v[draw][slots]) for name, v in samples.sources.items()}
        candidates = _candidates(one, density[draw][slots], prior, fwhm)
        host = _parts_of_draw(one["flux"], candidates, float(level[draw]))
        part_of[draw][slots] = np.where(host >= 0, slots[host], -1)
    return part_of


def part_density(
    one: dict[str, Any],
    part: np.ndarray,
    galaxy: np.ndarray,
    prior: SubstructurePrior,
    fwhm: float = 0.0,
) -> np.ndarray:
    """Give the density of parts of a galaxy, see the module, by square pixel and unit of flux.

    Parameters
    ----------
    one : dict of str to ndarray, shape (n,)
        Positions, fluxes, types and shapes of the sources of a draw.
    part, galaxy : ndarray of int, shape (m,)
        Numbers of a possible part and of the galaxy, pair by pair.
    prior : SubstructurePrior
    fwhm : float
        Of the PSF in pixels.

    Returns
    -------
    ndarray, shape (m,)
    """
    x, y, flux, size, g1, g2 = (
        np.asarray(one[name], float)
        for name in ("x", "y", "flux", "half_light_radius", "ellipticity_1", "ellipticity_2")
    )
    dx, dy = x[part] - x[galaxy], y[part] - y[galaxy]
    g1, g2, size, whole = g1[galaxy], g2[galaxy], size[galaxy], flux[galaxy]
    radius = elliptical_radius(dx, dy, g1, g2)
    scale = prior.extent * size / _EXPONENTIAL
    # As many as the galaxy is resolved into share what irregularities there are.
    elements = (2.0 * size / fwhm) ** 2 if fwhm > 0.0 else 0.0
    mean = prior.share * whole / (1.0 + elements)
    irregular = np.exp(-radius / scale - flux[part] / mean) / (2.0 * np.pi * scale**2 * mean)
    variance = (prior.centring * size) ** 2 + (prior.blur * fwhm) ** 2
    double = np.exp(-0.5 * (dx**2 + dy**2) / variance) / (2.0 * np.pi * variance)
    double = double * whole / (flux[part] + whole) ** 2
    # The fainter of two alike has either's share of the light.
    double = np.where(np.asarray(one["is_extended"], bool)[part], 2.0, 1.0) * double
    return prior.number * irregular + prior.double * double


def _independent_density(samples: Samples, flux: np.ndarray) -> np.ndarray:
    """Give the prior density of independent sources by square pixel and unit of flux."""
    known = samples.attrs.get("prior", {})
    active = np.asarray(samples.sources["active"], bool)
    expected = np.asarray(samples.scalars.get("mu", samples.num_sources), float)
    slope = samples.scalars.get("flux_slope", known.get("flux_slope_mean", 2.0))
    slope = np.broadcast_to(np.asarray(slope, float), active.shape[:2])[..., None]
    low = float(known.get("flux_min", flux[active].min(initial=np.inf)))
    area = samples.attrs.get("area")
    if area is None:
        place = [np.asarray(samples.sources[name])[active] for name in ("x", "y")]
        area = np.prod([max(np.ptp(one), 1.0) if one.size else 1.0 for one in place])
    steep = np.maximum(slope - 1.0, 0.05)
    return expected[..., None] / float(area) * steep / low * (flux / low) ** -slope


def _parts_of_draw(
    flux: np.ndarray, candidates: tuple[np.ndarray, np.ndarray, np.ndarray], level: float
) -> np.ndarray:
    """Host of each source of one draw, -1 for none, shape (n,)."""
    part, galaxy, odds = candidates
    host, has_parts = np.full(len(flux), -1), np.zeros(len(flux), bool)
    order = np.lexsort((galaxy, part, -flux[part]))
    start = np.flatnonzero(np.diff(part[order], prepend=-1))
    for pairs in np.split(order, start[1:]):
        free = pairs[(host[galaxy[pairs]] < 0) & ~has_parts[part[pairs]]]
        total = odds[free].sum()
        if len(free) and level < total / (1.0 + total):
            chosen = galaxy[free[np.argmax(odds[free])]]
            host[part[free[0]]], has_parts[chosen] = chosen, True
    return host


def _candidates(
    one: dict[str, Any], density: np.ndarray, prior: SubstructurePrior, fwhm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a possible part and its galaxy, and the odds that it is its part."""
    galaxies = np.flatnonzero(one["is_extended"])
    position = np.stack([one["x"], one["y"]], axis=1).astype(float)
    size = one["half_light_radius"][galaxies].astype(float)
    reach = np.maximum(_REACH * size * prior.extent / _EXPONENTIAL, _WIDTHS * prior.blur * fwhm)
    near = cKDTree(position).query_ball_point(position[galaxies], reach)
    galaxy = np.repeat(galaxies, [len(each) for each in near])
    part = np.concatenate([np.zeros(0, np.int64), *map(np.asarray, near)]).astype(np.int64)
    fainter = one["flux"][part] < one["flux"][galaxy]
    allowed = fainter | ~np.asarray(one["is_extended"], bool)[part]
    part, galaxy = part[allowed], galaxy[allowed]
    odds = part_density(one, part, galaxy, prior, fwhm) / density[part]
    kept = odds > _LEAST_ODDS
    return part[kept], galaxy[kept], odds[kept]


def fold_substructure(samples: Samples, part_of: np.ndarray) -> Samples:
    """Add the light of parts to their galaxies, and leave them out.

    Parameters
    ----------
    samples : Samples
    part_of : ndarray of int, shape (chain, draw, source)
        As `find_substructure` gives them.

    Returns
    -------
    Samples
        With the same source axis; parts are inactive.
    """
    chain, draw, source = np.nonzero(part_of >= 0)
    if not chain.size:
        return samples
    sources = dict(samples.sources)
    for name in ("flux", *samples.band_fluxes):
        total = np.array(sources[name])
        np.add.at(total, (chain, draw, part_of[chain, draw, source]), total[chain, draw, source])
        sources[name] = total
    sources["active"] = np.asarray(sources["active"], bool) & (part_of < 0)
    return Samples(sources, samples.scalars, samples.stats, samples.attrs)
