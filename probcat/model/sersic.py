"""The Sersic profile as a sum of Gaussians with smooth amplitudes.

For index n >= 0.5 a Sersic profile is a mixture of Gaussians (Hogg & Lang 2013 fit such
mixtures one index at a time). Here their variances form one geometric series of ratio two, for
all indices, and the amplitudes are polynomials of log n, fitted for all indices at once: the
profile is differentiable in n, and each Gaussian of its transform is the square of the one
before.
"""

import functools
from typing import NamedTuple

import numpy as np

N_MIN = 0.5
"""Smallest Sersic index of the mixture."""
N_MAX = 6.0
"""Largest Sersic index of the mixture."""

_COMPONENTS = 20
"""Number of Gaussians."""
_UNIT = 9
"""Number of the Gaussian of half-light radius 1, which alone is the profile of index 0.5."""
_TERMS = 8
"""Number of coefficients of the polynomial of an amplitude."""
_FIT_INDICES = 40
"""Number of Sersic indices at which the mixture is fitted."""
_FIT_RADII = np.geomspace(0.02, 30.0, 120)
"""Radii at which the mixture is fitted, in half-light radii."""


class SersicMixture(NamedTuple):
    """Gaussian mixture of the unit-flux Sersic profile of half-light radius 1.

    Attributes
    ----------
    variances : ndarray, shape (J,)
        Variances per axis, each twice the one before.
    table : ndarray, shape (M, J + 1)
        Coefficients of the amplitudes: ``sum_m table[m] * v**m``, with
        ``v = 2 * log(n / N_MIN) / log(N_MAX / N_MIN) - 1``, which sum to one. The last amplitude
        belongs to a point at the centre, which stands for the cusp inside the narrowest Gaussian.
    """

    variances: np.ndarray
    table: np.ndarray


def radial_profile(sersic_n: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tabulate the exact Sersic profile of unit flux and half-light radius 1.

    Parameters
    ----------
    sersic_n : float
        Index n of ``I(r) = I_0 exp(-b r**(1/n))`` (Sersic 1963; Graham & Driver 2005, eq. 1-4).

    Returns
    -------
    log_r, log_brightness, flux_inside : ndarray, shape (K,)
        Natural logarithms of radius and surface brightness, and the flux within the radius.
    """
    # With x = b r^(1/n) the flux inside is the regularised incomplete gamma function P(2n, x).
    log_x = np.linspace(-3.0 - 15.0 / sersic_n, np.log(120.0 + 10.0 * sersic_n), 20001)
    x = np.exp(log_x)
    density = np.exp(2.0 * sersic_n * log_x - x)
    steps = 0.5 * (density[1:] + density[:-1]) * (log_x[1] - log_x[0])
    flux = density[0] / (2.0 * sersic_n) + np.concatenate([[0.0], np.cumsum(steps)])
    log_b = np.interp(0.5, flux / flux[-1], log_x)
    log_norm = 2.0 * sersic_n * log_b - np.log(2.0 * np.pi * sersic_n * flux[-1])
    return sersic_n * (log_x - log_b), log_norm - x, flux / flux[-1]


@functools.cache
def mixture() -> SersicMixture:
    """Fit the mixture for all indices from `N_MIN` to `N_MAX` (about 0.1 s, then cached).

    The amplitudes are the unit Gaussian's plus ``u * polynomial(u)``, with ``u`` from 0 at
    ``N_MIN`` to 1 at ``N_MAX``, so that n = 0.5 is a Gaussian exactly. Surface brightness and
    flux inside the radius are fitted by least squares, each relative to the flux inside.

    Returns
    -------
    SersicMixture
    """
    variances = 2.0 ** (np.arange(_COMPONENTS) - _UNIT) / (2.0 * np.log(2.0))
    exponents = -0.5 * _FIT_RADII[:, None] ** 2 / variances
    point = np.ones((len(_FIT_RADII), 1))
    # Light per unit log radius, and light inside the radius, of every component.
    shell = np.hstack([np.exp(exponents) * -2.0 * exponents, 0.0 * point])
    inside = np.hstack([-np.expm1(exponents), point])
    others = np.delete(np.arange(_COMPONENTS + 1), _UNIT)
    # The unit Gaussian takes whatever the others leave, so that the amplitudes sum to one.
    shell_rest, inside_rest = (c[:, others] - c[:, [_UNIT]] for c in (shell, inside))

    nodes = -np.cos(np.pi * (np.arange(_FIT_INDICES) + 0.5) / _FIT_INDICES)
    lhs, rhs = [], []
    for node in nodes:
        u = 0.5 * (1.0 + node)
        log_r, log_brightness, flux = radial_profile(N_MIN * (N_MAX / N_MIN) ** u)
        flux = np.interp(np.log(_FIT_RADII), log_r, flux)
        brightness = np.exp(np.interp(np.log(_FIT_RADII), log_r, log_brightness))
        powers = u * np.polynomial.chebyshev.chebvander(node, _TERMS - 2)[0]
        for rest, unit, truth in (
            (shell_rest, shell[:, _UNIT], 2.0 * np.pi * _FIT_RADII**2 * brightness),
            (inside_rest, inside[:, _UNIT], flux),
        ):
            lhs.append(np.multiply.outer(powers, rest / flux[:, None]))
            rhs.append((truth - unit) / flux)
    matrix = np.concatenate([block.transpose(1, 0, 2) for block in lhs])
    matrix = matrix.reshape(-1, (_TERMS - 1) * _COMPONENTS)
    solution = np.linalg.lstsq(matrix, np.concatenate(rhs), rcond=1e-10)[0]
    solution = solution.reshape(_TERMS - 1, _COMPONENTS)
    return SersicMixture(variances, _monomials(np.insert(solution, _UNIT, -solution.sum(1), 1)))


def _monomials(chebyshev: np.ndarray) -> np.ndarray:
    """Table in powers of v of ``unit Gaussian + u * sum_m chebyshev[m] T_m(v)``."""
    half = np.array([0.5, 0.5])  # u = (1 + v) / 2
    table = np.zeros((_TERMS, chebyshev.shape[1]))
    for j, column in enumerate(chebyshev.T):
        product = np.polynomial.polynomial.polymul(half, np.polynomial.chebyshev.cheb2poly(column))
        table[: len(product), j] = product
    table[0, _UNIT] += 1.0
    return table
