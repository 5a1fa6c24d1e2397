"""Images of the model, on the pixels of the data."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from probcat.io.files import Cards, write_hdus


def write_model(
    path: str | os.PathLike[str],
    image: Any,
    model: np.ndarray,
    model_std: np.ndarray,
    cards: Cards | None = None,
) -> None:
    """Write the posterior model of an image.

    Parameters
    ----------
    path : path_like
        An existing file is replaced. It gets the extensions ``MODEL`` and ``MODEL_STD`` in
        the image's unit, and ``RESIDUAL`` in standard deviations of the noise (NaN where
        the pixel weighs nothing), with the image's WCS.
    image : probcat.Image
        The data.
    model, model_std : ndarray, shape (ny, nx)
        Posterior mean and standard deviation of the model, background included.
    cards : mapping, optional
        Keywords for the headers.
    """
    from astropy.io import fits

    header = image.wcs.to_header(relax=True) if image.wcs is not None else fits.Header()
    residual = (image.clean_data - model) * np.sqrt(image.weight)
    residual = np.where(image.weight > 0, residual, np.nan)
    hdus = []
    for name, values, unit in (
        ("MODEL", model, image.unit),
        ("MODEL_STD", model_std, image.unit),
        ("RESIDUAL", residual, "sigma"),
    ):
        hdu = fits.ImageHDU(values.astype(np.float32), header, name=name)
        if unit:
            hdu.header["BUNIT"] = unit
        hdus.append(hdu)
    write_hdus(path, hdus, cards)
