"""Probabilities that objects own pixels, from samples and their condensed catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

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
    mean_light,
    thin_draws,
)
from probcat.pixels.noise import depends_on_light, pixel_noise
from probcat.samples.per_image import of_one_image, samples_per_image
from probcat.samples.samples import Samples

if TYPE_CHECKING:
    from probcat.catalog.catalog import CondensedCatalog
    from probcat.image.image import Image
    from probcat.model.renderer import Renderer

__all__ = ["Assignment", "assign_pixels", "pixel_noise"]

_STEP = 8
"""Lengths of arrays are multiples of this, so that similar scenes share compiled programs."""


@overload
def assign_pixels(
    samples: Samples,
    catalog: CondensedCatalog,
    images: Image,
    renderer: Renderer | None = None,
    *,
    max_draws: int = ...,
    max_memory: float = ...,
    subtracted_sky: Any = ...,
) -> Assignment: ...


@overload
def assign_pixels(
    samples: Samples,
    catalog: CondensedCatalog,
    images: Sequence[Image],
    renderer: None = None,
    *,
    max_draws: int = ...,
    max_memory: float = ...,
    subtracted_sky: Any = ...,
) -> list[Assignment]: ...


def assign_pixels(
    samples: Samples,
    catalog: CondensedCatalog,
    images: Image | Sequence[Image],
    renderer: Renderer | None = None,
    *,
    max_draws: int = 200,
    max_memory: float = 1024.0,
    subtracted_sky: Any = 0.0,
) -> Assignment | list[Assignment]:
    """Compute the probability that each object owns the light of each pixel.

    Each draw is rendered source by source; negative light of a stamp counts as none. A source's
    share of a pixel's light is its light divided by that of all sources. Its share of the photons
    is its light divided by that of all sources and the background, where a negative background
    also counts as none; if a draw has neither, the pixel belongs to the background.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    catalog : CondensedCatalog
        Catalog that was condensed from these samples.
    images : Image or sequence of Image
        The image that was sampled; if several were sampled, all of them in the same order.
    renderer : Renderer, optional
        Renderer of a single image; by default that of the image's PSF.
    max_draws : int
        Number of evenly spaced draws to use.
    max_memory : float
        Memory in MiB on the device for maps of objects. If the maps need more, objects are
        processed in groups, with one pass over the draws for each.
    subtracted_sky : float or array_like, shape (ny, nx)
        Level that was subtracted from the image before, in the image's unit; it counts as
        background when photons are shared. In an image without its sky, sources own nearly all
        photons unless this level is given. For several images a number, or a list with one level
        for each.

    Returns
    -------
    Assignment or list of Assignment
        Maps of the image; for a sequence of images a list, each in the pixels of its image.

    Raises
    ------
    InputError
        If the catalog is not of these samples, the images are not those that were sampled, or
        an option is out of range.
    """
    if catalog.members.shape != samples.sources["active"].shape:
        raise InputError("these are not the samples that the catalog was condensed from")
    if max_draws < 1 or max_memory <= 0:
        raise InputError("max_draws and max_memory must be positive")

    def assign(own: Samples, image: Image, sky: Any) -> Assignment:
        made = default_renderer(own, image) if renderer is None else renderer
        sky = _sky(sky, image.shape)
        return _assign(own, catalog, image, made, sky, (max_draws, max_memory))

    if not isinstance(images, Sequence):
        return assign(*of_one_image(samples, images), subtracted_sky)
    if renderer is not None:
        raise InputError("a renderer can be given for a single image only")
    listed = isinstance(subtracted_sky, list | tuple)
    skies = list(subtracted_sky) if listed else [subtracted_sky] * len(images)
    if len(skies) != len(images):
        raise InputError(f"{len(skies)} levels in subtracted_sky for {len(images)} images")
    own = samples_per_image(samples, images)
    return [assign(*each) for each in zip(own, images, skies, strict=True)]


def _assign(
    samples: Samples,
    catalog: CondensedCatalog,
    image: Image,
    renderer: Renderer,
    sky: np.ndarray,
    limits: tuple[int, float],
) -> Assignment:
    """Assign the pixels of one image, with samples in its pixels; limits are draws and MiB."""
    chosen = choose_draws(samples, limits[0])
    draws = _padded(thin_draws(samples, chosen))
    owners = catalog.owners.reshape(-1, samples.capacity)[chosen]
    extra = np.asarray(draws.x).shape[1] - owners.shape[1]
    owners = np.pad(owners, ((0, 0), (0, extra)), constant_values=-1)
    corners, side = stamp_corners(renderer, draws)
    origins, size = _windows(corners, side, owners, len(catalog))
    light = None
    if depends_on_light(image, samples):
        light = mean_light(samples, image, renderer, limits[0])
    noise = pixel_noise(image, samples, light)
    scenery = Scenery(noise, sky, background_of(samples, image))
    shares = _sum_over_draws((side, size), renderer, draws, owners, origins, scenery, limits[1])
    used = np.asarray(image.weight) > 0
    assignment = Assignment(
        object_ids=np.asarray(catalog["object_id"]),
        origins=origins,
        stamps=shares.own,
        unassigned=shares.rest,
        shape=image.shape,
        band=image.band,
        snr_squared=np.where(used, (shares.light / noise) ** 2, 0.0).astype(np.float32),
        wcs=getattr(image, "wcs", None),
    )
    return _with_background(assignment)


def _sum_over_draws(
    sides: tuple[int, int],
    renderer: Renderer,
    draws: RenderSources,
    owners: np.ndarray,
    origins: np.ndarray,
    scenery: Scenery,
    max_memory: float,
) -> Shares:
    """Sum over draws, one group of objects after another."""
    size, number = sides[1], len(origins)
    # Sums, the terms that a draw adds to them, the object's own light and two cut-outs.
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
    rest: dict[Any, Any] = {kind: np.asarray(values) for kind, values in found.rest.items()}
    return Shares(own, rest, np.asarray(found.background), np.asarray(found.light))


def _with_background(assignment: Assignment) -> Assignment:
    """Assign to the background the rest of every pixel, so that all shares sum to one."""
    taken = assignment.unassigned["photon"].astype(np.float64)
    for row in range(len(assignment.object_ids)):
        assignment.add_to(taken, row, "photon")
    return replace(assignment, background=np.clip(1.0 - taken, 0.0, 1.0).astype(np.float32))


def _padded(draws: RenderSources) -> RenderSources:
    """Add slots without sources, up to a multiple of `_STEP`."""
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
    """Add empty slots, at least one."""
    extra = _STEP - slots.shape[1] % _STEP
    return np.pad(slots, ((0, 0), (0, extra)), constant_values=none)


def _sky(sky: Any, shape: tuple[int, int]) -> np.ndarray:
    """Level that was subtracted before, in every pixel."""
    values = np.asarray(sky, dtype=np.float32)
    if values.shape not in ((), shape):
        raise InputError(
            f"subtracted_sky has shape {values.shape}; give a number, or an array of shape {shape}"
        )
    if not np.isfinite(values).all():
        raise InputError("subtracted_sky must be finite")
    return np.broadcast_to(values, shape)


def _windows(
    corners: np.ndarray, side: int, owners: np.ndarray, num_objects: int
) -> tuple[np.ndarray, int]:
    """Choose origins of the objects' stamps, and a side that holds the stamps of their sources."""
    draw, source = np.nonzero(owners >= 0)
    row, corner = owners[draw, source], corners[draw, source].astype(np.int64)
    low = np.full((num_objects, 2), np.iinfo(np.int64).max)
    high = np.full((num_objects, 2), np.iinfo(np.int64).min)
    np.minimum.at(low, row, corner)
    np.maximum.at(high, row, corner)
    # An object may have no source in the draws that are used.
    low, high = np.where(low > high, 0, low), np.where(low > high, 0, high)
    extent = int((high - low).max(initial=0))
    return low, side + extent + -extent % _STEP


def _slots(owners: np.ndarray, rows: tuple[int, int]) -> np.ndarray:
    """List the slots of each object's sources in each draw.

    Parameters
    ----------
    owners : ndarray of int, shape (draws, sources)
        Object that each source belongs to, -1 for none.
    rows : tuple of int
        First object, and the one after the last.

    Returns
    -------
    ndarray of int32, shape (draws, objects, any number)
        Index on the source axis; the number of sources where there is none. There is at least one
        slot for each object.
    """
    draw, source = np.nonzero((owners >= rows[0]) & (owners < rows[1]))
    row = owners[draw, source] - rows[0]
    key = draw * (rows[1] - rows[0]) + row
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    number = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    # A power of two, so that similar scenes share compiled programs.
    most = 1 << int(number.max(initial=0)).bit_length()
    slots = np.full((len(owners), rows[1] - rows[0], most), owners.shape[1], dtype=np.int32)
    slots[draw[order], row[order], number] = source[order]
    return slots
