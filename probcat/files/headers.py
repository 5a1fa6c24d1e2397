"""Values in the headers of images: gain, zero point, band, unit, PSF sampling and WCS."""

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
    """Return the value of the first of some keywords that holds a finite number, or None."""
    for name in names:
        value = header.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def find_gain(header: Mapping[str, Any]) -> float | None:
    """Return the gain in electrons per unit, or None if the header has no positive one."""
    gain = find_number(header, ("GAIN", "EGAIN", "GAINEFF"))
    return gain if gain is not None and gain > 0 else None


def find_zero_point(header: Mapping[str, Any], unit: str = "") -> float | None:
    """Return the zero point: the AB magnitude of a source of one unit.

    Parameters
    ----------
    header : mapping
        Header with ``MAGZERO``, ``MAGZPT``, ``ZP``, ... or ``FLUXMAG0``, the flux of
        magnitude zero.
    unit : str
        Unit of the pixels, which fixes the zero point if it is a jansky or a nanomaggy.

    Returns
    -------
    float or None
        The zero point, or None if it is not known.
    """
    zero_point = find_number(header, _ZERO_POINTS)
    if zero_point is not None:
        return zero_point
    flux = find_number(header, ("FLUXMAG0",))
    if flux is not None and flux > 0:
        return 2.5 * math.log10(flux)
    # "mJy" and "MJy" differ only by case, and only the former is in the table.
    text = unit.strip()
    return None if text.startswith("MJy") else _UNIT_ZERO_POINTS.get(text.lower())


def find_band(header: Mapping[str, Any]) -> str:
    """Return the name of the filter, or an empty string."""
    for name in _BANDS:
        value = header.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def find_unit(header: Mapping[str, Any]) -> str:
    """Return the unit of the pixels, or an empty string."""
    return str(header.get("BUNIT", "")).strip()


def find_oversampling(header: Mapping[str, Any]) -> int | None:
    """Return the samples per pixel of a PSF, or None if its header has no whole number."""
    value = find_number(header, _OVERSAMPLING)
    return None if value is None else int(value) if value == int(value) else None


def find_origin(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the pixel (x, y) of the full frame that is the first pixel of a cut-out, or None.

    IRAF and others store it as ``-LTV1`` and ``-LTV2``. Binned cut-outs are not supported: the
    result is then None.
    """
    scales = [header.get(name, 1.0) for name in ("LTM1_1", "LTM2_2")]
    offsets = [find_number(header, (name,)) for name in ("LTV1", "LTV2")]
    if None in offsets or any(scale != 1.0 for scale in scales):
        return None
    # The difference is 0.0 where the negative would be -0.0.
    x, y = (0.0 - float(offset) for offset in offsets if offset is not None)
    return x, y


def find_wcs(header: Any, hdus: Any = None) -> tuple[Any, str]:
    """Build the celestial coordinate system of an image.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the image.
    hdus : astropy.io.fits.HDUList, optional
        The file, for distortions that are stored in other extensions.

    Returns
    -------
    wcs : astropy.wcs.WCS or None
        The celestial WCS, or None if the header has none that can be used.
    note : str
        The reason if the header has a WCS that cannot be used, or else an empty string.
    """
    from astropy.wcs import WCS

    try:
        with warnings.catch_warnings():
            # Astropy corrects dates and units of older headers, with a warning each time.
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
