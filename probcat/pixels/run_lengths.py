"""Masks as run lengths in the compressed form of COCO.

COCO (Lin et al. 2014, arXiv:1405.0312) lists the lengths of alternating runs of zeros and ones,
column by column, starting with zeros. In the compressed form each length from the fourth on is
replaced by its difference from the length two before, and written in groups of five bits, the
lowest first, as characters that count from "0". Bit six of a character marks that more follow;
bit five of the last one is the sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_FIRST = 48
"""Character code of a group of bits that are all zero."""
_GROUP, _MORE, _SIGN = 0x1F, 0x20, 0x10
"""Bits of a group, the bit that marks that more groups follow, and the bit of the sign."""


def encode_mask(mask: Any) -> dict[str, Any]:
    """Compress a mask.

    Parameters
    ----------
    mask : array_like of bool, shape (ny, nx)
        Mask of an object.

    Returns
    -------
    dict
        `size`, [ny, nx], and `counts`, str.
    """
    mask = np.asarray(mask, dtype=bool)
    flat = mask.ravel(order="F")
    # A zero in front makes the first run one of zeros, possibly of length zero.
    change = np.flatnonzero(np.diff(flat, prepend=False))
    runs = np.diff(np.concatenate([[0], change, [flat.size]]))
    return {"size": [int(extent) for extent in mask.shape], "counts": _compress(runs.tolist())}


def _compress(runs: Sequence[int]) -> str:
    """Write run lengths as text."""
    text = []
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            group = value & _GROUP
            value >>= 5
            more = value != (-1 if group & _SIGN else 0)
            text.append(chr((group | (_MORE if more else 0)) + _FIRST))
    return "".join(text)
