"""What every move works on: the model, the window, its state, and what a move proposes."""

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

    Within windows there is one for each group of images, which come first in every array.

    Attributes
    ----------
    rows, cols : Array, shape (rank, cells, size)
        Leading PSF factors centred on every position along an axis: in the first image the
        half-pixel cells of the interior, in others a grid about as fine around it.
    spacing : Array, shape ()
        Of the positions, in pixels of the image.
    """

    rows: Array
    cols: Array
    spacing: Array


class ImageModel(NamedTuple):
    """How sources appear in one image.

    Attributes
    ----------
    point_tables : PointTables
    extended_tables : tuple of ExtendedTables
        For sources of the smaller and of the larger footprint, or for all; empty in models
        without extended sources.
    extended_radius, large_radius : Array, shape (), int32
        Half sides of the footprints of extended sources in pixels of the image.
    affine : Array, shape (2, 2)
        From pixels of the first image to pixels of this one.
    """

    point_tables: PointTables
    extended_tables: tuple[ExtendedTables, ...]
    extended_radius: Array
    large_radius: Array
    affine: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Model:
    """What is fixed during a run and common to all windows of a class.

    Lengths are in pixels of the first image, fluxes in its unit.

    Parameters
    ----------
    images : tuple of ImageModel
    prior : Prior
    large_size : Array, shape ()
        Half-light radius along the major axis beyond which a source has the larger footprint.
    fwhm : Array, shape ()
        Of the PSF; sets the scale of displacements.
    point_norm, point_slope_norm, point_bend_norm : Array, shape ()
        Sums over pixels of ``P^2``, ``(dP/dx)^2`` and ``(d2P/dx2)^2``.
    band_slope : Array, shape (B,)
        Ratio of the second to the first of them in every band.
    bands : tuple of int
        Band of every image; 0 is that of the first.
    sizes : tuple of int
        Side of a window in pixels of every image.
    shared_shape_of : tuple of int
        For every image the first one in which extended sources have the same shapes, on grids
        of the same sizes.
    stacks : tuple of ImageModel
        Within windows, instead of `images`: those that are drawn at once, stacked along a
        first axis.
    groups : tuple of tuple of int
        Which images these are.
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
        """Number of bands besides the first."""
        return max(self.bands)


class Window(NamedTuple):
    """What is fixed during the visit of one window.

    Attributes
    ----------
    weight : Array, shape (W, W)
        Inverse variance times the inverse temperature; zero where masked. With several
        images their windows lie below each other, filled up with zeros to one width; so do
        all images of light in a window. Where variances depend on the model these are fixed
        ones near them, which proposals use.
    lower_bound, upper_bound : Array, shape (2,)
        Bounds (x, y) in window pixels of the area where sources may move.
    density : Array, shape (2,)
        Intensity of point and of extended sources per square pixel.
    search_precision : Array, shape (B, 2 * interior, 2 * interior)
        ``sum w P^2`` of every band on the half-pixel grid, before tempering.
    beta : Array, shape ()
        Inverse temperature of the likelihood.
    largest : Array, shape ()
        Half-light radius along the major axis, in pixels, of the largest source that fits the
        window.
    step_size : Array, shape ()
        Of the Hamiltonian moves.
    shift : Array, shape (I, 2)
        Where the window's pixel (0, 0) lies in that of every image, (x, y).
    flux_factor : Array, shape (I,)
        Flux in the unit of an image for one unit of that of its band.
    corner : Array, shape (I, 2)
        Padded pixel (x, y) of every image that its window starts at.
    noise : Noise or None
        What variances that depend on the model are made of.
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
    """Randomness of one move, drawn for all moves at once.

    Attributes
    ----------
    uniform : Array, shape (NUM_UNIFORMS + NUM_MORE,)
        In (0, 1]; the last ones only for moves of galaxies, which fits need.
    flux : Array, shape (2,)
        From the prior.
    shapes : Array, shape (NUM_TRIES, 4)
        From the prior.
    colours : Array, shape (B - 1,)
        From the prior.
    normal : Array, shape (B - 1,)
        From the standard normal distribution.
    """

    uniform: Array
    flux: Array
    shapes: Array
    colours: Array
    normal: Array


class WindowState(NamedTuple):
    """What moves change.

    Attributes
    ----------
    residual : Array, shape (W, W)
        Data minus background minus all sources.
    points : Array, shape (S_p, 2 + B)
        x, y in window pixels, flux and colours of movable point sources; flux 0 is empty.
        A colour is the logarithm of the flux in a band over that in the first.
    extended : Array, shape (S_e, 6 + B)
        The same with half-light radius, two ellipticity components, Sersic index.
    overflow : Array, shape (2,), bool
        A birth of this kind found no empty slot.
    """

    residual: Array
    points: Array
    extended: Array
    overflow: Array
