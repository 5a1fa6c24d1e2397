"""The truth read from a file: a table of sources, noise-free images, labels or masks."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.files.fits import image_hdus, open_fits
from probcat.image.star_list import read_table
from probcat.metrics.truth import Truth, truth_from_light, truth_from_masks, truth_from_table

_MASK_NAMES = ("y_true", "masks", "mask", "y", "contours")
"""Names of the array of masks in a ``.npz`` file, the preferred one first."""
_TABLES = (".csv", ".ecsv", ".txt", ".dat", ".xml", ".vot", ".parquet")
"""Endings of files of tables; FITS files are told apart by their extensions."""


def read_truth(
    path: str | os.PathLike[str], shape: tuple[int, int] | None = None, wcs: Any = None
) -> Truth:
    """Read the truth of an image from a file.

    Parameters
    ----------
    path : path_like
        One of

        - a table (FITS, ECSV, CSV, ...) with `x, y` (pixels, from 0) or `ra, dec` (degrees), and
          optionally `flux` or `mag`, or `flux_r, mag_r, ...` of several bands, and a type:
          `is_star` or `extended` (true or false), or `type` ("star" or "galaxy");
        - a FITS file with noise-free images `TRUTH_<band>`, a plane for every component, and
          optionally a table with a row for every component, whose column `object_id` (or
          `object`, `index`, `source_id`, `id`) gives the object that it belongs to;
        - a FITS image of labels, 0 for no object, or a cube of masks, a plane for every object;
        - a numpy file: `.npy` with masks of shape (n, ny, nx) or (ny, nx, n) or with labels, or
          `.npz` with such an array called `y_true` or `masks`.
    shape : tuple of int, optional
        (ny, nx) of the image, which decides the order of the axes of masks.
    wcs : astropy.wcs.WCS, optional
        WCS of the image, for `ra, dec`.

    Returns
    -------
    Truth

    Raises
    ------
    InputError
        If there is no such file, or it is none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return truth_from_masks(_read_array(path), shape, str(path))
    if suffix in _TABLES:
        return truth_from_table(read_table(path), str(path), wcs)
    return _read_fits(path, shape, wcs)


def _read_fits(path: Path, shape: tuple[int, int] | None, wcs: Any) -> Truth:
    """Read noise-free images, a table or masks, depending on the extensions of a FITS file."""
    from astropy.io import fits
    from astropy.table import Table

    with open_fits(path) as hdus:
        images = image_hdus(hdus)
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        tables = [hdu for hdu in tables if not isinstance(hdu, fits.CompImageHDU)]
        light = {name: hdu for name, hdu in images.items() if name.startswith("TRUTH")}
        if light:
            cubes = {
                (str(hdu.header.get("FILTER", "")).strip() or name[6:].lower()): np.array(hdu.data)
                for name, hdu in light.items()
            }
            table = Table.read(tables[0]) if tables else None
            return truth_from_light(cubes, table, str(path), wcs)
        if tables:
            return truth_from_table(Table.read(tables[0]), str(path), wcs)
        if len(images) == 1:
            return truth_from_masks(np.array(next(iter(images.values())).data), shape, str(path))
    raise InputError(
        f"{path}: holds no truth; it needs images TRUTH_<band>, a table of sources, or one image "
        f"of labels or masks (found: {', '.join(images) or 'no image'})"
    )


def _read_array(path: Path) -> np.ndarray:
    """Read masks or labels from a numpy file."""
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return stored
        with stored:
            name = next((name for name in _MASK_NAMES if name in stored.files), None)
            if name is None:
                present = ", ".join(stored.files) or "nothing"
                raise InputError(f"{path}: no array y_true or masks; it holds {present}")
            return np.asarray(stored[name])
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable numpy file ({error})") from None
