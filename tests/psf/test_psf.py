"""PSF: checks of the input, interpolation, transfer function, point-source tables."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits

from probcat.errors import InputError
from probcat.model.extended_sources import extended_image, extended_tables
from probcat.model.point_sources import point_patch, point_stamps
from probcat.psf.psf import PSF
from probcat.sampler.updates.per_image import width_slopes

# File, extension, cut, oversampling, greatest rank allowed at tolerance 2e-3. Measured: 4, 4, 8.
REAL = {
    "sdss": ("m2/m2_r.fits", "PSF", ..., 5, 6),
    "hsc": ("hsc_cosmos/hsc_cosmos_35.fits", "PSF_I", ..., 1, 6),
    "hst": ("hsc_hst/PSF_HST.fits", 0, np.s_[60:121, 60:121], 1, 12),
}


def real_psf(data_path, name):
    path, extension, cut, oversampling, _ = REAL[name]
    return PSF.from_pixels(fits.getdata(data_path(path), extension)[cut], oversampling)


def gaussian_samples(size, sigma, dx=0.0, dy=0.0, oversampling=1):
    """Samples of a unit-flux Gaussian, off centre by (dx, dy) pixels."""
    y, x = (np.mgrid[:size, :size] - size // 2) / oversampling
    r2 = (x - dx) ** 2 + (y - dy) ** 2
    return np.exp(-0.5 * r2 / sigma**2) / (2.0 * np.pi * sigma**2)


def render_tables(tables, x, y):
    """Stamp (D, D) of a source at the sub-pixel offset (x, y), by the definition of the tables."""
    rows = sum(np.asarray(c, float) * y**j for j, c in enumerate(tables.rows))
    cols = sum(np.asarray(c, float) * x**j for j, c in enumerate(tables.cols))
    return rows.T @ cols


def pixel_displacements(radius):
    return np.arange(-radius, radius + 1.0)


@pytest.mark.parametrize(
    ("array", "oversampling", "message"),
    [
        (np.ones(9), 1, "two-dimensional"),
        (np.ones((2, 9)), 1, "too small"),
        (np.where(np.eye(9) > 0, np.nan, 1.0), 1, "9 non-finite"),
        (np.zeros((9, 9)), 1, "sum of the PSF must be positive"),
        (-gaussian_samples(9, 1.5), 1, "sum of the PSF must be positive"),
        (gaussian_samples(9, 1.5), 0, "oversampling"),
        (gaussian_samples(9, 1.5), 2.5, "oversampling"),
    ],
)
def test_bad_input_is_refused(array, oversampling, message):
    with pytest.raises(InputError, match=message):
        PSF.from_pixels(array, oversampling)


@pytest.mark.parametrize("make", [lambda: PSF.gaussian(-1.0), lambda: PSF.moffat(3.0, 1.0)])
def test_bad_parameters_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_a_psf_is_described_in_one_line():
    assert repr(PSF.gaussian(3.0, size=15)) == "<PSF shape=(61, 61), oversampling=4, FWHM=3.00 px>"


def test_the_scale_of_the_input_is_normalised_and_noted():
    samples = gaussian_samples(21, 1.5)
    for scale, noted in ((1.0, False), (1.005, False), (0.9, True), (4e4, True)):
        psf = PSF.from_pixels(scale * samples)
        assert psf.pixels.sum() == pytest.approx(1.0, abs=1e-12)
        assert any("summed to" in note for note in psf.notes) == noted


@pytest.mark.parametrize("oversampling", [1, 4])
@pytest.mark.parametrize(("dx", "dy"), [(0.31, -0.22), (-1.4, 0.9)])
@pytest.mark.parametrize("even", [0, 1])
def test_an_off_centre_array_is_centred_and_its_shift_is_reported(oversampling, dx, dy, even):
    sigma, size = 1.5, 31 * oversampling // 2 * 2 + 1 - even
    samples = gaussian_samples(size, sigma, dx, dy, oversampling)
    psf = PSF.from_pixels(samples, oversampling)
    assert psf.shift == pytest.approx((dx, dy), abs=1e-3)
    assert any("off centre" in note for note in psf.notes)
    assert all(n % 2 == 1 for n in psf.pixels.shape)
    x, y = np.random.default_rng(1).uniform(-4.0, 4.0, (2, 50))
    truth = np.exp(-0.5 * (x**2 + y**2) / sigma**2) / (2.0 * np.pi * sigma**2)
    np.testing.assert_allclose(psf.evaluate(x, y), truth, atol=1e-3 * truth.max())


def test_centring_ignores_noise_in_the_wings():
    samples = gaussian_samples(61, 1.5, 0.3, 0.1)
    noise = 1e-3 * samples.max() * np.random.default_rng(2).normal(size=samples.shape)
    # Noise of the weighted centroid: sigma_noise * 2 sqrt(pi) sigma**2 ~ 0.001 px; 10 sigma.
    assert PSF.from_pixels(samples + noise).shift == pytest.approx((0.3, 0.1), abs=0.01)
    kept = PSF.from_pixels(samples, recenter=False)
    assert kept.shift == (0.0, 0.0)
    np.testing.assert_allclose(kept.evaluate(0.3, 0.1), samples.sum() * kept.peak, rtol=1e-3)


@pytest.mark.parametrize("name", REAL)
def test_the_interpolation_is_exact_at_samples_and_keeps_the_flux(data_path, name):
    psf = real_psf(data_path, name)
    half_y, half_x = (n // 2 for n in psf.pixels.shape)
    where_y, where_x = (np.arange(-h, h + 1) / psf.oversampling for h in (half_y, half_x))
    np.testing.assert_allclose(psf.evaluate_grid(where_x, where_y), psf.pixels, atol=1e-12)
    np.testing.assert_allclose(
        psf.evaluate(where_x[:5], where_y[-5:]), np.diagonal(psf.pixels[-5:, :5]), atol=1e-12
    )
    for x, y in np.random.default_rng(3).uniform(-0.5, 0.5, (4, 2)):
        pixels = pixel_displacements(psf.radius + 1)
        assert psf.evaluate_grid(pixels - x, pixels - y).sum() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("psf", "fwhm", "area"),
    [
        (PSF.gaussian(3.0), 3.0, math.pi * 9.0 / (2.0 * math.log(2.0))),
        (PSF.gaussian(1.6), 1.6, math.pi * 1.6**2 / (2.0 * math.log(2.0))),
        # 1 / integral P**2 = pi a**2 (2 beta - 1) / (beta - 1)**2
        (PSF.moffat(3.0, 3.5), 3.0, math.pi * 2.25 / (2 ** (1 / 3.5) - 1) * 6.0 / 2.5**2),
    ],
)
def test_an_analytic_psf_has_its_fwhm_and_effective_area(psf, fwhm, area):
    assert psf.fwhm == pytest.approx(fwhm, rel=5e-3)
    # The Moffat's light beyond the array is cut off.
    assert psf.effective_area == pytest.approx(area, rel=0.02)
    assert psf.shift == (0.0, 0.0)
    pixels = pixel_displacements(psf.radius)
    assert psf.evaluate_grid(pixels - 0.3, pixels + 0.4).sum() == pytest.approx(1.0, abs=1e-3)


def test_an_analytic_psf_has_the_size_asked_for():
    assert PSF.gaussian(3.0, size=15).radius == 7


@pytest.mark.parametrize("size", [49, 64])
def test_the_transfer_function_is_the_transform_of_the_centred_image(data_path, size):
    for psf in (real_psf(data_path, "hsc"), PSF.gaussian(4.0)):
        transfer = psf.transfer(size)
        assert transfer.shape == (size, size // 2 + 1)
        assert transfer.dtype == np.complex64
        assert transfer[0, 0] == pytest.approx(1.0, abs=1e-6)
        image = np.roll(np.fft.irfft2(transfer, (size, size)), (size // 2,) * 2, (0, 1))
        where = np.arange(size) - size // 2
        # The zeroed Nyquist modes contribute far less than 1e-3.
        np.testing.assert_allclose(image, psf.evaluate_grid(where, where), atol=1e-3 * psf.peak)


@pytest.mark.parametrize("name", REAL)
def test_point_tables_meet_the_tolerance_with_the_lowest_rank(data_path, name):
    psf = real_psf(data_path, name)
    tolerance = 2e-3
    tables = psf.point_tables(tolerance=tolerance)
    rank = tables.rows.shape[1]
    assert tables.rows.shape == (*tables.cols.shape[:2], 2 * psf.radius + 1)
    assert rank <= REAL[name][-1]
    error = psf.table_error(tables)
    assert error <= 1.001 * tolerance
    assert psf.table_error(tables._replace(rows=tables.rows[:, 1:], cols=tables.cols[:, 1:])) > 0.1
    less = tables._replace(rows=tables.rows[:, : rank - 1], cols=tables.cols[:, : rank - 1])
    assert psf.table_error(less) > tolerance

    pixels = pixel_displacements(psf.radius)
    worst = 0.0
    for x, y in np.random.default_rng(4).uniform(-0.5, 0.5, (20, 2)):
        truth = psf.evaluate_grid(pixels - x, pixels - y)
        worst = max(worst, np.abs(render_tables(tables, x, y) - truth).max() / psf.peak)
    # The reported error is that of a grid of offsets: others come close to it.
    assert 0.5 * error < worst < 1.1 * error


def test_a_tighter_tolerance_needs_more_terms(data_path):
    psf = real_psf(data_path, "hsc")
    ranks = [psf.point_tables(tolerance=t).rows.shape[1] for t in (1e-2, 2e-3, 5e-4)]
    assert ranks == sorted(ranks)
    assert ranks[0] < ranks[-1]
    with pytest.raises(InputError, match="tolerance"):
        psf.point_tables(tolerance=1e-4, degree=2)


def test_point_tables_are_continuous_from_pixel_to_pixel(data_path):
    psf = real_psf(data_path, "sdss")
    for radius in (None, 8):
        tables = psf.point_tables(radius)
        here, there = render_tables(tables, 0.5, 0.2), render_tables(tables, -0.5, 0.2)
        # The source at +1/2 is the source at -1/2 of the next pixel; outside there is nothing.
        np.testing.assert_allclose(here[:, 1:], there[:, :-1], atol=2e-6 * psf.peak)
        assert np.abs(here[:, 0]).max() < 1e-4 * psf.peak
        assert np.abs(there[:, -1]).max() < 1e-4 * psf.peak


def test_a_smaller_stamp_keeps_the_core(data_path):
    psf = real_psf(data_path, "hsc")
    tables = psf.point_tables(radius=8)
    assert tables.rows.shape[-1] == 17
    pixels = pixel_displacements(8)
    truth = psf.evaluate_grid(pixels - 0.2, pixels + 0.3)
    error = np.abs(render_tables(tables, 0.2, -0.3) - truth)[2:-2, 2:-2]
    assert error.max() < 2e-3 * psf.peak
    with pytest.raises(InputError, match="radius"):
        psf.point_tables(radius=0)


@pytest.mark.parametrize("name", ["sdss", "hsc"])
def test_point_tables_agree_with_galsim(data_path, name):
    galsim = pytest.importorskip("galsim")
    psf = real_psf(data_path, name)
    tables = psf.point_tables()
    samples = galsim.Image(psf.pixels, scale=1.0 / psf.oversampling)
    source = galsim.InterpolatedImage(samples, x_interpolant=galsim.Lanczos(15), flux=1.0)
    side = 2 * psf.radius + 1
    for x, y in np.random.default_rng(5).uniform(-0.5, 0.5, (2, 2)):
        # The effective PSF holds the pixel's response already.
        image = source.shift(x, y).drawImage(nx=side, ny=side, scale=1.0, method="no_pixel")
        error = np.abs(render_tables(tables, x, y) - image.array).max() / image.array.max()
        assert error < 3e-3
        assert render_tables(tables, x, y).sum() == pytest.approx(image.array.sum(), abs=5e-3)


def test_a_changed_width_renders_a_wider_gaussian():
    psf = PSF.gaussian(3.0)
    tables = psf.point_tables(tolerance=2e-4)
    sigma, pixel = psf.fwhm / 2.3548, np.arange(-tables.radius, tables.radius + 1)
    position = jnp.array([0.3]), jnp.array([-0.41])
    for width in ((0.02, 0.0), (0.0, 0.02), (-0.02, 0.03)):
        widened = tables._replace(width=jnp.asarray(width, jnp.float32))
        found = np.asarray(point_stamps(widened, *position)[0][0])
        spreads = sigma * np.sqrt(1.0 + 2.0 * np.array(width))
        along_x, along_y = (
            np.exp(-0.5 * ((pixel - float(at[0])) / s) ** 2) / (np.sqrt(2.0 * np.pi) * s)
            for at, s in zip(position, spreads, strict=True)
        )
        expected = np.multiply.outer(along_y, along_x)
        plain = np.asarray(point_stamps(tables, *position)[0][0])
        # A wider Gaussian to first order; its fourth moment differs by (1 px)**2 / 12.
        changed = np.abs(expected - plain).max()
        assert np.abs(found - expected).max() < 0.2 * changed + 2e-4 * psf.peak
        assert found.sum() == pytest.approx(plain.sum(), abs=1e-5)
        for axis, change in zip((1, 0), width, strict=True):
            moments = [np.sum(image.sum(1 - axis) * pixel**2) for image in (found, plain)]
            assert moments[0] - moments[1] == pytest.approx(2.0 * change * sigma**2, abs=1e-4)


def test_the_slope_by_the_width_predicts_the_images():
    """For a star and for a galaxy, also if the PSF is noisy."""
    noise = np.random.default_rng(0).normal(0.0, 2e-4, (61, 61))
    pixels = PSF.moffat(2.2, 3.0, size=13).evaluate_grid(*2 * [np.arange(-6.0, 6.01, 0.2)])
    psf = PSF.from_pixels(pixels + noise, oversampling=5)
    tables, width = psf.point_tables(), jnp.array([0.02, -0.03])
    size, spread = 41, (psf.fwhm / 2.3548) ** 2

    def star(width):
        return point_patch(tables._replace(width=width), jnp.float32(20.3), jnp.float32(19.8), size)

    wide = extended_tables(psf, 60)
    shape = jnp.array([1.5, 0.2, 0.1, 1.2])

    def galaxy(width):
        return extended_image(wide._replace(width=width), 20.3, 19.8, shape)[:size, :size]

    for render in (star, galaxy):
        plain = render(jnp.zeros(2))
        slopes = width_slopes(plain, spread)
        expected = plain + width[0] * slopes[0] + width[1] * slopes[1]
        error = np.abs(np.asarray(render(width) - expected))[10:31, 10:31].max()
        # Only a term in the product of both widths remains.
        assert error < 0.05 * np.abs(np.asarray(expected - plain)).max()


@pytest.mark.parametrize("kind", ["moffat", "pixels"])
def test_a_cut_psf_keeps_its_core_and_its_unit_sum(kind):
    whole = PSF.moffat(3.0, 2.0, size=61)
    if kind == "pixels":
        whole = PSF.from_pixels(gaussian_samples(61, 3.0))
    small = whole.cut(9)
    assert small.radius == 9
    assert small.pixels.sum() == pytest.approx(whole.oversampling**2)
    pixels = pixel_displacements(4)
    core, before = (psf.evaluate_grid(pixels + 0.3, pixels) for psf in (small, whole))
    # The flux that is cut off raises the rest by a constant factor.
    ratio = core.sum() / before.sum()
    assert 1.0 < ratio < 1.3
    assert np.abs(core / ratio - before).max() < 1e-3 * before.max()
    assert whole.cut(100) is whole
    with pytest.raises(InputError, match="psf_radius = 0"):
        whole.cut(0)
