"""Render catalogs outside the sampler: stamps of single sources, whole images."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.extended_sources import (
    ExtendedTables,
    extended_tables,
    grid_size,
    tiled_image,
)
from probcat.model.point_sources import point_stamps, split_position
from probcat.numerics.shape_matrices import semi_major
from probcat.psf.point_tables import PointTables

if TYPE_CHECKING:
    from probcat.psf.psf import PSF

DEFAULT_TOLERANCE = 2e-3
LARGEST_RADIUS = 24


def default_extended_radius(psf: "PSF") -> int:
    """Half side in pixels of the footprint of extended sources, from the PSF."""
    return max(psf.radius, min(LARGEST_RADIUS, int(8 * psf.fwhm) + 1))


class Renderer(NamedTuple):
    """Draws sources as the sampler's model does.

    Attributes
    ----------
    point_tables : PointTables
    extended_tables : tuple of ExtendedTables
        For sources of the smaller and of the larger footprint, or for all.
    small_side, large_size : Array, shape ()
        Half side in pixels of the footprint of extended sources up to a half-light radius
        along the major axis, in pixels; larger ones fill their stamps.
    half_side : Array, shape (side,)
        Placeholder whose length is half the side of a stamp, so that the size is
        static under `jax.jit`.
    """

    point_tables: PointTables
    extended_tables: tuple[ExtendedTables, ...]
    small_side: Array
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
        extended_radius : int
            Half side in pixels of the footprint of extended sources; 0 chooses it
            from the PSF.
        large_radius : int
            Likewise of those whose half-light radius along the major axis exceeds `large_size`.
        large_size : float
        tolerance : float
            Of the low-rank form of the PSF, relative to its peak.
        with_extended : bool
            Whether extended sources can be drawn.
        """
        tables = psf.point_tables(tolerance=tolerance)
        if not with_extended:
            zero = jnp.float32(0.0)
            return cls(tables, (), zero, zero, jnp.zeros(tables.radius))
        small = max(extended_radius or default_extended_radius(psf), tables.radius)
        radius = max(small, large_radius)
        return cls(
            tables,
            tuple(extended_tables(psf, grid_size(side)) for side in sorted({small, radius})),
            jnp.float32(small),
            jnp.float32(large_size),
            jnp.zeros(radius),
        )

    def widened(self, width: Sequence[float]) -> "Renderer":
        """Change the widths of the PSF along x and y by these shares."""
        own = jnp.asarray(width, jnp.float32)
        return self._replace(
            point_tables=self.point_tables._replace(width=own),
            extended_tables=tuple(table._replace(width=own) for table in self.extended_tables),
        )

    @property
    def radius(self) -> int:
        """Half side of a stamp in pixels."""
        return self.half_side.shape[0]

    def stamps(
        self, x: Array, y: Array, flux: Array, shape: Array, extended: Array
    ) -> tuple[Array, Array, Array]:
        """Images of single sources.

        Parameters
        ----------
        x, y, flux : Array, shape (n,)
        shape : Array, shape (n, 4)
            Half-light radius, two ellipticity components and Sersic index; finite.
        extended : Array, shape (n,), bool

        Returns
        -------
        stamps : Array, shape (n, side, side)
        row, col : Array, shape (n,), int32
            Image pixel of the stamps' first row and column; may be off the image.
        """
        points, row, col = point_stamps(self.point_tables, x, y, jnp.stack([x, y], axis=-1))
        border = self.radius - self.point_tables.radius
        points = jnp.pad(points, ((0, 0), (border, border), (border, border)))
        if self.extended_tables:
            radius = self.radius
            distance = jnp.abs(jnp.arange(-radius, radius + 1.0))

            def drawn(x: Array, y: Array, shape: Array, place: Array) -> Array:
                centre = jnp.float32(radius)
                local = [tables.at(place) for tables in self.extended_tables]
                stamps = [
                    tiled_image(tables, x + centre, y + centre, shape, 2 * radius + 1)
                    for tables in local
                ]
                large = semi_major(shape) > self.large_size
                stamp = jnp.where(large, stamps[-1], stamps[0])
                inside = distance <= jnp.where(large, jnp.float32(radius), self.small_side)
                return jnp.where(inside[:, None] & inside[None, :], stamp, 0.0)

            def one(source: tuple[Array, Array, Array, Array]) -> Array:
                x_offset = split_position(source[0])[1]
                y_offset = split_position(source[1])[1]
                place = jnp.stack(source[:2])
                return jax.lax.cond(
                    source[3],
                    lambda: drawn(x_offset, y_offset, source[2], place),
                    lambda: jnp.zeros((2 * radius + 1, 2 * radius + 1), jnp.float32),
                )

            galaxies = jax.lax.map(one, (x, y, shape, extended))
            points = jnp.where(extended[:, None, None], galaxies, points)
        return points * flux[:, None, None], row - border, col - border

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
        """Image of a catalog, shape (ny, nx); sources that are not active are left out."""
        flux = jnp.where(active, flux, 0.0)
        stamps, row, col = self.stamps(x, y, flux, shape, extended)
        side = stamps.shape[-1]
        canvas = jnp.zeros((image_shape[0] + 2 * side, image_shape[1] + 2 * side), jnp.float32)
        row = jnp.clip(row + side, 0, image_shape[0] + side)
        col = jnp.clip(col + side, 0, image_shape[1] + side)

        def add(index: Array, canvas: Array) -> Array:
            corner = (row[index], col[index])
            current = jax.lax.dynamic_slice(canvas, corner, (side, side))
            return jax.lax.dynamic_update_slice(canvas, current + stamps[index], corner)

        canvas = jax.lax.fori_loop(0, stamps.shape[0], add, canvas)
        return canvas[side:-side, side:-side]
