r"""The prior: a marked Poisson process of point and extended sources.

With intensity ``mu / |A|`` over the region ``A``,

.. math::
    p(\mathrm{catalog} \mid \mu) \propto e^{-\mu}
        \prod_i \frac{\mu}{|A|}\, p(\mathrm{marks}_i),

and every mark has a numpyro distribution that can be replaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from probcat.errors import InputError
from probcat.model.background_names import LEVEL, MODELS
from probcat.model.prior.defaults import default_marks
from probcat.numerics.stable_pytree import unwrapped, wrapped

if TYPE_CHECKING:
    from probcat.image.image import Image

SHAPE_NAMES = ("half_light_radius", "ellipticity_1", "ellipticity_2", "sersic_n")
"""Names of the shape parameters of an extended source, in the order of arrays of shapes."""


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Prior:
    """Prior of a catalog and of the images that it is sampled from.

    Parameters
    ----------
    flux : Distribution
        Prior of the flux of a source, in image units; the lower bound of its support, the flux
        limit, must be above zero.
    half_light_radius : Distribution
        Prior of the half-light radius of an extended source, in pixels.
    ellipticity : Distribution
        Prior on (0, 1) of the modulus ``(1 - q) / (1 + q)`` of the ellipticity, with the axis
        ratio q; the direction is uniform.
    sersic_n : Distribution
        Prior of the Sersic index, within [0.5, 6].
    expected_sources : Distribution or float
        Hyperprior of the expected number of sources ``mu``, or a fixed number.
    extended_fraction : Distribution or float
        Hyperprior on (0, 1) of the fraction of extended sources, or a fixed number.
    background : Distribution or float, or tuple of these
        Normal prior of the background level per pixel, or a fixed number; one for every
        image.
    flux_slope : Distribution, optional
        Hyperprior of the slope s of ``p(flux) ~ flux**-s``; `flux` is then a
        `DoublyTruncatedPowerLaw`, whose exponent is replaced by the sampled one.
    colours : Distribution, optional
        Independent priors, of batch shape (B - 1,), of the natural logarithms of the fluxes in
        all bands but the first over the flux in the first band.
    psf_error_floor : Distribution or float, optional
        Relative error of the PSF, added to the variance as ``(psf_error_floor * light)**2``: a
        hyperprior on positive numbers for every image, or a fixed number; None means zero.
    psf_width_change : Distribution, optional
        Normal prior of the relative change of the PSF's width along x and along y, in every
        image; None means no change.
    noise_scale : Distribution or float, optional
        Factor of the standard deviation of the noise: a hyperprior on positive numbers for every
        image, or a fixed number; None means one.
    offset : Distribution, optional
        Normal prior of the offset along each axis of every image but the first, in its pixels;
        None means no offset.
    flux_scale : Distribution, optional
        Normal prior of the flux scale of every image but the first of a band; None means one.
    background_model : tuple of {"level", "plane", "mesh"}
        Background model of every image, or one model for all.
    background_mesh : float
        Approximate spacing in pixels of the nodes of a mesh.
    parameters : tuple of (str, value)
        Parameters of the default prior, for the record.
    """

    flux: dist.Distribution
    half_light_radius: dist.Distribution
    ellipticity: dist.Distribution
    sersic_n: dist.Distribution
    expected_sources: dist.Distribution | float
    extended_fraction: dist.Distribution | float
    background: dist.Distribution | float | tuple[dist.Distribution | float, ...]
    flux_slope: dist.Distribution | None = None
    colours: dist.Distribution | None = None
    psf_error_floor: dist.Distribution | float | None = None
    psf_width_change: dist.Distribution | None = None
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
            Images whose noise, PSF and pixel values set all parameters that are not given; the
            first image sets those of fluxes and sizes.
        **overrides : float
            Parameters by name, as in `probcat.model.prior.parameters.PriorParameters`.

        Returns
        -------
        Prior

        Raises
        ------
        InputError
            If a name is not known or a value makes no sense.
        """
        images = list(image) if isinstance(image, Sequence) else [image]
        return cls(**default_marks(images, overrides)).validate()

    def to_config(self) -> dict[str, Any]:
        """Return the parameters of the default prior, as in ``[prior]`` of a configuration."""
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
        """Number of bands beyond the first."""
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
        """Copy whose flux distribution has a given slope, if the slope is sampled."""
        if self.flux_slope is None:
            return self
        low, high = self.flux_limits
        return replace(self, flux=power_law(slope, low, high))

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Leaves, in the same order in every process, and static fields."""
        return (
            tuple(wrapped(getattr(self, name)) for name in _names(static=False)),
            tuple(getattr(self, name) for name in _names(static=True)),
        )

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: tuple[Any, ...]) -> "Prior":
        """Rebuild the prior from its leaves and static fields."""
        given = zip(_names(static=False), map(unwrapped, leaves), strict=True)
        return cls(**dict(given), **dict(zip(_names(static=True), static, strict=True)))

    def replace(self, **changes: object) -> "Prior":
        """Copy with some fields replaced.

        Raises
        ------
        InputError
            If a name is not known.
        """
        known = [entry.name for entry in fields(self)]
        for name in changes:
            if name not in known:
                raise InputError(f"prior: unknown name '{name}'; known are {', '.join(known)}")
        copy: Prior = replace(self, **changes)  # type: ignore[arg-type]
        return copy

    def validate(self) -> "Prior":
        """Check the supports of all distributions.

        Returns
        -------
        Prior
            The prior itself.

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
                "prior colours: a distribution of batch shape (bands - 1,) is needed, "
                f"found batch shape {self.colours.batch_shape}"
            )
        if self.flux_slope is not None and not isinstance(self.flux, dist.DoublyTruncatedPowerLaw):
            raise InputError(
                "prior flux_slope: only the slope of a DoublyTruncatedPowerLaw can be sampled; "
                f"flux is a {type(self.flux).__name__}"
            )
        self._validate_images()
        number = self.expected_sources
        if not isinstance(number, dist.Distribution) and not float(number) > 0.0:
            raise InputError(f"prior expected_sources: must be above zero, found {number}")
        for name in ("flux", "half_light_radius", "ellipticity", "sersic_n"):
            if not isinstance(getattr(self, name), dist.Distribution):
                raise InputError(f"prior {name}: must be a numpyro distribution")
        return self

    def _validate_images(self) -> None:
        """Check the fields that every image has a value of."""
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
                    f"prior background: a fixed number cannot be a "
                    f"{self.background_model_of(number)}; use a Normal distribution"
                )
        for name in ("psf_width_change", "offset", "flux_scale"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, dist.Normal):
                raise InputError(f"prior {name}: must be a Normal distribution or None")
        for name, least in (("psf_error_floor", 0.0), ("noise_scale", 1e-6)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, dist.Distribution) and value < least:
                raise InputError(f"prior {name}: must not be below {least:g}, found {value}")


def _names(*, static: bool) -> tuple[str, ...]:
    """Names of the fields that are static, or of those that are not."""
    return tuple(one.name for one in fields(Prior) if bool(one.metadata) == static)


def _of(colours: dist.Distribution | None) -> dist.Distribution:
    """Prior of the colours, which must not be missing."""
    if colours is None:
        raise ValueError("a prior of one band has no colours")
    return colours


def power_law(slope: Array, low: Array, high: Array) -> dist.Distribution:
    """Distribution ``p(flux) ~ flux**-slope`` between two limits."""
    return dist.DoublyTruncatedPowerLaw(-slope, low, high)
