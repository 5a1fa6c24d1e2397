"""Figures of a whole image: its objects, the fit, and which object owns which pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from probcat.image.alignment import align_images
from probcat.numerics.shape_matrices import transformed
from probcat.plots.drawing import (
    colour_bar_of_pixels,
    for_each_image,
    new_figure,
    outlines,
    owners_picture,
    show,
    stretch,
    take_axes,
    title_of,
    visible,
    zoom,
)
from probcat.samples.per_image import check_images
from probcat.samples.samples import SHAPE_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from probcat.catalog.catalog import CondensedCatalog
    from probcat.image.image import Image
    from probcat.pixels.assignment import Assignment
    from probcat.pixels.model_image import PosteriorModel


@overload
def plot_scene(
    images: Image, catalog: CondensedCatalog, *, min_prob: float = ..., ax: Axes | None = ...
) -> Axes: ...


@overload
def plot_scene(
    images: Sequence[Image], catalog: CondensedCatalog, *, min_prob: float = ..., ax: None = ...
) -> list[Axes]: ...


def plot_scene(
    images: Image | Sequence[Image],
    catalog: CondensedCatalog,
    *,
    min_prob: float = 0.2,
    ax: Axes | None = None,
) -> Axes | list[Axes]:
    """Plot an image with its objects, coloured by the probability that they exist.

    Parameters
    ----------
    images : Image or sequence of Image
        The image that was sampled; if several were sampled, all of them in the same order.
    catalog : CondensedCatalog
        Objects. Those that are more probably stars are shown as small circles, others as their
        half-light ellipses. In all but the first image their positions follow the WCS.
    min_prob : float
        Objects that exist with a smaller probability are not shown.
    ax : matplotlib Axes, optional
        Axes to plot a single image on, possibly with a WCS; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes or list of Axes
        Axes of the image; for a sequence of images a list, with a figure for each.

    Raises
    ------
    InputError
        If the images are not those that were sampled, or all pixels of one are masked.
    """
    check_images(catalog.attrs.get("images", {}), images)
    shown = np.flatnonzero(catalog["prob_exist"] >= min_prob)[::-1]
    names = ("prob_exist", "prob_star", "x", "y", *SHAPE_NAMES)
    columns = {name: np.asarray(catalog[name])[shown] for name in names}

    def draw(image: Image, affine: np.ndarray, ax: Axes | None) -> Axes:
        ax = new_figure((8.0, 7.0)).add_subplot() if ax is None else ax
        _draw_scene(ax, image, _seen_in(columns, affine), min_prob)
        return ax

    if not isinstance(images, Sequence):
        return draw(images, np.eye(2, 3), ax)
    return for_each_image(draw, images, [one.affine for one in align_images(images)], given=ax)


def _draw_scene(ax: Axes, image: Image, columns: Mapping[str, np.ndarray], min_prob: float) -> None:
    """Draw an image and outlines of objects with positions and shapes in its pixels."""
    from matplotlib.collections import EllipseCollection

    # Paler than elsewhere, so that outlines also stand out on the brightest sources.
    show(ax, visible(image), norm=stretch(image), cmap="gray_r", alpha=0.6)
    width, height, angle = outlines(columns)
    ellipses = EllipseCollection(
        width,
        height,
        angle,
        units="xy",
        offsets=np.stack([columns["x"], columns["y"]], axis=1),
        offset_transform=ax.transData,
        array=columns["prob_exist"],
        cmap="plasma_r",
        clim=(0.0, 1.0),
        facecolors="none",
        linewidths=1.0,
    )
    ax.add_collection(ellipses)
    ax.figure.colorbar(ellipses, ax=ax, label="probability that the object exists", shrink=0.8)
    count = len(columns["x"])
    ax.set_title(f"{title_of(image)}: {count} objects with probability above {min_prob:g}")


def _seen_in(columns: dict[str, np.ndarray], affine: np.ndarray) -> dict[str, np.ndarray]:
    """Columns with positions and shapes after an affine map (2, 3) of the pixels."""
    if np.array_equal(affine, np.eye(2, 3)):
        return columns
    x, y = affine @ np.stack([columns["x"], columns["y"], np.ones(len(columns["x"]))])
    shapes = transformed(np.stack([columns[name] for name in SHAPE_NAMES]), affine[:, :2])
    return {**columns, "x": x, "y": y, **dict(zip(SHAPE_NAMES, shapes, strict=True))}


@overload
def plot_residual(
    images: Image, models: PosteriorModel, *, limit: float = ..., axes: Any = ...
) -> Figure: ...


@overload
def plot_residual(
    images: Sequence[Image],
    models: Sequence[PosteriorModel],
    *,
    limit: float = ...,
    axes: None = ...,
) -> list[Figure]: ...


def plot_residual(
    images: Image | Sequence[Image],
    models: PosteriorModel | Sequence[PosteriorModel],
    *,
    limit: float = 5.0,
    axes: Any = None,
) -> Figure | list[Figure]:
    """Plot data, posterior mean model, and their difference in standard deviations.

    Parameters
    ----------
    images : Image or sequence of Image
        An image, or several; pixels with zero weight are left blank.
    models : PosteriorModel or list of PosteriorModel
        Model of the image, or of each of them.
    limit : float
        End of the residual's colour scale in standard deviations.
    axes : sequence of three matplotlib Axes, optional
        Axes to plot a single image on; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure or list of Figure
        Figure of the axes; for a sequence of images a list.

    Raises
    ------
    InputError
        If the numbers of images and models, or of axes, do not fit.
    """

    def draw(image: Image, model: PosteriorModel, axes: Any) -> Figure:
        if axes is None:
            axes = new_figure((13.5, 4.4)).subplots(1, 3, sharex=True, sharey=True)
        axes = take_axes(axes, 3, "plot_residual")
        _draw_residual(axes, image, model, limit)
        return axes[0].figure

    return for_each_image(draw, images, models, given=axes)


def _draw_residual(axes: list[Axes], image: Image, model: PosteriorModel, limit: float) -> None:
    """Draw data, model and residual of one image."""
    norm = stretch(image)
    for ax, values, title in ((axes[0], visible(image), "data"), (axes[1], model.mean, "model")):
        picture = show(ax, values, norm=norm, cmap="gray_r")
        ax.set_title(title)
        colour_bar_of_pixels(ax.figure, picture, ax, image)
    picture = show(axes[2], model.residual, cmap="RdBu_r", vmin=-limit, vmax=limit)
    valid = model.residual[np.isfinite(model.residual)]
    chi2 = float(np.mean(valid**2)) if valid.size else float("nan")
    axes[2].set_title(f"residual / sigma (mean square {chi2:.2f})")
    label = "standard deviations"
    axes[2].figure.colorbar(picture, ax=axes[2], label=label, shrink=0.85, extend="both")


@overload
def plot_assignment(
    assignments: Assignment, images: Image, object_id: int | None = ..., *, axes: Any = ...
) -> Figure: ...


@overload
def plot_assignment(
    assignments: Sequence[Assignment],
    images: Sequence[Image],
    object_id: int | None = ...,
    *,
    axes: None = ...,
) -> list[Figure]: ...


def plot_assignment(
    assignments: Assignment | Sequence[Assignment],
    images: Image | Sequence[Image],
    object_id: int | None = None,
    *,
    axes: Any = None,
) -> Figure | list[Figure]:
    """Plot which object owns which pixel.

    Parameters
    ----------
    assignments : Assignment or list of Assignment
        Maps of an image, or of each of several.
    images : Image or sequence of Image
        The images whose pixels were assigned; they give the brightness.
    object_id : int, optional
        Object of the last panel; by default the first one.
    axes : sequence of three matplotlib Axes, optional
        Axes to plot a single image on; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure or list of Figure
        For each image, the image itself; shares of the light as a mixture of one colour for each
        object (grey is light of no object); and, enlarged, one object's share of the light, with
        the lines on which the probabilities of footprint and dominance are one half.

    Raises
    ------
    InputError
        If the object has no maps, or the numbers of images and maps, or of axes, do not fit.
    """

    def draw(image: Image, assignment: Assignment, axes: Any) -> Figure:
        if axes is None:
            axes = new_figure((13.5, 4.6)).subplots(1, 3)
        axes = take_axes(axes, 3, "plot_assignment")
        _draw_assignment(axes, image, assignment, object_id)
        return axes[0].figure

    return for_each_image(draw, images, assignments, given=axes)


def _draw_assignment(
    axes: list[Axes], image: Image, assignment: Assignment, object_id: int | None
) -> None:
    """Draw an image, the owners of its light, and the map of one object."""
    show(axes[0], visible(image), norm=stretch(image), cmap="gray_r")
    axes[0].set_title(title_of(image))
    show(axes[1], owners_picture(assignment, image))
    axes[1].set_title("owners of the light (one colour per object)")
    if len(assignment.object_ids):
        object_id = int(assignment.object_ids[0]) if object_id is None else object_id
        draw_share(axes[2], assignment, object_id)
        zoom(axes[2], assignment.map(object_id, "footprint") > 0.01)
        axes[2].set_title(f"object {object_id}: footprint (line), dominant (dashed)")


def draw_share(ax: Axes, assignment: Assignment, object_id: int) -> None:
    """Draw an object's share of the light, and outlines of footprint and dominance."""
    picture = show(ax, assignment.map(object_id, "light"), cmap="magma", vmin=0.0, vmax=1.0)
    draw_outline(ax, assignment.map(object_id, "footprint"), "solid")
    draw_outline(ax, assignment.map(object_id, "dominant"), "dashed")
    ax.figure.colorbar(picture, ax=ax, label="share of the light", shrink=0.85)


def draw_outline(ax: Axes, probability: np.ndarray, style: str) -> None:
    """Draw the line on which a map of probabilities is one half, if it has one."""
    if probability.min() < 0.5 < probability.max():
        ax.contour(probability, levels=[0.5], colors="cyan", linestyles=style)
