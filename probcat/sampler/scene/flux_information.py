"""Precision of fluxes and positions for proposals: norms of PSFs and maps of ``sum w P^2``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.ndimage import map_coordinates

from probcat.model.image_map import to_image
from probcat.model.point_sources import point_stamps
from probcat.model.prior.prior import Prior
from probcat.psf.point_tables import PointTables
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.window.structures import ImageModel

if TYPE_CHECKING:
    from probcat.sampler.scene.plane import Plane


def proposal_norms(
    planes: "Sequence[Plane]", layout: Layout, prior: Prior, precision: np.ndarray
) -> dict[str, Any]:
    """Compute the scales of proposals: norms of the PSF, averaged over images by precision.

    Parameters
    ----------
    planes : sequence of Plane
        Images of the scene.
    layout : Layout
        Sizes of the run, with the band of every image.
    prior : Prior
        Prior of the colours.
    precision : ndarray, shape (B,)
        Largest ``sum w P^2`` of every band.

    Returns
    -------
    dict
        Fields of `probcat.sampler.window.structures.Model`; derivatives are by pixels of the
        first image.
    """
    factor = np.ones(max(layout.bands) + 1)
    if prior.num_colours:
        factor[1:] = np.exp(2.0 * np.asarray(prior.colour_mean))
    scale = np.array([abs(np.linalg.det(plane.affine[:, :2])) for plane in planes])
    norm, slope, bend = np.array([_psf_norms(plane.psf) for plane in planes]).T
    slope, bend = slope / norm * scale, bend / norm * scale**2
    fwhm = np.array([plane.psf.fwhm for plane in planes]) / np.sqrt(scale)
    band = np.array(layout.bands)
    fraction = (factor * precision)[band] + 1e-30
    fraction = fraction / fraction.sum()
    number = max(layout.bands) + 1
    band_slope = [np.average(slope[band == b], weights=fraction[band == b]) for b in range(number)]
    return {
        "fwhm": np.exp(np.sum(fraction * np.log(fwhm))),
        "point_norm": norm[0],
        "point_slope_norm": norm[0] * np.sum(fraction * slope),
        "point_bend_norm": norm[0] * np.sum(fraction * bend),
        "band_slope": np.array(band_slope),
    }


def _psf_norms(psf: Any) -> tuple[float, float, float]:
    """Sums over pixels of ``P^2``, ``(dP/dx)^2`` and ``(d2P/dx2)^2``."""
    pixel, step = np.arange(-psf.radius, psf.radius + 1.0), 0.05
    behind, core, ahead = (psf.evaluate_grid(pixel + dx, pixel) for dx in (-step, 0.0, step))
    slope = np.sum((0.5 * (ahead - behind) / step) ** 2)
    bend = np.sum(((ahead - 2.0 * core + behind) / step**2) ** 2)
    return float(np.sum(core**2)), float(slope), float(bend)


def band_precision(
    images: tuple[ImageModel, ...],
    weights: tuple[Array, ...],
    offsets: np.ndarray,
    flux_factor: np.ndarray,
    layout: Layout,
) -> Array:
    """Compute ``sum w P^2`` of every band on the half-pixel grid of the padded first image.

    Parameters
    ----------
    images : tuple of ImageModel
        How sources appear in every image.
    weights : tuple of Array, shape (Hp, Wp)
        Inverse variances of every image.
    offsets : ndarray, shape (I, 2)
        Position of the padded pixel (0, 0) of the first image in every image.
    flux_factor : ndarray, shape (I,)
        Flux in the unit of an image for one unit of that of its band.
    layout : Layout
        Sizes of the run.

    Returns
    -------
    Array, shape (B, 2 Hp, 2 Wp)
    """
    ny, nx = layout.padded_shape
    total = np.zeros((max(layout.bands) + 1, 2 * ny, 2 * nx), np.float32)
    x, y = np.meshgrid(0.5 * np.arange(2 * nx) - 0.25, 0.5 * np.arange(2 * ny) - 0.25)
    for index, (image, weight, band) in enumerate(zip(images, weights, layout.bands, strict=True)):
        own = precision_map(image.point_tables, weight)
        if index > 0:
            column, row = to_image(np.asarray(image.affine, float), offsets[index], x, y)
            at = [jnp.asarray(2.0 * v + 0.5, jnp.float32) for v in (row, column)]
            own = map_coordinates(own, at, order=1)
        total[band] += flux_factor[index] ** 2 * np.asarray(own)
    return jnp.asarray(total)


def precision_map(tables: PointTables, weight: Array) -> Array:
    """Compute ``sum w P^2`` on the half-pixel grid of a padded image, by correlation.

    Parameters
    ----------
    tables : PointTables
        Tables of the PSF P.
    weight : Array, shape (Hp, Wp)
        Inverse variances w.

    Returns
    -------
    Array, shape (2 Hp, 2 Wp)
    """
    ny, nx = weight.shape
    size = (ny + 2 * tables.radius + 1, nx + 2 * tables.radius + 1)
    image = jnp.fft.rfft2(weight, size)
    quarter = jnp.float32(0.25)
    result = jnp.zeros((ny, 2, nx, 2), jnp.float32)
    for row, sign_y in enumerate((-1.0, 1.0)):
        for column, sign_x in enumerate((-1.0, 1.0)):
            stamp, _, _ = point_stamps(tables.mean, sign_x * quarter[None], sign_y * quarter[None])
            kernel = jnp.fft.rfft2(stamp[0, ::-1, ::-1] ** 2, size)
            full = jnp.fft.irfft2(image * kernel, size)
            part = full[tables.radius :, tables.radius :][:ny, :nx]
            result = result.at[:, row, :, column].set(jnp.maximum(part, 0.0))
    return result.reshape(2 * ny, 2 * nx)
