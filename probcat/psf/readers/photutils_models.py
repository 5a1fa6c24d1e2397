"""Conversion of PSF models of photutils."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.psf.arrays import shifted
from probcat.psf.varying import VaryingPSF

if TYPE_CHECKING:
    from probcat.psf.psf import PSF


def psf_from_photutils(model: Any) -> PSF:
    """Make a PSF from a ``GriddedPSFModel`` or an ``ImagePSF`` of photutils.

    Parameters
    ----------
    model : photutils.psf.GriddedPSFModel or photutils.psf.ImagePSF
        The model. Its flux and position are ignored. A grid is interpolated as photutils does,
        with nodes in pixels of the image.

    Returns
    -------
    PSF
        A `probcat.VaryingPSF` if the model varies over its grid.

    Raises
    ------
    InputError
        If the model is of another kind, is oversampled differently along its axes, or has no
        positive sum.
    """
    kind = type(model).__name__
    if kind not in ("GriddedPSFModel", "ImagePSF"):
        raise InputError(
            f"a PSF of type {kind}; of photutils' models only GriddedPSFModel and ImagePSF are read"
        )
    oversampling = np.unique(np.asarray(model.oversampling))
    if len(oversampling) != 1:
        raise InputError(
            f"a {kind} with oversampling {np.asarray(model.oversampling).tolist()}; it must be the "
            "same along both axes"
        )
    data = np.asarray(model.data, float)
    data = data[None] if data.ndim == 2 else data
    nodes = np.asarray(getattr(model, "grid_xypos", [(0.0, 0.0)]), float)
    order = np.lexsort((nodes[:, 0], nodes[:, 1]))
    # The origin of a grid has the number of PSFs as a third coordinate.
    offset = np.asarray(model.origin, float)[:2][::-1] - np.array(data.shape[1:]) // 2
    if offset.any():
        data = np.stack([shifted(samples, *offset) for samples in data])
    x, y = np.unique(nodes[:, 0]), np.unique(nodes[:, 1])
    psfs = data[order].reshape(len(y), len(x), *data.shape[1:])
    return VaryingPSF.from_grid(x, y, psfs, int(oversampling[0]))
