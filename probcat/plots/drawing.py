"""What figures share: stretch, colours, outlines, and where to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.numerics.shape_matrices import major_axis_angle, semi_axes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from probcat.image.image import Image
    from probcat.pixels.assignment import Assignment

POINT_DIAMETER = 1.0
"""Diameter in pixels of the circle about a star."""
_MOST_SHEAR = 0.95
_GREY = np.array([0.35, 0.35, 0.35])


def new_figure(size: tuple[float, float], layout: Any = "constrained") -> Figure:
    """Make a figure that pyplot does not know of."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout=layout)


def take_axes(axes: Any, count: int, what: str) -> list[Axes]:
    """Check axes that a caller gave.

    Parameters
    ----------
    axes : sequence or array of matplotlib Axes
    count : int
        How many are needed.
    what : str
        Names them in the message.

    Raises
    ------
    InputError
        If there are more or fewer.
    """
    given = list(np.atleast_1d(np.asarray(axes, dtype=object)).ravel())
    if len(given) != count:
        raise InputError(f"{what} needs {count} axes, got {len(given)}")
    return given


def show(ax: Axes, values: np.ndarray, **options: Any) -> Any:
    """Show an array with row 0 at the bottom and pixel centres at integers."""
    ax.set_facecolor("0.8")
    # Axes of astropy with a WCS label themselves.
    if not hasattr(ax, "coords"):
        ax.set_xlabel("x [px]")
        ax.set_ylabel("y [px]")
    return ax.imshow(values, origin="lower", interpolation="nearest", **options)


def zoom(ax: Axes, region: np.ndarray, margin: float = 6.0) -> None:
    """Limit axes to a region of an image and its surroundings; an empty one changes nothing."""
    rows, cols = np.nonzero(region)
    if rows.size:
        ax.set_xlim(max(cols.min() - margin, -0.5), min(cols.max() + margin, region.shape[1] - 0.5))
        ax.set_ylim(max(rows.min() - margin, -0.5), min(rows.max() + margin, region.shape[0] - 0.5))


def title_of(image: Image) -> str:
    """Title of an image: its file and band."""
    return " ".join(part for part in (image.name or "image", image.band) if part)


def visible(image: Image) -> np.ndarray:
    """Pixels, NaN where they weigh nothing."""
    return np.where(image.weight > 0, image.clean_data, np.nan)


def asinh_scale(image: Image) -> tuple[float, float, float]:
    """Choose ends and softening of an asinh scale that is linear within about twice the noise.

    Returns
    -------
    low, high : float
        Values shown darkest and brightest, in the image's unit.
    linear : float
        Where the scale turns from linear to logarithmic, as a part of ``high - low``.

    Raises
    ------
    InputError
        If all pixels are masked.
    """
    good = image.weight > 0
    if not good.any():
        raise InputError("there is no pixel to draw: all are masked")
    low, high = np.percentile(image.clean_data[good], [1.0, 99.8])
    high = max(high, low + 1e-6 * max(abs(low), 1.0))
    noise = float(np.median(1.0 / np.sqrt(image.weight[good])))
    return float(low), float(high), float(np.clip(2.0 * noise / (high - low), 1e-3, 1.0))


def stretch(image: Image) -> Any:
    """Make the asinh scale of an image, as matplotlib takes it."""
    from astropy.visualization import AsinhStretch, ImageNormalize

    low, high, linear = asinh_scale(image)
    return ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(linear), clip=True)


def outlines(
    columns: Mapping[str, np.ndarray], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the outlines of objects: half-light ellipses of galaxies, circles of stars.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (n,)
        Type and shapes of objects.
    rows : ndarray of int, shape (m,)
        Objects to outline.

    Returns
    -------
    width, height : ndarray, shape (m,)
        Full lengths of the axes in pixels.
    angle : ndarray, shape (m,)
        Angle of the major axis in degrees, from +x towards +y.
    """
    radius = columns["half_light_radius"][rows]
    galaxy = (columns["prob_star"][rows] < 0.5) & np.isfinite(radius)
    g1, g2 = columns["ellipticity_1"][rows], columns["ellipticity_2"][rows]
    angle = np.degrees(major_axis_angle(g1, g2))
    # Outlines of thinner ellipses could not be told from lines.
    shrunk = np.minimum(1.0, _MOST_SHEAR / np.maximum(np.hypot(g1, g2), 1e-9))
    width, height = (2.0 * axis for axis in semi_axes(radius, shrunk * g1, shrunk * g2))
    width, height = (np.where(galaxy, axis, POINT_DIAMETER) for axis in (width, height))
    return width, height, np.where(galaxy, angle, 0.0)


def object_colours(count: int) -> np.ndarray:
    """Give every object a colour that differs from those of its neighbours in the list.

    Returns
    -------
    ndarray, shape (count, 3)
        Red, green and blue in [0, 1].
    """
    from matplotlib.colors import hsv_to_rgb

    number = np.arange(count)
    # Steps of the golden angle keep the colours of neighbours in the list apart.
    hue = (0.618034 * number) % 1.0
    hsv = np.stack([hue, 0.75 + 0.25 * (number % 2), np.ones(count)], axis=-1)
    return np.asarray(hsv_to_rgb(hsv))


def owners_picture(assignment: Assignment, image: Image) -> np.ndarray:
    """Mix a colour an object by light share, as bright as the image; grey is no object's light.

    Returns
    -------
    ndarray, shape (ny, nx, 3)
        Red, green and blue in [0, 1].
    """
    canvas = assignment.unassigned["light"][..., None] * _GREY
    for row, colour in enumerate(object_colours(len(assignment.object_ids))):
        assignment.add_to(canvas, row, "light", colour)
    brightness = np.ma.filled(stretch(image)(np.nan_to_num(visible(image))), 0.0)
    return np.asarray(np.clip(canvas * brightness[..., None] ** 0.5, 0.0, 1.0))
