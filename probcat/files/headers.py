"""What the header of an image says about it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

_ZERO_POINTS = ("MAGZERO", "MAGZPT", "MAGZP", "MAG_ZP", "ZEROPT", "ZEROPNT", "ZPT", "ZP", "ABZP")
# Jy = 8.90 AB (Oke & Gunn 1983); a nanomaggy is 22.5 AB by definition.
_UNIT_ZERO_POINTS = {
    "jy": 8.90,
    "mjy": 16.40,
    "ujy": 23.90,
    "njy": 31.40,
    "nanomaggy": 22.5,
    "nanomaggies": 22.5,
    "nmgy": 22.5,
}
_BANDS = ("FILTER", "BAND", "FILTNAM")
_OVERSAMPLING = ("OVERSAMP", "OVERSMP", "PSFOVER")


def find_number(header: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    """Give the first of some keywords that holds a finite number, or None."""
    for name in names:
        value = header.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def find_gain(header: Mapping[str, Any]) -> float | None:
    """Give the gain in electrons per unit if the header holds a positive one."""
    gain = find_number(header, ("GAIN", "EGAIN", "GAINEFF"))
    return gain if gain is not None and gain > 0 else None


def find_zero_point(header: Mapping[str, Any], unit: str = "") -> float | None:
    """Give the AB magnitude of one unit.

    Parameters
    ----------
    header : mapping
        Searched for ``MAGZERO``, ``MAGZPT``, ``ZP``, ... and for ``FLUXMAG0``.
    unit : str
        Unit of the pixels: janskys and nanomaggies have a zero point of their own.

    Returns
    -------
    float or None
    """
    zero_point = find_number(header, _ZERO_POINTS)
    if zero_point is not None:
        return zero_point
    flux = find_number(header, ("FLUXMAG0",))
    if flux is not None and flux > 0:
        return 2.5 * math.log10(flux)
    # "mJy" and "MJy" differ only by case: the latter has no entry of its own.
    text = unit.strip()
    return None if text.startswith("MJy") else _UNIT_ZERO_POINTS.get(text.lower())


def find_band(header: Mapping[str, Any]) -> str:
    """Give the name of the filter, or an empty string."""
    for name in _BANDS:
        value = header.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def find_unit(header: Mapping[str, Any]) -> str:
    """Give the unit of the pixels, or an empty string."""
    return str(header.get("BUNIT", "")).strip()


def find_oversampling(header: Mapping[str, Any]) -> int | None:
    """Give the samples per pixel of a PSF if its header states them."""
    value = find_number(header, _OVERSAMPLING)
    return None if value is None else int(value) if value == int(value) else None


def find_origin(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """Give the pixel (x, y) of a frame at which the first pixel of a section of it is.

    IRAF and others say so by ``LTV1`` and ``LTV2``; of a binned section nothing is said here.
    """
    scales = [header.get(name, 1.0) for name in ("LTM1_1", "LTM2_2")]
    offsets = [find_number(header, (name,)) for name in ("LTV1", "LTV2")]
    if None in offsets or any(scale != 1.0 for scale in scales):
        return None
    # Not -0.0.
    x, y = (0.0 - float(offset) for offset in offsets if offset is not None)
    return x, y


def find_wcs(header: Any, hdus: Any = None) -> tuple[Any, str]:
    """Build the celestial coordinate system of an image.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the image.
    hdus : astropy.io.fits.HDUList, optional
        The file, for distortions that stand in other extensions.

    Returns
    -------
    wcs : astropy.wcs.WCS or None
    note : str
        Why there is none although the header tries, or an empty string.
    """
    from astropy.wcs import WCS

    try:
        with warnings.catch_warnings():
            # Astropy mends dates and units of older headers, and says so each time.
            warnings.simplefilter("ignore")
            wcs = WCS(header, fobj=hdus)
            if not wcs.has_celestial:
                return None, ""
            wcs = wcs if wcs.naxis == 2 else wcs.celestial
            wcs.all_pix2world(0.0, 0.0, 0)
    except Exception as error:
        # wcslib reports a malformed header through a dozen exception classes.
        reason = str(error).strip().splitlines()
        return None, f"WCS not understood and left out: {reason[0] if reason else error!r}"
    return wcs, ""
