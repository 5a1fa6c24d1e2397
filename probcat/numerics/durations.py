"""Durations as people write them."""

from __future__ import annotations

import math
import re

from probcat.errors import InputError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Seconds in every unit of a duration."""


def parse_duration(value: float | str) -> float:
    """Return a duration in seconds.

    Parameters
    ----------
    value : float or str
        Seconds, or a text of a number and one of the units s, m and h, such as ``"90s"``, ``"10m"``
        or ``"1.5h"``.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the value is no duration, or is not positive.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([smh]?)\s*", str(value))
    seconds = float(found[1]) * _SECONDS[found[2]] if found else math.nan
    if not seconds > 0.0:
        raise InputError(
            f'{value!r} is no duration; give seconds, or a text such as "90s" or "10m"'
        )
    return seconds
