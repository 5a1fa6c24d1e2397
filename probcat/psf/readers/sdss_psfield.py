"""Reading PSFs from psField files of the Sloan Digital Sky Survey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.psf.position_weights import polynomial
from probcat.psf.varying import VaryingPSF

if TYPE_CHECKING:
    from probcat.psf.psf import PSF

BANDS = "ugriz"
"""Bands of a psField file, in the order of its extensions."""
_COLUMNS = {"NROW_B", "NCOL_B", "C", "RROWS", "RNROW", "RNCOL"}
"""Columns of a table of eigenimages."""
_SCALE = 1000.0
"""Unit of length of the polynomials in pixels."""
_FIELD = (2048, 1489)
"""Columns and rows of a field."""


def is_psfield(hdus: Any) -> bool:
    """Whether a file is a psField file, with a table of eigenimages for each of five bands."""
    tables = [hdus[number] for number in range(1, 6)] if len(hdus) > 6 else []
    names = [getattr(getattr(hdu, "columns", None), "names", ()) for hdu in tables]
    return bool(names) and all({name.upper() for name in own} >= _COLUMNS for own in names)


def read_psfield(hdus: Any, band: str | None, where: str) -> PSF:
    """Make the PSF of a field in one band.

    The PSF is a sum of eigenimages whose weights are polynomials of the position,

        sum_ij c[i, j] (row / 1000)**i (column / 1000)**j,

    with pixel centres at half-integer rows and columns (Lupton et al. 2001, ADASS X, ASP Conf.
    Ser. 238, 269; https://www.sdss4.org/dr17/algorithms/read_psf).

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        The psField file.
    band : str or None
        Band of the image, one of `BANDS`.
    where : str
        Name of the file, for messages.

    Returns
    -------
    PSF
        The PSF in pixels of the whole frame; a `probcat.VaryingPSF` if it varies there.

    Raises
    ------
    InputError
        If the band is not one of the five, or its table is empty or inconsistent.
    """
    name = (band or "").strip().lower()
    if len(name) != 1 or name not in BANDS:
        raise InputError(
            f"{where}: holds PSFs of the bands {', '.join(BANDS)}; the image's is "
            f"{band or 'not known'}: set band"
        )
    where = f"{where}[{name}]"
    table = hdus[BANDS.index(name) + 1].data
    if not len(table):
        raise InputError(f"{where}: holds no eigenimages")
    images, coefficients = [], np.zeros((5, 5, len(table)))
    for number, row in enumerate(table):
        shape = int(row["RNROW"]), int(row["RNCOL"])
        rows, cols = int(row["NROW_B"]), int(row["NCOL_B"])
        matrix, pixels = np.asarray(row["C"], float), np.asarray(row["RROWS"], float)
        if pixels.size != shape[0] * shape[1] or matrix.size != 25 or not 0 < rows * cols <= 25:
            raise InputError(
                f"{where}: eigenimage {number} has {pixels.size} pixels for {shape} and "
                f"{matrix.size} coefficients for {rows} x {cols}"
            )
        images.append(pixels.reshape(shape))
        # Coefficients beyond the order of the polynomial are undefined.
        coefficients[:rows, :cols, number] = matrix.reshape(5, 5)[:rows, :cols]
    if len({image.shape for image in images}) > 1:
        raise InputError(f"{where}: eigenimages of different shapes")
    rows, cols = (int(table[name].max()) for name in ("NROW_B", "NCOL_B"))
    variation = polynomial(
        coefficients[:rows, :cols],
        centre=(-0.5, -0.5),
        scale=(_SCALE, _SCALE),
        low=np.full(2, -0.5),
        high=np.array(_FIELD) - 0.5,
    )
    try:
        return VaryingPSF.from_components(np.stack(images), variation)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
