r"""Fit a model to the light in a window, and draw parameters from around the fit.

A proposal may depend on anything that the states before and after a move have in common. Here that
is the residual R without the sources in question. The model :math:`F m(\theta)` is fitted to it by
a fixed number of Levenberg-Marquardt steps (Marquardt 1963, SIAM J. 11, 431), with the flux F
eliminated. The Hessian of the misfit is

.. math:: H = F^2 \left(J^T W J - \frac{J^T W m\, m^T W J}{m^T W m}\right) + D^{-2},

where W holds the weights of the pixels and :math:`J = \partial m / \partial \theta`. The widths D
belong to a Gaussian factor that constrains the parameters that the data leave free. Proposals come
from a mixture of two Gaussians around the fit with covariances :math:`s^2 H^{-1}`, where s is one
of `MIXTURE_SCALES`.

The reverse of a move repeats the fit with a residual R that differs by rounding, and must find the
same optimum. Misfits are therefore never differences of large numbers, however bright the light.
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

MIXTURE_SCALES = (1.1, 2.5)
"""Standard deviations of the two Gaussians of a proposal, in units of those of the fit."""
MIXTURE_FRACTIONS = (0.7, 0.3)
"""Probabilities of the two Gaussians of a proposal."""
FIRST_DAMPING = 0.1
"""Damping of the first Levenberg-Marquardt step, relative to the diagonal of the Hessian."""
DAMPING_DECREASE = 0.2
"""Factor of the damping after a step that improved the fit."""
DAMPING_INCREASE = 6.0
"""Factor of the damping after a step that did not improve the fit."""
RIDGE = 1e-3
"""Term added to the diagonal of the scaled Hessian, which single precision needs for its inverse.

It keeps correlations of the parameters away from one.
"""


class Fit(NamedTuple):
    """Parameters of a fit, and its Hessian ``diag(1 / sigma) L L^T diag(1 / sigma)``.

    Attributes
    ----------
    best : Array, shape (k,)
        Parameters of the best fit.
    sigma : Array, shape (k,)
        Standard deviation of every parameter with the others fixed.
    cholesky : Array, shape (k, k)
        Lower Cholesky factor L of the scaled Hessian.
    """

    best: Array
    sigma: Array
    cholesky: Array


class _FitPoint(NamedTuple):
    """Parameters that a fit has reached, with the light and the normal equations there."""

    params: Array
    light: Array
    hessian: Array
    slope: Array


def misfit(window: Window, bare: Array, image: Array) -> Array:
    """Return half of the chi-square of a unit-flux image with its best flux."""
    flux, _ = _best_flux(window, bare, image)
    return 0.5 * total(window.weight * (bare - flux * image) ** 2)


def _best_flux(window: Window, bare: Array, image: Array) -> tuple[Array, Array]:
    """Return the flux of a unit-flux image that fits best, and the information on it."""
    weighted = window.weight * image
    information = jnp.maximum(total(weighted * image), 1e-30)
    return jnp.maximum(total(weighted * bare), 0.0) / information, information


def fit_parameters(
    render: Callable[[Array], Array],
    window: Window,
    bare: Array,
    start: Array,
    centre: Array,
    width: Array,
    num_steps: int,
) -> Fit:
    """Fit the parameters of a unit-flux image to a residual.

    Parameters
    ----------
    render : callable
        Function that returns the image, shape (W, W), for parameters (k,).
    window : Window
        Window, which has the weights of pixels.
    bare : Array, shape (W, W)
        Residual that contains the light to be fitted.
    start : Array, shape (k,)
        Parameters to start from.
    centre, width : Array, shape (k,)
        Mean and standard deviation of the Gaussian factor that constrains the parameters. No
        step is longer than the width in any parameter.
    num_steps : int
        Number of steps.

    Returns
    -------
    Fit
        Best parameters and the Hessian there.
    """

    def step(
        carry: tuple[_FitPoint, Array, Array], number: Array
    ) -> tuple[tuple[_FitPoint, Array, Array], None]:
        accepted, damping, params = carry
        tried = _fit_point(render, window, bare, params, centre, width)
        change = _misfit_change(window, bare, accepted, tried, centre, width)
        better = (number == 0) | (change < 0.0)
        accepted = jax.tree.map(lambda new, old: jnp.where(better, new, old), tried, accepted)
        damping = damping * jnp.where(better, DAMPING_DECREASE, DAMPING_INCREASE)
        scale = jax.lax.rsqrt(jnp.diagonal(accepted.hessian))
        matrix = accepted.hessian * scale[:, None] * scale[None, :]
        cholesky = jnp.linalg.cholesky(matrix + (RIDGE + damping) * jnp.eye(scale.shape[0]))
        shift = scale * _solve(cholesky, scale * accepted.slope)
        return (accepted, damping, accepted.params + jnp.clip(shift, -width, width)), None

    # The first step only evaluates the start, so that `render` is compiled once.
    nothing = _FitPoint(
        start, jnp.zeros_like(bare), jnp.diag(1.0 / width**2), jnp.zeros_like(start)
    )
    first = (nothing, jnp.float32(FIRST_DAMPING / DAMPING_DECREASE), start)
    numbers = jnp.arange(num_steps + 1, dtype=jnp.int32)
    (last, _, _), _ = jax.lax.scan(step, first, numbers)
    sigma = jax.lax.rsqrt(jnp.diagonal(last.hessian))
    matrix = last.hessian * sigma[:, None] * sigma[None, :]
    cholesky = jnp.linalg.cholesky(matrix + RIDGE * jnp.eye(sigma.shape[0]))
    return Fit(last.params, sigma, cholesky)


def _fit_point(
    render: Callable[[Array], Array],
    window: Window,
    bare: Array,
    params: Array,
    centre: Array,
    width: Array,
) -> _FitPoint:
    """Return the misfit and the normal equations at parameters, with the best flux there."""
    image, tangent = render(params), jax.jacfwd(render)(params)
    flux, information = _best_flux(window, bare, image)
    light = flux * image
    # One row for each pixel and one column for each parameter.
    jacobian = flux * tangent.reshape(-1, params.shape[0])
    weight, residual = window.weight.reshape(-1), (bare - light).reshape(-1)
    weighted_jacobian = weight[:, None] * jacobian
    cross = weighted_jacobian.T @ image.reshape(-1)
    gram = weighted_jacobian.T @ jacobian - cross[:, None] * cross[None, :] / information
    deviation = (params - centre) / width
    hessian = gram + jnp.diag(1.0 / width**2)
    slope = weighted_jacobian.T @ residual - deviation / width
    return _FitPoint(params, light, hessian, slope)


def _misfit_change(
    window: Window,
    bare: Array,
    accepted: _FitPoint,
    tried: _FitPoint,
    centre: Array,
    width: Array,
) -> Array:
    """Return the misfit, constraint included, of the tried point minus that of the accepted one.

    Both terms are products of a difference and a sum, whose rounding vanishes with the step.
    """
    difference, both = accepted.light - tried.light, accepted.light + tried.light
    in_data = 0.5 * total(window.weight * difference * (2.0 * bare - both))
    step = (tried.params - accepted.params) / width
    middle = (0.5 * (tried.params + accepted.params) - centre) / width
    return in_data + jnp.sum(step * middle)


def _solve(cholesky: Array, value: Array) -> Array:
    """Solve linear equations given the Cholesky factor of their matrix."""
    half = solve_triangular(cholesky, value, lower=True)
    return solve_triangular(cholesky.T, half, lower=False)


def sample_fit(uniform: Array, fit: Fit) -> Array:
    """Draw parameters (k,) from the mixture of Gaussians around a fit.

    Parameters
    ----------
    uniform : Array, shape (k + 1,)
        Uniform random numbers: one for the choice of the Gaussian, and one per parameter.
    fit : Fit
        Fit with k parameters.
    """
    normal = ndtri(jnp.clip(uniform[1:], 1e-7, 1.0 - 1e-7))
    scale = jnp.where(uniform[0] < MIXTURE_FRACTIONS[0], MIXTURE_SCALES[0], MIXTURE_SCALES[1])
    spread = solve_triangular(fit.cholesky.T, normal, lower=False)
    return fit.best + scale * fit.sigma * spread


def log_fit_density(fit: Fit, params: Array) -> Array:
    """Return the log density of `sample_fit` at parameters (k,)."""
    standard = fit.cholesky.T @ ((params - fit.best) / fit.sigma)
    square, number = jnp.sum(standard**2), params.shape[0]
    log_det = jnp.sum(jnp.log(jnp.diagonal(fit.cholesky))) - jnp.sum(jnp.log(fit.sigma))

    def log_gaussian(scale: float, fraction: float) -> Array:
        height = jnp.log(jnp.float32(fraction)) - number * (jnp.log(jnp.float32(scale)))
        return height - 0.5 * square / scale**2 - number * HALF_LOG_TWO_PI + log_det

    return jnp.logaddexp(
        log_gaussian(MIXTURE_SCALES[0], MIXTURE_FRACTIONS[0]),
        log_gaussian(MIXTURE_SCALES[1], MIXTURE_FRACTIONS[1]),
    )
