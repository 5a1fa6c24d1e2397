r"""Fit what explains the light in a window, and draw from around the fit.

A proposal may be any density that depends on nothing but what the states before and after a
move share.  Here that is the residual :math:`R` without the light in question: a model
:math:`F m(\theta)` is fitted to it by a fixed number of Levenberg-Marquardt steps (Marquardt
1963, SIAM J. 11, 431), the flux eliminated,

.. math:: H = F^2 \left(J^T W J - \frac{J^T W m\, m^T W J}{m^T W m}\right) + D^{-2},

with :math:`J = \partial m / \partial \theta` and widths :math:`D` that hold what the data leave
free.  Draws come from a mixture of two Gaussians about the fit with covariances
:math:`s^2 H^{-1}`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import ndtri

from probcat.sampler.proposals.fluxes import HALF_LOG_TWO_PI
from probcat.sampler.window.slots import total
from probcat.sampler.window.structures import Window

SCALES, FRACTIONS = (1.1, 2.5), (0.7, 0.3)
"""Of the Gaussians that are mixed, in standard deviations of the fit, and how much of each."""
FIRST_DAMPING, EASE, TIGHTEN = 0.1, 0.2, 6.0
RIDGE = 1e-3
"""Keeps correlations of parameters away from one, which single precision cannot tell apart."""


class Fit(NamedTuple):
    """Where a fit ended, and how wide.

    Attributes
    ----------
    best : Array, shape (k,)
    sigma : Array, shape (k,)
        Conditional standard deviations.
    factor : Array, shape (k, k)
        Lower Cholesky factor of the scaled Hessian.
    """

    best: Array
    sigma: Array
    factor: Array


class _Step(NamedTuple):
    """A point that the fit has reached, its misfit and the normal equations there."""

    place: Array
    misfit: Array
    hessian: Array
    slope: Array


def misfit(window: Window, bare: Array, image: Array) -> Array:
    """Half of chi-square of a unit-flux image at its best flux, but for a constant."""
    score = total(window.weight * bare * image)
    information = jnp.maximum(total(window.weight * image**2), 1e-30)
    return -0.5 * jnp.maximum(score, 0.0) ** 2 / information


def fit(
    render: Callable[[Array], Array],
    window: Window,
    bare: Array,
    start: Array,
    middle: Array,
    width: Array,
    num_steps: int,
) -> Fit:
    """Fit the parameters of a unit-flux image.

    Parameters
    ----------
    render : callable
        Gives the image, shape (W, W), of parameters (k,).
    window : Window
    bare : Array, shape (W, W)
        Residual with the light to be fitted.
    start, middle, width : Array, shape (k,)
        Where to start, and a Gaussian that holds the parameters; no step is longer than its
        width.
    num_steps : int

    Returns
    -------
    Fit
    """

    def at(place: Array) -> _Step:
        image, tangent = render(place), jax.jacfwd(render)(place)
        weighted = window.weight * image
        information = jnp.maximum(total(weighted * image), 1e-30)
        flux = jnp.maximum(total(weighted * bare), 0.0) / information
        # The images' rows and columns in one axis, and that of parameters last.
        flat = flux * tangent.reshape(-1, place.shape[0])
        weight, left = window.weight.reshape(-1), (bare - flux * image).reshape(-1)
        moved = weight[:, None] * flat
        across = moved.T @ image.reshape(-1)
        gram = moved.T @ flat - across[:, None] * across[None, :] / information
        off = (place - middle) / width
        value = misfit(window, bare, image) + 0.5 * jnp.sum(off**2)
        hessian = gram + jnp.diag(1.0 / width**2)
        return _Step(place, value, hessian, moved.T @ left - off / width)

    def step(carry: tuple[_Step, Array, Array], _: None) -> tuple[tuple[_Step, Array, Array], None]:
        here, damping, place = carry
        there = at(place)
        better = there.misfit < here.misfit
        here = jax.tree.map(lambda new, old: jnp.where(better, new, old), there, here)
        damping = damping * jnp.where(better, EASE, TIGHTEN)
        scale = jax.lax.rsqrt(jnp.diagonal(here.hessian))
        matrix = here.hessian * scale[:, None] * scale[None, :]
        factor = jnp.linalg.cholesky(matrix + (RIDGE + damping) * jnp.eye(scale.shape[0]))
        move = scale * _solve(factor, scale * here.slope)
        return (here, damping, here.place + jnp.clip(move, -width, width)), None

    # The first step only looks at the start: written once, what renders compiles once.
    nothing = _Step(start, jnp.float32(jnp.inf), jnp.diag(1.0 / width**2), jnp.zeros_like(start))
    first = (nothing, jnp.float32(FIRST_DAMPING / EASE), start)
    (last, _, _), _ = jax.lax.scan(step, first, None, length=num_steps + 1)
    sigma = jax.lax.rsqrt(jnp.diagonal(last.hessian))
    matrix = last.hessian * sigma[:, None] * sigma[None, :]
    factor = jnp.linalg.cholesky(matrix + RIDGE * jnp.eye(sigma.shape[0]))
    return Fit(last.place, sigma, factor)


def _solve(factor: Array, value: Array) -> Array:
    below = solve_triangular(factor, value, lower=True)
    return solve_triangular(factor.T, below, lower=False)


def sample_fit(uniform: Array, found: Fit) -> Array:
    """Draw parameters (k,) from around a fit, from uniforms (k + 1,)."""
    normal = ndtri(jnp.clip(uniform[1:], 1e-7, 1.0 - 1e-7))
    scale = jnp.where(uniform[0] < FRACTIONS[0], SCALES[0], SCALES[1])
    spread = solve_triangular(found.factor.T, normal, lower=False)
    return found.best + scale * found.sigma * spread


def log_fit_density(found: Fit, place: Array) -> Array:
    """Log density of `sample_fit`."""
    standard = found.factor.T @ ((place - found.best) / found.sigma)
    square, number = jnp.sum(standard**2), place.shape[0]
    volume = jnp.sum(jnp.log(jnp.diagonal(found.factor))) - jnp.sum(jnp.log(found.sigma))

    def normal(scale: float, fraction: float) -> Array:
        height = jnp.log(jnp.float32(fraction)) - number * (jnp.log(jnp.float32(scale)))
        return height - 0.5 * square / scale**2 - number * HALF_LOG_TWO_PI + volume

    return jnp.logaddexp(normal(SCALES[0], FRACTIONS[0]), normal(SCALES[1], FRACTIONS[1]))
