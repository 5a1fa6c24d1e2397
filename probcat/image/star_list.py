"""Stars to build a PSF from: a table of positions, in pixels or on the sky."""

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
    """A PSF that is to be built from stars of the image: those of a table, or chosen ones."""

    table: str | os.PathLike[str] | None

    @classmethod
    def asked(cls, estimate: bool, table: Any, psf: Any, name: str) -> Any:
        """Stand in for the PSF if it is to be built; refuse one that is given besides."""
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
        """Build it."""
        stars = None if self.table is None else read_stars(self.table, wcs)
        return estimate_psf(
            data, variance, bad, positions=stars, oversampling=oversampling, where=name
        )


def read_stars(path: str | os.PathLike[str], wcs: Any = None) -> np.ndarray:
    """Read positions of stars.

    Parameters
    ----------
    path : path_like
        Any table that astropy reads, with the columns ``ra, dec`` (degrees, or their own
        unit; ICRS) or ``x, y`` (pixels, from 0), in upper or lower case.
    wcs : astropy.wcs.WCS, optional
        Of the image: with it ``ra, dec`` go before ``x, y``.

    Returns
    -------
    ndarray, shape (n, 2)
        Pixels (x, y), from 0.

    Raises
    ------
    InputError
        If there is no such table, or it has no positions that can be used.
    """
    positions = find_positions(read_table(path), path, wcs)
    return positions[np.all(np.isfinite(positions), axis=1)]


def find_positions(table: Any, path: str | os.PathLike[str], wcs: Any = None) -> np.ndarray:
    """Find the positions of the rows of a table, as `read_stars` does.

    Returns
    -------
    ndarray, shape (n, 2)
        Pixels (x, y), from 0; not finite where a row has none.

    Raises
    ------
    InputError
        If the table has no positions that can be used.
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
    """Read a table in the format that its name or content says, or else as plain text."""
    from astropy.table import Table

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    reasons = []
    with warnings.catch_warnings():
        # Units and headers that astropy mends do not matter here.
        warnings.simplefilter("ignore")
        for options in ({}, {"format": "ascii"}):
            try:
                return Table.read(path, **options)
            except Exception as error:
                # Its readers fail in a dozen ways.
                reasons.append((str(error).strip().splitlines() or [repr(error)])[0])
    raise InputError(f"{path}: not a table that astropy reads ({reasons[-1]})")


def numbers(column: Any, path: str | os.PathLike[str]) -> np.ndarray:
    """Values of a column, NaN where it is masked."""
    try:
        return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
    except (TypeError, ValueError):
        raise InputError(f"{path}: column {column.name} does not hold numbers") from None
