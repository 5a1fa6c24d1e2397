"""Images from the NDData and CCDData containers of astropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.files.headers import find_band, find_gain, find_wcs, find_zero_point
from probcat.image.variance import choose_variance


def unpack_nddata(
    ccd: Any,
    variance: Any = None,
    gain: float | None = None,
    read_noise: float | None = None,
    model_variance: bool = False,
    name: str = "",
) -> dict[str, Any]:
    """Take an ``NDData`` apart into the arguments of `probcat.Image.from_arrays`.

    Parameters
    ----------
    ccd : astropy.nddata.NDData
        The data, with their uncertainty of any type, mask, unit, WCS and header.
    variance : array_like, optional
        Variance to use in place of the uncertainty.
    gain, read_noise : float, optional
        Detector constants for `probcat.image.variance.build_variance`, if there is neither a
        variance nor an uncertainty.
    model_variance : bool
        As in `probcat.Image.from_arrays`. An uncertainty is then not used, since it includes the
        photon noise of sources.
    name : str
        Name of the image, for messages.

    Returns
    -------
    dict
        Values of ``data, variance, mask, psf, gain, wcs, band, zero_point, unit, name, notes,
        model_variance``.

    Raises
    ------
    InputError
        If the uncertainty cannot be converted into a variance, or the data are not an image.
    """
    where = name or "image"
    data = np.asarray(ccd.data)
    if data.ndim != 2:
        raise InputError(f"{where}: the pixels have shape {data.shape}; give a 2-d image")
    mask = None if ccd.mask is None else np.broadcast_to(np.asarray(ccd.mask, bool), data.shape)
    header = ccd.meta if ccd.meta is not None else {}
    if variance is None and ccd.uncertainty is not None and not model_variance:
        variance = _variance_of(ccd.uncertainty, where)
    header_gain = find_gain(header)
    notes = []
    if variance is None:
        variance, note = choose_variance(
            data.astype(np.float64),
            np.zeros(data.shape, bool) if mask is None else mask,
            gain=gain,
            read_noise=read_noise,
            header_gain=header_gain,
            of_model=model_variance,
            where=where,
        )
        notes.append(note)
    unit = "" if ccd.unit is None else str(ccd.unit)
    wcs = ccd.wcs
    if wcs is None and hasattr(header, "cards"):
        wcs, _ = find_wcs(header)
    return {
        "data": data,
        "variance": variance,
        "mask": mask,
        "psf": getattr(ccd, "psf", None),
        "gain": header_gain if gain is None else gain,
        "wcs": wcs if getattr(wcs, "has_celestial", False) else None,
        "band": find_band(header),
        "zero_point": find_zero_point(header, unit),
        "unit": unit,
        "name": name,
        "notes": tuple(notes),
        "model_variance": model_variance,
    }


def _variance_of(uncertainty: Any, where: str) -> np.ndarray:
    """Return the variance of a standard deviation, a variance or an inverse variance."""
    from astropy.nddata import VarianceUncertainty

    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(uncertainty.represent_as(VarianceUncertainty).array)
    except (TypeError, AttributeError):
        kind = type(uncertainty).__name__
        raise InputError(
            f"{where}: an uncertainty of type {kind} is no variance; give StdDevUncertainty, "
            "VarianceUncertainty or InverseVariance"
        ) from None
