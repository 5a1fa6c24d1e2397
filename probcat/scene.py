"""Scene: images and prior in the form the sampler works on."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.extended import extended_tables, grid_size
from probcat.layout import Layout
from probcat.moves.base import Model, Search, extended_patch
from probcat.moves.search import build_search
from probcat.points import PointTables, point_stamps
from probcat.prior import Prior
from probcat.windows import Sources


class Scene(NamedTuple):
    """Arrays of a run, passed to the kernel as its only argument.

    Attributes
    ----------
    data, weight : Array, shape (Hp, Wp)
        Padded image and inverse variance; both zero where there is no information.
    search_precision : Array, shape (2 Hp, 2 Wp)
        ``sum w P^2`` for a source at the centre of every half-pixel cell.
    model : Model
    searches : tuple of Search
        One for each class of windows.
    area : Array, shape ()
        Area of the region in square pixels.
    log_norm : Array, shape ()
        Constant term of the log likelihood.
    num_pixels : Array, shape ()
        Pixels with weight.
    """

    data: Array
    weight: Array
    search_precision: Array
    model: Model
    searches: tuple[Search, ...]
    area: Array
    log_norm: Array
    num_pixels: Array


def build_scene(
    data: np.ndarray,
    weight: np.ndarray,
    psf,
    prior: Prior,
    layout: Layout,
    *,
    tolerance: float = 2e-3,
    extended_radius: int = 24,
    large_radius: int = 0,
    large_size: float = math.inf,
) -> Scene:
    """Collect everything the kernel needs.

    Parameters
    ----------
    data, weight : ndarray, shape (ny, nx)
        Pixel values and inverse variances; pixels of zero weight are ignored.
    psf : probcat.psf.PSF
    prior : Prior
    layout : Layout
    tolerance : float
        Of the low-rank form of the PSF, relative to its peak.
    extended_radius, large_radius : int
        Half sides in pixels of the footprints of extended sources.
    large_size : float
        Half-light radius in pixels beyond which a source has the larger footprint.
    """
    large_radius = max(large_radius, extended_radius)
    radii = sorted({extended_radius, large_radius}) if prior.has_extended else []
    tables = psf.point_tables(tolerance=tolerance)
    radius = tables.radius
    pixel, step = np.arange(-radius, radius + 1.0), 0.05
    behind, core, ahead = (psf.evaluate_grid(pixel + dx, pixel) for dx in (-step, 0.0, step))
    slope_norm = np.sum((0.5 * (ahead - behind) / step) ** 2)
    bend_norm = np.sum(((ahead - 2.0 * core + behind) / step**2) ** 2)
    model = Model(
        point_tables=tables,
        extended_tables=tuple(extended_tables(psf, grid_size(radius)) for radius in radii),
        extended_radius=jnp.int32(extended_radius),
        large_radius=jnp.int32(large_radius),
        large_size=jnp.float32(large_size),
        prior=prior,
        fwhm=jnp.float32(psf.fwhm),
        point_norm=jnp.float32(np.sum(core**2)),
        point_slope_norm=jnp.float32(slope_norm),
        point_bend_norm=jnp.float32(bend_norm),
    )
    good = weight > 0
    weights = weight[good].astype(np.float64)
    padded_weight = jnp.asarray(_padded(weight, layout))
    return Scene(
        data=jnp.asarray(_padded(np.where(good, data, 0.0), layout)),
        weight=padded_weight,
        search_precision=precision_map(tables, padded_weight),
        model=model,
        searches=tuple(build_search(tables, plan.interior, plan.margin) for plan in layout.plans),
        area=jnp.float32(layout.area),
        log_norm=jnp.float32(0.5 * np.sum(np.log(weights / (2.0 * np.pi)))),
        num_pixels=jnp.float32(np.sum(good)),
    )


def _padded(image: np.ndarray, layout: Layout) -> np.ndarray:
    return np.pad(image.astype(np.float32), layout.pad)


def precision_map(tables: PointTables, weight: Array) -> Array:
    """``sum w P^2`` on the half-pixel grid of a padded image, by correlation."""
    ny, nx = weight.shape
    size = (ny + 2 * tables.radius + 1, nx + 2 * tables.radius + 1)
    image = jnp.fft.rfft2(weight, size)
    quarter = jnp.float32(0.25)
    result = jnp.zeros((ny, 2, nx, 2), jnp.float32)
    for row, sign_y in enumerate((-1.0, 1.0)):
        for column, sign_x in enumerate((-1.0, 1.0)):
            stamp, _, _ = point_stamps(tables, sign_x * quarter[None], sign_y * quarter[None])
            kernel = jnp.fft.rfft2(stamp[0, ::-1, ::-1] ** 2, size)
            full = jnp.fft.irfft2(image * kernel, size)
            part = full[tables.radius :, tables.radius :][:ny, :nx]
            result = result.at[:, row, :, column].set(jnp.maximum(part, 0.0))
    return result.reshape(2 * ny, 2 * nx)


def render_points(tables: PointTables, sources: Sources, shape: tuple[int, int]) -> Array:
    """Image of all point sources of one chain on the padded grid."""
    offset = sources.marks
    stamps, row, column = point_stamps(tables, offset[:, 0], offset[:, 1])
    return _add_stamps(
        stamps * offset[:, 2, None, None],
        row + sources.pixel[:, 1],
        column + sources.pixel[:, 0],
        shape,
    )


def render_extended(model: Model, radius: int, sources: Sources, shape: tuple[int, int]) -> Array:
    """Image of all extended sources of one chain on the padded grid."""
    stamps = extended_stamps(model, radius, sources)
    return _add_stamps(stamps, sources.pixel[:, 1] - radius, sources.pixel[:, 0] - radius, shape)


def extended_stamps(model: Model, radius: int, sources: Sources) -> Array:
    """Stamps with flux of extended sources, shape (N, 2 radius + 1, 2 radius + 1)."""
    side, centre = 2 * radius + 1, jnp.float32(radius)

    def stamp(marks: Array) -> Array:
        return marks[2] * extended_patch(
            model, marks[0] + centre, marks[1] + centre, marks[3:], side
        )

    return jax.lax.map(stamp, sources.marks, batch_size=16)


def _add_stamps(stamps: Array, row: Array, column: Array, shape: tuple[int, int]) -> Array:
    def add(index: Array, image: Array) -> Array:
        corner = (row[index], column[index])
        current = jax.lax.dynamic_slice(image, corner, stamps.shape[1:])
        return jax.lax.dynamic_update_slice(image, current + stamps[index], corner)

    return jax.lax.fori_loop(0, stamps.shape[0], add, jnp.zeros(shape, jnp.float32))
