"""Figures of a whole image: its objects, the fit, and who owns which pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.plots.drawing import (
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from probcat.catalog.catalog import CondensedCatalog
    from probcat.image.image import Image
    from probcat.pixels.assignment import Assignment
    from probcat.pixels.model_image import PosteriorModel


def plot_scene(
    image: Image, catalog: CondensedCatalog, *, min_prob: float = 0.2, ax: Axes | None = None
) -> Axes:
    """Draw the image with its objects, coloured by the probability that they exist.

    Parameters
    ----------
    image : Image
    catalog : CondensedCatalog
        Objects that are rather stars are small circles; others their half-light ellipses.
    min_prob : float
        Objects that exist with a smaller probability are left out.
    ax : matplotlib Axes, optional
        Where to draw, also one with a WCS; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib.collections import EllipseCollection

    ax = new_figure((8.0, 7.0)).add_subplot() if ax is None else ax
    # Paler than elsewhere, so that outlines show on the brightest sources too.
    show(ax, visible(image), norm=stretch(image), cmap="gray_r", alpha=0.6)
    shown = np.flatnonzero(catalog["prob_exist"] >= min_prob)[::-1]
    width, height, angle = outlines(catalog.columns, shown)
    ellipses = EllipseCollection(
        width,
        height,
        angle,
        units="xy",
        offsets=np.stack([catalog["x"][shown], catalog["y"][shown]], axis=1),
        offset_transform=ax.transData,
        array=catalog["prob_exist"][shown],
        cmap="plasma_r",
        clim=(0.0, 1.0),
        facecolors="none",
        linewidths=1.0,
    )
    ax.add_collection(ellipses)
    ax.figure.colorbar(ellipses, ax=ax, label="probability that the object exists", shrink=0.8)
    ax.set_title(f"{title_of(image)}: {len(shown)} objects with probability above {min_prob:g}")
    return ax


def plot_residual(
    image: Image, model: PosteriorModel, *, limit: float = 5.0, axes: Any = None
) -> Figure:
    """Draw data, posterior mean model, and their difference in standard deviations.

    Parameters
    ----------
    image : Image
        Pixels that weigh nothing are left out.
    model : PosteriorModel
    limit : float
        End of the residual's colour scale, in standard deviations.
    axes : sequence of three matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The one that the axes belong to.
    """
    if axes is None:
        axes = new_figure((13.5, 4.4)).subplots(1, 3, sharex=True, sharey=True)
    axes = take_axes(axes, 3, "plot_residual")
    figure = axes[0].figure
    norm = stretch(image)
    label = image.unit or "counts"
    for ax, values, title in ((axes[0], visible(image), "data"), (axes[1], model.mean, "model")):
        picture = show(ax, values, norm=norm, cmap="gray_r")
        ax.set_title(title)
        ticks = norm.inverse(np.linspace(0.0, 1.0, 6))
        figure.colorbar(picture, ax=ax, label=label, shrink=0.85, ticks=ticks, format="%.3g")
    picture = show(axes[2], model.residual, cmap="RdBu_r", vmin=-limit, vmax=limit)
    valid = model.residual[np.isfinite(model.residual)]
    chi2 = float(np.mean(valid**2)) if valid.size else float("nan")
    axes[2].set_title(f"residual / sigma (mean square {chi2:.2f})")
    figure.colorbar(picture, ax=axes[2], label="standard deviations", shrink=0.85, extend="both")
    return figure


def plot_assignment(
    assignment: Assignment, image: Image, object_id: int | None = None, *, axes: Any = None
) -> Figure:
    """Draw who owns which pixel.

    Parameters
    ----------
    assignment : Assignment
    image : Image
        The pixels that were assigned; they give the brightness.
    object_id : int, optional
        Object of the last panel, by default the first one.
    axes : sequence of three matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Image; light shares as a mixture of one colour an object (grey: no object); and,
        closer, the light share of one object, with the lines where its footprint and its
        dominance have even odds.

    Raises
    ------
    InputError
        If the object has no maps.
    """
    if axes is None:
        axes = new_figure((13.5, 4.6)).subplots(1, 3)
    axes = take_axes(axes, 3, "plot_assignment")
    show(axes[0], visible(image), norm=stretch(image), cmap="gray_r")
    axes[0].set_title(title_of(image))
    show(axes[1], owners_picture(assignment, image))
    axes[1].set_title("who owns the light (a colour an object)")
    if len(assignment.object_ids):
        object_id = int(assignment.object_ids[0]) if object_id is None else object_id
        draw_share(axes[2], assignment, object_id)
        zoom(axes[2], assignment.map(object_id, "footprint") > 0.01)
        axes[2].set_title(f"object {object_id}; footprint (line), dominant (dashed)")
    return axes[0].figure


def draw_share(ax: Axes, assignment: Assignment, object_id: int) -> None:
    """Draw an object's share of the light, and lines of even odds of footprint and dominance."""
    picture = show(ax, assignment.map(object_id, "light"), cmap="magma", vmin=0.0, vmax=1.0)
    draw_even_odds(ax, assignment, object_id, "footprint", "solid")
    draw_even_odds(ax, assignment, object_id, "dominant", "dashed")
    ax.figure.colorbar(picture, ax=ax, label="share of the light", shrink=0.85)


def draw_even_odds(ax: Axes, assignment: Assignment, object_id: int, kind: str, style: str) -> None:
    """Draw the line on which a map of an object is one half, if it has one."""
    levels = assignment.map(object_id, kind)
    if levels.min() < 0.5 < levels.max():
        ax.contour(levels, levels=[0.5], colors="cyan", linestyles=style)
