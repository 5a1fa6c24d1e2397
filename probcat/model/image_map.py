"""Positions and fluxes of the first image as they are in another image."""

from types import ModuleType
from typing import Any

import numpy as np


def to_image(affine: Any, offset: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Map positions in the first image to another image; for arrays of numpy and of JAX.

    Parameters
    ----------
    affine : array_like, shape (2, 2)
        Linear part of the map.
    offset : array_like, shape (2,)
        Position (x, y) in the other image of the point (0, 0) of the first one.
    x, y : array_like
        Positions in pixels of the first image.

    Returns
    -------
    x, y : array_like
        Positions in pixels of the other image.
    """
    return (
        affine[0, 0] * x + affine[0, 1] * y + offset[0],
        affine[1, 0] * x + affine[1, 1] * y + offset[1],
    )


def flux_ratio(colour: Any, xp: ModuleType = np) -> Any:
    """Flux in a band over the flux in the first band, of which a colour is the natural logarithm.

    Parameters
    ----------
    colour : array_like
        Colours of sources.
    xp : module
        Either numpy or `jax.numpy`.
    """
    return xp.exp(colour)
