"""Tables of stars that a PSF is built from, with positions in pixels or on the sky."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.psf.from_stars.estimate import estimate_psf


@dataclass(frozen=True)
class StarPSF:
    """Request for a PSF that is built from stars of the image.

    Parameters
    ----------
    table : path_like or None
        Table of the stars; None if stars are to be selected.
    """

    table: str | os.PathLike[str] | None

    @classmethod
    def asked(cls, estimate: bool, table: Any, psf: Any, name: str) -> Any:
        """Return a request if a PSF is to be built from stars, or else the PSF that was given.

        Parameters
        ----------
        estimate : bool
            Whether to build a PSF from selected stars.
        table : path_like or None
            Table of stars to build a PSF from.
        psf : object
            The PSF that was given, or None.
        name : str
            Name of the image, for messages.

        Raises
        ------
        InputError
            If a PSF is given and is also to be built.
        """
        if not isinstance(estimate, bool):
            raise InputError(f"{name}: estimate_psf = {estimate!r}; it must be true or false")
        if not estimate and table is None:
            return psf
        if psf is not None:
            raise InputError(f"{name}: a PSF is given, and one is to be estimated; choose one")
        return cls(table)

    def build(
        self,
        data: np.ndarray,
        variance: np.ndarray,
        bad: np.ndarray,
        wcs: Any,
        oversampling: int | None,
        name: str,
    ) -> Any:
        """Return the PSF, with arguments as in `probcat.psf.from_stars.estimate.estimate_psf`."""
        stars = None if self.table is None else read_stars(self.table, wcs)
        return estimate_psf(
            data, variance, bad, positions=stars, oversampling=oversampling, where=name
        )


def read_stars(path: str | os.PathLike[str], wcs: Any = None) -> np.ndarray:
    """Read positions of stars.

    Parameters
    ----------
    path : path_like
        Any table that astropy reads, with columns ``ra, dec`` (ICRS, in degrees or the unit of
        the column) or ``x, y`` (pixels, counted from 0), in upper or lower case.
    wcs : astropy.wcs.WCS, optional
        WCS of the image. If it is given, ``ra, dec`` take precedence over ``x, y``.

    Returns
    -------
    ndarray, shape (n, 2)
        Positions (x, y) in pixels, counted from 0; rows without a position are left out.

    Raises
    ------
    InputError
        If there is no such table, or it has no usable columns of positions.
    """
    positions = find_positions(read_table(path), path, wcs)
    return positions[np.all(np.isfinite(positions), axis=1)]


def find_positions(table: Any, path: str | os.PathLike[str], wcs: Any = None) -> np.ndarray:
    """Return the positions of the rows of a table.

    Parameters
    ----------
    table : astropy.table.Table
        A table with columns as in `read_stars`.
    path : path_like
        Name of the table, for messages.
    wcs : astropy.wcs.WCS, optional
        WCS of the image, as in `read_stars`.

    Returns
    -------
    ndarray, shape (n, 2)
        Positions (x, y) in pixels, counted from 0; not finite where a row has none.

    Raises
    ------
    InputError
        If the table has no usable columns of positions.
    """
    from astropy import units
    from astropy.coordinates import SkyCoord

    names = {name.strip().lower(): name for name in table.colnames}
    on_sky = {"ra", "dec"} <= set(names)
    if on_sky and wcs is not None:
        columns = [table[names[name]] for name in ("ra", "dec")]
        values = [numbers(column, path) for column in columns]
        own = [getattr(column, "unit", None) or units.deg for column in columns]
        sky = SkyCoord(*(v * unit for v, unit in zip(values, own, strict=True)), frame="icrs")
        x, y = (np.atleast_1d(np.asarray(part, float)) for part in wcs.world_to_pixel(sky))
    elif {"x", "y"} <= set(names):
        x, y = (numbers(table[names[name]], path) for name in ("x", "y"))
    elif on_sky:
        raise InputError(f"{path}: has ra, dec, but the image has no WCS; give columns x, y")
    else:
        raise InputError(
            f"{path}: no columns x, y or ra, dec; it has {', '.join(table.colnames) or 'none'}"
        )
    return np.stack([x, y], axis=1)


def read_table(path: str | os.PathLike[str]) -> Any:
    """Read a table, in the format of its name or contents, or else as plain text.

    Raises
    ------
    InputError
        If there is no such file, or it is not a table.
    """
    from astropy.table import Table

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    reasons = []
    with warnings.catch_warnings():
        # Corrections of units and headers by astropy do not matter here.
        warnings.simplefilter("ignore")
        for options in ({}, {"format": "ascii"}):
            try:
                return Table.read(path, **options)
            except Exception as error:
                # The readers of astropy raise a dozen classes of exceptions.
                reasons.append((str(error).strip().splitlines() or [repr(error)])[0])
    raise InputError(f"{path}: not a table that astropy reads ({reasons[-1]})")


def numbers(column: Any, path: str | os.PathLike[str]) -> np.ndarray:
    """Return the values of a column, NaN where it is masked; refuse other than numbers."""
    try:
        return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
    except (TypeError, ValueError):
        raise InputError(f"{path}: column {column.name} does not hold numbers") from None
