"""Figures of the draws: traces of the chains, and joint posteriors of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.pixels.blends import find_brightest_blend
from probcat.plots.drawing import new_figure, take_axes
from probcat.samples.chains import import_arviz

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from probcat.catalog.catalog import CondensedCatalog
    from probcat.pixels.assignment import Assignment
    from probcat.samples.samples import Samples

_TRACES = {
    "num_sources": "number of sources",
    "log_likelihood": "log likelihood",
    "background": "background",
    "mu": "expected number of sources",
}
_MAX_IN_CORNER = 3
"""Largest number of objects in a corner plot."""


def plot_trace(samples: Samples, names: Sequence[str] | None = None, *, axes: Any = None) -> Figure:
    """Plot scalars of the catalogs against the draw, one colour per chain, and their histograms.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    names : sequence of str, optional
        ``num_sources``, or any of ``samples.scalars``. By default the number of sources, log
        likelihood, background and mu, as far as the samples have them.
    axes : matplotlib Axes, shape (len(names), 2), optional
        Axes for trace and histogram; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the samples have no such scalar, or the number of axes does not fit.
    """
    scalars = {"num_sources": samples.num_sources, **samples.scalars}
    names = [name for name in _TRACES if name in scalars] if names is None else list(names)
    for name in names:
        if name not in scalars:
            raise InputError(f"no scalar {name!r} in the samples: {', '.join(scalars)}")
    if axes is None:
        axes = new_figure((9.0, 2.0 * len(names))).subplots(
            len(names), 2, squeeze=False, sharey="row", width_ratios=[4, 1]
        )
    axes = take_axes(axes, 2 * len(names), "plot_trace")
    for trace, histogram, name in zip(axes[::2], axes[1::2], names, strict=True):
        values = np.asarray(scalars[name], dtype=np.float64)
        for chain, draws in enumerate(values):
            trace.plot(draws, color=f"C{chain % 10}", linewidth=0.7)
            histogram.hist(
                draws, bins=30, orientation="horizontal", histtype="step", color=f"C{chain % 10}"
            )
        trace.set_ylabel(_TRACES.get(name, name.replace("_", " ")))
        trace.margins(x=0.0)
        histogram.set_xticks([])
    axes[-2].set_xlabel("draw")
    return axes[0].figure


def plot_corner(
    samples: Samples,
    catalog: CondensedCatalog,
    assignment: Assignment | None = None,
    object_ids: Sequence[int] | None = None,
    *,
    figure: Figure | None = None,
) -> Figure:
    """Plot the joint posterior of positions and fluxes of a blend.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    catalog : CondensedCatalog
        Catalog that was condensed from these samples.
    assignment : Assignment, optional
        Maps that determine the brightest blend if no objects are named.
    object_ids : sequence of int, optional
        Objects to plot, by default the brightest blend. Only draws that contain all of them are
        used; if these are too few, the last objects are dropped.
    figure : matplotlib Figure, optional
        An empty figure to plot on; by default a new one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If an object is not in the catalog.
    """
    import_arviz()  # corner imports it, and its notice would be shown
    import corner

    if object_ids is None:
        object_ids = find_brightest_blend(catalog, assignment) if assignment is not None else (1,)
    chosen = [int(object_id) for object_id in object_ids][:_MAX_IN_CORNER] if len(catalog) else []
    values, labels = np.zeros((0, 0)), [""]
    while chosen:
        values, labels = joint_draws(samples, catalog, chosen)
        if len(values) >= 4 * values.shape[1] > 0:
            break
        chosen.pop()
    side = 1.5 * max(len(labels), 3)
    figure = new_figure((side, side), layout=None) if figure is None else figure
    if not chosen:
        figure.text(0.5, 0.5, "no object has enough draws", ha="center")
        return figure
    corner.corner(
        values, labels=labels, fig=figure, quiet=True, smooth=1.0, max_n_ticks=3, labelpad=0.3
    )
    figure.subplots_adjust(left=0.12, bottom=0.12)
    names = ", ".join(map(str, chosen))
    figure.suptitle(f"objects {names}: {len(values)} draws that contain all", fontsize="medium")
    return figure


def joint_draws(
    samples: Samples, catalog: CondensedCatalog, object_ids: Sequence[int]
) -> tuple[np.ndarray, list[str]]:
    """Collect positions and fluxes of objects in the draws that contain all of them.

    Parameters
    ----------
    samples : Samples
        Draws from the posterior.
    catalog : CondensedCatalog
        Catalog that was condensed from these samples.
    object_ids : sequence of int
        Objects.

    Returns
    -------
    values : ndarray, shape (draws, quantities)
        Quantities that vary.
    labels : list of str
        Their names.
    """
    columns, labels = [], []
    for object_id in object_ids:
        draws = catalog.posterior(samples, object_id)
        index = draws["chain"] * samples.num_draws + draws["draw"]
        for name in ("x", "y", "flux"):
            column = np.full(samples.num_chains * samples.num_draws, np.nan)
            column[index] = draws[name]
            columns.append(column)
            labels.append(f"{name} of {object_id}")
    values = np.stack(columns, axis=1)
    values = values[np.isfinite(values).all(axis=1)]
    moving = np.ptp(values, axis=0) > 0 if len(values) else np.zeros(len(labels), dtype=bool)
    kept = [label for label, moves in zip(labels, moving, strict=True) if moves]
    return values[:, moving], kept
