"""PSFs of PSFEx, SDSS and photutils, against the programs and formulas that define them."""

import galsim
import galsim.des
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import NDData
from photutils.psf import GriddedPSFModel, ImagePSF

from probcat import Image, InputError
from probcat.image.several import read_configured_images
from probcat.psf.readers.fits import read_psf
from probcat.psf.readers.photutils_models import psf_from_photutils

FRAME = (300, 400)
SAMP, SIZE = 0.62, 41


def elliptic(x, y, fwhm, stretch):
    square = (x * stretch) ** 2 + (y / stretch) ** 2
    return (1.0 + square * (2.0 ** (1.0 / 3.0) - 1.0) / (0.5 * fwhm) ** 2) ** -3.0


def psfex_components(step=SAMP, size=SIZE, degree=2):
    """Components of a Moffat that widens along x and is sheared along y."""
    axis = step * (np.arange(size) - size // 2)
    x, y = np.meshgrid(axis, axis)
    base = elliptic(x, y, 3.1, 1.0)
    wider, sheared = elliptic(x, y, 3.5, 1.0) - base, elliptic(x, y, 3.1, 1.1) - base
    by_power = {(0, 0): base, (0, 1): wider, (1, 0): sheared, (1, 1): 0.3 * wider}
    by_power |= {(0, 2): 0.4 * sheared, (2, 0): -0.2 * wider}
    terms = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    return np.stack([by_power.get(term, 0.0 * base) for term in terms])


def write_psfex(path, components=None, models=1, **cards):
    components = psfex_components() if components is None else components
    number, size = len(components), components.shape[-1]
    column = fits.Column(
        "PSF_MASK", f"{components.size}E", dim=f"({size},{size},{number})", array=components[None]
    )
    header = {"POLNAXIS": 2, "POLNGRP": 1, "POLDEG1": 2, "PSF_SAMP": SAMP, "PSFNAXIS": 3}
    header |= {"PSFAXIS1": size, "PSFAXIS2": size, "PSFAXIS3": number, "PSF_FWHM": 5.0}
    for axis, (name, length) in enumerate((("X", FRAME[1]), ("Y", FRAME[0])), start=1):
        header |= {f"POLGRP{axis}": 1, f"POLNAME{axis}": f"{name}WIN_IMAGE"}
        header |= {f"POLZERO{axis}": 0.5 * (length + 1), f"POLSCAL{axis}": float(length)}
    tables = []
    for _ in range(models):
        table = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
        for key, value in (header | cards).items():
            if value is None:
                table.header.remove(key, ignore_missing=True)
            else:
                table.header[key] = value
        tables.append(table)
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path, overwrite=True)
    return path


def test_a_psf_of_psfex_agrees_with_galsim(tmp_path):
    path = write_psfex(tmp_path / "image.psf")
    psf, oversampling = read_psf(path)
    assert oversampling is None
    model = galsim.des.DES_PSFEx(str(path))
    for x, y in ((0.0, 0.0), (399.0, 12.3), (100.4, 299.0), (250.7, 180.2), (399.0, 299.0)):
        dx, dy = 0.3, -0.2
        local = model.getPSF(galsim.PositionD(x + 1.0, y + 1.0)).shift(dx, dy)
        truth = local.drawImage(nx=25, ny=25, scale=1.0, method="no_pixel").array
        pixels = np.arange(-12.0, 13.0)
        found = psf.at(x, y).evaluate_grid(pixels - dx, pixels - dy)
        assert np.abs(found - truth).max() < 2e-3 * truth.max()
        # Another position has another PSF.
        elsewhere = psf.at(399.0 - x, 299.0 - y).evaluate_grid(pixels - dx, pixels - dy)
        assert np.abs(elsewhere - truth).max() > 0.01 * truth.max() or (x, y) == (250.7, 180.2)


def test_a_psf_of_psfex_may_be_coarse_and_constant(tmp_path):
    # Steps above one pixel, and no dependence on position at all.
    components = psfex_components(step=1.3, size=21)[:1]
    path = write_psfex(tmp_path / "coarse.psf", components, PSF_SAMP=1.3, POLNAXIS=0)
    psf, _ = read_psf(path)
    assert psf.variation is None
    axis = np.arange(-5.0, 6.0)
    x, y = np.meshgrid(axis, axis)
    truth = elliptic(x, y, 3.1, 1.0) / (components.sum() * 1.3**2)
    assert np.abs(psf.evaluate_grid(axis, axis) - truth).max() < 0.02 * truth.max()
    assert psf.fwhm == pytest.approx(3.1, rel=0.02)


def test_an_image_cut_out_of_the_frame_of_its_psf_has_the_psf_of_its_position(tmp_path):
    write_psfex(tmp_path / "image.psf")
    sky = np.random.default_rng(1).normal(10.0, 1.0, (40, 30))
    hdu = fits.PrimaryHDU(sky)
    hdu.header["GAIN"] = 2.0
    hdu.writeto(tmp_path / "plain.fits")
    hdu.header["LTV1"], hdu.header["LTV2"] = -200.0, -100.0
    hdu.writeto(tmp_path / "cut.fits")
    frame, _ = read_psf(tmp_path / "image.psf")
    options = {"psf": str(tmp_path / "image.psf")}
    given = Image.read(tmp_path / "plain.fits", psf_origin=[200, 100], **options)
    by_header = Image.read(tmp_path / "cut.fits", **options)
    corner = Image.read(tmp_path / "cut.fits", psf_origin=[0, 0], **options)
    truth = frame.at(210.0, 130.0).pixels
    for image in (given, by_header):
        found = image.psf.at(10.0, 30.0).pixels
        np.testing.assert_allclose(found, truth, atol=3e-4 * truth.max())
    assert np.abs(corner.psf.at(10.0, 30.0).pixels - truth).max() > 3e-3 * truth.max()
    assert any("LTV" in note for note in by_header.notes)
    both = read_configured_images(
        {
            "files": [str(tmp_path / "plain.fits"), str(tmp_path / "cut.fits")],
            "psf_origin": [[200, 100], ""],
            **options,
        }
    )
    for image in both:
        np.testing.assert_allclose(image.psf.pixels, given.psf.pixels)
    for wrong in (3, [1.0], ["a", 2], "12"):
        with pytest.raises(InputError, match=r"plain\.fits: psf_origin = .* must be two numbers"):
            Image.read(tmp_path / "plain.fits", psf_origin=wrong, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"PSF_SAMP": None}, r"bad\.psf: no PSFEx keyword PSF_SAMP"),
        ({"PSF_SAMP": -1.0}, r"bad\.psf: PSF_SAMP = -1\.0"),
        ({"POLDEG1": 3}, r"bad\.psf: 6 components of PSFEx, but polynomials of degree 3 have 10"),
        ({"POLNAME2": "MAG_AUTO"}, r"bad\.psf: its PSF depends on XWIN_IMAGE, MAG_AUTO"),
        ({"POLNGRP": 2}, r"bad\.psf: .* in 2 group\(s\)"),
        ({"POLZERO1": "left"}, r"bad\.psf: no PSFEx keyword POLZERO1 with a number \(found 'left'"),
        ({"models": 2}, r"bad\.psf: holds 2 models of PSFEx"),
        ({"components": np.full((6, 9, 9), np.nan)}, r"bad\.psf: the PSF has \d+ non-finite"),
    ],
)
def test_a_bad_file_of_psfex_is_refused(tmp_path, options, message):
    path = write_psfex(tmp_path / "bad.psf", **options)
    with pytest.raises(InputError, match=message):
        read_psf(path)


def test_truncated_files_are_refused(tmp_path, data_path):
    whole = write_psfex(tmp_path / "whole.psf").read_bytes()
    for length in (1000, 2880 + 700, len(whole) - 2880 * 3):
        (tmp_path / "cut.psf").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.psf"):
            read_psf(tmp_path / "cut.psf")
    whole = data_path(PSFIELD).read_bytes()
    for length in (2880 * 2 + 100, 60_000, len(whole) // 3):
        (tmp_path / "cut.fit").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.fit"):
            read_psf(tmp_path / "cut.fit", band="r")


PSFIELD = "sdss_2583_2_136/psField-002583-2-0136.fit"


def reconstruct(path, band, x, y):
    """Sum of eigenimages, as SDSS describes it, with plain numpy."""
    total = 0.0
    for row in fits.getdata(path, "ugriz".index(band) + 1):
        value = 0.0
        for i in range(row["nrow_b"]):
            for j in range(row["ncol_b"]):
                value += row["c"][i, j] * (1e-3 * (y + 0.5)) ** i * (1e-3 * (x + 0.5)) ** j
        total = total + value * np.asarray(row["RROWS"], float).reshape(51, 51)
    return total / total.sum()


@pytest.mark.parametrize("band", ["g", "r", "i", "z"])
def test_a_psfield_is_reconstructed_from_its_eigenimages(data_path, band):
    path = data_path(PSFIELD)
    psf, _ = read_psf(path, band=band)
    inner = slice(3, -3)  # the border is tapered
    for x, y in ((0.0, 0.0), (2047.0, 3.2), (359.5, 679.5), (31.7, 1488.0)):
        truth = reconstruct(path, band, x, y)
        found = psf.at(x, y).pixels
        assert np.abs(found - truth)[inner, inner].max() < 2e-4 * truth.max()
    # The PSF of the i band does not vary in this field.
    assert (psf.variation is None) == (band == "i")


def test_a_psfield_fits_stars_of_its_frame(data_path):
    """Bright stars fit worse if rows and columns are exchanged."""
    psf, _ = read_psf(data_path(PSFIELD), band="r")
    frame = fits.getdata(data_path("sdss_2583_2_136/frame-r-002583-2-0136.fits.bz2"))
    pixels = np.arange(-6.0, 7.0)

    def misfit(local, stamp):
        """Least sum of squares of a star of any flux on any sky, over 13 x 13 positions."""
        steps = np.linspace(-0.6, 0.6, 13)
        rows, cols = (
            np.stack([local.basis(pixels - step, axis) for step in steps]) for axis in (0, 1)
        )
        models = np.einsum("ayj,jk,bxk->abyx", rows, local.pixels, cols, optimize=True)
        models = models.reshape(len(steps) ** 2, -1)
        models -= models.mean(axis=1, keepdims=True)
        star = (stamp - stamp.mean()).ravel()
        explained = (models @ star) ** 2 / np.sum(models**2, axis=1)
        return star @ star - explained.max()

    ratios = []
    for x, y in ((1510, 243), (1478, 341), (1779, 125), (1926, 693)):
        stamp = np.asarray(frame[y - 6 : y + 7, x - 6 : x + 7], float)
        there, exchanged = psf.at(x, y), psf.at(y * 1.0, x * 1.0)
        ratios.append(misfit(there, stamp) / misfit(exchanged, stamp))
    assert max(ratios) < 0.8


def test_a_psfield_needs_a_band(data_path):
    path = data_path(PSFIELD)
    for band in (None, "y", "gr"):
        with pytest.raises(InputError, match=r"bands u, g, r, i, z; the image's is"):
            read_psf(path, band=band)
    image = Image.read(data_path("m2/m2_r.fits"), psf=path, psf_origin=[310, 630])
    np.testing.assert_allclose(
        image.psf.at(10.0, 20.0).pixels,
        read_psf(path, band="r")[0].at(320.0, 650.0).pixels,
        atol=3e-4 * image.psf.peak,
    )
    options = {"psf": path, "psf_origin": [310, 630], "psf_radius": 12}
    cut = Image.read(data_path("m2/m2_r.fits"), **options).psf
    assert cut.radius == 12
    assert cut.variation is not None
    pixels = np.arange(-5.0, 6.0)
    inner, whole = (one.at(10.0, 20.0).evaluate_grid(pixels, pixels) for one in (cut, image.psf))
    np.testing.assert_allclose(inner, whole, atol=3e-3 * image.psf.peak)


def make_gridded(size=41, oversampling=4):
    axis = (np.arange(size) - (size - 1) / 2) / oversampling
    x, y = np.meshgrid(axis, axis)
    xs, ys = [0.0, 20.0, 60.0], [10.0, 50.0]
    # The nodes are not in the order of the grid, and photutils sorts them.
    nodes = [(a, b) for a in xs for b in ys]
    psfs = [elliptic(x, y, 2.0 + 0.01 * a + 0.005 * b, 1.0 + 0.003 * (a - b)) for a, b in nodes]
    psfs = np.stack([psf * np.exp(-(((x**2 + y**2) / 9.0) ** 2)) for psf in psfs])
    psfs *= oversampling**2 / psfs.sum(axis=(1, 2), keepdims=True)
    return GriddedPSFModel(NDData(psfs, meta={"grid_xypos": nodes, "oversampling": oversampling}))


@pytest.mark.parametrize("size", [41, 40])
def test_a_gridded_model_of_photutils_is_interpolated_as_photutils_does(size):
    model = make_gridded(size)
    image = Image.from_arrays(np.zeros((60, 70)), np.ones((60, 70)), psf=model)
    pixels = np.arange(-4.0, 5.0)
    for x, y in ((0.0, 10.0), (20.0, 50.0), (33.3, 27.2), (59.8, 3.0), (69.0, 58.7), (7.6, 44.1)):
        columns, rows = np.round(x) + pixels, np.round(y) + pixels
        truth = model.evaluate(*np.meshgrid(columns, rows), 1.0, x, y)
        found = image.psf.at(x, y).evaluate_grid(columns - x, rows - y)
        assert np.abs(found - truth).max() < 2e-3 * truth.max()
    assert image.psf.variation is not None
    cut = Image.from_arrays(np.ones((9, 9)), np.ones((9, 9)), psf=model, psf_origin=(30, 20))
    np.testing.assert_allclose(
        cut.psf.at(3.3, 7.2).pixels, image.psf.at(33.3, 27.2).pixels, atol=3e-4
    )


def test_other_models_of_photutils_are_read_or_refused():
    model = make_gridded()
    single = psf_from_photutils(ImagePSF(model.data[0], oversampling=4))
    assert single.variation is None
    centre = model.evaluate(np.array([[0.0]]), np.array([[10.0]]), 1.0, 0.0, 10.0)
    assert single.peak == pytest.approx(float(centre[0, 0]), rel=1e-3)
    with pytest.raises(InputError, match=r"oversampling \[4, 2\]; it must be the same"):
        psf_from_photutils(ImagePSF(model.data[0], oversampling=(4, 2)))
    with pytest.raises(InputError, match="a PSF of type float"):
        psf_from_photutils(3.0)
