"""Images of the model, on the pixels of the data."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from probcat.io.files import Cards, write_hdus

if TYPE_CHECKING:
    from probcat.image import Image
    from probcat.posterior import PosteriorModel


def write_model(
    path: str | os.PathLike[str], image: Image, model: PosteriorModel, cards: Cards | None = None
) -> None:
    """Write the posterior model of an image.

    Parameters
    ----------
    path : path_like
        An existing file is replaced. It gets the extensions ``MODEL`` and ``MODEL_STD`` in
        the image's unit, and ``RESIDUAL`` in standard deviations of the noise (NaN where
        the pixel weighs nothing), with the image's WCS.
    image : Image
        Gives the WCS and the unit.
    model : PosteriorModel
        Mean, standard deviation and residual.
    cards : mapping, optional
        Keywords for the headers.
    """
    from astropy.io import fits

    header = fits.Header() if image.wcs is None else image.wcs.to_header(relax=True)
    hdus = []
    for name, values, unit in (
        ("MODEL", model.mean, image.unit),
        ("MODEL_STD", model.std, image.unit),
        ("RESIDUAL", model.residual, "sigma"),
    ):
        hdu = fits.ImageHDU(np.asarray(values, np.float32), header, name=name)
        if unit:
            hdu.header["BUNIT"] = unit
        hdus.append(hdu)
    write_hdus(path, hdus, cards)
