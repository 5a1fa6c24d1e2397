"""Samples of a PSF and their band-limited interpolation."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SampledPSF:
    """Samples of an effective PSF, interpolated and measured.

    Between the samples it is their band-limited (Whittaker-Shannon) interpolation, that is,
    trigonometric interpolation with unlimited zero padding. `probcat.PSF` adds the checks.

    Parameters
    ----------
    pixels : ndarray, shape (odd, odd)
        Samples [y, x], with the source at the central one; ``sum / oversampling**2 == 1``, so
        that the PSF sums to one over the pixels of an image.
    oversampling : int
        Samples per image pixel along each axis.
    """

    pixels: np.ndarray
    oversampling: int = 1

    @functools.cached_property
    def radius(self) -> int:
        """Half side in pixels of the box of pixels that a source can reach."""
        reach = (max(self.pixels.shape) - 1) / 2 / self.oversampling
        return max(1, math.ceil(reach - 0.5))

    @functools.cached_property
    def peak(self) -> float:
        """Greatest value of the PSF: the fraction of the flux in a pixel centred on the source."""
        return float(self._core()[1].max())

    @functools.cached_property
    def fwhm(self) -> float:
        """Diameter in pixels of the disc that is as large as the area above half the peak."""
        step, core = self._core()
        return 2.0 * step * math.sqrt(np.count_nonzero(core > 0.5 * core.max()) / math.pi)

    @functools.cached_property
    def effective_area(self) -> float:
        """Noise-equivalent area in pixels, ``1 / sum(P**2)`` averaged over sub-pixel offsets."""
        return float(self.oversampling**2 / np.sum(self.pixels**2))

    def evaluate(self, dx: Any, dy: Any) -> np.ndarray:
        """Return the value of the PSF at displacements from the source.

        Parameters
        ----------
        dx, dy : array_like
            Displacements in image pixels, of shapes that broadcast.

        Returns
        -------
        ndarray
            Fraction of the flux in a pixel at that displacement; zero outside the array.
        """
        dx, dy = np.broadcast_arrays(np.asarray(dx, float), np.asarray(dy, float))
        rows, cols = self.basis(dy.ravel(), 0), self.basis(dx.ravel(), 1)
        return np.sum(rows @ self.pixels * cols, axis=1).reshape(dx.shape)

    def evaluate_grid(self, x: Any, y: Any) -> np.ndarray:
        """Return the value of the PSF on a rectangular grid of displacements.

        Parameters
        ----------
        x, y : array_like, shapes (m,), (n,)
            Displacements in image pixels along the axes.

        Returns
        -------
        ndarray, shape (n, m)
            Fraction of the flux in a pixel at each displacement; zero outside the array.
        """
        return self.basis(np.asarray(y, float), 0) @ self.pixels @ self.basis(x, 1).T

    def transfer(self, size: int) -> np.ndarray:
        """Return the Fourier transform of the centred PSF on a periodic grid of pixels.

        Parameters
        ----------
        size : int
            Side of the grid in pixels.

        Returns
        -------
        ndarray, complex64, shape (size, size // 2 + 1)
            Values at the frequencies of `numpy.fft.rfft2`; one at zero frequency. The Nyquist
            row and column of an even grid are zero, as a sub-pixel shift is undefined there.
        """
        rows = self._fourier(np.fft.fftfreq(size), self.pixels.shape[0])
        cols = self._fourier(np.fft.rfftfreq(size), self.pixels.shape[1])
        transfer = rows @ self.pixels @ cols.T / self.oversampling**2
        if size % 2 == 0:
            transfer[size // 2, :] = 0.0
            transfer[:, size // 2] = 0.0
        return transfer.astype(np.complex64)

    def basis(self, positions: Any, axis: int) -> np.ndarray:
        """Return interpolation weights along an axis.

        Parameters
        ----------
        positions : array_like, shape (n,)
            Displacements from the source in image pixels.
        axis : int
            0 for y, 1 for x.

        Returns
        -------
        ndarray, shape (n, samples)
            Weight of every sample; zero for a position outside the array.
        """
        half = self.pixels.shape[axis] // 2
        where = np.asarray(positions, float)[:, None] * self.oversampling
        weights = np.sinc(where - np.arange(-half, half + 1))
        return np.where(np.abs(where) <= half + 1, weights, 0.0)

    def _fourier(self, frequencies: np.ndarray, n: int) -> np.ndarray:
        """Return the Fourier kernel (frequencies, n samples), frequencies in cycles per pixel."""
        positions = np.arange(-(n // 2), n // 2 + 1) / self.oversampling
        return np.exp(-2j * np.pi * np.multiply.outer(frequencies, positions))

    def _core(self) -> tuple[float, np.ndarray]:
        """Return spacing in pixels and values of a fine grid over all above 0.3 of the peak."""
        high = np.argwhere(self.pixels > 0.3 * self.pixels.max())
        centre = np.array(self.pixels.shape) // 2
        reach = (np.abs(high - centre).max() + 1.5) / self.oversampling
        grid, step = np.linspace(-reach, reach, 201, retstep=True)
        return step, self.evaluate_grid(grid, grid)
