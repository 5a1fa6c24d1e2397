r"""Number of sources in the core of an object: what looks like one object may be several.

Two stars of equal flux have two peaks only if they are further apart than the Sparrow limit, two
standard deviations of a Gaussian PSF. The *core* of an object is the circle of this radius around
its mean position. In a draw that contains the object, its *multiplicity* is the number of sources
in the core that each have at least the fraction `MIN_SHARE` of the flux of all sources in the core.
Sources that are parts of a galaxy do not count; their flux is the galaxy's.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

SPARROW = 0.8493
"""Sparrow limit of a Gaussian PSF in units of its full width at half maximum."""
MIN_SHARE = 0.1
"""Smallest fraction of the flux in the core of a source that counts."""
LARGEST = 4
"""Largest multiplicity that is told apart; the last probability is that of so many or more."""


def count_in_core(
    position: np.ndarray, flux: np.ndarray, sample: np.ndarray, num_samples: int
) -> np.ndarray:
    """Count the sources of each draw that have a good part of the flux.

    Parameters
    ----------
    position : ndarray, shape (n, 2)
        Offsets of sources from the centre of the core, in units of its radius.
    flux : ndarray, shape (n,)
        Fluxes of the sources.
    sample : ndarray of int, shape (n,)
        Draw of each source.
    num_samples : int
        Number of draws.

    Returns
    -------
    ndarray of int, shape (num_samples,)
    """
    inside = np.sum(position**2, axis=1) <= 1.0
    flux, sample = flux[inside], sample[inside]
    total = np.bincount(sample, flux, minlength=num_samples)
    return np.bincount(sample[flux >= MIN_SHARE * total[sample]], minlength=num_samples)


def multiplicities(
    centre: np.ndarray, flat: dict[str, np.ndarray], label: np.ndarray, fwhm: float
) -> np.ndarray:
    """Compute the probabilities of the number of sources in the core of every object.

    Parameters
    ----------
    centre : ndarray, shape (objects, 2)
        Mean positions x, y of the objects.
    flat : dict of str to ndarray, shape (n,)
        Sampled sources: `x`, `y`, `flux`, and `sample`, the number of the draw.
    label : ndarray of int, shape (n,)
        Object of which each source is a member, -1 for none.
    fwhm : float
        Full width at half maximum of the PSF in pixels.

    Returns
    -------
    ndarray, shape (objects, LARGEST)
        Fractions of the draws that contain the object in which the multiplicity is 1, 2, ...; the
        last is that of `LARGEST` or more.
    """
    radius = SPARROW * fwhm
    position = np.stack([flat["x"], flat["y"]], axis=1).astype(np.float64)
    flux, sample = flat["flux"].astype(np.float64), flat["sample"]
    found = np.zeros((len(centre), LARGEST))
    if not len(centre):
        return found
    # Members of one object may scatter beyond its core; such a draw has the object and no more.
    near = cKDTree(position).query_ball_point(centre, radius)
    order = np.argsort(label, kind="stable")
    ends = np.searchsorted(label[order], np.arange(len(centre) + 1))
    for row, sources in enumerate(near):
        own = sample[order[ends[row] : ends[row + 1]]]
        here = np.asarray(sources, dtype=np.int64)
        draws, which = np.unique(sample[here], return_inverse=True)
        offset = (position[here] - centre[row]) / radius
        number = count_in_core(offset, flux[here], which, len(draws))
        count = np.bincount(np.clip(number[np.isin(draws, own)], 1, LARGEST), minlength=LARGEST + 1)
        found[row] = count[1:]
        found[row, 0] += len(own) - count.sum()
        found[row] /= max(len(own), 1)
    return found


def blend_columns(probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of a catalog that follow from the result of `multiplicities`.

    Returns
    -------
    dict of str to ndarray, shape (objects,)
        `prob_blend`, the probability of a multiplicity of at least two, and `prob_triple`, that of
        at least three.
    """
    return {
        "prob_blend": probabilities[:, 1:].sum(axis=1),
        "prob_triple": probabilities[:, 2:].sum(axis=1),
    }
