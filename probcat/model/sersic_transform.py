"""Fourier transform of a Sersic profile: a sum of Gaussians, each the square of the one before."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from probcat.model import sersic

_CHAIN = 10
"""Number of successive squares before the chain of Gaussians starts again from an exponential;
each square loses a factor of two in precision."""
_FLOOR = np.float32(1e-30)
"""Lower limit of the first Gaussian of a chain."""


def sersic_amplitudes(table: Array, sersic_n: Array) -> Array:
    """Amplitudes (J + 1,) of the Gaussians and of the central point.

    Parameters
    ----------
    table : Array, shape (M, J + 1)
        Polynomial table of `probcat.model.sersic.SersicMixture`.
    sersic_n : Array, shape ()
        Sersic index, clipped to the range of the mixture.
    """
    span = np.float32(2.0 / np.log(sersic.N_MAX / sersic.N_MIN))
    sersic_n = jnp.clip(sersic_n, sersic.N_MIN, sersic.N_MAX)
    v = jnp.log(sersic_n / np.float32(sersic.N_MIN)) * span - 1.0
    value = table[-1]
    for row in table[-2::-1]:
        value = value * v + row
    return value


@jax.custom_jvp
def sersic_transform(exponent: Array, sersic_n: Array, table: Array) -> Array:
    """Sum over j of ``a_j(n) exp(-2**j exponent)``, plus the central point's amplitude.

    Parameters
    ----------
    exponent : Array
        Exponent of the narrowest Gaussian, with the sign reversed, at every mode.
    sersic_n : Array, shape ()
        Sersic index n.
    table : Array, shape (M, J + 1)
        Polynomial table of the amplitudes ``a_j``, see `sersic_amplitudes`.
    """
    amplitudes = sersic_amplitudes(table, sersic_n)
    total = amplitudes[-1]
    for j, gaussian in _gaussians(exponent, table):
        total = total + amplitudes[j] * gaussian
    return total


@sersic_transform.defjvp
def _transform_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Sum and its derivative along a tangent."""
    exponent, sersic_n, table = primals
    exponent_dot, sersic_n_dot, _ = tangents
    # Two more sums in the same sweep, instead of keeping every Gaussian for reverse mode.
    amplitudes, by_n = jax.jvp(
        lambda n: sersic_amplitudes(table, n), (sersic_n,), (jnp.ones_like(sersic_n),)
    )
    total, slope_n = amplitudes[-1], by_n[-1]
    slope = jnp.zeros_like(exponent)
    for j, gaussian in _gaussians(exponent, table):
        total = total + amplitudes[j] * gaussian
        slope_n = slope_n + by_n[j] * gaussian
        slope = slope - np.float32(2.0**j) * amplitudes[j] * gaussian
    return total, slope * exponent_dot + slope_n * sersic_n_dot


def _gaussians(exponent: Array, table: Array) -> Iterator[tuple[int, Array]]:
    """Yield j and ``exp(-2**j exponent)``."""
    for j in range(table.shape[1] - 1):
        if j % _CHAIN == 0:
            # Without a floor XLA turns products of exponentials back into exponentials of sums.
            gaussian = jnp.maximum(jnp.exp(np.float32(-(2.0**j)) * exponent), _FLOOR)
        else:
            gaussian = gaussian * gaussian
        yield j, gaussian
