"""Pixel-assignment maps as compressed stamps, and model images, in FITS files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.files.fits import Cards, open_fits, write_hdus
from probcat.files.headers import find_wcs
from probcat.pixels.assignment import Assignment
from probcat.pixels.model_image import PosteriorModel

if TYPE_CHECKING:
    from probcat.image.image import Image

_UNASSIGNED = "UNASSIGNED_"
_BACKGROUND, _SNR_SQUARED = "BACKGROUND_PHOTON", "SNR_SQUARED"


def write_assignment(
    path: str | os.PathLike[str], assignment: Assignment, cards: Cards | None = None
) -> None:
    """Write pixel-assignment maps, compressed without loss.

    The table ``OBJECTS`` has one row for each object: ``object_id``, and ``x0, y0``, the image
    pixel (counted from 0) at which the object's stamps start. Every kind of map has a cube of
    stamps, one plane for each row (``LIGHT``, ``DOMINANT``, ``FOOTPRINT``, ``PHOTON``), and an
    image for sources that belong to no object (``UNASSIGNED_LIGHT``, ...). The images
    ``BACKGROUND_PHOTON`` and ``SNR_SQUARED`` hold the background's share of the photons and the
    squared signal-to-noise ratio. Images have the WCS of the image.

    Parameters
    ----------
    path : path_like
        An existing file is replaced.
    assignment : Assignment
        Maps of one image.
    cards : mapping, optional
        Keywords for the headers.
    """
    from astropy.io import fits

    origins = np.asarray(assignment.origins, dtype=np.int32).reshape(-1, 2)
    objects = fits.BinTableHDU.from_columns(
        [
            fits.Column("object_id", "K", array=np.asarray(assignment.object_ids)),
            fits.Column("x0", "J", unit="pix", array=origins[:, 1]),
            fits.Column("y0", "J", unit="pix", array=origins[:, 0]),
        ],
        name="OBJECTS",
    )
    objects.header["NY"] = assignment.shape[0], "rows of the image"
    objects.header["NX"] = assignment.shape[1], "columns of the image"
    objects.header["BAND"] = assignment.band
    hdus = [objects]
    for kind, stamps in assignment.stamps.items():
        # FITS has no arrays of length zero: without objects there are no stamps.
        if len(stamps):
            hdus.append(_packed(stamps, kind.upper(), min(len(stamps), 16)))
    images: dict[str, Any] = {
        _UNASSIGNED + kind.upper(): v for kind, v in assignment.unassigned.items()
    }
    images |= {_BACKGROUND: assignment.background, _SNR_SQUARED: assignment.snr_squared}
    for name, values in images.items():
        if values is not None:
            hdus.append(_packed(values, name))
            if assignment.wcs is not None:
                hdus[-1].header.update(assignment.wcs.to_header(relax=True))
    objects.header["KINDS"] = " ".join(assignment.stamps)
    write_hdus(path, hdus, cards)


def read_assignment(path: str | os.PathLike[str]) -> Assignment:
    """Read pixel-assignment maps.

    Parameters
    ----------
    path : path_like
        A file that `write_assignment` wrote.

    Returns
    -------
    Assignment
        Maps of one image.

    Raises
    ------
    InputError
        If there is no such file, or it holds no assignment.
    """
    with open_fits(path) as hdus:
        if "OBJECTS" not in hdus:
            raise InputError(f"{path}: no table OBJECTS; is it an assignment of probcat?")
        head, rows = hdus["OBJECTS"].header, hdus["OBJECTS"].data
        kinds = str(head["KINDS"]).split()
        stamps = {
            kind: _native(hdus[kind.upper()].data)
            if kind.upper() in hdus
            else np.zeros((0, 1, 1), np.float32)
            for kind in kinds
        }
        unassigned = {
            hdu.name.removeprefix(_UNASSIGNED).lower(): _native(hdu.data)
            for hdu in hdus
            if hdu.name.startswith(_UNASSIGNED)
        }
        # Maps may have neither.
        background, snr_squared = (
            _native(hdus[name].data) if name in hdus else None
            for name in (_BACKGROUND, _SNR_SQUARED)
        )
        first = next((hdu for hdu in hdus if hdu.name.startswith(_UNASSIGNED)), None)
        wcs = None if first is None else find_wcs(first.header, hdus)[0]
        return Assignment(
            object_ids=rows["object_id"].astype(np.int64),
            origins=np.stack([rows["y0"], rows["x0"]], axis=-1).astype(np.int64),
            stamps=stamps,
            unassigned=unassigned,
            shape=(int(head["NY"]), int(head["NX"])),
            band=str(head["BAND"]).strip(),
            background=background,
            snr_squared=snr_squared,
            wcs=wcs,
        )


def _packed(values: Any, name: str, planes: int = 0) -> Any:
    """Make a losslessly compressed extension with tiles of complete planes, or rows."""
    from astropy.io import fits

    values = np.asarray(values, dtype=np.float32)
    tile = (planes, *values.shape[1:]) if planes else (min(values.shape[0], 32), values.shape[1])
    return fits.CompImageHDU(
        values, name=name, compression_type="GZIP_2", quantize_level=0.0, tile_shape=tile
    )


def _native(values: Any) -> np.ndarray:
    """Copy into native float32, so that the file can be closed."""
    return np.array(values, dtype=np.float32)


def write_model(
    path: str | os.PathLike[str], image: Image, model: PosteriorModel, cards: Cards | None = None
) -> None:
    """Write the posterior model of an image.

    Parameters
    ----------
    path : path_like
        An existing file is replaced. The extensions ``MODEL`` and ``MODEL_STD`` are in the
        image's unit, ``RESIDUAL`` is in standard deviations of the noise (NaN where the pixel has
        zero weight); all have the image's WCS.
    image : Image
        Gives WCS and unit.
    model : PosteriorModel
        Model of the image.
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


def read_model(path: str | os.PathLike[str]) -> PosteriorModel:
    """Read the posterior model of an image.

    Parameters
    ----------
    path : path_like
        A file that `write_model` wrote.

    Returns
    -------
    PosteriorModel

    Raises
    ------
    InputError
        If there is no such file, or it holds no model.
    """
    with open_fits(path) as hdus:
        names = ("MODEL", "MODEL_STD", "RESIDUAL")
        lacking = [name for name in names if name not in hdus]
        if lacking:
            raise InputError(f"{path}: no extension {lacking[0]}; is it a model of probcat?")
        return PosteriorModel(*(np.array(hdus[name].data, np.float32) for name in names))
