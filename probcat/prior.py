r"""The prior: a marked Poisson process of point and extended sources.

With intensity ``mu / |A|`` over the region ``A``,

.. math::
    p(\mathrm{catalog} \mid \mu) \propto e^{-\mu}
        \prod_i \frac{\mu}{|A|}\, p(\mathrm{marks}_i),

and every mark has a numpyro distribution that can be replaced.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions.transforms import biject_to

from probcat.background import LEVEL, MODELS
from probcat.defaults import default_marks
from probcat.errors import InputError

if TYPE_CHECKING:
    from probcat.image import Image

_Result = TypeVar("_Result")
SHAPE_NAMES = ("half_light_radius", "ellipticity_1", "ellipticity_2", "sersic_n")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Prior:
    """Prior of a scene.

    Parameters
    ----------
    flux : Distribution
        Of a source's flux in image units; its support must have a positive lower
        bound, the flux limit.
    half_light_radius : Distribution
        Of extended sources, in pixels.
    ellipticity : Distribution
        Of the modulus ``(1 - q) / (1 + q)``, on (0, 1); the direction is uniform.
    sersic_n : Distribution
        Of the Sersic index, within [0.5, 6].
    num_sources : Distribution or float
        Hyperprior of the expected number of sources ``mu``, or a fixed number.
    extended_fraction : Distribution or float
        Share of extended sources: a hyperprior on (0, 1), or a fixed number.
    background : Distribution or float, or tuple of these
        Normal prior of the background level per pixel, or a fixed number; one for every
        image.
    flux_slope : Distribution, optional
        Hyperprior of the slope s of ``p(flux) ~ flux**-s``; `flux` is then a
        `DoublyTruncatedPowerLaw`, whose own exponent is replaced.
    colours : Distribution, optional
        Of the logarithms of the fluxes in all bands but the first over that in the first,
        independent of each other: batch shape (B - 1,).
    psf_error : Distribution or float, optional
        Relative error of the PSF, added to the variance as ``(psf_error * light)**2``: a
        hyperprior on positive numbers for every image, a fixed number, or None for none.
    psf_width : Distribution, optional
        Normal prior of the relative change of the PSF's width, along x and along y, of every
        image; None for none.
    noise_scale : Distribution or float, optional
        Scale of the noise of every image, likewise; None for one.
    offset : Distribution, optional
        Normal prior of the offset along each axis, in its pixels, of every image beyond the
        first; None for none.
    flux_scale : Distribution, optional
        Normal prior of the flux scale of every image but the first of a band; None for one.
    background_model : tuple of {"level", "plane", "mesh"}
        Of every image; one serves all.
    background_mesh : float
        Spacing in pixels of the nodes of a mesh, about.
    parameters : tuple of (str, value)
        Of the default prior, for the record.
    """

    flux: dist.Distribution
    half_light_radius: dist.Distribution
    ellipticity: dist.Distribution
    sersic_n: dist.Distribution
    num_sources: dist.Distribution | float
    extended_fraction: dist.Distribution | float
    background: dist.Distribution | float | tuple[dist.Distribution | float, ...]
    flux_slope: dist.Distribution | None = None
    colours: dist.Distribution | None = None
    psf_error: dist.Distribution | float | None = None
    psf_width: dist.Distribution | None = None
    noise_scale: dist.Distribution | float | None = None
    offset: dist.Distribution | None = None
    flux_scale: dist.Distribution | None = None
    background_model: tuple[str, ...] = field(default=("level",), metadata={"static": True})
    background_mesh: float = field(default=64.0, metadata={"static": True})
    parameters: tuple[tuple[str, Any], ...] = field(default=(), metadata={"static": True})

    @classmethod
    def from_image(cls, image: "Image | Sequence[Image]", **overrides: Any) -> "Prior":
        """Make the default prior of an image, or of several.

        Parameters
        ----------
        image : Image or sequence of Image
            Noise, PSF and pixel values set what is not given; of several images the first
            sets fluxes and sizes.
        **overrides : float
            Values of `probcat.defaults.PriorParameters`.

        Raises
        ------
        InputError
            If a name is not known or a value makes no sense.
        """
        images = list(image) if isinstance(image, Sequence) else [image]
        return cls(**default_marks(images, overrides)).validate()

    def to_config(self) -> dict[str, Any]:
        """Give the resolved parameters of the default prior, as ``[prior]`` has them."""
        return dict(self.parameters)

    @property
    def flux_limits(self) -> tuple[Array, Array]:
        """Lower and upper bound of the flux prior's support."""
        support = self.flux.support
        upper = getattr(support, "upper_bound", jnp.inf)
        return jnp.float32(support.lower_bound), jnp.float32(upper)

    @property
    def has_extended(self) -> bool:
        """Whether extended sources are part of the model."""
        fraction = self.extended_fraction
        return isinstance(fraction, dist.Distribution) or float(fraction) > 0.0

    @property
    def has_points(self) -> bool:
        """Whether point sources are part of the model."""
        fraction = self.extended_fraction
        return isinstance(fraction, dist.Distribution) or float(fraction) < 1.0

    @property
    def backgrounds(self) -> tuple[dist.Distribution | float, ...]:
        """Prior of the background level of every image."""
        return self.background if isinstance(self.background, tuple) else (self.background,)

    def background_model_of(self, number: int) -> str:
        """Model of the background of an image."""
        models = self.background_model
        return models[number] if len(models) > 1 else models[0]

    @property
    def num_colours(self) -> int:
        """Number of bands besides the first."""
        return 0 if self.colours is None else int(self.colours.batch_shape[0])

    @property
    def colour_mean(self) -> Array:
        """Mean of the colours, shape (B - 1,)."""
        return jnp.asarray(_of(self.colours).mean, jnp.float32)

    @property
    def colour_variance(self) -> Array:
        """Variance of the colours, shape (B - 1,)."""
        return jnp.asarray(_of(self.colours).variance, jnp.float32)

    def with_slope(self, slope: Array) -> "Prior":
        """Copy whose flux distribution has a given slope, where slopes are sampled."""
        if self.flux_slope is None:
            return self
        low, high = self.flux_limits
        return replace(self, flux=power_law(slope, low, high))

    def replace(self, **changes: object) -> "Prior":
        """Copy with some distributions replaced."""
        known = [entry.name for entry in fields(self)]
        for name in changes:
            if name not in known:
                raise InputError(f"prior: unknown name '{name}'; known are {', '.join(known)}")
        copy: Prior = replace(self, **changes)  # type: ignore[arg-type]
        return copy

    def validate(self) -> "Prior":
        """Check the supports; return the prior itself.

        Raises
        ------
        InputError
            If a support does not fit the model.
        """
        lower = getattr(self.flux.support, "lower_bound", None)
        if lower is None or not float(lower) > 0.0:
            raise InputError(
                f"prior flux: the flux limit must be above zero, found {lower}; "
                "set flux_min, or use a distribution with a positive lower bound"
            )
        fraction = self.extended_fraction
        if not isinstance(fraction, dist.Distribution) and not 0.0 <= float(fraction) <= 1.0:
            raise InputError(f"prior extended_fraction: must lie in [0, 1], found {fraction}")
        for level in self.backgrounds:
            if isinstance(level, dist.Distribution) and not isinstance(level, dist.Normal):
                raise InputError("prior background: must be a Normal distribution or a number")
        if self.colours is not None and len(self.colours.batch_shape) != 1:
            raise InputError(
                "prior colours: one distribution of batch shape (bands - 1,) is needed, "
                f"found batch shape {self.colours.batch_shape}"
            )
        if self.flux_slope is not None and not isinstance(self.flux, dist.DoublyTruncatedPowerLaw):
            raise InputError(
                "prior flux_slope: only the slope of a DoublyTruncatedPowerLaw can be sampled; "
                f"flux is a {type(self.flux).__name__}"
            )
        self._validate_images()
        number = self.num_sources
        if not isinstance(number, dist.Distribution) and not float(number) > 0.0:
            raise InputError(f"prior num_sources: must be above zero, found {number}")
        for name in ("flux", "half_light_radius", "ellipticity", "sersic_n"):
            if not isinstance(getattr(self, name), dist.Distribution):
                raise InputError(f"prior {name}: must be a numpyro distribution")
        return self

    def _validate_images(self) -> None:
        """Check what every image has of its own."""
        if unknown := set(self.background_model) - set(MODELS):
            raise InputError(
                f"prior background_model: '{min(unknown)}' is not one of {', '.join(MODELS)}"
            )
        if not self.background_mesh > 0.0:
            raise InputError(
                f"prior background_mesh: must be above zero, found {self.background_mesh}"
            )
        for number, level in enumerate(self.backgrounds):
            fixed = not isinstance(level, dist.Distribution)
            if fixed and self.background_model_of(number) != LEVEL:
                raise InputError(
                    f"prior background: a fixed number is a level, not a "
                    f"{self.background_model_of(number)}; give a Normal distribution"
                )
        for name in ("psf_width", "offset", "flux_scale"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, dist.Normal):
                raise InputError(f"prior {name}: must be a Normal distribution or None")
        for name, least in (("psf_error", 0.0), ("noise_scale", 1e-6)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, dist.Distribution) and value < least:
                raise InputError(f"prior {name}: must not be below {least:g}, found {value}")


def _of(colours: dist.Distribution | None) -> dist.Distribution:
    if colours is None:
        raise ValueError("a prior of one band has no colours")
    return colours


def power_law(slope: Array, low: Array, high: Array) -> dist.Distribution:
    """``p(flux) ~ flux**-slope`` between two limits."""
    return dist.DoublyTruncatedPowerLaw(-slope, low, high)


def lenient(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Let numpyro promote dtypes and ranks inside a function that calls it."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> _Result:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return function(*args, **kwargs)

    return wrapped


@lenient
def log_flux_prior(prior: Prior, flux: Array) -> Array:
    """Log density of a flux; minus infinity outside the limits."""
    lower, upper = prior.flux_limits
    inside = (flux >= lower) & (flux <= upper)
    safe = jnp.clip(flux, lower, jnp.minimum(upper, jnp.float32(3e37)))
    return jnp.where(inside, prior.flux.log_prob(safe), -jnp.inf)


@lenient
def log_slope_posterior(prior: Prior, slope: Array, count: Array, excess: Array) -> Array:
    """Log density of a slope given fluxes, but for a constant.

    Parameters
    ----------
    prior : Prior
    slope : Array
    count : Array
        Number of sources.
    excess : Array
        Sum of ``log(flux / flux_min)``.
    """
    assert prior.flux_slope is not None
    low, _ = prior.flux_limits
    at_limit = prior.with_slope(slope).flux.log_prob(low)
    return prior.flux_slope.log_prob(slope) + count * at_limit - slope * excess


@lenient
def to_shape(prior: Prior, free: Array) -> tuple[Array, Array]:
    """Map free coordinates to shapes.

    Radius and index go through numpyro's bijection onto their support; the
    ellipticity is the open disc image ``eta / sqrt(1 + |eta|^2)`` of the plane.

    Parameters
    ----------
    prior : Prior
    free : Array, shape (..., 4)

    Returns
    -------
    shape : Array, shape (..., 4)
        Half-light radius, two ellipticity components, Sersic index.
    log_jacobian : Array, shape (...,)
    """
    to_radius = biject_to(prior.half_light_radius.support)
    to_index = biject_to(prior.sersic_n.support)
    radius = to_radius(free[..., 0])
    index = to_index(free[..., 3])
    square = free[..., 1] ** 2 + free[..., 2] ** 2
    shrink = jax.lax.rsqrt(1.0 + square)
    log_jacobian = (
        to_radius.log_abs_det_jacobian(free[..., 0], radius)
        + to_index.log_abs_det_jacobian(free[..., 3], index)
        - 2.0 * jnp.log1p(square)
    )
    shape = jnp.stack([radius, free[..., 1] * shrink, free[..., 2] * shrink, index], axis=-1)
    return shape, log_jacobian


@lenient
def from_shape(prior: Prior, shape: Array) -> Array:
    """Inverse of `to_shape`: free coordinates of shapes, shape (..., 4)."""
    stretch = jax.lax.rsqrt(
        jnp.maximum(1.0 - shape[..., 1] ** 2 - shape[..., 2] ** 2, jnp.float32(1e-6))
    )
    radius = biject_to(prior.half_light_radius.support).inv(shape[..., 0])
    index = biject_to(prior.sersic_n.support).inv(shape[..., 3])
    return jnp.stack([radius, shape[..., 1] * stretch, shape[..., 2] * stretch, index], axis=-1)


@lenient
def log_shape_prior(prior: Prior, shape: Array) -> Array:
    """Log density of shapes (..., 4) in radius, ellipticity components and index."""
    square = jnp.maximum(shape[..., 1] ** 2 + shape[..., 2] ** 2, jnp.float32(1e-12))
    modulus = jnp.clip(jnp.sqrt(square), jnp.float32(1e-6), jnp.float32(1.0 - 1e-6))
    return (
        prior.half_light_radius.log_prob(shape[..., 0])
        + prior.ellipticity.log_prob(modulus)
        - jnp.log(2.0 * jnp.pi * modulus)
        + prior.sersic_n.log_prob(shape[..., 3])
    )


@lenient
def sample_flux_prior(prior: Prior, rng_key: Array, sample_shape: tuple[int, ...]) -> Array:
    """Draw fluxes from the prior."""
    flux: Array = prior.flux.sample(rng_key, sample_shape)
    return flux


@lenient
def log_colour_prior(prior: Prior, colours: Array) -> Array:
    """Log density of the colours (..., B - 1) of a source; zero with one band."""
    if prior.colours is None:
        return jnp.zeros(colours.shape[:-1], jnp.float32)
    log_density: Array = jnp.sum(prior.colours.log_prob(colours), axis=-1)
    return log_density


@lenient
def sample_colour_prior(prior: Prior, rng_key: Array, sample_shape: tuple[int, ...]) -> Array:
    """Draw colours from the prior, shape (*sample_shape, B - 1)."""
    if prior.colours is None:
        return jnp.zeros((*sample_shape, 0), jnp.float32)
    colours: Array = prior.colours.sample(rng_key, sample_shape)
    return colours


@lenient
def sample_shape(prior: Prior, rng_key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
    """Draw shapes from the prior, shape (*sample_shape, 4)."""
    keys = jax.random.split(rng_key, 4)
    radius = prior.half_light_radius.sample(keys[0], sample_shape)
    modulus = prior.ellipticity.sample(keys[1], sample_shape)
    angle = jax.random.uniform(keys[2], sample_shape, maxval=2.0 * jnp.pi)
    index = prior.sersic_n.sample(keys[3], sample_shape)
    first, second = modulus * jnp.cos(angle), modulus * jnp.sin(angle)
    return jnp.stack([radius, first, second, index], axis=-1)
