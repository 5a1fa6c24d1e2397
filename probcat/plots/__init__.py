"""Figures: the scene, the fit, the traces, a blend, an object, and who owns which pixel.

Those that make their own figure make one that belongs to no window and no global list, so they
can be made by the thousand on a machine without a display; `figure.savefig(path)` writes them.
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
