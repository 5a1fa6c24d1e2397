"""A catalog as a region file of DS9."""

from __future__ import annotations

from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.numerics.shape_matrices import major_axis_angle, semi_axes

FRAMES = ("image", "fk5")
"""Coordinate systems of regions."""
_COLOURS = ((0.9, "green"), (0.5, "yellow"), (0.0, "red"))
"""Smallest probability of existence and its colour, from the most probable objects on."""
_STAR_RADIUS = 1.5
"""Radius in pixels of the circle about a star."""


def format_regions(table: Any, frame: str | None = None) -> str:
    """Return objects as the text of a DS9 region file.

    Stars are circles, galaxies are their half-light ellipses. The label of a region is the number
    of the object; its colour shows the probability of existence: green from 0.9, yellow from 0.5,
    red below.

    Parameters
    ----------
    table : astropy.table.Table
        Catalog with the columns of ``catalog.fits``.
    frame : {"image", "fk5"}, optional
        Coordinate system; by default fk5 if the catalog has `ra` and `dec`.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the frame is not known, or fk5 is asked for and the catalog has no celestial positions.

    Notes
    -----
    The format is version 4.1 of DS9's reference manual. In the frame ``image``, pixels count from
    1, and the angle of a galaxy is that of its major axis from +x towards +y.
    """
    sky = "ra" in table.colnames
    frame = frame or ("fk5" if sky else "image")
    if frame not in FRAMES:
        raise InputError(f"unknown frame {frame!r}: use image or fk5")
    if frame == "fk5" and not sky:
        raise InputError(
            "the catalog has no ra and dec, since its image has no WCS; use the frame image"
        )
    lines = [
        "# Region file format: DS9 version 4.1",
        'global font="helvetica 10 normal roman" select=1 edit=1 move=1 delete=1 include=1',
        frame,
    ]
    scale = _pixel_scale(table) if frame == "fk5" else None
    positions = _fk5(table) if frame == "fk5" else np.stack([table["x"], table["y"]], axis=1)
    for row, position, colour in zip(table, positions, _colours(table), strict=True):
        where = ",".join(_coordinate(value, frame) for value in position)
        lines.append(f"{_shape(row, where, scale)} # color={colour} text={{{row['object_id']}}}")
    return "\n".join(lines) + "\n"


def _coordinate(value: Any, frame: str) -> str:
    """Coordinate as DS9 counts it, to 0.001 pixels or 1e-8 degrees."""
    return f"{float(value):.8f}" if frame == "fk5" else f"{float(value) + 1.0:.3f}"


def _fk5(table: Any) -> np.ndarray:
    """Right ascension and declination in FK5, which differs from ICRS by about 0.02 arcsec."""
    from astropy.coordinates import SkyCoord

    system = str(table.meta.get("RADESYS", "ICRS")).lower()
    ra, dec = (np.asarray(table[name], dtype=float) for name in ("ra", "dec"))
    sky = SkyCoord(ra, dec, unit="deg", frame=system).fk5
    return np.stack([sky.ra.deg, sky.dec.deg], axis=1)


def _pixel_scale(table: Any) -> float:
    """Arcseconds per pixel."""
    scale = table.meta.get("PIXSCALE")
    if scale is None:
        raise InputError(
            "the catalog has no PIXSCALE; condense the run again, or use the frame image"
        )
    return float(scale)


def _colours(table: Any) -> list[str]:
    """Colours of the objects."""
    return [
        next(colour for least, colour in _COLOURS if prob >= least)
        for prob in np.nan_to_num(np.asarray(table["prob_exist"], dtype=float))
    ]


def _shape(row: Any, where: str, scale: float | None) -> str:
    """Circle about a star, or half-light ellipse of a galaxy."""
    unit, size = ("", 1.0) if scale is None else ('"', scale)
    g1, g2 = float(row["ellipticity_1"]), float(row["ellipticity_2"])
    axes = semi_axes(float(row["half_light_radius"]) * size, g1, g2)
    if row["prob_star"] >= 0.5 or not np.isfinite(axes).all():
        return f"circle({where},{_STAR_RADIUS * size:.3f}{unit})"
    angle = np.degrees(major_axis_angle(g1, g2))
    if scale is not None:
        # DS9 counts from the west towards the north.
        angle = float(row["position_angle"]) + 90.0
    lengths = ",".join(f"{axis:.3f}{unit}" for axis in axes)
    return f"ellipse({where},{lengths},{angle % 360.0:.2f})"
