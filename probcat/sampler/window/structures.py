"""Arrays that every move works on: the model, the window, its state, and random numbers."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
from jax import Array

from probcat.model.extended_sources import EMPTY_SHAPE as EMPTY_SHAPE
from probcat.model.extended_sources import ExtendedTables
from probcat.model.pixel_noise import Noise
from probcat.model.prior.prior import Prior
from probcat.psf.point_tables import PointTables

POINT = 0
"""Number of the kind of point sources."""
EXTENDED = 1
"""Number of the kind of extended sources."""

# Columns of an array of sources: x, y, flux, colours of all bands but the first, shape.
X = 0
"""Column of the position along x."""
Y = 1
"""Column of the position along y."""
FLUX = 2
"""Column of the flux in the first band; ``FLUX + band`` is that of the colour of a band."""
NUM_SHAPE = 4
"""Number of the last columns, which hold the shape of an extended source."""
RADIUS = -NUM_SHAPE
"""Column of the half-light radius."""

NUM_UNIFORMS = 15
"""Number of uniform random numbers of a move."""
NUM_MORE = 5
"""Number of further uniform random numbers of moves of galaxies."""
NUM_TRIES = 4
"""Number of shapes that a move of galaxies chooses from."""
SIGNAL_EDGES = (5.0, 10.0, 20.0, 50.0, 200.0)
"""Edges of the bins of signal-to-noise ratio in which moves are counted."""


def num_columns(kind: int, num_colours: int) -> int:
    """Count the columns of an array of sources."""
    return FLUX + 1 + num_colours + (NUM_SHAPE if kind == EXTENDED else 0)


class Search(NamedTuple):
    """Matched filter on a grid of positions in a window, used to propose births.

    Within windows there is one for each group of images, with an axis of images first.

    Attributes
    ----------
    rows, cols : Array, shape (rank, cells, size)
        Leading PSF factors centred on every position along an axis: in the first image the
        half-pixel cells of the interior, in other images a grid about as fine around it.
    spacing : Array, shape ()
        Spacing of the positions, in pixels of the image.
    """

    rows: Array
    cols: Array
    spacing: Array


class ImageModel(NamedTuple):
    """How sources appear in one image.

    Attributes
    ----------
    point_tables : PointTables
        Tables of the PSF for point sources.
    extended_tables : tuple of ExtendedTables
        Grids for small and for large extended sources, or one grid for all; empty in models
        without extended sources.
    extended_radius, large_radius : Array, shape (), int32
        Half-widths of the stamps of small and of large extended sources in pixels of the image.
    affine : Array, shape (2, 2)
        Linear map from pixels of the first image to pixels of this one.
    """

    point_tables: PointTables
    extended_tables: tuple[ExtendedTables, ...]
    extended_radius: Array
    large_radius: Array
    affine: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Model:
    """Model that is fixed during a run and shared by all windows of a class.

    Lengths are in pixels of the first image, fluxes in its unit.

    Parameters
    ----------
    images : tuple of ImageModel
        How sources appear in every image; empty within windows.
    prior : Prior
        Prior of the catalog.
    large_size : Array, shape ()
        Half-light radius along the major axis above which a source is large.
    fwhm : Array, shape ()
        Full width at half maximum of the PSF, which sets the scale of displacements.
    point_norm, point_slope_norm, point_bend_norm : Array, shape ()
        Sums over pixels of ``P^2``, ``(dP/dx)^2`` and ``(d2P/dx2)^2`` of the PSF.
    band_slope : Array, shape (B,)
        Ratio of the sum of ``(dP/dx)^2`` to that of ``P^2`` in every band.
    bands : tuple of int
        Number of the band of every image; 0 is that of the first image.
    sizes : tuple of int
        Side of a window in pixels of every image; empty outside windows.
    shared_shape_of : tuple of int
        For every image the number of the first image in which extended sources have the same
        shapes, on grids of the same sizes.
    stacks : tuple of ImageModel
        Groups of images within windows: those that are rendered at once are stacked along a first
        axis.
    groups : tuple of tuple of int
        Numbers of the images of every group.
    """

    images: tuple[ImageModel, ...]
    prior: Prior
    large_size: Array
    fwhm: Array
    point_norm: Array
    point_slope_norm: Array
    point_bend_norm: Array
    band_slope: Array
    bands: tuple[int, ...] = field(metadata={"static": True})
    sizes: tuple[int, ...] = field(default=(), metadata={"static": True})
    shared_shape_of: tuple[int, ...] = field(default=(0,), metadata={"static": True})
    stacks: tuple[ImageModel, ...] = ()
    groups: tuple[tuple[int, ...], ...] = field(default=(), metadata={"static": True})

    @property
    def num_colours(self) -> int:
        """Number of bands beyond the first."""
        return max(self.bands)


class Window(NamedTuple):
    """One window, as far as it is fixed during a visit.

    Attributes
    ----------
    weight : Array, shape (W, W)
        Inverse variance times the inverse temperature; zero where masked. The windows of several
        images lie below each other, padded with zeros to one width, as in all images of light in
        a window. If variances depend on the model, these weights are fixed approximations for
        proposals.
    lower_bound, upper_bound : Array, shape (2,)
        Bounds (x, y) in window pixels of the area where sources may move.
    density : Array, shape (2,)
        Expected number of point and of extended sources per square pixel.
    search_precision : Array, shape (B, 2 * interior, 2 * interior)
        ``sum w P^2`` of every band on the half-pixel grid, before tempering.
    beta : Array, shape ()
        Inverse temperature of the likelihood.
    largest : Array, shape ()
        Half-light radius along the major axis, in pixels, of the largest source that fits the
        window.
    step_size : Array, shape ()
        Step size of the Hamiltonian moves.
    shift : Array, shape (I, 2)
        Position (x, y) of the first image's window pixel (0, 0) in the window of every image.
    flux_factor : Array, shape (I,)
        Flux in the unit of an image for one unit of that of its band.
    corner : Array, shape (I, 2)
        Padded pixel (x, y) of every image that its window starts at.
    noise : Noise or None
        Noise of the pixels, if variances depend on the model.
    """

    weight: Array
    lower_bound: Array
    upper_bound: Array
    density: Array
    search_precision: Array
    beta: Array
    largest: Array
    step_size: Array
    shift: Array
    flux_factor: Array
    corner: Array
    noise: Noise | None = None


class RandomNumbers(NamedTuple):
    """Random numbers of one move; those of all moves of a visit are generated at once.

    Attributes
    ----------
    uniform : Array, shape (NUM_UNIFORMS + NUM_MORE,)
        Uniform numbers in (0, 1]; the last `NUM_MORE` exist only for moves of galaxies.
    flux : Array, shape (2,)
        Fluxes from the prior.
    shapes : Array, shape (NUM_TRIES, 4)
        Shapes from the prior.
    colours : Array, shape (B - 1,)
        Colours from the prior.
    normal : Array, shape (B - 1,)
        Numbers from the standard normal distribution.
    """

    uniform: Array
    flux: Array
    shapes: Array
    colours: Array
    normal: Array


class WindowState(NamedTuple):
    """Sources of one window and its residual, which moves change.

    Attributes
    ----------
    residual : Array, shape (W, W)
        Data minus background minus all sources.
    points : Array, shape (S_p, 2 + B)
        Point sources that may move: x and y in window pixels, flux, and colours, the natural
        logarithms of the fluxes in all other bands over that in the first. A slot with flux 0 is
        empty.
    extended : Array, shape (S_e, 6 + B)
        Extended sources that may move, with half-light radius, two ellipticity components and
        Sersic index in the last columns.
    overflow : Array, shape (2,), bool
        Whether a birth of a point or of an extended source found no empty slot.
    """

    residual: Array
    points: Array
    extended: Array
    overflow: Array
