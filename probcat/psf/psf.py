"""The effective (pixel-integrated) point-spread function of an image."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from probcat.errors import InputError
from probcat.numerics.robust import FWHM_PER_SIGMA
from probcat.psf import separable
from probcat.psf.arrays import TAPER, border_taper, centroid, checked, flux_note, shifted
from probcat.psf.point_tables import PointTables
from probcat.psf.position_weights import Variation
from probcat.psf.sampled import SampledPSF


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PSF(SampledPSF):
    """Effective PSF: the flux that a pixel receives from a point source of unit flux.

    Between its samples the PSF is their band-limited (Whittaker-Shannon) interpolation, that is,
    trigonometric interpolation with unlimited zero padding. Build one with `from_pixels`,
    `gaussian` or `moffat`, which check, centre and normalise.

    Parameters
    ----------
    pixels : ndarray, shape (odd, odd)
        Samples [y, x], with the source at the central one; ``sum / oversampling**2 == 1``, so
        that the PSF sums to one over the pixels of an image.
    oversampling : int
        Samples per image pixel along each axis.
    shift : tuple of float
        Centroid (dx, dy) of the input array in image pixels, which was shifted to the centre.
    notes : tuple of str
        What a user should know about the input.
    variation : Variation, optional
        How the PSF varies over the image, if it is a `probcat.VaryingPSF`.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    notes: tuple[str, ...] = ()
    variation: Variation | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(self._summary())}>"

    def _summary(self) -> list[str]:
        """Return the parts of the one-line description."""
        return [
            f"shape={self.pixels.shape}",
            f"oversampling={self.oversampling}",
            f"FWHM={self.fwhm:.2f} px",
        ]

    @classmethod
    def from_pixels(cls, array: Any, oversampling: float = 1, recenter: bool = True) -> PSF:
        """Make a PSF from an array of samples.

        The border of the array is tapered to zero over `TAPER` pixels, so that its interpolation
        does not ring. An axis of even length is padded to an odd length at its end; its centre
        is then sample ``n // 2``, unless the centroid is elsewhere.

        Parameters
        ----------
        array : array_like, shape (n, m)
            Pixel-integrated PSF on any scale of values.
        oversampling : int
            Samples per image pixel along each axis.
        recenter : bool
            Whether to measure the Gaussian-weighted centroid and shift it to the central sample.

        Returns
        -------
        PSF
            The PSF, with notes on its scale, centroid and sampling where a user should know.

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
    def gaussian(cls, fwhm: float, size: int | None = None) -> PSF:
        """Make a circular Gaussian effective PSF.

        Parameters
        ----------
        fwhm : float
            Full width at half maximum in pixels as seen on the image, which includes the
            response of the pixel.
        size : int, optional
            Side of the array in pixels; by default it reaches 5 standard deviations.

        Returns
        -------
        PSF
            The PSF, sampled at least 12 times per FWHM.

        Raises
        ------
        InputError
            If the FWHM is not positive.
        """
        _check_positive("fwhm", fwhm)
        sigma = fwhm / FWHM_PER_SIGMA
        half = 5.0 * sigma + TAPER if size is None else size / 2.0
        return _analytic(lambda r2: np.exp(-0.5 * r2 / sigma**2), fwhm, half)

    @classmethod
    def moffat(cls, fwhm: float, beta: float, size: int | None = None) -> PSF:
        """Make a circular Moffat effective PSF.

        Its profile is ``(1 + r**2 / a**2)**-beta`` (Moffat 1969, A&A 3, 455).

        Parameters
        ----------
        fwhm : float
            Full width at half maximum in pixels as seen on the image, which includes the
            response of the pixel.
        beta : float
            Slope of the wings, greater than 1.
        size : int, optional
            Side of the array in pixels; by default 8 FWHM. Light beyond it is cut off and
            the rest normalised.

        Returns
        -------
        PSF
            The PSF, sampled at least 12 times per FWHM.

        Raises
        ------
        InputError
            If the FWHM is not positive, or `beta` is not greater than 1.
        """
        _check_positive("fwhm", fwhm)
        if not beta > 1.0:
            raise InputError(f"a Moffat PSF needs beta > 1, not {beta}")
        scale2 = (0.5 * fwhm) ** 2 / (2.0 ** (1.0 / beta) - 1.0)
        half = 4.0 * fwhm + TAPER if size is None else size / 2.0
        return _analytic(lambda r2: (1.0 + r2 / scale2) ** -beta, fwhm, half)

    def at(self, x: float, y: float) -> PSF:
        """Return the PSF of a source at a position (x, y) in pixels: here itself."""
        return self

    def in_frame(self, origin: Any, shape: tuple[int, ...] | None = None) -> PSF:
        """Return the PSF in pixels of an array whose pixel (0, 0) is at `origin`: here itself."""
        return self

    def cut(self, radius: int) -> PSF:
        """Return the PSF within a smaller box; its flux is normalised again.

        Parameters
        ----------
        radius : int
            Half side in pixels of the box that a source can reach, including its tapered border.

        Returns
        -------
        PSF
            The smaller PSF, or itself if it fits into the box.

        Raises
        ------
        InputError
            If the radius is less than 1.
        """
        if self._fits_into(radius):
            return self
        samples = self._within(self.pixels, radius)
        return PSF.from_pixels(samples, self.oversampling, recenter=False)

    def _fits_into(self, radius: int) -> bool:
        """Whether a box of that half side holds the whole PSF."""
        if not radius >= 1:
            raise InputError(f"psf_radius = {radius!r}; it must be 1 px or more")
        return self.radius <= radius

    def _within(self, samples: np.ndarray, radius: int) -> np.ndarray:
        """Return samples (..., ny, nx) in a box around their middle."""
        reach = [int(min((radius + 0.5) * self.oversampling, n // 2)) for n in samples.shape[-2:]]
        middle = [n // 2 for n in samples.shape[-2:]]
        rows, cols = (slice(m - r, m + r + 1) for m, r in zip(middle, reach, strict=True))
        return samples[..., rows, cols]

    def point_tables(
        self, radius: int | None = None, tolerance: float = 2e-3, degree: int | None = None
    ) -> PointTables:
        """Return low-rank separable tables of the PSF, from which point sources are rendered.

        Parameters
        ----------
        radius : int, optional
            Half side of the stamp in pixels, by default `radius`. A smaller stamp cuts off the
            wings, smoothly over `TAPER` pixels; their flux is lost.
        tolerance : float
            Greatest error over all displacements in the stamp (against the tapered PSF), as a
            fraction of the peak.
        degree : int, optional
            Degree of the polynomials; by default the lowest whose error is a quarter of the
            tolerance.

        Returns
        -------
        PointTables
            Tables of the lowest rank that meets the tolerance; `table_error` returns their error.

        Raises
        ------
        InputError
            If `radius` is less than 1, or the tolerance cannot be met.
        """
        radius = self.radius if radius is None else int(radius)
        return separable.build(self, radius, tolerance, degree)

    def table_error(self, tables: PointTables) -> float:
        """Return the greatest error of point tables over all sub-pixel displacements.

        Parameters
        ----------
        tables : PointTables
            Tables of this PSF.

        Returns
        -------
        float
            Error as a fraction of the peak, against the PSF tapered to the stamp of the tables.
        """
        return separable.error(self, tables)


def _analytic(profile: Callable[[np.ndarray], np.ndarray], fwhm: float, half: float) -> PSF:
    """Make a PSF from a profile of the squared radius, sampled at least 12 times per FWHM."""
    oversampling = max(1, math.ceil(12.0 / fwhm))
    reach = max(3, math.ceil(half * oversampling - 0.5))
    axis = np.arange(-reach, reach + 1) / oversampling
    pixels = profile(np.add.outer(axis**2, axis**2))
    return PSF.from_pixels(pixels / pixels.sum(), oversampling, recenter=False)


def _check_positive(name: str, value: float) -> None:
    """Refuse a parameter of a PSF that is not positive."""
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"a PSF needs a positive {name}, not {value}")
