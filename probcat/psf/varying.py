"""A point-spread function that varies over the image."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.psf import separable_varying
from probcat.psf.arrays import border_taper, centroid, checked
from probcat.psf.point_tables import PointTables
from probcat.psf.position_weights import Variation, bilinear, unscaled, weights
from probcat.psf.psf import PSF

NEGLIGIBLE = 1e-4
"""Greatest error from leaving out components, as a fraction of the peak."""
_OFF_CENTRE = 0.02
"""Greatest offset of the centroid in pixels that is not noted."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class VaryingPSF(PSF):
    """Effective PSF that depends on the position of the source in the image.

    It is a sum of components whose weights are polynomials of the position, or interpolate
    between the nodes of a grid. The weights are scaled so that the PSF sums to one over the
    pixels at every position. As a `PSF` it is its own mean over the image, which sets scales and
    proposals; sources are rendered with the PSF `at` their positions. Build one with
    `from_components` or `from_grid`.

    Parameters
    ----------
    pixels, oversampling, shift, notes
        Attributes of the mean, as in `PSF`.
    variation : Variation
        Weights of the components.
    components : ndarray, shape (K, odd, odd)
        Samples [y, x] of the components.
    remarks : tuple of str
        The notes that do not follow from the samples.
    """

    variation: Variation = dataclasses.field(kw_only=True)
    components: np.ndarray = dataclasses.field(kw_only=True)
    remarks: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    def _summary(self) -> list[str]:
        return [*super()._summary(), f"{len(self.components)} components"]

    @classmethod
    def from_components(
        cls,
        components: Any,
        variation: Variation,
        oversampling: float = 1,
        remarks: tuple[str, ...] = (),
    ) -> PSF:
        """Make a PSF from components and their weights.

        The borders of the components are tapered as in `PSF.from_pixels`. The source is at the
        central sample, ``n // 2`` along an axis. Nothing is shifted, since positions of sources
        were measured with this PSF.

        Parameters
        ----------
        components : array_like, shape (J, n, m)
            Samples [y, x] of the components.
        variation : Variation
            Weights of the J components; `sums` are computed here.
        oversampling : int
            Samples per image pixel along each axis.
        remarks : tuple of str
            What a user should know about the input.

        Returns
        -------
        PSF
            A PSF with the fewest components that are accurate to `NEGLIGIBLE` of the peak; not a
            `VaryingPSF` if one is enough.

        Raises
        ------
        InputError
            If the samples make no PSF, or its sum is not positive everywhere.
        """
        components = np.asarray(components, float)
        if components.ndim != 3 or len(components) != variation.table.shape[-1]:
            raise InputError(
                f"components of a PSF, of shape {components.shape}; they must be "
                f"{variation.table.shape[-1]} arrays of samples"
            )
        components = _tapered(components, oversampling)
        return _build(components, variation, int(oversampling), tuple(remarks))

    @classmethod
    def from_grid(
        cls,
        x: Any,
        y: Any,
        psfs: Any,
        oversampling: float = 1,
        remarks: tuple[str, ...] = (),
    ) -> PSF:
        """Make a PSF that is interpolated between PSFs on a grid, as photutils does.

        Parameters
        ----------
        x, y : array_like, shapes (n,), (m,)
            Nodes of the grid in pixels of the image, in increasing order. Beyond the grid the
            PSF is that at its border.
        psfs : array_like, shape (m, n, ny, nx)
            Samples of the PSF at the nodes ``[y, x]``, on any scale of values.
        oversampling, remarks
            As in `from_components`.

        Returns
        -------
        PSF
            As `from_components` returns it.

        Raises
        ------
        InputError
            If the nodes do not increase, or there is not one array of samples for each.
        """
        x, y, psfs = (np.asarray(values, float) for values in (x, y, psfs))
        if any(nodes.ndim != 1 or np.any(np.diff(nodes) <= 0) for nodes in (x, y)):
            raise InputError("the nodes of a grid of PSFs must be increasing numbers")
        if psfs.ndim != 4 or psfs.shape[:2] != (len(y), len(x)):
            raise InputError(
                f"PSFs of shape {psfs.shape} for a grid of {len(y)} x {len(x)} nodes; there must "
                "be one array of samples for each"
            )
        samples = _tapered(psfs.reshape(-1, *psfs.shape[2:]), oversampling)
        sums = samples.sum(axis=(1, 2), keepdims=True)
        if not np.all(sums > 0.0):
            raise InputError("a PSF of the grid has no positive sum")
        return _build(samples / sums, bilinear(x, y), int(oversampling), tuple(remarks))

    def at(self, x: float, y: float) -> PSF:
        """Return the PSF of a source at a position.

        Parameters
        ----------
        x, y : float
            Position in pixels of the image.

        Returns
        -------
        PSF
            The PSF there, which does not vary.
        """
        values = weights(self.variation, np.array([x, y], float))
        return PSF(np.tensordot(values, self.components, 1), self.oversampling, notes=self.remarks)

    def cut(self, radius: int) -> PSF:
        """Return the PSF within a smaller box, as `PSF.cut`."""
        if self._fits_into(radius):
            return self
        components = _tapered(self._within(self.components, radius), self.oversampling)
        return _build(components, self.variation, self.oversampling, self.remarks)

    def in_frame(self, origin: Any, shape: tuple[int, ...] | None = None) -> PSF:
        """Return the PSF in the pixels of another array.

        Parameters
        ----------
        origin : array_like, shape (2,)
            Pixel (x, y) of this frame that is the pixel (0, 0) of the array.
        shape : tuple of int, optional
            Shape (ny, nx) of the array. If it is given, the variation outside the array is
            discarded.

        Returns
        -------
        PSF
            The PSF; not a `VaryingPSF` if it does not vary over the array.
        """
        variation = self.variation.moved(origin)
        if shape is None:
            return dataclasses.replace(self, variation=variation)
        high = np.array([shape[1], shape[0]]) - 0.5
        inside, remarks = variation.within(np.full(2, -0.5), high), self.remarks
        if np.any((inside.low == inside.high) & (variation.low < variation.high)):
            remarks += (
                "does not vary beyond its own field, where the image is; is its origin right?",
            )
        return _build(self.components, inside, self.oversampling, remarks)

    def transfer_parts(self, size: int) -> np.ndarray:
        """Return the Fourier transforms of the components, as `transfer` does for their mean.

        Parameters
        ----------
        size : int
            Side of the periodic grid in pixels.

        Returns
        -------
        ndarray, complex64, shape (K, size, size // 2 + 1)
            Values at the frequencies of `numpy.fft.rfft2`.
        """
        return np.stack([PSF(part, self.oversampling).transfer(size) for part in self.components])

    def point_tables(
        self, radius: int | None = None, tolerance: float = 2e-3, degree: int | None = None
    ) -> PointTables:
        """Return low-rank separable tables for rendering point sources, as `PSF.point_tables`.

        The tolerance holds at all positions in the image.
        """
        radius = self.radius if radius is None else int(radius)
        return separable_varying.build(
            self, self.components, self.variation, radius, tolerance, degree
        )

    def table_error(self, tables: PointTables) -> float:
        """Return the greatest error of point tables over all positions, as `PSF.table_error`."""
        return separable_varying.error(self, self.components, self.variation, tables)


def _tapered(components: np.ndarray, oversampling: float) -> np.ndarray:
    """Bring the borders of components (J, n, m) to zero, and make n and m odd."""
    checked(np.abs(components).sum(axis=0), oversampling)
    rows, cols = (border_taper(n, int(oversampling)) for n in components.shape[1:])
    odd = [(0, 1 - n % 2) for n in components.shape[1:]]
    return np.pad(components * np.multiply.outer(rows, cols), [(0, 0), *odd])


def _build(
    components: np.ndarray, variation: Variation, oversampling: int, remarks: tuple[str, ...]
) -> PSF:
    """Make a PSF of the fewest components, with its mean and notes on it."""
    area = oversampling**2
    variation = variation._replace(sums=components.sum(axis=(1, 2)) / area)
    values = np.stack([_positive(variation, where) for where in variation.extreme_positions()])
    flat = components.reshape(len(components), -1)
    images = values @ flat
    basis, number = _reduced(images)
    basis = basis[:number]
    mean = images.mean(axis=0)
    mean = (mean @ basis.T @ basis).reshape(components.shape[1:])
    mean *= area / mean.sum()
    if number == 1:
        return PSF(mean, oversampling, notes=remarks)
    components = basis.reshape(-1, *components.shape[1:])
    variation = variation.of_components(flat @ basis.T, basis.sum(axis=1) / area)
    psf = VaryingPSF(
        mean, oversampling, variation=variation, components=components, remarks=remarks
    )
    return dataclasses.replace(psf, notes=(*remarks, *_notes_on_variation(psf)))


def _positive(variation: Variation, position: np.ndarray) -> np.ndarray:
    """Return the scaled weights at a position; refuse a PSF without a positive sum there."""
    values, total = unscaled(variation, position)
    if not total > 0.0:
        raise InputError(
            f"the PSF has no positive sum at pixel ({position[0]:.0f}, {position[1]:.0f}); does "
            "it belong to this image, and its psf_origin?"
        )
    return values / total


def _reduced(images: np.ndarray) -> tuple[np.ndarray, int]:
    """Return orthonormal components of PSFs (N, samples), and how many of them are needed."""
    left, singular, basis = np.linalg.svd(images, full_matrices=False)
    rest, limit = images.copy(), NEGLIGIBLE * images.max()
    for number in range(len(singular)):
        if np.abs(rest).max() <= limit:
            return basis, max(number, 1)
        rest -= np.multiply.outer(left[:, number] * singular[number], basis[number])
    return basis, len(singular)


def _notes_on_variation(psf: VaryingPSF) -> tuple[str, ...]:
    """Return notes on how much the PSF varies, and on a centroid off the centre."""
    low, high = psf.variation.low, psf.variation.high
    corners = [low, high, np.array([low[0], high[1]]), np.array([high[0], low[1]])]
    local = [psf.at(*position) for position in (*corners, 0.5 * (low + high))]
    fwhm = [one.fwhm for one in local]
    lines = [f"varies over the image: FWHM {min(fwhm):.2f} to {max(fwhm):.2f} px"]
    offsets = [np.hypot(*centroid(one.pixels)) / psf.oversampling for one in local]
    if max(offsets) > _OFF_CENTRE:
        lines.append(
            f"centroid up to {max(offsets):.2f} px off the centre of its array; "
            "positions are those of the array's centre"
        )
    return tuple(lines)
