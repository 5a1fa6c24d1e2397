"""What figures have in common: stretch, colours, outlines, and axes to plot on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
_MAX_SHEAR = 0.95
"""Largest reduced shear of an outline; a thinner ellipse would look like a line."""
_GREY = np.array([0.35, 0.35, 0.35])
"""Colour of light that belongs to no object."""


def new_figure(size: tuple[float, float], layout: Any = "constrained") -> Figure:
    """Make a figure that pyplot does not know."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout=layout)


def for_each_image(
    draw: Callable[..., Any], images: Any, *of_images: Any, given: Any = None
) -> Any:
    """Draw the figure of one image, or those of each of several.

    Parameters
    ----------
    draw : callable
        Takes an image, one element of each of `of_images`, and axes or None.
    images : Image or sequence of Image
        An image, or several.
    *of_images
        What belongs to the image, or sequences of what belongs to each.
    given : optional
        Axes of a single image.

    Returns
    -------
    object or list
        The result of `draw`; for a sequence of images a list of results.

    Raises
    ------
    InputError
        If sequences differ in length, or axes are given for several images.
    """
    if not isinstance(images, Sequence):
        return draw(images, *of_images, given)
    if given is not None:
        raise InputError("axes can be given for a single image only")
    if any(not isinstance(each, list | tuple) or len(each) != len(images) for each in of_images):
        raise InputError(f"{len(images)} images need a list of {len(images)} maps and models")
    return [draw(image, *own, None) for image, *own in zip(images, *of_images, strict=True)]


def take_axes(axes: Any, count: int, what: str) -> list[Axes]:
    """Check the number of axes that a caller gave.

    Parameters
    ----------
    axes : sequence or array of matplotlib Axes
        Axes of any arrangement.
    count : int
        Number of axes that are needed.
    what : str
        Name of the function, for the message.

    Returns
    -------
    list of matplotlib Axes

    Raises
    ------
    InputError
        If there are more or fewer.
    """
    found = list(np.atleast_1d(np.asarray(axes, dtype=object)).ravel())
    if len(found) != count:
        raise InputError(f"{what} needs {count} axes, got {len(found)}")
    return found


def show(ax: Axes, values: np.ndarray, **options: Any) -> Any:
    """Show an array with row 0 at the bottom and pixel centres at integers."""
    ax.set_facecolor("0.8")
    # Axes of astropy with a WCS have labels of their own.
    if not hasattr(ax, "coords"):
        ax.set_xlabel("x [px]")
        ax.set_ylabel("y [px]")
    return ax.imshow(values, origin="lower", interpolation="nearest", **options)


def zoom(ax: Axes, region: np.ndarray, margin: float = 6.0) -> None:
    """Limit axes to a region of an image and a margin; an empty region changes nothing."""
    rows, cols = np.nonzero(region)
    if rows.size:
        ax.set_xlim(max(cols.min() - margin, -0.5), min(cols.max() + margin, region.shape[1] - 0.5))
        ax.set_ylim(max(rows.min() - margin, -0.5), min(rows.max() + margin, region.shape[0] - 0.5))


def title_of(image: Image) -> str:
    """Title of an image: its file and band."""
    return " ".join(part for part in (image.name or "image", image.band) if part)


def visible(image: Image) -> np.ndarray:
    """Pixels of an image, NaN where they have zero weight."""
    return np.where(image.weight > 0, image.clean_data, np.nan)


def asinh_scale(image: Image) -> tuple[float, float, float]:
    """Choose an asinh scale that is linear within about twice the noise.

    Parameters
    ----------
    image : Image
        Gives pixel values and noise.

    Returns
    -------
    low, high : float
        Values at the two ends of the scale, in the image's unit.
    linear : float
        Fraction of ``high - low`` at which the scale turns from linear to logarithmic.

    Raises
    ------
    InputError
        If all pixels are masked.
    """
    good = image.weight > 0
    if not good.any():
        raise InputError("there is no pixel to plot: all are masked")
    low, high = np.percentile(image.clean_data[good], [1.0, 99.8])
    high = max(high, low + 1e-6 * max(abs(low), 1.0))
    noise = float(np.median(1.0 / np.sqrt(image.weight[good])))
    return float(low), float(high), float(np.clip(2.0 * noise / (high - low), 1e-3, 1.0))


def stretch(image: Image) -> Any:
    """Return the asinh scale of an image as a norm of matplotlib."""
    from astropy.visualization import AsinhStretch, ImageNormalize

    low, high, linear = asinh_scale(image)
    return ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(linear), clip=True)


def colour_bar_of_pixels(figure: Any, picture: Any, ax: Any, image: Image) -> None:
    """Add the colour bar of pixel values in the image's unit."""
    ticks = picture.norm.inverse(np.linspace(0.0, 1.0, 6))
    label = image.unit or "counts"
    figure.colorbar(picture, ax=ax, label=label, ticks=ticks, format="%.3g", shrink=0.85)


def outlines(columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the outlines of objects: half-light ellipses of galaxies, circles about stars.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (n,)
        `prob_star`, `half_light_radius` (pixels), `ellipticity_1` and `ellipticity_2`.

    Returns
    -------
    width, height : ndarray, shape (n,)
        Full lengths of the major and the minor axis in pixels.
    angle : ndarray, shape (n,)
        Angle of the major axis in degrees, from +x towards +y.
    """
    radius = columns["half_light_radius"]
    galaxy = (columns["prob_star"] < 0.5) & np.isfinite(radius)
    g1, g2 = columns["ellipticity_1"], columns["ellipticity_2"]
    factor = np.minimum(1.0, _MAX_SHEAR / np.maximum(np.hypot(g1, g2), 1e-9))
    axes = (2.0 * axis for axis in semi_axes(radius, factor * g1, factor * g2))
    width, height = (np.where(galaxy, axis, POINT_DIAMETER) for axis in axes)
    return width, height, np.where(galaxy, np.degrees(major_axis_angle(g1, g2)), 0.0)


def object_colours(count: int) -> np.ndarray:
    """Choose colours for objects so that neighbours in the list differ.

    Parameters
    ----------
    count : int
        Number of objects.

    Returns
    -------
    ndarray, shape (count, 3)
        Red, green and blue in [0, 1].
    """
    from matplotlib.colors import hsv_to_rgb

    number = np.arange(count)
    # Steps of the golden angle keep the hues of neighbours in the list apart.
    hue = (0.618034 * number) % 1.0
    hsv = np.stack([hue, 0.75 + 0.25 * (number % 2), np.ones(count)], axis=-1)
    return np.asarray(hsv_to_rgb(hsv))


def owners_picture(assignment: Assignment, image: Image) -> np.ndarray:
    """Mix the colours of objects by their shares of the light, as bright as the image.

    Parameters
    ----------
    assignment : Assignment
        Maps of the image.
    image : Image
        Gives the brightness.

    Returns
    -------
    ndarray, shape (ny, nx, 3)
        Red, green and blue in [0, 1]; light that belongs to no object is grey.
    """
    canvas = assignment.unassigned["light"][..., None] * _GREY
    for row, colour in enumerate(object_colours(len(assignment.object_ids))):
        assignment.add_to(canvas, row, "light", colour)
    brightness = np.ma.filled(stretch(image)(np.nan_to_num(visible(image))), 0.0)
    return np.asarray(np.clip(canvas * brightness[..., None] ** 0.5, 0.0, 1.0))
