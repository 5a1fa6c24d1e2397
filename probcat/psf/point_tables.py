"""Tables from which the image of a point source is rendered."""

from typing import NamedTuple

from jax import Array

from probcat.psf.position_weights import Variation


class PointTables(NamedTuple):
    """Separable polynomial tables of a PSF.

    For a source at position ``p`` (px) let ``i0 = round(p)`` and ``t = p - i0``.
    Term ``k`` of the factor at pixel ``i0 + d``, ``d = -R ... R``, is
    ``sum_j tables[j, k, d + R] * t**j``.

    Attributes
    ----------
    rows, cols : Array, shape (degree + 1, rank, 2 R + 1), float32
        Coefficients of the polynomials of the factors along y and along x.
    spread : Array, shape ()
        Variance of a Gaussian as wide as the PSF, in square pixels.
    width : Array or None, shape (2,)
        Relative change w of the width of the PSF along x and y. Along each axis the image is
        convolved with the pixels ``(s, 1 - 2 s, s)``, ``s = w * spread``, which adds ``2 s`` to
        the variance.
    variation : Variation or None
        How the PSF varies over the image, if it does. The tables alone are those of its mean.
    matrices : Array or None, shape (K, rank, rank)
        For every component of a PSF that varies, the matrix M that mixes the factors along x;
        see `probcat.psf.separable_varying`.
    """

    rows: Array
    cols: Array
    spread: Array
    width: Array | None = None
    variation: Variation | None = None
    matrices: Array | None = None

    @property
    def radius(self) -> int:
        """Half side ``R`` of the rendered stamp in pixels."""
        return (self.rows.shape[-1] - 1) // 2

    @property
    def mean(self) -> "PointTables":
        """Tables of the mean PSF over the image."""
        return self._replace(variation=None, matrices=None)
