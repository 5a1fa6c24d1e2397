"""Groups of images that are rendered at once, with tables stacked along a first axis.

A program that renders images one by one grows with their number, and so does the time to compile
it. Images whose windows and tables have the same sizes are mapped over instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from probcat.psf.point_tables import PointTables
from probcat.sampler.window.structures import ImageModel, Model, Search


def group_images(
    model: Model, sizes: tuple[int, ...], searches: Sequence[Search]
) -> tuple[Model, tuple[Search, ...]]:
    """Group images whose windows and tables have the same sizes, and stack their tables.

    Parameters
    ----------
    model : Model
        Model with all images.
    sizes : tuple of int
        Side of a window in pixels of every image.
    searches : sequence of Search
        Matched filters of every image.

    Returns
    -------
    model : Model
        Model with groups of images.
    searches : tuple of Search
        Matched filters of every group.
    """
    # The first image, in whose pixels positions and the cells of a search are, is on its own.
    found: list[tuple[int, ...]] = [(0,)]
    for index in range(1, len(model.images)):
        before = found[-1][-1]
        alike = before > 0 and (
            _signature(model.images[before], sizes[before], searches[before])
            == _signature(model.images[index], sizes[index], searches[index])
        )
        if alike:
            found[-1] = (*found[-1], index)
        else:
            found.append((index,))
    groups = tuple(found)
    stacks = tuple(_stacked_images([model.images[index] for index in group]) for group in groups)
    search = tuple(_stacked_searches([searches[index] for index in group]) for group in groups)
    return replace(model, images=(), sizes=sizes, groups=groups, stacks=stacks), search


def group_slice(group: tuple[int, ...]) -> slice:
    """Slice of the images of a group, which follow each other."""
    return slice(group[0], group[-1] + 1)


def map_images(function: Callable[..., Any], group: tuple[int, ...], *arguments: Any) -> Any:
    """Apply a function to every image of a group; all arguments have an axis of images first."""
    if len(group) > 1:
        return jax.vmap(function)(*arguments)
    result = function(*jax.tree.map(lambda value: value[0], arguments))
    return jax.tree.map(lambda value: value[None], result)


def _signature(image: ImageModel, size: int, search: Search) -> tuple:
    """Everything that must be the same in images that are rendered at once."""
    tables = image.point_tables
    varying = jax.tree.map(jnp.shape, (tables.variation, tables.matrices))
    extended = jax.tree.map(jnp.shape, image.extended_tables)
    structure = jax.tree.structure((tables, image.extended_tables))
    return (size, varying, extended, search.rows.shape[1:], structure)


def _stacked_searches(searches: list[Search]) -> Search:
    """Pad matched filters to one rank, and stack them."""
    rank = max(search.rows.shape[0] for search in searches)

    def padded(search: Search) -> Search:
        widths = [(0, rank - search.rows.shape[0]), (0, 0), (0, 0)]
        return search._replace(rows=jnp.pad(search.rows, widths), cols=jnp.pad(search.cols, widths))

    return _stacked([padded(search) for search in searches])


def _stacked_images(images: list[ImageModel]) -> ImageModel:
    """Pad the tables of point sources to one degree, rank and radius, and stack all tables."""
    shapes = [image.point_tables.rows.shape for image in images]
    degree, rank, width = map(max, zip(*shapes, strict=True))

    def padded(tables: PointTables) -> PointTables:
        shape = tables.rows.shape
        side = (width - shape[2]) // 2
        widths = [(0, degree - shape[0]), (0, rank - shape[1]), (side, side)]
        return tables._replace(
            rows=jnp.pad(tables.rows, widths),
            cols=jnp.pad(tables.cols, widths),
        )

    return _stacked([image._replace(point_tables=padded(image.point_tables)) for image in images])


def _stacked(values: list[Any]) -> Any:
    """Stack pytrees of one structure along a new first axis."""
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *values)
