"""Simulated images with known truth: sources drawn from a prior or given, and noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from probcat.errors import InputError
from probcat.image.image import Image
from probcat.model.extended_sources import VALID, extended_image, extended_tables
from probcat.model.prior.densities import sample_shape
from probcat.model.prior.prior import SHAPE_NAMES
from probcat.psf.psf import PSF

if TYPE_CHECKING:
    from probcat.model.prior.prior import Prior

SOURCE_NAMES = ("x", "y", "flux", *SHAPE_NAMES, "is_extended")
"""Names of the properties of simulated sources."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated image and its truth.

    Parameters
    ----------
    image : Image
        Image with noise.
    sources : dict of str to ndarray, shape (n,)
        True properties: ``x``, ``y`` (px), ``flux``, ``is_extended``, and ``half_light_radius``
        (px), ``ellipticity_1``, ``ellipticity_2``, ``sersic_n``, which are NaN for point sources.
    light : ndarray of float32, shape (n, ny, nx)
        Noise-free image of every source; of length 0 if it was not kept.
    background : float
        Level per pixel that was added.
    """

    image: Image
    sources: dict[str, np.ndarray]
    light: np.ndarray
    background: float


def draw_sources(
    prior: Prior, rng_key: Any, shape: tuple[int, int], num_sources: int | None = None
) -> dict[str, np.ndarray]:
    """Draw a catalog from the prior, with positions uniform over an image.

    Parameters
    ----------
    prior : Prior
        Prior of all marks, of the expected number of sources, of the flux slope and of the
        fraction of extended sources.
    rng_key : Array
        Random key.
    shape : tuple of int
        (ny, nx) of the image.
    num_sources : int, optional
        Number of sources; by default a Poisson number with the mean that the prior expects.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        Properties of the sources, as in `Simulation`.
    """
    keys = jax.random.split(rng_key, 7)
    if prior.flux_slope is not None:
        prior = prior.with_slope(prior.flux_slope.sample(keys[6]))
    if num_sources is None:
        mean = prior.expected_sources
        mu = mean.sample(keys[0]) if isinstance(mean, dist.Distribution) else mean
        num_sources = int(jax.random.poisson(keys[1], mu))
    # A power of two is drawn and cut, so that many numbers of sources share one compilation.
    length = 1 << max(num_sources - 1, 0).bit_length()
    fraction = prior.extended_fraction
    if isinstance(fraction, dist.Distribution):
        fraction = fraction.sample(keys[2])
    low = jnp.float32(-0.5)
    high = jnp.asarray([shape[1], shape[0]], jnp.float32) + low
    position = jax.random.uniform(keys[3], (length, 2), minval=low, maxval=high)
    extended = np.asarray(jax.random.uniform(keys[4], (length,)) < fraction)
    key_flux, key_shape = jax.random.split(keys[5])
    marks = np.asarray(sample_shape(prior, key_shape, (length,)))
    sources = {
        "x": np.asarray(position[:, 0]),
        "y": np.asarray(position[:, 1]),
        "flux": np.asarray(prior.flux.sample(key_flux, (length,)), dtype=np.float32),
        "is_extended": extended,
    }
    for column, name in enumerate(SHAPE_NAMES):
        sources[name] = np.where(extended, marks[:, column], np.nan).astype(np.float32)
    return {name: values[:num_sources] for name, values in sources.items()}


def render_light(sources: Mapping[str, np.ndarray], psf: PSF, shape: tuple[int, int]) -> np.ndarray:
    """Render every source alone, without noise.

    Parameters
    ----------
    sources : mapping of str to ndarray, shape (n,)
        Properties of the sources, as in `Simulation`.
    psf : PSF
        Point-spread function; point sources are rendered exactly, without its low-rank form.
    shape : tuple of int
        (ny, nx) of the image.

    Returns
    -------
    ndarray of float32, shape (n, ny, nx)
        Light of every source.
    """
    light = np.zeros((len(sources["x"]), *shape), np.float32)
    for number, area, image in _images(sources, psf, shape):
        light[number][area] = image
    return light


def _images(
    sources: Mapping[str, np.ndarray], psf: PSF, shape: tuple[int, int]
) -> Iterator[tuple[int, tuple[slice, slice], np.ndarray]]:
    """Render sources one by one: their number, pixels (rows, columns) and light there."""
    ny, nx = shape
    psf = psf.in_frame((0, 0), shape)
    tables: Any = None
    if np.any(sources["is_extended"]):
        # A power of two, on which the whole image of any source is right.
        size = 1 << int(np.ceil(np.log2(max(ny, nx, 16) / VALID)))
        tables = extended_tables(psf, size)
    half = psf.radius + 2
    for number, extended in enumerate(sources["is_extended"]):
        x, y, flux = (float(sources[name][number]) for name in ("x", "y", "flux"))
        if extended:
            marks = np.array([sources[name][number] for name in SHAPE_NAMES], np.float32)
            unit = np.asarray(_unit_image(tables, np.float32(x), np.float32(y), marks))[:ny, :nx]
            yield number, (slice(0, ny), slice(0, nx)), flux * unit
            continue
        rows, cols = _near(y, half, ny), _near(x, half, nx)
        if len(rows) and len(cols):
            area = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
            yield number, area, flux * psf.at(x, y).evaluate_grid(cols - x, rows - y)


@jax.jit
def _unit_image(tables: Any, x: Any, y: Any, marks: Any) -> Any:
    """Image of an extended source of unit flux."""
    return extended_image(tables.at(jnp.stack([x, y])), x, y, marks)


def _near(centre: float, half: int, length: int) -> np.ndarray:
    """Pixels of an axis that are at most `half` from a position."""
    first, last = int(np.ceil(centre - half)), int(np.floor(centre + half))
    return np.arange(max(first, 0), min(last + 1, length))


def simulate_image(
    sources: Mapping[str, Any] | Prior,
    psf: PSF,
    shape: tuple[int, int],
    rng_key: Any,
    *,
    noise: float,
    background: float = 0.0,
    gain: float | None = None,
    num_sources: int | None = None,
    band: str = "",
    zero_point: float | None = None,
    unit: str = "",
    keep_light: bool = True,
) -> Simulation:
    """Simulate an image with independent Gaussian noise.

    Parameters
    ----------
    sources : mapping or Prior
        Sources as in `Simulation` (``is_extended`` and the shapes may be left out for point
        sources), or a prior to draw them from.
    psf : PSF
        Point-spread function.
    shape : tuple of int
        (ny, nx) of the image.
    rng_key : Array
        Random key.
    noise : float
        Standard deviation of a pixel without sources, in units of flux per pixel.
    background : float
        Level added to every pixel.
    gain : float, optional
        Electrons per unit of flux. With it the photon noise of the sources is added:
        var = noise^2 + light / gain.
    num_sources : int, optional
        Number of sources to draw from a prior.
    band, zero_point, unit
        Band, AB magnitude of one unit of flux and unit of the image, as in `Image`.
    keep_light : bool
        Whether to keep the light of every source, which takes the memory of an image for each.

    Returns
    -------
    Simulation
        The image, its sources and their light.

    Raises
    ------
    InputError
        If the noise is not positive, or properties of the sources are missing.
    """
    if not noise > 0:
        raise InputError(f"simulated image: noise is {noise!r}; it must be above zero")
    key_sources, key_noise = jax.random.split(rng_key)
    if isinstance(sources, Mapping):
        catalog = _complete(sources)
    else:
        catalog = draw_sources(sources, key_sources, shape, num_sources)
    light = np.zeros((len(catalog["x"]) if keep_light else 0, *shape), np.float32)
    total = np.zeros(shape)
    for number, area, one in _images(catalog, psf, shape):
        total[area] += one
        if keep_light:
            light[number][area] = one
    variance = np.full(shape, float(noise) ** 2)
    if gain is not None:
        variance += np.maximum(total, 0.0) / gain
    scatter = np.asarray(jax.random.normal(key_noise, shape), dtype=np.float64)
    image = Image.from_arrays(
        (total + background + np.sqrt(variance) * scatter).astype(np.float32),
        variance.astype(np.float32),
        psf=psf,
        band=band,
        zero_point=zero_point,
        unit=unit,
        name="simulation",
    )
    return Simulation(image, catalog, light, float(background))


def _complete(sources: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Add properties that point sources may lack, and check all others."""
    missing = [name for name in ("x", "y", "flux") if name not in sources]
    if missing:
        raise InputError(f"simulated sources: no {', '.join(missing)}; add values for all sources")
    full = {name: np.atleast_1d(np.asarray(values)) for name, values in sources.items()}
    count = len(full["x"])
    extended = full.setdefault("is_extended", np.zeros(count, bool)).astype(bool)
    for name in SHAPE_NAMES:
        values = full.get(name)
        if values is None and extended.any():
            raise InputError(f"simulated sources: extended sources need {name}")
        values = np.full(count, np.nan) if values is None else values
        full[name] = np.where(extended, values, np.nan).astype(np.float32)
    for name, values in full.items():
        if len(values) != count:
            raise InputError(
                f"simulated sources: {len(values)} values of {name} but {count} of x; "
                "every source needs one"
            )
    return {**full, "is_extended": extended}
