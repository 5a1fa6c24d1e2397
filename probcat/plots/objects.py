"""The figure of one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from probcat.plots.drawing import (
    colour_bar_of_pixels,
    for_each_image,
    new_figure,
    show,
    stretch,
    take_axes,
    visible,
)
from probcat.plots.scenes import draw_outline, draw_share
from probcat.samples.per_image import of_one_image, samples_per_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from probcat.catalog.catalog import CondensedCatalog
    from probcat.image.image import Image
    from probcat.pixels.assignment import Assignment
    from probcat.pixels.model_image import PosteriorModel
    from probcat.samples.samples import Samples

_MIN_HALF_SIDE = 8
"""Smallest half side of a cutout in pixels."""


@overload
def plot_object(
    object_id: int,
    samples: Samples,
    catalog: CondensedCatalog,
    assignments: Assignment,
    images: Image,
    models: PosteriorModel,
    *,
    axes: Any = ...,
) -> Figure: ...


@overload
def plot_object(
    object_id: int,
    samples: Samples,
    catalog: CondensedCatalog,
    assignments: Sequence[Assignment],
    images: Sequence[Image],
    models: Sequence[PosteriorModel],
    *,
    axes: None = ...,
) -> list[Figure]: ...


def plot_object(
    object_id: int,
    samples: Samples,
    catalog: CondensedCatalog,
    assignments: Assignment | Sequence[Assignment],
    images: Image | Sequence[Image],
    models: PosteriorModel | Sequence[PosteriorModel],
    *,
    axes: Any = None,
) -> Figure | list[Figure]:
    """Plot one object: pixels, model, residual, its share of the light, and its posterior.

    Parameters
    ----------
    object_id : int
        Number of the object in the catalog.
    samples : Samples
        Draws from the posterior.
    catalog : CondensedCatalog
        Catalog that was condensed from these samples.
    assignments : Assignment or list of Assignment
        Maps of the image, or of each image.
    images : Image or sequence of Image
        The image that was sampled; if several were sampled, all of them in the same order.
    models : PosteriorModel or list of PosteriorModel
        Model of the image, or of each image.
    axes : sequence of six matplotlib Axes, optional
        Axes to plot a single image on; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure or list of Figure
        For each image, cutouts of data, model, residual in standard deviations, and share of the
        light, with the line on which the probability of the footprint is one half; and positions
        and fluxes of the draws, in the pixels and the unit of the image.

    Raises
    ------
    InputError
        If there is no such object, the samples are not those of the catalog, or the images are
        not those that were sampled.
    """

    def draw(
        image: Image, own: Samples, assignment: Assignment, model: PosteriorModel, axes: Any
    ) -> Figure:
        draws = catalog.posterior(own, object_id)
        if axes is None:
            axes = new_figure((11.0, 6.6)).subplots(2, 3)
        panels = take_axes(axes, 6, "plot_object")
        _draw_cutouts(panels[:4], image, assignment, model, object_id)
        centre = (float(np.mean(draws["x"])), float(np.mean(draws["y"])))
        for ax in panels[:4]:
            ax.plot(*centre, "+", color="tab:red", markersize=9)
            _zoom_around(ax, centre, _half_side(assignment, object_id))
        _draw_positions(panels[4], draws)
        _draw_fluxes(panels[5], draws["flux"], image.unit or "counts")
        row = catalog.row(object_id)
        exists, star = catalog["prob_exist"][row], catalog["prob_star"][row]
        figure: Any = panels[0].figure
        figure.suptitle(f"object {object_id}: exists {exists:.2f}, star {star:.2f}")
        return figure

    if isinstance(images, Sequence):
        own: Any = samples_per_image(samples, images)
    else:
        own, _ = of_one_image(samples, images)
    return for_each_image(draw, images, own, assignments, models, given=axes)


def _draw_cutouts(
    axes: Sequence[Axes],
    image: Image,
    assignment: Assignment,
    model: PosteriorModel,
    object_id: int,
) -> None:
    """Draw data, model, residual and share of the light."""
    data, fit, residual, share = axes
    norm = stretch(image)
    for ax, values, title in ((data, visible(image), "data"), (fit, model.mean, "model")):
        picture = show(ax, values, norm=norm, cmap="gray_r")
        ax.set_title(title)
    colour_bar_of_pixels(data.figure, picture, [data, fit], image)
    picture = show(residual, model.residual, cmap="RdBu_r", vmin=-5.0, vmax=5.0)
    residual.set_title("residual")
    label = "standard deviations"
    residual.figure.colorbar(picture, ax=residual, label=label, shrink=0.85, extend="both")
    draw_share(share, assignment, object_id)
    share.set_title("footprint (line), dominant (dashed)")
    footprint = assignment.map(object_id, "footprint")
    for ax in (data, fit, residual):
        draw_outline(ax, footprint, "solid")


def _half_side(assignment: Assignment, object_id: int) -> float:
    """Half side in pixels of a cutout that shows the footprint and some surroundings."""
    rows, cols = np.nonzero(assignment.map(object_id, "footprint") > 0.05)
    extent = max(np.ptp(rows), np.ptp(cols)) if rows.size else 0
    return float(max(0.75 * extent + 2, _MIN_HALF_SIDE))


def _zoom_around(ax: Axes, centre: tuple[float, float], half: float) -> None:
    ax.set_xlim(centre[0] - half, centre[0] + half)
    ax.set_ylim(centre[1] - half, centre[1] + half)


def _draw_positions(ax: Axes, draws: dict[str, np.ndarray]) -> None:
    """Scatter the positions of the draws, coloured by type."""
    extended = np.asarray(draws["is_extended"], dtype=bool)
    for chosen, colour, name in ((~extended, "C0", "star"), (extended, "C1", "galaxy")):
        if chosen.any():
            ax.plot(draws["x"][chosen], draws["y"][chosen], ".", color=colour, ms=3, label=name)
    ax.set_xlabel("x [px]")
    ax.set_ylabel("y [px]")
    ax.ticklabel_format(useOffset=False)
    ax.set_aspect("equal", adjustable="datalim")
    ax.legend(fontsize="small")
    ax.set_title(f"{len(extended)} draws")


def _draw_fluxes(ax: Axes, flux: np.ndarray, unit: str) -> None:
    """Draw a histogram of the fluxes of the draws, with the median and the central 68 %."""
    ax.hist(flux, bins=min(40, max(5, int(np.sqrt(len(flux))))), color="0.6")
    low, middle, high = np.quantile(flux, (0.16, 0.5, 0.84))
    ax.axvline(middle, color="tab:red")
    ax.axvspan(low, high, color="tab:red", alpha=0.15, zorder=0)
    ax.set_xlabel(f"flux [{unit}]")
    ax.set_yticks([])
    digits = 1 - int(np.floor(np.log10(max(high - low, 1e-30))))
    parts = [f"{value:.{max(digits, 0)}f}" for value in (middle, high - middle, middle - low)]
    ax.set_title(f"{parts[0]} (+{parts[1]}, -{parts[2]})")
