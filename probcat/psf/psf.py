"""The effective (pixel-integrated) point spread function of an image."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.numerics.robust import FWHM_PER_SIGMA
from probcat.psf import separable as psf_tables
from probcat.psf.arrays import TAPER, border_taper, centroid, checked, flux_note, shifted


@dataclasses.dataclass(frozen=True, eq=False)
class PSF:
    """Effective PSF: the flux that a pixel receives from a unit point source.

    Between its samples the PSF is the band-limited (Whittaker-Shannon) interpolation of
    them, that is, trigonometric interpolation with unlimited zero padding. Build one with
    `from_pixels`, `gaussian` or `moffat`, which check, centre and normalise.

    Parameters
    ----------
    pixels : ndarray, shape (odd, odd)
        Samples [y, x], the central one at the source; ``sum / oversampling**2 == 1``, so
        that the PSF sums to one over the pixels of an image.
    oversampling : int
        Samples per image pixel along each axis.
    shift : tuple of float
        Centroid (dx, dy) in image pixels that was taken out of the input array.
    notes : tuple of str
        What a user should know about the input.
    variation : Variation, optional
        How the PSF varies over the image; only a `probcat.VaryingPSF` does.
    """

    pixels: np.ndarray
    oversampling: int = 1
    shift: tuple[float, float] = (0.0, 0.0)
    notes: tuple[str, ...] = ()
    variation: Any = None

    @classmethod
    def from_pixels(cls, array, oversampling=1, recenter=True):
        """Make a PSF from an array of samples.

        The border of the array is tapered to zero over `TAPER` pixels, so that a finite
        footprint does not ring when it is interpolated. An even-sized axis is padded to odd
        at its end: its centre is then sample ``n // 2``, unless the centroid says otherwise.

        Parameters
        ----------
        array : array_like, shape (n, m)
            Pixel-integrated PSF on any scale of values.
        oversampling : int
            Samples per image pixel along each axis.
        recenter : bool
            Measure the Gaussian-weighted centroid and shift it to the central sample.

        Returns
        -------
        PSF

        Raises
        ------
        InputError
            If the array is not a finite two-dimensional array of positive sum with a core,
            or `oversampling` is not a positive whole number.
        """
        samples = checked(array, oversampling)
        oversampling = int(oversampling)
        notes = flux_note(samples.sum(), oversampling)
        rows, cols = (border_taper(n, oversampling) for n in samples.shape)
        samples = samples * np.multiply.outer(rows, cols)
        samples = np.pad(samples, [(0, 1 - n % 2) for n in samples.shape])
        shift = (0.0, 0.0)
        if recenter:
            offset_y, offset_x = centroid(samples)
            samples = shifted(samples, offset_y, offset_x)
            shift = (offset_x / oversampling, offset_y / oversampling)
            if math.hypot(*shift) > 0.01:
                notes += (f"PSF array was off centre by ({shift[0]:+.3f}, {shift[1]:+.3f}) px",)
        if not samples.sum() > 0.0:
            raise InputError("the PSF has no positive sum within its tapered border")
        samples = samples * (oversampling**2 / samples.sum())
        psf = cls(samples, oversampling, shift, notes)
        if psf.fwhm * oversampling < 2.0:
            note = f"PSF is under-sampled: FWHM {psf.fwhm * oversampling:.2f} samples"
            psf = dataclasses.replace(psf, notes=(*notes, note))
        return psf

    @classmethod
    def gaussian(cls, fwhm, size=None):
        """Circular Gaussian effective PSF.

        Parameters
        ----------
        fwhm : float
            Full width at half maximum in pixels as seen on the image, the pixel's own
            response included.
        size : int, optional
            Side of the array in pixels; by default it reaches 5 standard deviations.

        Returns
        -------
        PSF
        """
        _check_positive("fwhm", fwhm)
        sigma = fwhm / FWHM_PER_SIGMA
        half = 5.0 * sigma + TAPER if size is None else size / 2.0
        return _analytic(lambda r2: np.exp(-0.5 * r2 / sigma**2), fwhm, half)

    @classmethod
    def moffat(cls, fwhm, beta, size=None):
        """Circular Moffat effective PSF, ``(1 + r**2 / a**2)**-beta`` (Moffat 1969).

        Parameters
        ----------
        fwhm : float
            Full width at half maximum in pixels as seen on the image, the pixel's own
            response included.
        beta : float
            Slope of the wings, greater than 1.
        size : int, optional
            Side of the array in pixels; by default 8 FWHM. Light beyond it is cut off and
            the rest normalised.

        Returns
        -------
        PSF
        """
        _check_positive("fwhm", fwhm)
        if not beta > 1.0:
            raise InputError(f"a Moffat PSF needs beta > 1, not {beta}")
        scale2 = (0.5 * fwhm) ** 2 / (2.0 ** (1.0 / beta) - 1.0)
        half = 4.0 * fwhm + TAPER if size is None else size / 2.0
        return _analytic(lambda r2: (1.0 + r2 / scale2) ** -beta, fwhm, half)

    @functools.cached_property
    def radius(self):
        """Half side in pixels of the box of pixels that a source can reach."""
        reach = (max(self.pixels.shape) - 1) / 2 / self.oversampling
        return max(1, math.ceil(reach - 0.5))

    def cut(self, radius):
        """PSF within a smaller box: what is cut off is given to the rest.

        Parameters
        ----------
        radius : int
            Half side in pixels of the box that a source can reach, its tapered border included.

        Returns
        -------
        PSF
            Itself, where it is as small already.

        Raises
        ------
        InputError
            If the radius is not positive.
        """
        if self._reaches(radius):
            return self
        samples = self._within(self.pixels, radius)
        return PSF.from_pixels(samples, self.oversampling, recenter=False)

    def _reaches(self, radius):
        """Tell whether a box of that radius holds the whole PSF."""
        if not radius >= 1:
            raise InputError(f"psf_radius = {radius!r}; it must be 1 px or more")
        return self.radius <= radius

    def _within(self, samples, radius):
        """Cut samples (..., ny, nx) to a box around their middle."""
        reach = [int(min((radius + 0.5) * self.oversampling, n // 2)) for n in samples.shape[-2:]]
        middle = [n // 2 for n in samples.shape[-2:]]
        rows, cols = (slice(m - r, m + r + 1) for m, r in zip(middle, reach, strict=True))
        return samples[..., rows, cols]

    @functools.cached_property
    def peak(self):
        """Greatest value of the PSF: the flux share of a pixel that is hit best."""
        return float(self._core()[1].max())

    @functools.cached_property
    def fwhm(self):
        """Diameter in pixels of the disc as large as the area above half the peak."""
        step, core = self._core()
        return 2.0 * step * math.sqrt(np.count_nonzero(core > 0.5 * core.max()) / math.pi)

    @functools.cached_property
    def effective_area(self):
        """Noise-equivalent area in pixels, ``1 / sum(P**2)`` averaged over sub-pixel offsets."""
        return float(self.oversampling**2 / np.sum(self.pixels**2))

    def at(self, x, y):
        """PSF of a source at a position (x, y) in pixels: the same everywhere."""
        return self

    def in_frame(self, origin, shape=None):
        """PSF in the pixels of an array of `shape` whose pixel (0, 0) is at `origin`: the same."""
        return self

    def evaluate(self, dx, dy):
        """Value of the PSF at displacements from the source.

        Parameters
        ----------
        dx, dy : array_like
            Displacement in image pixels, of shapes that broadcast.

        Returns
        -------
        ndarray
            Flux share of a pixel at that displacement; zero outside the array.
        """
        dx, dy = np.broadcast_arrays(np.asarray(dx, float), np.asarray(dy, float))
        rows, cols = self.basis(dy.ravel(), 0), self.basis(dx.ravel(), 1)
        return np.sum(rows @ self.pixels * cols, axis=1).reshape(dx.shape)

    def evaluate_grid(self, x, y):
        """Value of the PSF on a rectangular grid of displacements.

        Parameters
        ----------
        x, y : array_like, shapes (m,), (n,)
            Displacements in image pixels along the axes.

        Returns
        -------
        ndarray, shape (n, m)
        """
        return self.basis(np.asarray(y, float), 0) @ self.pixels @ self.basis(x, 1).T

    def transfer(self, size):
        """Fourier transform of the centred PSF on a periodic pixel grid.

        Parameters
        ----------
        size : int
            Side of the grid in pixels.

        Returns
        -------
        ndarray, complex64, shape (size, size // 2 + 1)
            At the frequencies of `numpy.fft.rfft2`; one at zero frequency. The Nyquist row
            and column of an even grid are zero, as a sub-pixel shift is undefined there.
        """
        rows = self._fourier(np.fft.fftfreq(size), self.pixels.shape[0])
        cols = self._fourier(np.fft.rfftfreq(size), self.pixels.shape[1])
        transfer = rows @ self.pixels @ cols.T / self.oversampling**2
        if size % 2 == 0:
            transfer[size // 2, :] = 0.0
            transfer[:, size // 2] = 0.0
        return transfer.astype(np.complex64)

    def point_tables(self, radius=None, tolerance=2e-3, degree=None):
        """Low-rank separable tables of the PSF for drawing point sources.

        Parameters
        ----------
        radius : int, optional
            Half side in pixels of the square footprint, by default `radius`. A smaller one
            cuts off the wings, smoothly over `TAPER` pixels; their flux is lost.
        tolerance : float
            Greatest error over all displacements in the footprint (taper included in the
            truth) as a fraction of the peak.
        degree : int, optional
            Degree of the polynomials, by default the least that takes up a quarter of the
            tolerance.

        Returns
        -------
        PointTables
            With the least rank that meets the tolerance; `table_error` gives its error.

        Raises
        ------
        InputError
            If `radius` is less than 1, or the tolerance cannot be met.
        """
        return psf_tables.build(
            self, self.radius if radius is None else int(radius), tolerance, degree
        )

    def table_error(self, tables):
        """Greatest error of point tables over all sub-pixel displacements.

        Parameters
        ----------
        tables : PointTables

        Returns
        -------
        float
            Error as a fraction of the peak, against the PSF tapered to their footprint.
        """
        return psf_tables.error(self, tables)

    def basis(self, positions, axis):
        """Interpolation weights (positions, samples) along an axis; zero outside the array."""
        half = self.pixels.shape[axis] // 2
        where = np.asarray(positions, float)[:, None] * self.oversampling
        weights = np.sinc(where - np.arange(-half, half + 1))
        return np.where(np.abs(where) <= half + 1, weights, 0.0)

    def _fourier(self, frequencies, n):
        """Fourier kernel (frequencies, samples) for frequencies in cycles per pixel."""
        positions = np.arange(-(n // 2), n // 2 + 1) / self.oversampling
        return np.exp(-2j * np.pi * np.multiply.outer(frequencies, positions))

    def _core(self):
        """Spacing in pixels and values of a fine grid over all that is above 0.3 of the peak."""
        high = np.argwhere(self.pixels > 0.3 * self.pixels.max())
        centre = np.array(self.pixels.shape) // 2
        reach = (np.abs(high - centre).max() + 1.5) / self.oversampling
        grid, step = np.linspace(-reach, reach, 201, retstep=True)
        return step, self.evaluate_grid(grid, grid)


def _analytic(profile, fwhm, half):
    """PSF from a profile of the squared radius, sampled at least 12 times per FWHM."""
    oversampling = max(1, math.ceil(12.0 / fwhm))
    reach = max(3, math.ceil(half * oversampling - 0.5))
    axis = np.arange(-reach, reach + 1) / oversampling
    pixels = profile(np.add.outer(axis**2, axis**2))
    return PSF.from_pixels(pixels / pixels.sum(), oversampling, recenter=False)


def _check_positive(name, value):
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"a PSF needs a positive {name}, not {value}")
