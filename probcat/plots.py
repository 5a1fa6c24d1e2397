"""Figures: the scene, the fit, the traces, a blend, and who owns which pixel.

All return matplotlib figures that belong to no window and no global list, so they can be made
by the thousand on a machine without a display; `figure.savefig(path)` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.blends import find_brightest_blend
from probcat.diagnostics import import_arviz
from probcat.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from probcat.assign import Assignment
    from probcat.condensing import CondensedCatalog
    from probcat.image import Image
    from probcat.posterior import PosteriorModel
    from probcat.samples import Samples

_POINT_DIAMETER = 1.0
_TRACES = {
    "num_sources": "number of sources",
    "log_likelihood": "log likelihood",
    "background": "background",
    "mu": "expected number of sources",
}
_GREY = np.array([0.35, 0.35, 0.35])
_MOST_IN_CORNER = 3


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
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib.collections import EllipseCollection

    ax = _new_figure((8.0, 7.0)).add_subplot() if ax is None else ax
    # Paler than elsewhere, so that outlines show on the brightest sources too.
    _show(ax, _visible(image), norm=_stretch(image), cmap="gray_r", alpha=0.6)
    shown = np.flatnonzero(catalog["prob_exist"] >= min_prob)[::-1]
    width, height, angle = _outlines(catalog, shown)
    outlines = EllipseCollection(
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
    ax.add_collection(outlines)
    ax.figure.colorbar(outlines, ax=ax, label="probability that the object exists", shrink=0.8)
    ax.set_title(f"{_name(image)}: {len(shown)} objects with probability above {min_prob:g}")
    return ax


def plot_residual(image: Image, model: PosteriorModel, *, limit: float = 5.0) -> Figure:
    """Draw data, posterior mean model, and their difference in standard deviations.

    Parameters
    ----------
    image : Image
        Pixels that weigh nothing are hatched out.
    model : PosteriorModel
    limit : float
        End of the residual's colour scale, in standard deviations.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = _new_figure((13.5, 4.4))
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    norm = _stretch(image)
    label = image.unit or "counts"
    for ax, values, title in ((axes[0], _visible(image), "data"), (axes[1], model.mean, "model")):
        picture = _show(ax, values, norm=norm, cmap="gray_r")
        ax.set_title(title)
        ticks = norm.inverse(np.linspace(0.0, 1.0, 6))
        figure.colorbar(picture, ax=ax, label=label, shrink=0.85, ticks=ticks, format="%.3g")
    picture = _show(axes[2], model.residual, cmap="RdBu_r", vmin=-limit, vmax=limit)
    valid = model.residual[np.isfinite(model.residual)]
    chi2 = float(np.mean(valid**2)) if valid.size else float("nan")
    axes[2].set_title(f"residual / sigma (mean square {chi2:.2f})")
    figure.colorbar(picture, ax=axes[2], label="standard deviations", shrink=0.85, extend="both")
    return figure


def plot_trace(samples: Samples) -> Figure:
    """Draw number of sources, log likelihood, background and mu against the draw, by chain.

    Parameters
    ----------
    samples : Samples
        Of the scalars, those that it has are drawn.

    Returns
    -------
    matplotlib.figure.Figure
    """
    scalars = {"num_sources": samples.num_sources, **samples.scalars}
    names = [name for name in _TRACES if name in scalars]
    figure = _new_figure((9.0, 2.0 * len(names)))
    axes = figure.subplots(len(names), 2, squeeze=False, sharey="row", width_ratios=[4, 1])
    for (trace, histogram), name in zip(axes, names, strict=True):
        values = np.asarray(scalars[name], dtype=np.float64)
        for chain, draws in enumerate(values):
            trace.plot(draws, color=f"C{chain % 10}", linewidth=0.7)
            histogram.hist(
                draws, bins=30, orientation="horizontal", histtype="step", color=f"C{chain % 10}"
            )
        trace.set_ylabel(_TRACES[name])
        trace.margins(x=0.0)
        histogram.set_xticks([])
    axes[-1, 0].set_xlabel("draw")
    return figure


def plot_corner(
    samples: Samples,
    catalog: CondensedCatalog,
    assignment: Assignment | None = None,
    object_ids: Sequence[int] | None = None,
) -> Figure:
    """Draw the joint posterior of positions and fluxes of a blend.

    Parameters
    ----------
    samples : Samples
    catalog : CondensedCatalog
        Condensed from these samples.
    assignment : Assignment, optional
        Finds the brightest blend if no objects are named.
    object_ids : sequence of int, optional
        Objects to draw, by default the brightest blend. Draws that hold all of them are used;
        where those are too few, the last objects are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If an object is not in the catalog.
    """
    import_arviz()  # corner imports it, and its notice would come through
    import corner

    if object_ids is None:
        object_ids = find_brightest_blend(catalog, assignment) if assignment is not None else (1,)
    chosen = [int(object_id) for object_id in object_ids][:_MOST_IN_CORNER] if len(catalog) else []
    values, labels = np.zeros((0, 0)), [""]
    while chosen:
        values, labels = _joint_draws(samples, catalog, chosen)
        if len(values) >= 4 * values.shape[1] > 0:
            break
        chosen.pop()
    side = 1.5 * max(len(labels), 3)
    figure = _new_figure((side, side), layout=None)
    if not chosen:
        figure.text(0.5, 0.5, "no object has enough draws", ha="center")
        return figure
    corner.corner(
        values, labels=labels, fig=figure, quiet=True, smooth=1.0, max_n_ticks=3, labelpad=0.3
    )
    figure.subplots_adjust(left=0.12, bottom=0.12)
    names = ", ".join(map(str, chosen))
    figure.suptitle(f"objects {names}: {len(values)} draws that hold all", fontsize="medium")
    return figure


def plot_assignment(assignment: Assignment, image: Image, object_id: int | None = None) -> Figure:
    """Draw who owns which pixel.

    Parameters
    ----------
    assignment : Assignment
    image : Image
        The pixels that were assigned; they give the brightness.
    object_id : int, optional
        Object of the last panel, by default the first one.

    Returns
    -------
    matplotlib.figure.Figure
        Image; light shares as a mixture of one colour an object (grey: no object); and,
        closer, the light share of one object, with the lines where its footprint and its
        dominance have even odds.
    """
    figure = _new_figure((13.5, 4.6))
    axes = figure.subplots(1, 3)
    _show(axes[0], _visible(image), norm=_stretch(image), cmap="gray_r")
    axes[0].set_title(_name(image))
    brightness = np.ma.filled(_stretch(image)(np.nan_to_num(_visible(image))), 0.0)
    _show(axes[1], np.clip(_mixture(assignment) * brightness[..., None] ** 0.5, 0.0, 1.0))
    axes[1].set_title("who owns the light (a colour an object)")
    if len(assignment.object_ids):
        object_id = int(assignment.object_ids[0]) if object_id is None else object_id
        picture = _show(
            axes[2], assignment.map(object_id, "light"), cmap="magma", vmin=0.0, vmax=1.0
        )
        for kind, style in (("footprint", "solid"), ("dominant", "dashed")):
            levels = assignment.map(object_id, kind)
            if levels.min() < 0.5 < levels.max():
                axes[2].contour(levels, levels=[0.5], colors="cyan", linestyles=style)
        _zoom(axes[2], assignment.map(object_id, "footprint") > 0.01)
        axes[2].set_title(f"object {object_id}; footprint (line), dominant (dashed)")
        figure.colorbar(picture, ax=axes[2], label="share of the light", shrink=0.85)
    return figure


def _new_figure(size: tuple[float, float], layout: Any = "constrained") -> Figure:
    """Make a figure that pyplot does not know of."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout=layout)


def _show(ax: Axes, values: np.ndarray, **options: Any) -> Any:
    """Show an array with row 0 at the bottom and pixel centres at integers."""
    ax.set_facecolor("0.8")
    ax.set_xlabel("x [px]")
    ax.set_ylabel("y [px]")
    return ax.imshow(values, origin="lower", interpolation="nearest", **options)


def _zoom(ax: Axes, region: np.ndarray, margin: float = 6.0) -> None:
    """Limit axes to a region of an image and its surroundings; an empty one changes nothing."""
    rows, cols = np.nonzero(region)
    if rows.size:
        ax.set_xlim(max(cols.min() - margin, -0.5), min(cols.max() + margin, region.shape[1] - 0.5))
        ax.set_ylim(max(rows.min() - margin, -0.5), min(rows.max() + margin, region.shape[0] - 0.5))


def _name(image: Image) -> str:
    """Title of an image: its file and band."""
    return " ".join(part for part in (image.name or "image", image.band) if part)


def _visible(image: Image) -> np.ndarray:
    """Pixels, NaN where they weigh nothing."""
    return np.where(image.weight > 0, image.clean_data, np.nan)


def _stretch(image: Image) -> Any:
    """Make an asinh scale from dark to bright that is linear within about twice the noise."""
    from astropy.visualization import AsinhStretch, ImageNormalize

    good = image.weight > 0
    if not good.any():
        raise InputError("there is no pixel to draw: all are masked")
    low, high = np.percentile(image.clean_data[good], [1.0, 99.8])
    high = max(high, low + 1e-6 * max(abs(low), 1.0))
    noise = float(np.median(1.0 / np.sqrt(image.weight[good])))
    linear = float(np.clip(2.0 * noise / (high - low), 1e-3, 1.0))
    return ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(linear), clip=True)


def _outlines(
    catalog: CondensedCatalog, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axes (pixels, full length) and angle (degrees) of objects' outlines.

    With |g| = (1 - q) / (1 + q), the semi-axes of area-preserving shear are r / sqrt(q) and
    r sqrt(q).
    """
    galaxy = (catalog["prob_star"][rows] < 0.5) & np.isfinite(catalog["half_light_radius"][rows])
    g1, g2 = catalog["ellipticity_1"][rows], catalog["ellipticity_2"][rows]
    modulus = np.clip(np.hypot(g1, g2), 0.0, 0.95)
    ratio = np.sqrt((1.0 - modulus) / (1.0 + modulus))
    diameter = 2.0 * catalog["half_light_radius"][rows]
    width = np.where(galaxy, diameter / ratio, _POINT_DIAMETER)
    height = np.where(galaxy, diameter * ratio, _POINT_DIAMETER)
    angle = np.where(galaxy, np.degrees(0.5 * np.arctan2(g2, g1)), 0.0)
    return width, height, angle


def _joint_draws(
    samples: Samples, catalog: CondensedCatalog, object_ids: Sequence[int]
) -> tuple[np.ndarray, list[str]]:
    """Positions and fluxes in the draws that hold all objects; quantities that vary.

    Returns
    -------
    values : ndarray, shape (draws, quantities)
    labels : list of str
    """
    columns, labels = [], []
    for object_id in object_ids:
        draws = catalog.posterior(samples, object_id)
        place = draws["chain"] * samples.num_draws + draws["draw"]
        for name in ("x", "y", "flux"):
            column = np.full(samples.num_chains * samples.num_draws, np.nan)
            column[place] = draws[name]
            columns.append(column)
            labels.append(f"{name} of {object_id}")
    values = np.stack(columns, axis=1)
    values = values[np.isfinite(values).all(axis=1)]
    moving = np.ptp(values, axis=0) > 0 if len(values) else np.zeros(len(labels), dtype=bool)
    kept = [label for label, moves in zip(labels, moving, strict=True) if moves]
    return values[:, moving], kept


def _mixture(assignment: Assignment) -> np.ndarray:
    """Mix a colour an object by light share, shape (ny, nx, 3)."""
    from matplotlib.colors import hsv_to_rgb

    number = np.arange(len(assignment.object_ids))
    # Steps of the golden angle keep the colours of neighbours in the list apart.
    hue = (0.618034 * number) % 1.0
    hsv = np.stack([hue, 0.75 + 0.25 * (number % 2), np.ones(len(number))], axis=-1)
    canvas = assignment.unassigned["light"][..., None] * _GREY
    for row, colour in enumerate(hsv_to_rgb(hsv)):
        assignment.add_to(canvas, row, "light", colour)
    return canvas
