"""Which bits of a mask make a pixel bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from probcat.errors import InputError

# The planes of Rubin/LSST and HSC masks that spoil a pixel; the others (DETECTED, INTRP,
# REJECTED, CLIPPED, INEXACT_PSF, ...) tell its history, and the pixel can be used.
BAD_PLANES = ("BAD", "SAT", "CR", "EDGE", "SUSPECT", "NO_DATA", "UNMASKEDNAN")
# The first bits of HSC's masks, for files that lost the MP_* keywords (Bosch+18, table 2).
HSC_PLANES = {
    "BAD": 0,
    "SAT": 1,
    "INTRP": 2,
    "CR": 3,
    "EDGE": 4,
    "DETECTED": 5,
    "DETECTED_NEGATIVE": 6,
    "SUSPECT": 7,
    "NO_DATA": 8,
}


def bad_pixels(
    mask: np.ndarray,
    header: Mapping[str, Any],
    mask_bits: Sequence[int | str] | None = None,
    where: str = "image",
) -> tuple[np.ndarray, str]:
    """Turn a mask of flags into bad or good.

    A mask of 0 and 1, of truth values or of 8 bits is bad where it is not 0. Wider integers
    are bit flags: the planes `BAD_PLANES` are bad, by the ``MP_<plane>`` keywords of the
    header or else by HSC's order (`HSC_PLANES`).

    Parameters
    ----------
    mask : ndarray, shape (ny, nx)
        Flags.
    header : mapping
        Header of the mask's extension.
    mask_bits : sequence of int or str, optional
        Bits (0 is the lowest) or planes to take as bad instead; empty for none.
    where : str
        Name of the mask, for messages.

    Returns
    -------
    bad : ndarray of bool, shape (ny, nx)
        True where a pixel must not be used.
    note : str
        What was taken as bad, in one line.

    Raises
    ------
    InputError
        If a bit or plane does not exist, or the mask does not hold whole numbers.
    """
    if mask.dtype.kind == "f" and np.all(mask == np.trunc(mask)):
        mask = mask.astype(np.int64)
    if mask.dtype.kind not in "iub":
        raise InputError(f"{where}: a mask must hold whole numbers or truth values")
    named = {
        key[3:].strip().upper(): int(value)
        for key, value in header.items()
        if key.upper().startswith("MP_") and isinstance(value, int)
    }
    planes, origin = (named, "MP_ keywords") if named else (HSC_PLANES, "HSC's bit order")
    if mask_bits is None:
        narrow = mask.dtype.kind == "b" or mask.dtype.itemsize == 1
        if not named and (narrow or (mask.min() >= 0 and mask.max() <= 1)):
            return mask != 0, "mask: every pixel that is not 0 taken as bad"
        bits = {name: planes[name] for name in BAD_PLANES if name in planes}
    else:
        bits = dict(_resolve(bit, planes, origin, where) for bit in mask_bits)
        origin = "as asked"
    flags = mask.astype(np.int64)
    bad = np.zeros(mask.shape, bool)
    counts = []
    for name, bit in bits.items():
        plane = (flags >> bit) & 1 > 0
        bad |= plane
        counts.append(f"{name} (bit {bit}: {int(plane.sum())} px)")
    return bad, f"mask: taken as bad ({origin}): {', '.join(counts) or 'no bit'}"


def _resolve(bit: int | str, planes: Mapping[str, int], origin: str, where: str) -> tuple[str, int]:
    """Give the name and number of a bit that the user asked for."""
    if isinstance(bit, str) and not bit.strip().isdigit():
        name = bit.strip().upper()
        if name not in planes:
            raise InputError(
                f"{where}: no mask plane {bit!r} ({origin}); known: {', '.join(planes)}"
            )
        return name, planes[name]
    number = int(bit)
    if not 0 <= number < 63:
        raise InputError(f"{where}: mask bit {bit!r}; bits are numbered from 0 to 62")
    names = [name for name, value in planes.items() if value == number]
    return (names[0] if names else f"bit {number}"), number
