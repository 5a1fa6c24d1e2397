r"""Extended sources: Sersic profiles convolved with the PSF in Fourier space.

A source is a sheared Sersic profile, written as a sum of Gaussians (`probcat.model.sersic`). Its
transform on a periodic grid of pixels is

.. math:: F(k) = H(k) e^{-2\pi i k x} \sum_j a_j(n) \exp(-2 \pi^2 \sigma_j^2 k^T S k)

with the transfer function H of the PSF and the shape matrix S. As the variances double from one
Gaussian to the next, each is the square of the one before.

Wide Gaussians would wrap around the grid. Those whose transforms are confined to the lowest modes
are replaced there by the least-squares fit of these modes to the isolated Gaussians within `VALID`
of the source: a Fourier extension of their light into the rest of the grid.
"""

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.model import sersic
from probcat.model.sersic_transform import sersic_amplitudes, sersic_transform
from probcat.numerics.shape_matrices import matrix_elements
from probcat.psf.position_weights import Variation, weights
from probcat.psf.separable import spread

if TYPE_CHECKING:
    from probcat.psf.psf import PSF
    from probcat.psf.varying import VaryingPSF

Parts: TypeAlias = tuple[Array, Array]
"""Real and imaginary part of a transform."""
Matrix: TypeAlias = tuple[Array, Array, Array]
"""Elements (xx, xy, yy) of a symmetric matrix."""

VALID = 0.42
"""Half-width, as a fraction of the grid, of the box around a source in which its image is right."""
GRID = 2.75
"""Side of a grid in units of `stamp_radius`; above 1 / `VALID`, for long thin sources."""
EMPTY_SHAPE = np.array([1.0, 0.0, 0.0, 1.0], dtype=np.float32)
"""Shape used to render point sources and empty slots, whose images are then discarded."""

_MODES = 4
"""Highest mode along an axis that is corrected for wrapped light."""
_WIDE = (0.07, 0.14)
"""Standard deviations along the minor axis, as fractions of the grid, between which the
correction of a Gaussian sets in; those Gaussians have died away at higher modes."""
_NODES = 12
"""Number of nodes along an axis at which the corrected modes are fitted to the light."""
_RIDGE = 1e-6
"""Ridge of the least-squares fit, relative to the number of nodes."""


class ExtendedTables(NamedTuple):
    """Everything needed to render extended sources on a periodic grid of P x P pixels.

    Attributes
    ----------
    transfer : Array, shape (P, P // 2 + 1), complex64
        Transfer function of the PSF.
    forms, waves : Array, shapes (3, K), (2, K), float32
        Monomials kx**2, 2 kx ky, ky**2 and 2 pi kx, 2 pi ky at the K = P (P // 2 + 1) modes,
        in cycles per pixel.
    amplitudes : Array, shape (M, J + 1), float32
        Polynomial table of the Gaussian amplitudes, see `probcat.model.sersic.SersicMixture`.
    fit_light, fit_modes : Array, shapes (B, nodes), (B, B), float32
        Linear maps to the B lowest modes, from light at the nodes and from modes.
    damping : Array, shape (2, P, P // 2 + 1), float32
        Relative decrease of the transfer function for unit `width` along x and along y.
    width : Array or None, shape (2,)
        Relative change of the PSF's width along x and y, as in
        `probcat.psf.point_tables.PointTables`.
    variation : Variation or None
        How the PSF varies over the image, if it does; `transfer` then belongs to the mean PSF.
    parts : Array or None, shape (K, 2, P, P // 2 + 1), float32
        Real and imaginary parts of the transfer functions of the components of a varying PSF.
    """

    transfer: Array
    forms: Array
    waves: Array
    amplitudes: Array
    fit_light: Array
    fit_modes: Array
    damping: Array
    width: Array | None = None
    variation: Variation | None = None
    parts: Array | None = None

    @property
    def size(self) -> int:
        """Side ``P`` of the grid in pixels."""
        return self.transfer.shape[-2]

    def at(self, position: Array | None) -> "ExtendedTables":
        """Tables of the PSF at a position (x, y) in the image.

        Raises
        ------
        ValueError
            If the PSF varies and no position is given.
        """
        if self.variation is None or self.parts is None:
            return self
        if position is None:
            raise ValueError("a PSF that varies needs to know where the source is")
        value = weights(self.variation, position)
        flat = self.parts.reshape(len(value), -1)
        parts = jnp.matmul(value, flat, precision="highest").reshape(self.parts.shape[1:])
        return self._replace(
            transfer=jax.lax.complex(parts[0], parts[1]), variation=None, parts=None
        )


def grid_size(radius: int) -> int:
    """Side of the smallest fast grid on which a stamp of half-width `radius` is right, pixels."""
    size = int(np.ceil(GRID * radius))
    while not _is_smooth(size):
        size += 1
    return size


def _is_smooth(number: int) -> bool:
    """Whether a number has no prime factors above five."""
    for prime in (2, 3, 5):
        while number % prime == 0:
            number //= prime
    return number == 1


def extended_tables(psf: "PSF | VaryingPSF", size: int) -> ExtendedTables:
    """Compute the tables from which extended sources are rendered.

    Parameters
    ----------
    psf : PSF or VaryingPSF
        Point-spread function of the image.
    size : int
        Side of the periodic grid in pixels; a product of small primes is fast.

    Returns
    -------
    ExtendedTables
    """
    nodes, modes = _nodes_and_modes()
    every_mode = np.concatenate([modes, -modes[modes[:, 0] > 0]])
    # Real even functions: nodes at plus and minus, cosines only.
    cosines = np.cos(2.0 * np.pi * nodes @ every_mode.T)
    normal = cosines.T @ cosines + _RIDGE * len(nodes) * np.eye(len(every_mode))
    fit = np.linalg.solve(normal, cosines.T)[: len(modes)]
    # The modes of negative x frequency follow from the others.
    folded = cosines[:, : len(modes)] * np.where(modes[:, 0] > 0, 2.0, 1.0)
    freq_y, freq_x = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    freq_y, freq_x = freq_y.ravel(), freq_x.ravel()
    varying: Any = psf
    variation, parts = varying.variation, None
    if variation is not None:
        transfers, variation = varying.transfer_parts(size), variation.single()
        parts = _f32(np.stack([transfers.real, transfers.imag], axis=1))
    return ExtendedTables(
        transfer=jnp.asarray(psf.transfer(size)),
        forms=_f32(np.stack([freq_x**2, 2.0 * freq_x * freq_y, freq_y**2])),
        waves=_f32(2.0 * np.pi * np.stack([freq_x, freq_y])),
        amplitudes=jnp.asarray(sersic.mixture().table, jnp.float32),
        fit_light=jnp.asarray(fit, jnp.float32),
        fit_modes=jnp.asarray(fit @ folded, jnp.float32),
        damping=_f32(
            spread(psf)
            * (2.0 - 2.0 * np.cos(2.0 * np.pi * np.stack([freq_x, freq_y]))).reshape(2, size, -1)
        ),
        variation=variation,
        parts=parts,
    )


def extended_image(
    tables: ExtendedTables, x: Array, y: Array, shape: Array, profile: Array | None = None
) -> Array:
    """Image of an extended source of unit flux on the periodic grid.

    Parameters
    ----------
    tables : ExtendedTables
        Tables of the PSF at the position of the source.
    x, y : Array, shape ()
        Position in pixels from pixel (0, 0) of the grid.
    shape : Array, shape (4,)
        Half-light radius (px), above 0; ellipticity_1, ellipticity_2 (reduced shear), of
        length below 1; Sersic index, clipped to `sersic.N_MIN` and `sersic.N_MAX`.
    profile : Array, shape (P, P // 2 + 1), optional
        Result of `profile_transform` for that shape, if it is known already.

    Returns
    -------
    Array, shape (P, P), float32
        Right within ``VALID * P`` pixels of the source along each axis.
    """
    profile = profile_transform(tables, shape) if profile is None else profile
    spectrum = _placed(profile, jnp.stack([_f32(x), _f32(y)]), tables)
    return jnp.fft.irfft2(spectrum, s=(tables.size, tables.size))


def tiled_image(
    tables: ExtendedTables,
    x: Array,
    y: Array,
    shape: Array,
    size: int,
    profile: Array | None = None,
) -> Array:
    """`extended_image`, repeated periodically over a square of `size` pixels."""
    image = extended_image(tables, x, y, shape, profile)
    times = -(-size // tables.size)
    return jnp.tile(image, (times, times))[:size, :size]


def profile_transform(tables: ExtendedTables, shape: Array) -> Array:
    """Transform (P, P // 2 + 1) of a source at pixel (0, 0), before the PSF blurs it."""
    shape = _f32(shape)
    matrix = matrix_elements(shape[0], shape[1], shape[2])
    scale = np.float32(2.0 * np.pi**2 * sersic.mixture().variances[0])
    # As matrix products with fixed arrays, these sums and their gradients are fast.
    exponent = jnp.matmul(scale * jnp.stack(matrix), tables.forms, precision="highest")
    profile = sersic_transform(exponent, shape[3], tables.amplitudes).reshape(tables.transfer.shape)
    low = _low_modes(tables, shape, matrix)
    profile = profile.at[: _MODES + 1, : _MODES + 1].add(low[: _MODES + 1])
    return profile.at[-_MODES:, : _MODES + 1].add(low[_MODES + 1 :])


@jax.custom_jvp
def _placed(profile: Array, position: Array, tables: ExtendedTables) -> Array:
    """Transform of the profile at a position, convolved with the PSF."""
    real, imag = _response(position, tables)
    return jax.lax.complex(profile * real, profile * imag)


@_placed.defjvp
def _placed_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Transform at a position and its derivative along a tangent."""
    profile, position, tables = primals
    profile_dot, position_dot, _ = tangents
    real, imag = _response(position, tables)
    turn = jnp.matmul(position_dot, tables.waves, precision="highest").reshape(profile.shape)
    # d/dx exp(-i w x) = -i w exp(-i w x)
    return jax.lax.complex(profile * real, profile * imag), jax.lax.complex(
        profile_dot * real + turn * (profile * imag), profile_dot * imag - turn * (profile * real)
    )


def _response(position: Array, tables: ExtendedTables) -> Parts:
    """Transfer function of the PSF times the phase of the position: real and imaginary part."""
    size = tables.size
    angles = np.float32(-2.0 * np.pi) * jnp.concatenate(
        [
            np.fft.fftfreq(size).astype(np.float32) * position[1],
            np.fft.rfftfreq(size).astype(np.float32) * position[0],
        ]
    )
    # Written to memory, or XLA evaluates the sines and cosines again for every mode.
    waves = jnp.zeros((2, len(angles)), jnp.float32)
    waves = waves.at[0].set(jnp.cos(angles)).at[1].set(jnp.sin(angles))
    cos_y, sin_y = waves[:, :size, None]
    cos_x, sin_x = waves[:, None, size:]
    cos, sin = cos_y * cos_x - sin_y * sin_x, sin_y * cos_x + cos_y * sin_x
    real, imag = tables.transfer.real, tables.transfer.imag
    if tables.width is not None:
        along_x, along_y = (1.0 - w * d for w, d in zip(tables.width, tables.damping, strict=True))
        real, imag = real * along_x * along_y, imag * along_x * along_y
    return real * cos - imag * sin, real * sin + imag * cos


def _f32(value: Any) -> Array:
    """Value as an array in single precision."""
    return jnp.asarray(value, jnp.float32)


def _form(matrix: Matrix, x: Array, y: Array) -> Array:
    """Quadratic form of a symmetric matrix at points (x, y)."""
    xx, xy, yy = matrix
    return xx * (x * x) + 2.0 * xy * (x * y) + yy * (y * y)


@functools.cache
def _nodes_and_modes() -> tuple[np.ndarray, np.ndarray]:
    """Nodes (x, y) in units of the grid, half of a symmetric set, and modes (x, y >= 0 first)."""
    axis = VALID * np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)
    nodes = np.stack(np.meshgrid(axis[: _NODES // 2], axis), axis=-1).reshape(-1, 2)
    order = np.concatenate([np.arange(_MODES + 1), np.arange(-_MODES, 0)])
    modes = np.stack(np.meshgrid(np.arange(_MODES + 1), order), axis=-1).reshape(-1, 2)
    return nodes, modes.astype(float)


def _low_modes(tables: ExtendedTables, shape: Array, matrix: Matrix) -> Array:
    """Correction (2 * _MODES + 1, _MODES + 1) of the lowest modes for wrapped light.

    For every wide Gaussian of covariance ``sigma**2 S`` the transform at the lowest modes is
    replaced by the fit of these modes to the light ``exp(-p^T S^-1 p / (2 sigma**2))`` over
    ``2 pi sigma**2 |S|**0.5`` at the nodes p.
    """
    size = np.float32(tables.size)
    xx, xy, yy = matrix
    root_determinant = shape[0] * shape[0]
    variances = sersic.mixture().variances.astype(np.float32)
    shear = jnp.sqrt(shape[1] * shape[1] + shape[2] * shape[2] + np.float32(1e-12))
    minor_axis = shape[0] * jnp.sqrt((1.0 - shear) / (1.0 + shear))
    width = jnp.sqrt(variances) * (minor_axis / size)
    depth = jnp.clip((width - _WIDE[0]) / (_WIDE[1] - _WIDE[0]), 0.0, 1.0)
    smooth_step = depth * depth * (3.0 - 2.0 * depth)
    amplitudes = smooth_step * sersic_amplitudes(tables.amplitudes, shape[3])[:-1]

    nodes, modes = (points.astype(np.float32) for points in _nodes_and_modes())
    determinant = root_determinant * root_determinant
    inverse = (yy / determinant, -xy / determinant, xx / determinant)
    node_form = _form(inverse, *(size * nodes).T)
    mode_form = _form(matrix, *(modes / size).T)
    peaks = size * size * amplitudes / (np.float32(2.0 * np.pi) * variances * root_determinant)
    # Both terms are large where the correction is small: no reduced precision here.
    matmul = functools.partial(jnp.matmul, precision="highest")
    decay = np.float32(2.0 * np.pi**2) * variances
    light = matmul(peaks, jnp.exp(-0.5 * node_form[None, :] / variances[:, None]))
    spectrum = matmul(amplitudes, jnp.exp(-decay[:, None] * mode_form[None, :]))
    correction = matmul(tables.fit_light, light) - matmul(tables.fit_modes, spectrum)
    return correction.reshape(2 * _MODES + 1, _MODES + 1)
