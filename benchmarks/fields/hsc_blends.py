"""Real blends of Hyper Suprime-Cam on COSMOS, cut out by the deblender of the survey.

A file has five bands. Pixels outside the footprint of the blend have zero weight. Positions of the
survey's own detections are in the files as well; they are no truth, and are not read.
"""

from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.support.data import data_path

FOLDER = "hsc_blends"
"""Folder of the blends, relative to the reference data."""
BANDS = "grizy"
"""Bands of a file, in its order."""
ZERO_POINT = 27.0
"""Magnitude of one unit of flux."""


def blend_files() -> list[Path]:
    """Return the files of all blends, sorted by name."""
    return sorted(data_path(FOLDER).glob("*.npz"))


def find_blend(name: str) -> str:
    """Return the whole name of a blend.

    Parameters
    ----------
    name : str
        Name of the file without its ending, or the last digits of that name.

    Raises
    ------
    click.ClickException
        If there is no such blend, or several have that ending.
    """
    names = [path.stem for path in blend_files() if path.stem.endswith(name)]
    if len(names) != 1:
        raise click.ClickException(f"{name}: {len(names)} blends have names with this ending")
    return names[0]


def read_blend(name: str, bands: str = "i") -> list[Any]:
    """Read a blend.

    Parameters
    ----------
    name : str
        Whole name of the blend.
    bands : str
        Bands to read, in the order of the images.

    Returns
    -------
    list of Image
        One image for each band. Their fluxes have the zero point `ZERO_POINT`.
    """
    from probcat import Image

    images = []
    with np.load(data_path(f"{FOLDER}/{name}.npz")) as arrays:
        for band in bands:
            number = BANDS.index(band)
            weight = arrays["weights"][number]
            images.append(
                Image.from_arrays(
                    arrays["images"][number],
                    1.0 / np.where(weight > 0.0, weight, 1.0),
                    mask=weight <= 0.0,
                    psf=arrays["psfs"][number],
                    band=band,
                    zero_point=ZERO_POINT,
                    name=f"{name} {band}",
                )
            )
    return images
