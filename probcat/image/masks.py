"""Bad and saturated pixels, from masks of flags and from a saturation level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.files.headers import find_number

BAD_PLANES = ("BAD", "SAT", "CR", "EDGE", "SUSPECT", "NO_DATA", "UNMASKEDNAN")
"""Planes of Rubin/LSST and HSC masks that make a pixel bad.

The other planes (DETECTED, INTRP, REJECTED, CLIPPED, INEXACT_PSF, ...) tell the history of a
pixel, which can be used.
"""
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
"""First bits of HSC masks, for files without ``MP_<plane>`` keywords.

The order is that of Bosch et al. (2018, PASJ 70, S5, table 2).
"""


def bad_pixels(
    mask: np.ndarray,
    header: Mapping[str, Any],
    mask_planes: Sequence[int | str] | None = None,
    where: str = "image",
) -> tuple[np.ndarray, str]:
    """Return the pixels that a mask marks as bad.

    A mask of 0 and 1, of booleans or of 8 bits marks a pixel as bad where it is not 0. Wider
    integers are bit flags, of which the planes `BAD_PLANES` mark bad pixels. The
    ``MP_<plane>`` keywords of the header number the planes, or else the order of HSC does
    (`HSC_PLANES`).

    Parameters
    ----------
    mask : ndarray, shape (ny, nx)
        Flags.
    header : mapping
        Header of the mask's extension.
    mask_planes : sequence of int or str, optional
        Bits (0 is the lowest) or names of planes that mark bad pixels in place of the default;
        empty for none.
    where : str
        Name of the mask, for messages.

    Returns
    -------
    bad : ndarray of bool, shape (ny, nx)
        True where a pixel must not be used.
    note : str
        The planes that were taken as bad, in one line.

    Raises
    ------
    InputError
        If a bit or plane does not exist, or the mask does not hold whole numbers.
    """
    if mask.dtype.kind == "f" and np.all(mask == np.trunc(mask)):
        mask = mask.astype(np.int64)
    if mask.dtype.kind not in "iub":
        raise InputError(f"{where}: a mask must hold whole numbers or truth values")
    narrow = mask.dtype.kind == "b" or mask.dtype.itemsize == 1
    named = {
        key[3:].strip().upper(): int(value)
        for key, value in header.items()
        if key.upper().startswith("MP_") and isinstance(value, int)
    }
    planes, origin = (named, "MP_ keywords") if named else (HSC_PLANES, "HSC's bit order")
    if mask_planes is None:
        if not named and (narrow or (mask.min() >= 0 and mask.max() <= 1)):
            return mask != 0, "mask: every pixel that is not 0 taken as bad"
        bits = {name: planes[name] for name in BAD_PLANES if name in planes}
    else:
        if narrow and not named:
            planes, origin = {}, "no MP_ keywords name its bits"
        bits = dict(_resolve(bit, planes, origin, where) for bit in mask_planes)
        _check_bits(bits, mask, named, where)
        origin = "as asked"
    flags = mask.astype(np.int64)
    bad = np.zeros(mask.shape, bool)
    counts = []
    for name, bit in bits.items():
        plane = (flags >> bit) & 1 > 0
        bad |= plane
        counts.append(f"{name} (bit {bit}: {int(plane.sum())} px)")
    return bad, f"mask: taken as bad ({origin}): {', '.join(counts) or 'no bit'}"


def saturated_plane(mask: np.ndarray, header: Mapping[str, Any]) -> np.ndarray:
    """Return the pixels that a mask of bit flags marks as saturated, bool (ny, nx).

    The keyword ``MP_SAT`` numbers the bit. In a mask of wide integers without such keywords it is
    that of HSC.

    Parameters
    ----------
    mask : ndarray, shape (ny, nx)
        Flags.
    header : mapping
        Header of the extension of the mask.
    """
    wide = mask.dtype.kind in "iu" and mask.dtype.itemsize > 1 and mask.max(initial=0) > 1
    named = any(key.upper().startswith("MP_") for key in header)
    bit = header.get("MP_SAT", None if named or not wide else HSC_PLANES["SAT"])
    if bit is None or mask.dtype.kind == "b":
        return np.zeros(mask.shape, dtype=bool)
    return (mask.astype(np.int64) >> int(bit)) & 1 > 0


def _resolve(bit: int | str, planes: Mapping[str, int], origin: str, where: str) -> tuple[str, int]:
    """Return the name and number of a bit that the user gave."""
    if isinstance(bit, str) and not bit.strip().isdigit():
        name = bit.strip().upper()
        if name not in planes:
            raise InputError(
                f"{where}: no mask plane {bit!r} ({origin}); known: "
                f"{', '.join(planes) or 'none, give bits by number'}"
            )
        return name, planes[name]
    number = int(bit)
    if not 0 <= number < 63:
        raise InputError(f"{where}: mask bit {bit!r}; bits are numbered from 0 to 62")
    names = [name for name, value in planes.items() if value == number]
    return (names[0] if names else f"bit {number}"), number


def _check_bits(
    bits: Mapping[str, int], mask: np.ndarray, named: Mapping[str, int], where: str
) -> None:
    """Refuse bits beyond the width of the mask, and unnamed ones that are set in no pixel."""
    width = 1 if mask.dtype.kind == "b" else 8 * mask.dtype.itemsize
    flags = int(np.bitwise_or.reduce(mask.astype(np.int64), axis=None))
    for bit in bits.values():
        unnamed = bool(named) and bit not in named.values() and not (flags >> bit) & 1
        if bit >= width or unnamed:
            known = [f"{name} ({value})" for name, value in named.items()]
            known = known or [str(number) for number in range(width) if (flags >> number) & 1]
            raise InputError(
                f"{where}: no mask bit {bit}; it has {', '.join(known) or 'no bit set'}"
            )


def saturated_pixels(
    data: np.ndarray, header: Mapping[str, Any], saturation: float | None, where: str = "image"
) -> tuple[np.ndarray, str]:
    """Find pixels at or above the saturation level.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Pixel values.
    header : mapping
        Header of the image, with the level as ``SATURATE`` if none is given.
    saturation : float, optional
        The level, in the unit of the pixels; infinite for none.
    where : str
        Name of the image, for messages.

    Returns
    -------
    bad : ndarray of bool, shape (ny, nx)
        True where a pixel is saturated.
    note : str
        The number of saturated pixels, in one line; empty if there is no level.

    Raises
    ------
    InputError
        If the level is not above zero.
    """
    origin = "as asked"
    if saturation is None:
        saturation, origin = find_number(header, ("SATURATE",)), "SATURATE of the header"
        if saturation is None or not saturation > 0:
            return np.zeros(data.shape, bool), ""
    if not saturation > 0:
        raise InputError(f"{where}: saturation {saturation!r}; it must be above zero")
    with np.errstate(invalid="ignore"):
        bad = data >= saturation
    return bad, f"saturation: {int(bad.sum())} pixels at or above {saturation:g} ({origin}) masked"
