r"""Substructure: sources that are parts of a galaxy rather than objects of their own.

Real galaxies are not Sersic profiles: bulges, arms and clumps remain, which the sampler fits with
further sources. Such a source is told from an independent one by the densities of both, given the
catalog of the draw. Independent sources have the density of the prior,

    \lambda_0 = (\mu / A) p(f),

parts of galaxy j, with flux F and half-light radius h, have

    \lambda_j = n q(m) \exp(-f / a F) / (a F) + 2 t N(d; 0, w^2) F / (f + F)^2.

The first term describes irregularities: n of them are expected, with a mean flux a F and an
exponential profile q in the elliptical radius m that is `extent` times as large as the galaxy. Here
a = s / (1 + (2 h / FWHM)^2), since irregularities are divided among the elements into which the PSF
resolves the galaxy. The second term, which only extended sources have, describes a second
component, such as a bulge in a disc. It exists with probability t and has any fraction of the light
of both, at a distance of about w = c h, or of the resolution of the PSF; the brighter of both is
the galaxy. A bright point on the centre of a galaxy, such as an active nucleus, is an object of its
own.

The defaults were tuned on `benchmarks.programs.objects` for ground-based COSMOS galaxies (n and s
on an earlier version with more faint galaxies). Simulated smooth galaxies have no substructure:
pass ``substructure=False`` to `probcat.condense`.

Whether a source counts as a part in a draw is not random: draws have levels spread evenly over
(0, 1), and the source is a part in those with a level below its probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from probcat.numerics.shape_matrices import elliptical_radius
from probcat.samples.samples import Samples

_EXPONENTIAL = 1.678
"""Half-light radius of an exponential profile in units of its scale length."""
_REACH = 6.0
"""Scale lengths beyond which there are no irregularities."""
_MIN_ODDS = 1e-3
"""Smallest odds of a part that are considered."""
_WIDTHS = 4.0
"""Largest distance of a second component in units of the resolution of the PSF."""
_GOLDEN = 0.6180339887498949
"""Golden ratio, whose multiples modulo one are spread evenly for any number of them."""


@dataclass(frozen=True)
class SubstructurePrior:
    """Expected substructure of galaxies.

    Parameters
    ----------
    number : float
        Expected number of irregularities of a galaxy, n.
    flux_fraction : float
        Their mean flux in units of the flux of the galaxy if it is not resolved, s.
    extent : float
        Half-light radius of their distribution in units of the galaxy's.
    double : float
        Probability of a second extended component, t.
    centring : float
        Distance of its centre in units of the galaxy's half-light radius, c.
    blur : float
        Error of that distance in units of the FWHM of the PSF.
    """

    number: float = 0.5
    flux_fraction: float = 0.08
    extent: float = 1.5
    double: float = 0.05
    centring: float = 0.15
    blur: float = 0.2


def find_substructure(samples: Samples, prior: SubstructurePrior | None = None) -> np.ndarray:
    """Find the galaxy of which each sampled source is a part.

    A source that is a part with probability p counts as one in a fraction p of similar draws. In a
    draw the brightest sources are decided first, and a part has no parts.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    prior : SubstructurePrior, optional
        Expected substructure of galaxies.

    Returns
    -------
    ndarray of int32, shape (chain, draw, source)
        Position of the galaxy on the source axis; -1 for a source that is not a part.
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
        galaxy = _galaxies_of_parts(one["flux"], candidates, float(level[draw]))
        part_of[draw][slots] = np.where(galaxy >= 0, slots[galaxy], -1)
    return part_of


def part_density(
    one: dict[str, Any],
    part: np.ndarray,
    galaxy: np.ndarray,
    prior: SubstructurePrior,
    fwhm: float = 0.0,
) -> np.ndarray:
    r"""Compute the density \lambda_j of parts of galaxies, see the module.

    Parameters
    ----------
    one : dict of str to ndarray, shape (n,)
        Positions, fluxes, types and shapes of the sources of a draw.
    part, galaxy : ndarray of int, shape (m,)
        Indices of the possible part and of the galaxy of each pair.
    prior : SubstructurePrior
        Expected substructure of galaxies.
    fwhm : float
        Full width at half maximum of the PSF in pixels.

    Returns
    -------
    ndarray, shape (m,)
        Density per square pixel and unit of flux at the possible parts.
    """
    x, y, flux, size, g1, g2 = (
        np.asarray(one[name], float)
        for name in ("x", "y", "flux", "half_light_radius", "ellipticity_1", "ellipticity_2")
    )
    dx, dy = x[part] - x[galaxy], y[part] - y[galaxy]
    g1, g2, size, whole = g1[galaxy], g2[galaxy], size[galaxy], flux[galaxy]
    radius = elliptical_radius(dx, dy, g1, g2)
    scale = prior.extent * size / _EXPONENTIAL
    # Irregularities are divided among the elements into which the galaxy is resolved.
    elements = (2.0 * size / fwhm) ** 2 if fwhm > 0.0 else 0.0
    mean = prior.flux_fraction * whole / (1.0 + elements)
    irregular = np.exp(-radius / scale - flux[part] / mean) / (2.0 * np.pi * scale**2 * mean)
    variance = (prior.centring * size) ** 2 + (prior.blur * fwhm) ** 2
    double = np.exp(-0.5 * (dx**2 + dy**2) / variance) / (2.0 * np.pi * variance)
    double = double * whole / (flux[part] + whole) ** 2
    # The factor of two stands for either component being the fainter one.
    double = np.where(np.asarray(one["is_extended"], bool)[part], 2.0, 0.0) * double
    return prior.number * irregular + prior.double * double


def _independent_density(samples: Samples, flux: np.ndarray) -> np.ndarray:
    """Prior density of independent sources per square pixel and unit of flux."""
    known = samples.attrs.get("prior", {})
    active = np.asarray(samples.sources["active"], bool)
    expected = np.asarray(samples.scalars.get("mu", samples.num_sources), float)
    slope = samples.scalars.get("flux_slope", known.get("flux_slope_mean", 2.0))
    slope = np.broadcast_to(np.asarray(slope, float), active.shape[:2])[..., None]
    low = float(known.get("flux_min", flux[active].min(initial=np.inf)))
    area = samples.attrs.get("area")
    if area is None:
        position = [np.asarray(samples.sources[name])[active] for name in ("x", "y")]
        area = np.prod([max(np.ptp(axis), 1.0) if axis.size else 1.0 for axis in position])
    steep = np.maximum(slope - 1.0, 0.05)
    return expected[..., None] / float(area) * steep / low * (flux / low) ** -slope


def _galaxies_of_parts(
    flux: np.ndarray, candidates: tuple[np.ndarray, np.ndarray, np.ndarray], level: float
) -> np.ndarray:
    """Galaxy of each source of one draw that is a part, -1 for others, shape (n,)."""
    part, galaxy, odds = candidates
    found, has_parts = np.full(len(flux), -1), np.zeros(len(flux), bool)
    order = np.lexsort((galaxy, part, -flux[part]))
    start = np.flatnonzero(np.diff(part[order], prepend=-1))
    for pairs in np.split(order, start[1:]):
        free = pairs[(found[galaxy[pairs]] < 0) & ~has_parts[part[pairs]]]
        total = odds[free].sum()
        if len(free) and level < total / (1.0 + total):
            chosen = galaxy[free[np.argmax(odds[free])]]
            found[part[free[0]]], has_parts[chosen] = chosen, True
    return found


def _candidates(
    one: dict[str, Any], density: np.ndarray, prior: SubstructurePrior, fwhm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a possible part and its galaxy, and the odds of each pair."""
    galaxies = np.flatnonzero(one["is_extended"])
    position = np.stack([one["x"], one["y"]], axis=1).astype(float)
    size = one["half_light_radius"][galaxies].astype(float)
    reach = np.maximum(_REACH * size * prior.extent / _EXPONENTIAL, _WIDTHS * prior.blur * fwhm)
    near = cKDTree(position).query_ball_point(position[galaxies], reach)
    galaxy = np.repeat(galaxies, [len(each) for each in near])
    part = np.concatenate([np.zeros(0, np.int64), *map(np.asarray, near)]).astype(np.int64)
    fainter = one["flux"][part] < one["flux"][galaxy]
    part, galaxy = part[fainter], galaxy[fainter]
    odds = part_density(one, part, galaxy, prior, fwhm) / density[part]
    kept = odds > _MIN_ODDS
    return part[kept], galaxy[kept], odds[kept]


def fold_substructure(samples: Samples, part_of: np.ndarray) -> Samples:
    """Add the light of parts to their galaxies.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    part_of : ndarray of int, shape (chain, draw, source)
        The result of `find_substructure`.

    Returns
    -------
    Samples
        Samples with the same source axis, in which parts are inactive.
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
