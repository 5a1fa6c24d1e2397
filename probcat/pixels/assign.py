"""Which object owns which pixel: probabilities from samples and their condensed catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from probcat.errors import InputError
from probcat.pixels.accumulate import KINDS, Scenery, Shares, accumulate, stamp_corners
from probcat.pixels.assignment import Assignment
from probcat.pixels.model_image import (
    RenderSources,
    background_of,
    choose_draws,
    default_renderer,
    thin_draws,
)
from probcat.samples.samples import Samples

if TYPE_CHECKING:
    from probcat.catalog.catalog import CondensedCatalog
    from probcat.image.image import Image
    from probcat.model.renderer import Renderer

__all__ = ["Assignment", "assign_pixels", "pixel_noise"]

# Lengths are rounded up, so that scenes of one kind share compiled programs.
_STEP = 8


def assign_pixels(
    samples: Samples,
    catalog: CondensedCatalog,
    image: Image,
    renderer: Renderer | None = None,
    *,
    max_draws: int = 200,
    max_memory: float = 1024.0,
    subtracted_sky: Any = 0.0,
) -> Assignment:
    """Compute who owns the light of every pixel.

    Every draw is rendered source by source; light that a stamp holds below zero is taken as
    none. A source's share of a pixel's light is its light over that of all sources. Its share of
    the photons is its light over that of all sources and the background, which below zero is
    none as well; where a draw has neither, the pixel is the background's.

    Parameters
    ----------
    samples : Samples
    catalog : CondensedCatalog
        Condensed from these very samples.
    image : Image
        Gives the pixels' noise. Where a variance cannot be used, the median of the others
        stands in.
    renderer : Renderer, optional
        By default that of the image's PSF.
    max_draws : int
        Evenly spaced draws that are used.
    max_memory : float
        MiB on the device for maps of objects. The samples are gone through once if all maps
        fit, and once for every group of objects that does.
    subtracted_sky : float or array_like, shape (ny, nx)
        Level that was taken off the image before, in its unit: it counts as background of the
        photons. In an image without its sky and without this, photons are nearly all of sources.

    Returns
    -------
    Assignment

    Raises
    ------
    InputError
        If the catalog is not of these samples, or a setting is not positive.
    """
    if catalog.members.shape != samples.sources["active"].shape:
        raise InputError("these are not the samples that the catalog was condensed from")
    if max_draws < 1 or max_memory <= 0:
        raise InputError("max_draws and max_memory must be positive")
    renderer = default_renderer(samples, image) if renderer is None else renderer
    chosen = choose_draws(samples, max_draws)
    draws = _padded(thin_draws(samples, chosen))
    owners = catalog.owners.reshape(-1, samples.capacity)[chosen]
    extra = np.asarray(draws.x).shape[1] - owners.shape[1]
    owners = np.pad(owners, ((0, 0), (0, extra)), constant_values=-1)
    corners, side = stamp_corners(renderer, draws)
    origins, size = _windows(corners, side, owners, len(catalog))
    scenery = Scenery(
        pixel_noise(image), _sky(subtracted_sky, image.shape), background_of(samples, image)
    )
    shares = _share_out((side, size), renderer, draws, owners, origins, scenery, max_memory)
    used = np.asarray(image.weight) > 0
    assignment = Assignment(
        object_ids=np.asarray(catalog["object_id"]),
        origins=origins,
        stamps=shares.own,
        unassigned=shares.rest,
        shape=image.shape,
        band=image.band,
        snr_squared=np.where(used, (shares.light / scenery.noise) ** 2, 0.0).astype(np.float32),
        wcs=getattr(image, "wcs", None),
    )
    return _with_background(assignment)


def _share_out(
    sides: tuple[int, int],
    renderer: Renderer,
    draws: RenderSources,
    owners: np.ndarray,
    origins: np.ndarray,
    scenery: Scenery,
    max_memory: float,
) -> Shares:
    """Sum over draws, group by group of the objects."""
    size, number = sides[1], len(origins)
    # Sums, what a draw adds to them, the object's own light and two cuts.
    per_object = 4 * (2 * len(KINDS) + 3) * size * size
    room = max(1, int(max_memory * 2**20 // per_object))
    group = min(room, max(_STEP, 1 << max(number - 1, 0).bit_length()))
    active = np.asarray(draws.active)
    nobody = np.where(active & (owners < 0), 0, -1)
    loose = _rounded(_slots(nobody, (0, 1))[:, 0], owners.shape[1])
    owners = np.where(active, owners, -1)
    own = {kind: np.zeros((number, size, size), np.float32) for kind in KINDS}
    for start in range(0, max(number, 1), group):
        stop = min(start + group, number)
        slots = _slots(owners, (start, start + group))
        corner = np.zeros((group, 2), np.int32)
        corner[: stop - start] = origins[start:stop]
        inputs = jax.tree.map(jnp.asarray, (draws, slots, loose))
        found = accumulate(sides, renderer, inputs, jnp.asarray(corner), scenery)
        for kind in KINDS:
            own[kind][start:stop] = np.asarray(found.own[kind])[: stop - start]
    rest = {kind: np.asarray(values) for kind, values in found.rest.items()}
    return Shares(own, rest, np.asarray(found.background), np.asarray(found.light))


def _with_background(assignment: Assignment) -> Assignment:
    """Give the background what others leave of every pixel, so that all sum to one."""
    taken = assignment.unassigned["photon"].astype(np.float64)
    for row in range(len(assignment.object_ids)):
        assignment.add_to(taken, row, "photon")
    return replace(assignment, background=np.clip(1.0 - taken, 0.0, 1.0).astype(np.float32))


def _padded(draws: RenderSources) -> RenderSources:
    """Add slots without sources."""
    extra = -draws.x.shape[1] % _STEP

    def pad(values: np.ndarray) -> np.ndarray:
        width = [(0, 0), (0, extra), *[(0, 0)] * (values.ndim - 2)]
        return np.pad(values, width, mode="edge") if extra else values

    padded = RenderSources(*[pad(values) for values in draws])
    real = np.arange(padded.x.shape[1]) < draws.x.shape[1]
    return padded._replace(
        extended=padded.extended & real, active=padded.active & real, background=draws.background
    )


def _rounded(slots: np.ndarray, none: int) -> np.ndarray:
    """Add slots of nothing, one at least."""
    extra = _STEP - slots.shape[1] % _STEP
    return np.pad(slots, ((0, 0), (0, extra)), constant_values=none)


def _sky(sky: Any, shape: tuple[int, int]) -> np.ndarray:
    """Give every pixel the level that was taken off."""
    values = np.asarray(sky, dtype=np.float32)
    if values.shape not in ((), shape):
        raise InputError(
            f"subtracted_sky has shape {values.shape}; give a number or one for every pixel"
        )
    if not np.isfinite(values).all():
        raise InputError("subtracted_sky must be finite")
    return np.broadcast_to(values, shape)


def _windows(
    corners: np.ndarray, side: int, owners: np.ndarray, num_objects: int
) -> tuple[np.ndarray, int]:
    """Choose where each object's stamp starts, and a side that holds all its sources' stamps."""
    draw, source = np.nonzero(owners >= 0)
    row, corner = owners[draw, source], corners[draw, source].astype(np.int64)
    low = np.full((num_objects, 2), np.iinfo(np.int64).max)
    high = np.full((num_objects, 2), np.iinfo(np.int64).min)
    np.minimum.at(low, row, corner)
    np.maximum.at(high, row, corner)
    # An object may have no source among the draws that are used.
    low, high = np.where(low > high, 0, low), np.where(low > high, 0, high)
    reach = int((high - low).max(initial=0))
    return low, side + reach + -reach % _STEP


def _slots(owners: np.ndarray, rows: tuple[int, int]) -> np.ndarray:
    """List where each draw holds the sources of each object.

    Parameters
    ----------
    owners : ndarray of int, shape (draws, sources)
        Object that each source belongs to, -1 for none.
    rows : tuple of int
        Range of objects.

    Returns
    -------
    ndarray of int32, shape (draws, objects, any number)
        Source index; the number of sources where there is none. At least one for each object.
    """
    draw, source = np.nonzero((owners >= rows[0]) & (owners < rows[1]))
    row = owners[draw, source] - rows[0]
    key = draw * (rows[1] - rows[0]) + row
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    place = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    # A power of two, so that scenes of one kind share compiled programs.
    most = 1 << int(place.max(initial=0)).bit_length()
    slots = np.full((len(owners), rows[1] - rows[0], most), owners.shape[1], dtype=np.int32)
    slots[draw[order], row[order], place] = source[order]
    return slots


def pixel_noise(image: Image) -> np.ndarray:
    """Give every pixel a standard deviation, float32; the median where the weight is zero."""
    weight = np.asarray(image.weight)
    good = weight > 0
    sigma = np.ones(weight.shape, dtype=np.float32)
    sigma[good] = 1.0 / np.sqrt(weight[good])
    sigma[~good] = np.median(sigma[good]) if good.any() else np.inf
    return sigma
