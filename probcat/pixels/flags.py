"""Flags of objects as bits of one number."""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.samples.precision import MAX_PROB_MCSE, MIN_ESS_FLUX, is_imprecise

if TYPE_CHECKING:
    from probcat.catalog.catalog import CondensedCatalog
    from probcat.image.image import Image
    from probcat.pixels.blends import Footprints
    from probcat.samples.diagnostics import Diagnostics

_MAX_RHAT = 1.2
"""Largest R-hat of an object's light that is not flagged."""


class Flag(IntFlag):
    """Bits of the column `flags`; their meanings are in `MEANINGS`."""

    EDGE = 1
    MASKED = 2
    SATURATED = 4
    CAPACITY = 8
    NOT_CONVERGED = 16
    CHAINS_DISAGREE = 32
    IMPRECISE = 64


MEANINGS = {
    Flag.EDGE: "footprint at the edge of an image",
    Flag.MASKED: "masked pixel in the footprint",
    Flag.SATURATED: "saturated pixel in the footprint",
    Flag.CAPACITY: "run: arrays were full after warm-up",
    Flag.NOT_CONVERGED: "run: not converged",
    Flag.CHAINS_DISAGREE: f"R-hat of its light > {_MAX_RHAT:g}",
    Flag.IMPRECISE: f"prob_exist_mcse > {MAX_PROB_MCSE:g} or ess_flux < {MIN_ESS_FLUX:g}",
}
"""What a bit means."""


def flag_cards() -> dict[str, Any]:
    """Return names and meanings of the bits as FITS keywords, ``FLAG<number>`` from 0."""
    return {
        f"FLAG{flag.bit_length() - 1}": (flag.name, f"bit {int(flag)}: {meaning}")
        for flag, meaning in MEANINGS.items()
    }


def flag_run(catalog: CondensedCatalog, diagnostics: Diagnostics) -> np.ndarray:
    """Return the bits that come from the samples.

    Parameters
    ----------
    catalog : CondensedCatalog
        Objects; their columns `rhat`, `prob_exist_mcse` and `ess_flux` are used.
    diagnostics : Diagnostics
        Diagnostics of the samples that were condensed.

    Returns
    -------
    ndarray of int32, shape (objects,)
    """
    bits = Flag(0)
    if diagnostics.full_arrays:
        bits |= Flag.CAPACITY
    if not diagnostics.converged:
        bits |= Flag.NOT_CONVERGED
    flags = np.full(len(catalog), int(bits), dtype=np.int32)
    flags[catalog["rhat"] > _MAX_RHAT] |= int(Flag.CHAINS_DISAGREE)
    flags[is_imprecise(catalog)] |= int(Flag.IMPRECISE)
    return flags


def flag_pixels(footprints: Footprints, image: Image, position: np.ndarray) -> np.ndarray:
    """Return the bits that come from the pixels of one image.

    Parameters
    ----------
    footprints : Footprints
        Footprints of the objects in the image.
    image : Image
        Gives weights and saturated pixels.
    position : ndarray, shape (objects, 2)
        Positions (x, y) of the objects in the image; an object with its centre outside the image
        counts as at the edge.

    Returns
    -------
    ndarray of int32, shape (objects,)
    """
    height, width = image.shape
    rim = np.ones(image.shape, dtype=bool)
    rim[1:-1, 1:-1] = False
    x, y = position.T
    outside = (x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)
    unusable = np.asarray(image.weight) <= 0
    saturated = getattr(image, "saturated", None)
    hits = {
        Flag.EDGE: footprints.any_of(rim) | outside,
        Flag.MASKED: footprints.any_of(unusable),
        Flag.SATURATED: footprints.any_of(saturated) if saturated is not None else False,
    }
    flags = np.zeros(len(position), dtype=np.int32)
    for flag, hit in hits.items():
        flags[np.broadcast_to(hit, flags.shape)] |= int(flag)
    return flags
