"""Render catalogs outside the sampler: stamps of single sources, and whole images."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.extended_sources import ExtendedTables, extended_tables, grid_size
from probcat.model.point_sources import point_stamps, split_position
from probcat.model.stamps import add_stamps, extended_stamp
from probcat.psf.point_tables import PointTables

if TYPE_CHECKING:
    from probcat.psf.psf import PSF

DEFAULT_TOLERANCE = 2e-3
"""Largest error of the low-rank form of the PSF, relative to its peak."""
MAX_DEFAULT_RADIUS = 24
"""Largest default half-width of the stamp of an extended source, in pixels."""


def default_extended_radius(psf: "PSF") -> int:
    """Default half-width in pixels of the stamp of an extended source, from the PSF."""
    return max(psf.radius, min(MAX_DEFAULT_RADIUS, int(8 * psf.fwhm) + 1))


class Renderer(NamedTuple):
    """Renders sources by the sampler's model.

    Attributes
    ----------
    point_tables : PointTables
        Tables of the PSF for point sources.
    extended_tables : tuple of ExtendedTables
        Grids for small and for large extended sources, or one grid for all; empty without
        extended sources.
    small_radius : Array, shape (), int32
        Half-width in pixels of the stamp of a small extended source; that of a large one is
        `radius`.
    large_size : Array, shape ()
        Half-light radius along the major axis, in pixels, above which a source is large.
    half_side : Array, shape (radius,)
        Placeholder whose length is the half-width of a stamp, so that the size is static under
        `jax.jit`.
    """

    point_tables: PointTables
    extended_tables: tuple[ExtendedTables, ...]
    small_radius: Array
    large_size: Array
    half_side: Array

    @classmethod
    def from_psf(
        cls,
        psf: "PSF",
        *,
        extended_radius: int = 0,
        large_radius: int = 0,
        large_size: float = math.inf,
        tolerance: float = DEFAULT_TOLERANCE,
        with_extended: bool = True,
    ) -> "Renderer":
        """Make a renderer.

        Parameters
        ----------
        psf : PSF
            Point-spread function of the image.
        extended_radius : int
            Half-width in pixels of the stamp of an extended source; 0 takes
            `default_extended_radius`.
        large_radius : int
            Half-width in pixels of the stamp of a large extended source.
        large_size : float
            Half-light radius along the major axis, in pixels, above which a source is large.
        tolerance : float
            Largest error of the low-rank form of the PSF, relative to its peak.
        with_extended : bool
            Whether extended sources can be rendered.

        Returns
        -------
        Renderer
        """
        tables = psf.point_tables(tolerance=tolerance)
        if not with_extended:
            return cls(tables, (), jnp.int32(0), jnp.float32(0.0), jnp.zeros(tables.radius))
        small = max(extended_radius or default_extended_radius(psf), tables.radius)
        radius = max(small, large_radius)
        return cls(
            tables,
            tuple(extended_tables(psf, grid_size(side)) for side in sorted({small, radius})),
            jnp.int32(small),
            jnp.float32(large_size),
            jnp.zeros(radius),
        )

    def widened(self, width: Sequence[float]) -> "Renderer":
        """Renderer whose PSF is wider by relative amounts.

        Parameters
        ----------
        width : sequence of float, length 2
            Relative change of the PSF's width along x and along y.

        Returns
        -------
        Renderer
        """
        own = jnp.asarray(width, jnp.float32)
        return self._replace(
            point_tables=self.point_tables._replace(width=own),
            extended_tables=tuple(table._replace(width=own) for table in self.extended_tables),
        )

    @property
    def radius(self) -> int:
        """Half-width of a stamp in pixels."""
        return self.half_side.shape[0]

    def stamps(
        self, x: Array, y: Array, flux: Array, shape: Array, extended: Array
    ) -> tuple[Array, Array, Array]:
        """Render every source on a stamp of its own.

        Parameters
        ----------
        x, y : Array, shape (n,)
            Positions in image pixels.
        flux : Array, shape (n,)
            Fluxes in the image's unit.
        shape : Array, shape (n, 4)
            Half-light radius, two ellipticity components and Sersic index; must be finite for
            point sources too.
        extended : Array, shape (n,), bool
            Whether a source is extended.

        Returns
        -------
        stamps : Array, shape (n, side, side)
            Images of the sources, with a side of ``2 * radius + 1`` pixels.
        row, col : Array, shape (n,), int32
            Image pixel of the first row and column of every stamp; may be outside the image.
        """
        points, row, col = point_stamps(self.point_tables, x, y, jnp.stack([x, y], axis=-1))
        border = self.radius - self.point_tables.radius
        points = jnp.pad(points, ((0, 0), (border, border), (border, border)))
        if self.extended_tables:
            galaxies = self._extended_stamps(x, y, shape, extended)
            points = jnp.where(extended[:, None, None], galaxies, points)
        return points * flux[:, None, None], row - border, col - border

    def _extended_stamps(self, x: Array, y: Array, shape: Array, extended: Array) -> Array:
        """Unit-flux stamps (n, side, side) of extended sources, zero for point sources."""
        radius, side = self.radius, 2 * self.radius + 1

        def rendered(x: Array, y: Array, shape: Array) -> Array:
            column, row = (split_position(value)[1] + jnp.float32(radius) for value in (x, y))
            return extended_stamp(
                self.extended_tables,
                (self.small_radius, radius),
                self.large_size,
                column,
                row,
                shape,
                side,
                position=jnp.stack([x, y]),
            )

        def one(source: tuple[Array, Array, Array, Array]) -> Array:
            return jax.lax.cond(
                source[3],
                lambda: rendered(*source[:3]),
                lambda: jnp.zeros((side, side), jnp.float32),
            )

        stamps: Array = jax.lax.map(one, (x, y, shape, extended))
        return stamps

    def image(
        self,
        x: Array,
        y: Array,
        flux: Array,
        shape: Array,
        extended: Array,
        active: Array,
        image_shape: tuple[int, int],
    ) -> Array:
        """Render a catalog.

        Parameters
        ----------
        x, y, flux, shape, extended
            Sources, as in `stamps`.
        active : Array, shape (n,), bool
            Sources that are not active are left out.
        image_shape : tuple of int
            (ny, nx) of the image.

        Returns
        -------
        Array, shape (ny, nx)
        """
        flux = jnp.where(active, flux, 0.0)
        stamps, row, col = self.stamps(x, y, flux, shape, extended)
        side = stamps.shape[-1]
        canvas = jnp.zeros((image_shape[0] + 2 * side, image_shape[1] + 2 * side), jnp.float32)
        row = jnp.clip(row + side, 0, image_shape[0] + side)
        col = jnp.clip(col + side, 0, image_shape[1] + side)
        return add_stamps(canvas, stamps, row, col)[side:-side, side:-side]
