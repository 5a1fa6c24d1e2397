"""Figures: the scene, the fit, the traces, a blend, an object, and which object owns which pixel.

Functions that make a figure of their own make one that belongs to no window and no global list, so
that thousands of them can be made on a machine without a display; `figure.savefig(path)` writes
one to a file.

Imports `pixels`, `catalog`, `samples` and `image`; never `metrics`.
"""

from probcat.plots.objects import plot_object
from probcat.plots.scenes import plot_assignment, plot_residual, plot_scene
from probcat.plots.traces import plot_corner, plot_trace

__all__ = [
    "plot_assignment",
    "plot_corner",
    "plot_object",
    "plot_residual",
    "plot_scene",
    "plot_trace",
]
