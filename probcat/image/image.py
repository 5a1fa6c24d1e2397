"""One exposure: pixels, variance, mask, PSF, WCS and photometric calibration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.image.checks import as_float, as_psf, check_shape, count_unusable, inverse_variance
from probcat.image.variance import choose_variance
from probcat.psf.psf import PSF

if TYPE_CHECKING:
    from os import PathLike


@dataclass(frozen=True, eq=False, repr=False)
class Image:
    """Pixels of one exposure in one band, and all that is needed to model them.

    Build one with `Image.read` or `Image.from_arrays`, which check what they are given. Do not
    change the arrays of an image: `weight` and `clean_data` are computed from them only once.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Pixel values in ``unit``, with the sky or without it.
    variance : ndarray, shape (ny, nx)
        Variance of every pixel, in ``unit`` squared.
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel must not be used.
    psf : PSF
        The effective (pixel-integrated) point-spread function.
    wcs : astropy.wcs.WCS, optional
        Celestial coordinates of the pixels, which are counted from 0 at their centres.
    band : str
        Name of the filter, which also appears in column names such as ``flux_r``.
    zero_point : float, optional
        AB magnitude of a source with a flux of one ``unit``.
    unit : str
        Unit of the pixels.
    name : str
        Name of the file or the array, for messages only.
    notes : tuple of str
        What was found, counted, estimated or assumed while the image was read, in a line each;
        for messages only.
    photon_gain : float, optional
        Electrons per unit of the light of sources. If it is given, `variance` is that of pixels
        without sources, and the light of the model adds its own photon noise,
        light / photon_gain.
    saturated : ndarray of bool, shape (ny, nx), optional
        True where a pixel is known to be saturated. Such pixels are also masked.
    """

    data: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    psf: PSF
    wcs: Any = None
    band: str = ""
    zero_point: float | None = None
    unit: str = ""
    name: str = ""
    notes: tuple[str, ...] = ()
    photon_gain: float | None = None
    saturated: np.ndarray | None = None

    def __post_init__(self) -> None:
        where = self.name or "image"
        if self.data.ndim != 2:
            raise InputError(
                f"{where}: the pixels have shape {self.data.shape}; give a two-dimensional image"
            )
        for what, array in (("variance", self.variance), ("mask", self.mask)):
            check_shape(array, self.data, what, where)

    def __repr__(self) -> str:
        parts = [f"shape={self.shape}"]
        parts += [f"band={self.band!r}"] if self.band else []
        parts += [f"unit={str(self.unit)!r}"] if self.unit else []
        parts += [f"PSF FWHM={self.psf.fwhm:.2f} px"]
        parts += [f"name={self.name!r}"] if self.name else []
        return f"<Image {', '.join(parts)}>"

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns, (ny, nx)."""
        return self.data.shape

    @property
    def photon_variance(self) -> float:
        """Variance per unit of light of the model; 0 if `variance` includes all photon noise."""
        return 0.0 if self.photon_gain is None else 1.0 / self.photon_gain

    @cached_property
    def weight(self) -> np.ndarray:
        """Inverse variance, float32 (ny, nx); 0 where a pixel cannot be used."""
        return inverse_variance(self.data, self.variance, self.mask)

    @cached_property
    def clean_data(self) -> np.ndarray:
        """Pixel values, float32 (ny, nx); 0 where the weight is 0."""
        return np.where(self.weight > 0, self.data, 0.0).astype(np.float32)

    @classmethod
    def from_arrays(
        cls,
        data: Any,
        variance: Any = None,
        mask: Any = None,
        psf: Any = None,
        *,
        psf_oversampling: int = 1,
        psf_origin: tuple[float, float] = (0.0, 0.0),
        psf_radius: int | None = None,
        gain: float | None = None,
        read_noise: float | None = None,
        wcs: Any = None,
        band: str = "",
        zero_point: float | None = None,
        unit: str = "",
        name: str = "",
        notes: tuple[str, ...] = (),
        model_variance: bool = False,
        saturated: Any = None,
    ) -> Image:
        """Make an image from arrays, or from an astropy ``NDData`` or ``CCDData``.

        Pixels that are NaN or infinite, or have no positive variance, are given zero weight; the
        `notes` of the image state how many there are.

        Parameters
        ----------
        data : array_like, shape (ny, nx), or astropy.nddata.NDData
            Pixel values. An ``NDData`` also brings its own uncertainty, mask, unit, WCS,
            PSF and header, unless they are given here.
        variance : array_like, shape (ny, nx), optional
            Variance of every pixel. Without it the variance is built from ``gain`` and
            ``read_noise``, or else estimated from the pixels; the `notes` state which.
        mask : array_like of bool, shape (ny, nx), optional
            True where a pixel must not be used.
        psf : PSF or array_like, or photutils.psf.GriddedPSFModel or ImagePSF
            The PSF, or its samples (`PSF.from_pixels`).
        psf_oversampling : int
            Samples of ``psf`` per image pixel along each axis.
        psf_origin : tuple of float
            Pixel (x, y) of the frame of a varying PSF that is the pixel (0, 0) of the image.
        psf_radius : int, optional
            Half side in pixels that the PSF is cut to (`PSF.cut`); a wider PSF makes sampling
            slower.
        gain : float, optional
            Electrons per unit of ``data``.
        read_noise : float, optional
            Read noise in electrons.
        wcs, band, zero_point, unit, name, notes
            Attributes of the image, as in `Image`.
        model_variance : bool
            Whether the photon noise of sources follows the model (see `Image.photon_gain`),
            which needs a ``gain``. A given ``variance`` is then that of pixels without sources.
        saturated : array_like of bool, shape (ny, nx), optional
            True where a pixel is known to be saturated. This is only a record: ``mask`` must
            include such pixels, or they are used.

        Returns
        -------
        Image
            The image, with a line in its `notes` for everything that was found or assumed.

        Raises
        ------
        InputError
            If shapes differ, there is no usable PSF, or no pixel is left to use.
        """
        if hasattr(data, "uncertainty"):
            from probcat.image.nddata import unpack_nddata

            found = unpack_nddata(data, variance, gain, read_noise, model_variance, name)
            given = {"mask": mask, "psf": psf, "wcs": wcs, "zero_point": zero_point}
            given |= {"band": band or None, "unit": unit or None}
            found |= {key: value for key, value in given.items() if value is not None}
            found |= {"psf_oversampling": psf_oversampling, "psf_origin": psf_origin}
            found |= {"psf_radius": psf_radius, "notes": found["notes"] + notes}
            found["saturated"] = saturated
            return cls.from_arrays(**found)
        where = name or "image"
        pixels = as_float(data, where, "image")
        bad = np.zeros(pixels.shape, bool) if mask is None else np.asarray(mask).astype(bool)
        if isinstance(data, np.ma.MaskedArray):
            bad = bad | np.ma.getmaskarray(data)
        lines = [*notes]
        if model_variance and gain is None:
            raise InputError(f"{where}: a variance from the model needs a gain; give --gain")
        if variance is None:
            var, note = choose_variance(
                pixels, bad, gain=gain, read_noise=read_noise, of_model=model_variance, where=where
            )
            lines.append(note)
        else:
            var = as_float(variance, where, "variance")
        point_spread = as_psf(psf, psf_oversampling, pixels, where)
        if psf_radius is not None:
            point_spread = point_spread.cut(psf_radius)
        point_spread = point_spread.in_frame(psf_origin, pixels.shape)
        lines += [f"PSF: {line}" for line in point_spread.notes]
        for what, array in (("variance", var), ("mask", bad)):
            check_shape(array, pixels, what, where)
        lines += count_unusable(pixels, var, bad, where)
        if saturated is not None:
            saturated = np.asarray(saturated).astype(bool)
            check_shape(saturated, pixels, "saturated", where)
            saturated = saturated & (inverse_variance(pixels, var, bad) <= 0)
        return cls(
            data=pixels,
            variance=var,
            mask=bad,
            psf=point_spread,
            wcs=wcs,
            band=band,
            zero_point=zero_point,
            unit=unit,
            name=name,
            notes=tuple(lines),
            photon_gain=gain if model_variance else None,
            saturated=saturated,
        )

    @classmethod
    def from_ccddata(cls, ccd: Any, psf: Any = None, **options: Any) -> Image:
        """Make an image from an astropy ``CCDData`` or ``NDData``.

        Parameters
        ----------
        ccd : astropy.nddata.NDData
            The data with their uncertainty (of any type), mask, unit, WCS, PSF and header.
        psf : PSF or array_like, optional
            The PSF, if ``ccd`` has none.
        **options
            Options of `Image.from_arrays`, which take precedence over the contents of ``ccd``.

        Returns
        -------
        Image
            The image.

        Raises
        ------
        InputError
            If the data cannot be used, as in `Image.from_arrays`.
        """
        return cls.from_arrays(ccd, psf=psf, **options)

    @classmethod
    def read(cls, path: str | PathLike[str], band: str | None = None, **options: Any) -> Image:
        """Read an image from a FITS file.

        Extensions are found by name: ``SCI``, one of ``VAR``, ``ERR`` and ``IVAR``, ``MASK``
        and ``PSF``, or, in a file of several bands, ``SCI_I``, ``VAR_I``, ... for ``band="i"``.
        The single image of a file without such names is read as it is.

        Parameters
        ----------
        path : path_like
            The file.
        band : str, optional
            Band to read from a file of several bands, in upper or lower case; otherwise the name
            of the band if the header has none.
        **options
            Any keyword of `probcat.image.fits_input.image_arguments`, where all are described.
            The main ones are ``psf`` (a PSF, its samples, a file or an extension) with
            ``psf_oversampling``, ``estimate_psf`` and ``psf_stars`` (build the PSF from stars),
            ``mask_planes`` and ``saturation`` (which pixels are bad), ``gain``, ``read_noise``
            and ``model_variance`` (noise), ``zero_point``, and ``sci``, ``var``, ``err``,
            ``ivar`` and ``mask`` (extensions with other names).

        Returns
        -------
        Image
            The image, with a line in its `notes` for everything that was found or assumed.

        Raises
        ------
        InputError
            If the file, an extension or the PSF is missing or cannot be used.

        See Also
        --------
        probcat.read_images : Read several files, or all bands of a file.
        """
        from probcat.image.fits_input import image_arguments

        return cls.from_arrays(**image_arguments(path, band, **options))
