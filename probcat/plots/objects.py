"""The figure of one object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.plots.drawing import new_figure, show, stretch, take_axes, visible
from probcat.plots.scenes import draw_even_odds, draw_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from probcat.catalog.catalog import CondensedCatalog
    from probcat.image.image import Image
    from probcat.pixels.assignment import Assignment
    from probcat.pixels.model_image import PosteriorModel
    from probcat.samples.samples import Samples

_LEAST_HALF_SIDE = 8


def plot_object(
    object_id: int,
    samples: Samples,
    catalog: CondensedCatalog,
    assignment: Assignment,
    image: Image,
    model: PosteriorModel,
    *,
    axes: Any = None,
) -> Figure:
    """Draw one object: pixels, model, residual, its share of the light, and its posterior.

    Parameters
    ----------
    object_id : int
    samples : Samples
        In the pixels and the unit of `image`; of several images its own view
        (`probcat.samples.per_image.views`).
    catalog : CondensedCatalog
        Condensed from these samples.
    assignment : Assignment
        Maps of the image.
    image : Image
    model : PosteriorModel
        Of the image.
    axes : sequence of six matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Cutouts of data, model, residual in standard deviations and light share with the line
        of even odds of the footprint; then the draws' positions and fluxes.

    Raises
    ------
    InputError
        If there is no such object, or the samples are not those of the catalog.
    """
    draws = catalog.posterior(samples, object_id)
    if axes is None:
        axes = new_figure((11.0, 6.6)).subplots(2, 3)
    data, fit, rest, share, place, flux = take_axes(axes, 6, "plot_object")
    figure: Any = data.figure
    norm = stretch(image)
    for ax, values, title in ((data, visible(image), "data"), (fit, model.mean, "model")):
        picture = show(ax, values, norm=norm, cmap="gray_r")
        ax.set_title(title)
    ticks = norm.inverse(np.linspace(0.0, 1.0, 6))
    label = image.unit or "counts"
    figure.colorbar(picture, ax=[data, fit], label=label, ticks=ticks, format="%.3g", shrink=0.85)
    picture = show(rest, model.residual, cmap="RdBu_r", vmin=-5.0, vmax=5.0)
    rest.set_title("residual")
    figure.colorbar(picture, ax=rest, label="standard deviations", shrink=0.85, extend="both")
    draw_share(share, assignment, object_id)
    share.set_title("footprint (line), dominant (dashed)")
    centre = (float(np.mean(draws["x"])), float(np.mean(draws["y"])))
    half = _half_side(assignment, object_id)
    for ax in (data, fit, rest, share):
        ax.plot(*centre, "+", color="tab:red", markersize=9)
        _zoom_around(ax, centre, half)
    for ax in (data, fit, rest):
        draw_even_odds(ax, assignment, object_id, "footprint", "solid")
    _draw_positions(place, draws)
    _draw_fluxes(flux, draws["flux"], label)
    row = catalog.row(object_id)
    exists, star = catalog["prob_exist"][row], catalog["prob_star"][row]
    figure.suptitle(f"object {object_id}: exists {exists:.2f}, star {star:.2f}")
    return figure


def _half_side(assignment: Assignment, object_id: int) -> float:
    """Half the side of a cutout, pixels, that shows the footprint with some room."""
    rows, cols = np.nonzero(assignment.map(object_id, "footprint") > 0.05)
    extent = max(np.ptp(rows), np.ptp(cols)) if rows.size else 0
    return float(max(0.75 * extent + 2, _LEAST_HALF_SIDE))


def _zoom_around(ax: Axes, centre: tuple[float, float], half: float) -> None:
    ax.set_xlim(centre[0] - half, centre[0] + half)
    ax.set_ylim(centre[1] - half, centre[1] + half)


def _draw_positions(ax: Axes, draws: dict[str, np.ndarray]) -> None:
    """Scatter the draws' positions, coloured by type."""
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
    """Histogram of the draws' fluxes, with the median and the central 68 %."""
    ax.hist(flux, bins=min(40, max(5, int(np.sqrt(len(flux))))), color="0.6")
    low, middle, high = np.quantile(flux, (0.16, 0.5, 0.84))
    ax.axvline(middle, color="tab:red")
    ax.axvspan(low, high, color="tab:red", alpha=0.15, zorder=0)
    ax.set_xlabel(f"flux [{unit}]")
    ax.set_yticks([])
    digits = 1 - int(np.floor(np.log10(max(high - low, 1e-30))))
    parts = [f"{value:.{max(digits, 0)}f}" for value in (middle, high - middle, middle - low)]
    ax.set_title(f"{parts[0]} (+{parts[1]}, -{parts[2]})")
