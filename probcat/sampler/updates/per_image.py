r"""Metropolis updates of the offset, the flux scale and the PSF width of every image.

All are updated given the sources. An offset o shifts the light m of all sources in an image,
:math:`m(o + h) \approx m(o) - h \cdot \nabla m`, which defines a Gaussian to propose from in
every state (a Newton step, Qi & Minka 2002); the proposal is rendered, and accepted or rejected.
The same holds for the width of the PSF, and for the flux scale, in which light is linear.

Half of the proposals take only a fraction f of the Newton step. With the Gaussian of mean
``x + s`` and covariance C of a full step s from x, the proposal has mean ``x + f s`` and
covariance ``f (2 - f) C``. If the target is that Gaussian itself, every f leaves it unchanged:
the deviation from the mode is multiplied by ``1 - f``, and ``(1 - f)**2 C + f (2 - f) C = C``.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.pixel_noise import fisher_information, pixel_log_likelihood_change, score
from probcat.sampler.geometry.frames import LARGEST_OFFSET
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.scene.calibration import calibrated, plane_noise
from probcat.sampler.scene.render import render_one
from probcat.sampler.scene.scene import Scene
from probcat.sampler.state import ChainSample
from probcat.sampler.window.slots import total

MIN_FLUX_SCALE = 0.1
"""Smallest flux scale of an image."""
MIN_STEP_FRACTION = 0.01
"""Half of the proposals take only a fraction of the Newton step, log-uniform between this value
and 1; far from the mode a full step is almost never accepted."""
MAX_WIDTH_CHANGE = 0.15
"""Largest relative change of the width of a PSF."""


class Parameter(NamedTuple):
    """A parameter of an image that the light of its sources depends on.

    Attributes
    ----------
    name : str
        Name of its field in a draw and in the prior.
    image : int
        Number of the image.
    smallest, largest : float
        Bounds of every component.
    slopes : callable
        Function from the light of all sources to its approximate derivatives by the components.
    rendered : callable
        Function from a draw to the light of all sources.
    """

    name: str
    image: int
    smallest: float
    largest: float
    slopes: Callable[[Array], list[Array]]
    rendered: Callable[[ChainSample], Array]


def update_image_calibration(
    rng_key: Array,
    scene: Scene,
    sample: ChainSample,
    residual: tuple[Array, ...],
    sky_subtracted: tuple[Array, ...],
    layout: Layout,
    extended_radius: int,
) -> tuple[ChainSample, tuple[Array, ...]]:
    """Update offset, flux scale and PSF width of every image, in one chain.

    The flux scale of the first image of a band is one, as it could not be told from colours.

    Parameters
    ----------
    rng_key : Array
        Random key of the chain.
    scene : Scene
        Images and prior.
    sample : ChainSample
        Draw of the chain.
    residual : tuple of Array, shape (Hp, Wp)
        Data minus background minus all sources, in every image.
    sky_subtracted : tuple of Array, shape (Hp, Wp)
        Data minus background, in every image.
    layout : Layout
        Sizes of the run.
    extended_radius : int
        Half-width in pixels of the largest stamp of an extended source in the first image.

    Returns
    -------
    sample : ChainSample
        Draw after the update.
    residual : tuple of Array, shape (Hp, Wp)
        Residuals after the update.
    """
    planes, prior, bands = list(residual), scene.model.prior, scene.model.bands
    for index in range(len(planes)):

        def rendered(sample: ChainSample, index: int = index) -> Array:
            own = calibrated(scene, sample)
            return render_one(own, layout, index, sample.points, sample.extended, extended_radius)

        parameters = []
        if prior.flux_scale is not None and bands[index] in bands[:index]:
            parameters.append(_flux_scale(sample, sky_subtracted[index] - planes[index], index))
        if prior.offset is not None and index > 0:
            bounds = (-LARGEST_OFFSET, LARGEST_OFFSET)
            parameters.append(Parameter("offset", index, *bounds, offset_slopes, rendered))
        if prior.psf_width_change is not None:
            slopes = partial(width_slopes, spread=scene.model.images[index].point_tables.spread)
            parameters.append(
                Parameter(
                    "psf_width_change", index, -MAX_WIDTH_CHANGE, MAX_WIDTH_CHANGE, slopes, rendered
                )
            )
        keys = jax.random.split(jax.random.fold_in(rng_key, index), 3)
        for key, parameter in zip(keys, parameters, strict=False):
            here = (sample, planes[index], sky_subtracted[index], parameter)
            sample, planes[index] = _move_by_newton(key, scene, *here)
    return sample, tuple(planes)


def _flux_scale(sample: ChainSample, sources: Array, index: int) -> Parameter:
    """Flux scale of an image, from the light of a draw's sources; it needs no rendering."""
    unit = sources / sample.flux_scale[index]
    return Parameter(
        "flux_scale",
        index,
        MIN_FLUX_SCALE,
        jnp.inf,
        lambda light: [unit],
        lambda sample: unit * sample.flux_scale[index],
    )


def _log_likelihood_change(
    scene: Scene, sample: ChainSample, lower: Array, upper: Array, sky_subtracted: Array, index: int
) -> Array:
    """Tempered log likelihood of one image, that of the upper minus that of the lower residual."""
    weight = scene.weight[index]
    if not scene.variance:
        return 0.5 * sample.beta * total(weight * (lower - upper) * (lower + upper))
    change = pixel_log_likelihood_change(
        plane_noise(scene, sample, sky_subtracted, index), lower, upper
    )
    return sample.beta * total(jnp.where(weight > 0.0, change, 0.0))


def _pull(
    scene: Scene, sample: ChainSample, residual: Array, sky_subtracted: Array, index: int
) -> tuple[Array, Array]:
    """Slope of the tempered log likelihood by the light of every pixel, and Fisher information."""
    weight = scene.weight[index]
    pull = weight * residual
    if scene.variance:
        # For bright stars the variance of their light may count more than its fit.
        noise, good = plane_noise(scene, sample, sky_subtracted, index), weight > 0.0
        pull = jnp.where(good, score(noise, residual), 0.0)
        weight = jnp.where(good, fisher_information(noise, residual), 0.0)
    return pull * sample.beta, weight * sample.beta


def _move_by_newton(
    rng_key: Array,
    scene: Scene,
    sample: ChainSample,
    residual: Array,
    sky_subtracted: Array,
    parameter: Parameter,
) -> tuple[ChainSample, Array]:
    """Propose the components of a parameter from a Gaussian about a Newton step."""
    index, prior = parameter.image, getattr(scene.model.prior, parameter.name)
    key_normal, key_accept, key_fraction = jax.random.split(rng_key, 3)
    fraction = MIN_STEP_FRACTION ** jnp.maximum(jax.random.uniform(key_fraction, minval=-1.0), 0.0)
    values = getattr(sample, parameter.name)
    current = jnp.atleast_1d(values[index])
    spread = 1.0 / prior.scale**2

    def newton(value: Array, residual: Array) -> tuple[Array, Array]:
        """Mean step, and root of the precision, of the Gaussian proposed from a state."""
        slopes = parameter.slopes(sky_subtracted - residual)
        pulls, weight = _pull(scene, sample, residual, sky_subtracted, index)
        across = [[total(weight * one * other) for other in slopes] for one in slopes]
        pull = jnp.stack([total(pulls * slope) for slope in slopes])
        precision = jnp.stack([jnp.stack(row) for row in across])
        precision += spread * jnp.eye(len(slopes), dtype=jnp.float32)
        root = jnp.linalg.cholesky(precision)
        pull -= (value - prior.loc) * spread
        step = jax.scipy.linalg.cho_solve((root, True), pull)
        # Beyond the bounds every proposal would be rejected.
        step = jnp.clip(value + step, parameter.smallest, parameter.largest) - value
        return fraction * step, root / jnp.sqrt(fraction * (2.0 - fraction))

    def log_density(step: Array, mean: Array, root: Array) -> Array:
        standard = root.T @ (step - mean)
        return jnp.sum(jnp.log(jnp.diagonal(root))) - 0.5 * jnp.sum(standard**2)

    mean, root = newton(current, residual)
    normal = jax.random.normal(key_normal, current.shape)
    step = mean + jax.scipy.linalg.solve_triangular(root.T, normal, lower=False)
    inside = jnp.all((current + step > parameter.smallest) & (current + step < parameter.largest))
    step = jnp.where(inside, step, 0.0)
    proposed = current + step
    moved = _with(sample, parameter, proposed)
    changed = sky_subtracted - parameter.rendered(moved)
    back_mean, back_root = newton(proposed, changed)
    log_ratio = (
        _log_likelihood_change(scene, sample, residual, changed, sky_subtracted, index)
        - 0.5 * spread * jnp.sum((proposed - prior.loc) ** 2 - (current - prior.loc) ** 2)
        + log_density(-step, back_mean, back_root)
        - log_density(step, mean, root)
    )
    accepted = inside & (-jax.random.exponential(key_accept) < log_ratio)
    sample = _with(sample, parameter, jnp.where(accepted, proposed, current))
    return sample, jnp.where(accepted, changed, residual)


def _with(sample: ChainSample, parameter: Parameter, value: Array) -> ChainSample:
    """Draw in which a parameter has another value."""
    values = getattr(sample, parameter.name)
    new = values.at[parameter.image].set(value.reshape(values.shape[1:]))
    return sample._replace(**{parameter.name: new})


def offset_slopes(light: Array) -> list[Array]:
    """Derivatives of light by its displacement along x and y."""
    return [0.5 * (jnp.roll(light, 1, axis) - jnp.roll(light, -1, axis)) for axis in (1, 0)]


def width_slopes(light: Array, spread: Array) -> list[Array]:
    """Derivatives of light by the relative change of the PSF's width; exact if it is zero."""
    return [
        spread * (jnp.roll(light, 1, axis) + jnp.roll(light, -1, axis) - 2.0 * light)
        for axis in (1, 0)
    ]
