"""Variance of pixels that come without one."""

from __future__ import annotations

import numpy as np

from probcat.errors import InputError
from probcat.numerics.robust import sky_level, sky_sigma

_UNEXPLAINED = 1.5
"""Ratio of the measured variance to the photon noise of the level, for a subtracted sky.

Above it the level is that of sources on a sky that was subtracted. In crowded fields with their
sky the ratio reaches 1.3.
"""


def choose_variance(
    data: np.ndarray,
    mask: np.ndarray,
    *,
    gain: float | None = None,
    read_noise: float | None = None,
    header_gain: float | None = None,
    of_model: bool = False,
    where: str = "image",
) -> tuple[np.ndarray, str]:
    """Build a variance with the photon noise of sources, or without if the model adds it.

    Parameters
    ----------
    data, mask, gain, read_noise, header_gain, where
        As in `build_variance`.
    of_model : bool
        Whether the model adds the photon noise of sources. The result is then `sky_variance`,
        with `gain` or else `header_gain`.

    Returns
    -------
    variance : ndarray, shape (ny, nx)
        Variance of every pixel, in the unit of the data squared.
    note : str
        What was done, in one line.

    Raises
    ------
    InputError
        As in `build_variance`, or if the model adds photon noise and there is no gain.
    """
    if of_model:
        gain = header_gain if gain is None else gain
        if gain is None:
            raise InputError(f"{where}: a variance from the model needs a gain; give --gain")
    if of_model and gain is not None:
        return sky_variance(data, mask, gain=gain, read_noise=read_noise, where=where)
    return build_variance(
        data, mask, gain=gain, read_noise=read_noise, header_gain=header_gain, where=where
    )


def build_variance(
    data: np.ndarray,
    mask: np.ndarray,
    *,
    gain: float | None = None,
    read_noise: float | None = None,
    header_gain: float | None = None,
    where: str = "image",
) -> tuple[np.ndarray, str]:
    """Build the variance of every pixel from the constants of the detector, or from the pixels.

    With a gain it follows the CCD equation, var = max(data, sky) / gain + (read_noise / gain)^2.
    Fainter pixels have the variance of the sky level, since a variance that follows the noise
    biases fits low. If the pixels are noisier than their level explains, the sky has been
    subtracted. Its noise is then measured from the pixels, as it is if no gain is given.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Pixel values.
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel must not be used.
    gain : float, optional
        Electrons per unit of ``data``, given by the user.
    read_noise : float, optional
        Read noise in electrons, given by the user.
    header_gain : float, optional
        Gain that the file states. It is used with ``read_noise``, and for the photon noise of
        sources if the noise of the sky is measured.
    where : str
        Name of the image, for messages.

    Returns
    -------
    variance : ndarray, shape (ny, nx)
        Variance of every pixel, in the unit of the data squared.
    note : str
        What was done, in one line.

    Raises
    ------
    InputError
        If a constant is not positive, or no noise can be measured.
    """
    if gain is not None and not (np.isfinite(gain) and gain > 0):
        raise InputError(f"{where}: gain {gain!r}; it must be positive, in electrons per unit")
    if read_noise is not None and not (np.isfinite(read_noise) and read_noise >= 0):
        raise InputError(f"{where}: read noise {read_noise!r}; it must not be negative")
    header_gain = header_gain if header_gain and header_gain > 0 else None
    detector_gain = header_gain if gain is None else gain
    if read_noise is not None and detector_gain is None:
        raise InputError(f"{where}: a read noise in electrons needs a gain too; give --gain")
    good = ~mask & np.isfinite(data)
    if data.ndim != 2 or not good.any():
        return np.ones_like(data), "variance: none, since no pixel can be used"
    level = sky_level(data, good)
    measured = sky_sigma(data, good)
    if detector_gain is not None and (gain is not None or read_noise is not None):
        return _from_detector(data, level, measured, detector_gain, read_noise)
    if not measured > 0:
        raise InputError(
            f"{where}: no variance, and the pixels show no noise to estimate it from; "
            "give a VAR, ERR or IVAR extension, or --gain"
        )
    variance = np.full_like(data, measured**2)
    note = f"variance: none given, estimated from the pixels (sky noise {measured:.4g})"
    if header_gain is not None:
        variance = variance + np.where(good, np.maximum(data - level, 0.0), 0.0) / header_gain
        note += f", with the sources' own noise at gain {header_gain:g}"
    return variance, note


def sky_variance(
    data: np.ndarray,
    mask: np.ndarray,
    *,
    gain: float,
    read_noise: float | None = None,
    where: str = "image",
) -> tuple[np.ndarray, str]:
    """Build the variance that pixels have without sources.

    It is the sum of the photon noise of the sky and the read noise, level / gain +
    (read_noise / gain)^2, or the measured variance if the sky has been subtracted. The model
    adds the photon noise of sources.

    Parameters
    ----------
    data, mask, read_noise, where
        As in `build_variance`.
    gain : float
        Electrons per unit of ``data``.

    Returns
    -------
    variance : ndarray, shape (ny, nx)
        Variance, the same for all pixels, in the unit of the data squared.
    note : str
        What was done, in one line.

    Raises
    ------
    InputError
        If a constant is not positive.
    """
    whole, text = build_variance(data, mask, gain=gain, read_noise=read_noise, where=where)
    good = ~mask & np.isfinite(data)
    # The least variance by the CCD equation is that of a pixel with nothing but sky.
    base = float(np.min(whole[good])) if good.any() else 1.0
    return np.full_like(data, base), f"{text}; the sources' photon noise follows the model"


def _from_detector(
    data: np.ndarray, level: float, measured: float, gain: float, read_noise: float | None
) -> tuple[np.ndarray, str]:
    """Return the variance by the CCD equation, or with the measured noise of a subtracted sky."""
    electronics = ((read_noise or 0.0) / gain) ** 2
    text = f"variance: built from gain {gain:g}"
    text += f" and read noise {read_noise:g} electrons" if read_noise is not None else ""
    counts = np.where(np.isfinite(data), data, level)
    sky_variance = max(level, 0.0) / gain + electronics
    if measured**2 < _UNEXPLAINED * sky_variance:
        return np.maximum(counts, level).clip(0.0) / gain + electronics, text
    variance = measured**2 + np.maximum(counts - level, 0.0) / gain
    return variance, (
        f"{text} for the sources; the sky (level {level:.4g}) seems subtracted, so its noise is "
        f"measured ({measured:.4g})"
    )
