"""The posterior over the number and the type of sources against quadrature, on tiny scenes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat import PSF, Image, Prior, sample
from probcat.model.point_sources import point_patch
from probcat.model.prior.defaults import log_normal_within
from probcat.model.prior.densities import sample_shape
from probcat.model.renderer import Renderer
from probcat.sampler.settings import SamplerSettings

SIDE, NOISE, LOW, HIGH = 7, 1.0, 8.0, 80.0
PER_PIXEL = 4
RATE = 6.0
PSF_MODEL = PSF.gaussian(2.2, size=9)
SIGMAS = 4.6
"""Standard errors that are allowed: a false alarm has probability below 1e-5 each."""


def make_image(sources):
    x, y, flux = np.asarray(sources, np.float32).T
    renderer = Renderer.from_psf(PSF_MODEL, with_extended=False)
    shapes, points = np.ones((len(x), 4), np.float32), np.zeros(len(x), bool)
    light = renderer.image(x, y, flux, shapes, points, ~points, (SIDE, SIDE))
    noise = np.random.default_rng(8).normal(0.0, NOISE, (SIDE, SIDE))
    data = (np.asarray(light) + noise).astype(np.float32)
    return Image.from_arrays(data, np.full_like(data, NOISE**2), psf=PSF_MODEL)


def make_prior(extended_fraction):
    return Prior(
        flux=dist.DoublyTruncatedPowerLaw(-2.0, LOW, HIGH),
        half_light_radius=log_normal_within(0.7, 0.3, 0.4, 1.4),
        ellipticity=dist.Beta(2.0, 6.0),
        sersic_n=dist.Uniform(0.8, 1.2),
        expected_sources=dist.Exponential(RATE),
        extended_fraction=extended_fraction,
        background=0.0,
    ).validate()


def chains(image, prior, **settings):
    settings = SamplerSettings(
        window_interior=8, passes=2, border=0.0, start_beta=0.1, checkpoint_interval=25, **settings
    )
    return sample(
        image,
        prior,
        rng_key=3,
        settings=settings,
        num_chains=64,
        num_warmup=50,
        num_samples=150,
        progress_bar=False,
    )


def grid():
    """Centres of cells that fill the region of positions, shape (cells, 2)."""
    axis = (np.arange(SIDE * PER_PIXEL) + 0.5) / PER_PIXEL - 0.5
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)


def flux_nodes(number=24):
    """Gauss-Legendre nodes in log flux and weights that hold the flux prior."""
    node, weight = np.polynomial.legendre.leggauss(number)
    half = 0.5 * np.log(HIGH / LOW)
    flux = LOW * np.exp(half * (node + 1.0))
    norm = 1.0 / (1.0 / LOW - 1.0 / HIGH)
    return flux, weight * half * flux * norm / flux**2


def pixels(images):
    return np.asarray(images, np.float64).reshape(len(images), -1)


def point_images():
    tables = PSF_MODEL.point_tables(tolerance=2e-3)
    at = jnp.asarray(grid())
    return pixels(jax.vmap(lambda place: point_patch(tables, place[0], place[1], SIDE))(at))


def one_source(images, data):
    """Likelihood ratio of one source to none, averaged over its flux, for every image."""
    flux, weight = flux_nodes()
    score = images @ data.ravel() / NOISE**2
    information = (images**2).sum(axis=1) / NOISE**2
    gain = flux * score[:, None] - 0.5 * flux**2 * information[:, None]
    return np.exp(gain) @ weight


def two_sources(images, data):
    """The same of two sources, averaged over both positions as well."""
    flux, weight = flux_nodes()
    score, gram = images @ data.ravel() / NOISE**2, images @ images.T / NOISE**2
    alone = flux * score[:, None] - 0.5 * flux**2 * np.diag(gram)[:, None]
    total = 0.0
    for i in range(len(images)):
        # Both fluxes of this source with every other: exp(-f g f') is all that couples them.
        first = np.exp(alone[i]) * weight
        coupled = np.exp(-flux[:, None, None] * gram[i][None, :, None] * flux)
        total += np.einsum("f,fjg,jg->", first, coupled, np.exp(alone) * weight)
    return total / len(images) ** 2


def share_of_draws(values):
    """Mean of an array (chain, draw) and its standard error from independent chains."""
    means = values.mean(axis=1)
    return means.mean(), means.std(ddof=1) / np.sqrt(len(means))


def assert_near(values, expected):
    mean, error = share_of_draws(values)
    assert abs(mean - expected) < SIGMAS * error + 1e-3, (mean, error, expected)


@pytest.mark.parametrize(
    "sources",
    [[(3.1, 2.9, 14.0)], [(2.2, 3.0, 22.0), (4.0, 3.4, 20.0)]],
    ids=["faint", "blend"],
)
def test_number_of_stars(sources):
    """Given at most two, how many there are; each further one is e^1.95 times rarer a priori."""
    image = make_image(sources)
    samples = chains(image, make_prior(0.0))
    images = point_images()
    # With mu integrated out, p(N) ~ (1 + rate)^-N for catalogs in any order.
    evidence = np.array(
        [
            1.0,
            one_source(images, image.data).mean() / (1.0 + RATE),
            two_sources(images, image.data) / (1.0 + RATE) ** 2,
        ]
    )
    number = samples.num_sources
    few = number <= 2
    assert few.mean() > 0.5
    expected = evidence / evidence.sum()
    # Two of the three must be common, or the comparison would be empty.
    assert np.sort(expected)[-2] > 0.05
    for count in range(3):
        difference = (number == count) - expected[count] * few
        assert_near(difference / few.mean(), 0.0)


@pytest.mark.slow
def test_type_of_a_source():
    """Given at most one: none, a star or a galaxy, whose shape is averaged over its prior."""
    image = make_image([(3.0, 3.2, 17.0)])
    prior = make_prior(0.5)
    samples = chains(image, prior, extended_radius=9, window_interior_extended=8, extended_passes=2)
    star = one_source(point_images(), image.data).mean()
    shapes = np.asarray(sample_shape(prior, jax.random.key(5), (200,)), np.float32)
    renderer = Renderer.from_psf(PSF_MODEL, extended_radius=9)
    places = grid()

    @jax.jit
    def draw(shape):
        number = len(places)
        ones = jnp.ones(number)
        stamps, row, column = renderer.stamps(
            places[:, 0], places[:, 1], ones, jnp.tile(shape, (number, 1)), ones > 0.0
        )
        padded = jnp.pad(stamps, ((0, 0), (SIDE, SIDE), (SIDE, SIDE)))
        cut = jax.vmap(
            lambda one, r, c: jax.lax.dynamic_slice(one, (SIDE - r, SIDE - c), (SIDE, SIDE))
        )
        return cut(padded, row, column)

    each = np.array([one_source(pixels(draw(shape)), image.data).mean() for shape in shapes])
    galaxy, radius = each.mean(), (each * shapes[:, 0]).sum() / each.sum()
    # The shapes are a sample themselves.
    slack = each.std() / each.mean() / np.sqrt(len(each))
    evidence = np.array([1.0, 0.5 * star / (1.0 + RATE), 0.5 * galaxy / (1.0 + RATE)])
    expected = evidence / evidence.sum()
    assert expected[1:].min() > 0.05

    number, extended = samples.num_sources, samples.scalars["num_extended"]
    few = number <= 1
    assert few.mean() > 0.5
    found = [number == 0, (number == 1) & (extended == 0), (number == 1) & (extended == 1)]
    for values, share in zip(found, expected, strict=True):
        mean, error = share_of_draws((values - share * few) / few.mean())
        assert abs(mean) < SIGMAS * np.hypot(error, slack * share) + 1e-3, (mean, error, share)
    single = found[2]
    sizes = np.where(samples.sources["active"], samples.sources["half_light_radius"], 0.0)
    size = np.nansum(sizes, axis=-1)
    mean, error = share_of_draws(single * (size - radius) / single.mean())
    assert abs(mean) < SIGMAS * np.hypot(error, slack) + 1e-3, (mean, error, radius)
