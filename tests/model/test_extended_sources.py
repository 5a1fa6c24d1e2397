"""Extended sources: agreement with GalSim and with their own gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits

from probcat.model import sersic
from probcat.model.extended_sources import VALID, extended_image, extended_tables, tiled_image
from probcat.psf.psf import PSF

CIRCLE, MODERATE, FLAT = (0.0, 0.0), (0.25, -0.2), (-0.3, 0.6)
REAL = {"sdss": ("m2/m2_r.fits", "PSF", 5), "hsc": ("hsc_cosmos/hsc_cosmos_35.fits", "PSF_I", 1)}


@partial(jax.jit, static_argnums=4)
def stamp_of(tables, dx, dy, shape, half):
    """Stamp around a source, compiled once for every size of grid and stamp."""
    assert half <= VALID * tables.size
    return tiled_image(tables, half + dx, half + dy, shape, 2 * half + 1)


image_of = jax.jit(extended_image)


@pytest.fixture(scope="module")
def tables():
    """Tables of a Gaussian PSF by size of the grid."""
    psf = PSF.gaussian(2.8)
    return {size: extended_tables(psf, size) for size in (64, 128, 256)}


def marks(radius, ellipticity, sersic_n):
    return jnp.array([radius, *ellipticity, sersic_n], jnp.float32)


@pytest.mark.parametrize("sersic_n", [0.5, 0.6, 0.85, 1.0, 1.7, 2.5, 4.0, 6.0])
def test_mixture_follows_the_exact_profile(sersic_n):
    mixture = sersic.mixture()
    v = 2.0 * np.log(sersic_n / sersic.N_MIN) / np.log(sersic.N_MAX / sersic.N_MIN) - 1.0
    amplitudes = v ** np.arange(len(mixture.table)) @ mixture.table
    assert amplitudes.sum() == pytest.approx(1.0, abs=1e-12)
    if sersic_n == 0.5:
        assert np.abs(np.delete(amplitudes, amplitudes.argmax())).max() < 1e-12

    log_r, _, flux = sersic.radial_profile(sersic_n)
    radii = np.array([0.1, 0.3, 1.0, 2.0, 5.0, 10.0])
    inside = -np.expm1(-0.5 * radii[:, None] ** 2 / mixture.variances) @ amplitudes[:-1]
    truth = np.interp(np.log(radii), log_r, flux)
    np.testing.assert_allclose(inside + amplitudes[-1], truth, atol=2e-3)
    assert truth[2] == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("sersic_n", [0.5, 1.0, 2.5, 4.0, 6.0])
def test_agrees_with_galsim(data_path, name, sersic_n):
    galsim = pytest.importorskip("galsim")
    path, extension, oversampling = REAL[name]
    psf = PSF.from_pixels(fits.getdata(data_path(path), extension), oversampling)
    accurate = galsim.GSParams(
        maximum_fft_size=16384, folding_threshold=5e-4, maxk_threshold=5e-4, kvalue_accuracy=1e-6
    )
    reference_psf = galsim.InterpolatedImage(
        galsim.Image(psf.pixels, scale=1.0 / oversampling),
        x_interpolant=galsim.Lanczos(15),
        flux=1.0,
        gsparams=accurate,
    )
    # A long galaxy needs a larger grid for the same stamp.
    half = 24
    tables = {size: extended_tables(psf, size) for size in (64, 96)}
    rng = np.random.default_rng(7)
    for ellipticity, size in ((CIRCLE, 64), (MODERATE, 64), (FLAT, 96)):
        for radius in (0.7, 2.5, 8.0):
            dx, dy = rng.uniform(-0.5, 0.5, 2)
            galaxy = galsim.Sersic(sersic_n, half_light_radius=radius, gsparams=accurate).shear(
                g1=ellipticity[0], g2=ellipticity[1]
            )
            source = galsim.Convolve([galaxy, reference_psf], gsparams=accurate).shift(dx, dy)
            # The effective PSF holds the pixel's response already.
            reference = source.drawImage(
                nx=2 * half + 1, ny=2 * half + 1, scale=1.0, method="no_pixel", dtype=float
            ).array
            stamp = stamp_of(tables[size], dx, dy, marks(radius, ellipticity, sersic_n), half)
            case = f"radius {radius}, ellipticity {ellipticity}"
            error = np.abs(np.asarray(stamp) - reference).max() / reference.max()
            assert error < 5e-3, f"{case}: worst pixel {error:.1e} of the peak"
            error = float(stamp.sum()) / reference.sum() - 1.0
            assert abs(error) < 5e-3, f"{case}: flux {error:+.1e}"


def test_flux_of_a_compact_source_is_one(tables):
    for sersic_n in (0.5, 1.0, 6.0):
        image = image_of(tables[64], 30.2, 33.4, marks(0.05, MODERATE, sersic_n))
        assert image.dtype == jnp.float32
        assert float(image.sum()) == pytest.approx(1.0, abs=2e-3)


def test_gaussian_source_is_a_gaussian(tables):
    radius, position = 3.0, (30.3, 33.8)
    psf_sigma = 2.8 / np.sqrt(8.0 * np.log(2.0))
    variance = radius**2 / (2.0 * np.log(2.0)) + psf_sigma**2
    y, x = np.mgrid[:64, :64]
    truth = np.exp(-0.5 * ((x - position[0]) ** 2 + (y - position[1]) ** 2) / variance)
    image = image_of(tables[64], *position, marks(radius, CIRCLE, 0.5))
    np.testing.assert_allclose(
        image, truth / (2.0 * np.pi * variance), atol=1e-3 / (2.0 * np.pi * variance)
    )


def test_ellipse_is_as_wide_and_turned_as_its_ellipticity_says(tables):
    for g1, g2 in ((0.3, 0.0), (0.0, 0.3), (-0.2, -0.25)):
        image = np.asarray(stamp_of(tables[128], 0.0, 0.0, marks(4.0, (g1, g2), 0.5), 50), float)
        y, x = np.mgrid[-50:51, -50:51]
        xx, xy, yy = ((image * form).sum() / image.sum() for form in (x * x, x * y, y * y))
        psf = 2.8**2 / (8.0 * np.log(2.0))
        xx, yy = xx - psf, yy - psf
        shear, angle = np.hypot(g1, g2), 0.5 * np.arctan2(g2, g1)
        long, short = (1.0 + shear) / (1.0 - shear), (1.0 - shear) / (1.0 + shear)
        variance = 4.0**2 / (2.0 * np.log(2.0))
        assert 0.5 * np.arctan2(2.0 * xy, xx - yy) == pytest.approx(angle, abs=0.01)
        assert xx + yy == pytest.approx(variance * (long + short), rel=0.01)


def test_moving_by_a_pixel_rolls_the_image(tables):
    shape = marks(2.5, MODERATE, 2.0)
    here = image_of(tables[64], 30.3, 31.6, shape)
    there = image_of(tables[64], 31.3, 28.6, shape)
    np.testing.assert_allclose(np.roll(here, (-3, 1), (0, 1)), there, atol=2e-6 * here.max())
    stamp = stamp_of(tables[64], 0.3, -0.4, shape, 20)
    np.testing.assert_allclose(stamp, here[12:53, 10:51], atol=2e-6 * here.max())


@pytest.mark.parametrize("sersic_n", [1.0, 2.5, 4.0, 6.0])
def test_wide_light_does_not_wrap_around(tables, sersic_n):
    half = int(VALID * 64)
    for ellipticity in (CIRCLE, MODERATE):
        shape = marks(8.0, ellipticity, sersic_n)
        small, large = (stamp_of(tables[size], 0.2, 0.4, shape, half) for size in (64, 256))
        assert np.abs(small - large).max() < 2e-3 * large.max()
        assert float(small.sum()) == pytest.approx(float(large.sum()), rel=2e-3)


# Steps for central differences of x, y, half_light_radius, ellipticity_1, ellipticity_2, sersic_n.
STEPS = (0.05, 0.05, 0.05, 0.01, 0.01, 0.03)


def draw(tables, source):
    return extended_image(tables, source[0], source[1], source[2:])


def weighed(tables, source, weights):
    return jnp.sum(weights * draw(tables, source))


image_and_slopes = jax.jit(lambda t, s: (draw(t, s), jax.jacfwd(draw, 1)(t, s)))
slopes_reverse = jax.jit(jax.grad(weighed, 1))


@pytest.mark.parametrize(
    "source",
    [
        (31.2, 32.7, 2.0, 0.0, 0.0, 1.0),
        (30.4, 31.9, 3.0, 0.3, -0.2, 3.0),
        (31.0, 32.0, 6.0, -0.1, 0.4, 4.5),
        (31.6, 32.5, 0.8, 0.2, 0.1, 0.7),
    ],
)
def test_gradient_agrees_with_finite_differences(tables, source):
    source = jnp.array(source, jnp.float32)
    box = slice(31 - 24, 31 + 25)
    forward = np.asarray(image_and_slopes(tables[64], source)[1])
    for i, step in enumerate(STEPS):
        # Of fourth order, so that a step large enough for float32 is small enough to be exact.
        unit = jnp.zeros(6, jnp.float32).at[i].set(np.float32(step))
        ends = [
            np.asarray(image_and_slopes(tables[64], source + k * unit)[0], float)
            for k in (-2, -1, 1, 2)
        ]
        numeric = (ends[0] - 8.0 * ends[1] + 8.0 * ends[2] - ends[3]) / (12.0 * step)
        error = np.abs(forward[:, :, i] - numeric)[box, box].max()
        assert error < 2e-3 * np.abs(numeric[box, box]).max(), f"parameter {i}"

    weights = np.random.default_rng(8).normal(size=(64, 64)).astype(np.float32)
    reverse = slopes_reverse(tables[64], source, jnp.asarray(weights))
    scale = np.linalg.norm(forward, axis=(0, 1))
    np.testing.assert_allclose(
        reverse / scale, np.tensordot(weights, forward, 2) / scale, atol=1e-4
    )


def test_batch_is_finite_and_equals_single_sources(tables):
    shapes = jnp.array(
        [[0.1, 0, 0, 0.5], [8, 0.5, 0.4, 6], [3, 0, 0, 6], [2, -0.9, 0, 1]], jnp.float32
    )
    x, y = jnp.linspace(20.0, 40.0, 4), jnp.linspace(33.0, 30.0, 4)
    batch = jax.jit(jax.vmap(extended_image, (None, 0, 0, 0)))(tables[64], x, y, shapes)
    for i in range(4):
        single = image_of(tables[64], x[i], y[i], shapes[i])
        np.testing.assert_allclose(batch[i], single, atol=2e-6 * single.max())

    def loss(x, y, shapes):
        return jnp.sum(jax.vmap(extended_image, (None, 0, 0, 0))(tables[64], x, y, shapes) ** 2)

    for gradient in jax.jit(jax.grad(loss, (0, 1, 2)))(x, y, shapes):
        assert np.isfinite(gradient).all()
