"""A point spread function that varies over the image."""

import dataclasses

import numpy as np

from probcat.errors import InputError
from probcat.psf import separable_varying as psf_varying_tables
from probcat.psf.arrays import border_taper, centroid, checked
from probcat.psf.position_weights import bilinear, unscaled, weights
from probcat.psf.psf import PSF

# Greatest error, as a fraction of the peak, of leaving out components.
NEGLIGIBLE = 1e-4
_OFF_CENTRE = 0.02


@dataclasses.dataclass(frozen=True, eq=False)
class VaryingPSF(PSF):
    """Effective PSF that depends on the position of the source in the image.

    It is a sum of components whose weights are polynomials of the position, or interpolate
    between the nodes of a grid, scaled such that the PSF sums to one over the pixels of an image
    at every position. As a `PSF` it is its own mean over the image, which sets scales and
    proposals; sources are drawn with the PSF `at` their positions. Build one with
    `from_components` or `from_grid`.

    Parameters
    ----------
    pixels, oversampling, shift, notes
        As in `PSF`, of the mean.
    variation : Variation
        Weights of the components.
    components : ndarray, shape (K, odd, odd)
        Samples [y, x].
    remarks : tuple of str
        Notes on the input.
    """

    components: np.ndarray = dataclasses.field(kw_only=True)
    remarks: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    @classmethod
    def from_components(cls, components, variation, oversampling=1, remarks=()):
        """Make a PSF from components and their weights.

        The borders of the components are tapered as in `PSF.from_pixels`. The source lies at the
        central sample, ``n // 2`` along an axis: as positions were measured with this PSF,
        nothing is shifted.

        Parameters
        ----------
        components : array_like, shape (J, n, m)
        variation : Variation
            Weights of the J components; `sums` are computed here.
        oversampling : int
            Samples per image pixel along each axis.
        remarks : tuple of str
            What a user should know about the input.

        Returns
        -------
        PSF
            Of the fewest components that are right to `NEGLIGIBLE` of the peak.

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
    def from_grid(cls, x, y, psfs, oversampling=1, remarks=()):
        """Make a PSF that is interpolated between PSFs on a grid, as photutils does.

        Parameters
        ----------
        x, y : array_like, shapes (n,), (m,)
            Nodes of the grid in pixels of the image, increasing; beyond them the PSF is that of
            the border.
        psfs : array_like, shape (m, n, ny, nx)
            Samples of the PSF at the nodes ``[y, x]``, on any scale of values.
        oversampling, remarks
            As in `from_components`.

        Returns
        -------
        PSF

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

    def at(self, x, y):
        """PSF of a source at a position.

        Parameters
        ----------
        x, y : float
            In pixels of the image.

        Returns
        -------
        PSF
        """
        values = weights(self.variation, np.array([x, y], float))
        return PSF(np.tensordot(values, self.components, 1), self.oversampling, notes=self.remarks)

    def cut(self, radius):
        """PSF within a smaller box, as `PSF.cut`."""
        if self._reaches(radius):
            return self
        components = _tapered(self._within(self.components, radius), self.oversampling)
        return _build(components, self.variation, self.oversampling, self.remarks)

    def in_frame(self, origin, shape=None):
        """PSF in the pixels of another array.

        Parameters
        ----------
        origin : array_like, shape (2,)
            Pixel (x, y) at which the pixel (0, 0) of that array is.
        shape : tuple of int, optional
            (ny, nx) of that array: what the PSF is elsewhere is forgotten.

        Returns
        -------
        PSF
            A plain one where it does not vary over the array.
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

    def transfer_parts(self, size):
        """Fourier transforms of the components, as `transfer` has that of their mean.

        Returns
        -------
        ndarray, complex64, shape (K, size, size // 2 + 1)
        """
        return np.stack([PSF(part, self.oversampling).transfer(size) for part in self.components])

    def point_tables(self, radius=None, tolerance=2e-3, degree=None):
        """Low-rank separable tables for drawing point sources, as `PSF.point_tables`.

        The errors that the tolerance bounds are those at all positions.
        """
        radius = self.radius if radius is None else int(radius)
        return psf_varying_tables.build(self, radius, tolerance, degree)

    def table_error(self, tables):
        """Greatest error of point tables, as `PSF.table_error`, over all positions."""
        return psf_varying_tables.error(self, tables)


def _tapered(components, oversampling):
    """Bring the borders of components (J, n, m) to zero, and make n and m odd."""
    checked(np.abs(components).sum(axis=0), oversampling)
    rows, cols = (border_taper(n, int(oversampling)) for n in components.shape[1:])
    odd = [(0, 1 - n % 2) for n in components.shape[1:]]
    return np.pad(components * np.multiply.outer(rows, cols), [(0, 0), *odd])


def _build(components, variation, oversampling, remarks):
    """Reduce components to the fewest; find the mean and what there is to say of it."""
    area = oversampling**2
    variation = variation._replace(sums=components.sum(axis=(1, 2)) / area)
    places = variation.places()
    values = np.stack([_positive(variation, place) for place in places])
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
    return dataclasses.replace(psf, notes=(*remarks, *_describe(psf)))


def _positive(variation, place):
    """Weights at a position, scaled, where the PSF has a positive sum."""
    values, total = unscaled(variation, place)
    if not total > 0.0:
        raise InputError(
            f"the PSF has no positive sum at pixel ({place[0]:.0f}, {place[1]:.0f}); does it "
            "belong to this image, and its psf_origin?"
        )
    return values / total


def _reduced(images):
    """Orthonormal components of PSFs (N, samples), and how many of them are needed."""
    left, singular, basis = np.linalg.svd(images, full_matrices=False)
    rest, limit = images.copy(), NEGLIGIBLE * images.max()
    for number in range(len(singular)):
        if np.abs(rest).max() <= limit:
            return basis, max(number, 1)
        rest -= np.multiply.outer(left[:, number] * singular[number], basis[number])
    return basis, len(singular)


def _describe(psf):
    """How much the PSF varies, and where its centroid is."""
    low, high = psf.variation.low, psf.variation.high
    corners = [low, high, np.array([low[0], high[1]]), np.array([high[0], low[1]])]
    local = [psf.at(*place) for place in (*corners, 0.5 * (low + high))]
    fwhm = [one.fwhm for one in local]
    lines = [f"varies over the image: FWHM {min(fwhm):.2f} to {max(fwhm):.2f} px"]
    offsets = [np.hypot(*centroid(one.pixels)) / psf.oversampling for one in local]
    if max(offsets) > _OFF_CENTRE:
        lines.append(
            f"centroid up to {max(offsets):.2f} px off the centre of its array; "
            "positions are those of the array's centre"
        )
    return tuple(lines)
