"""Images: from arrays, from astropy containers, and from FITS files that are good or bad."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty

from probcat.errors import InputError
from probcat.image.fits_output import write_image
from probcat.image.image import Image
from probcat.psf.psf import PSF
from tests.builders import tan_wcs

SHAPE = (32, 40)


def gaussian_samples(fwhm=3.0, side=15):
    y, x = np.indices((side, side)) - side // 2
    return np.exp(-4.0 * np.log(2.0) * (x**2 + y**2) / fwhm**2)


def flat_image(seed=0, level=100.0):
    return np.random.default_rng(seed).normal(level, 10.0, SHAPE)


def write_fits(path, **extensions):
    """Write arrays, or (array, header) pairs, as the extensions of their names."""
    hdus = [fits.PrimaryHDU()]
    for name, value in extensions.items():
        data, header = value if isinstance(value, tuple) else (value, {})
        hdu = fits.ImageHDU(data, name=name)
        hdu.header.update(header)
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.fixture
def good(tmp_path):
    """Return a function that writes a readable file, or a copy with other extensions."""
    arrays = {
        "SCI": (flat_image(), {"BUNIT": "adu", "FILTER": "r", "MAGZERO": 28.0}),
        "VAR": np.full(SHAPE, 100.0),
        "PSF": gaussian_samples(),
    }

    def write(name="image.fits", **changes):
        kept = {key: value for key, value in {**arrays, **changes}.items() if value is not None}
        return write_fits(tmp_path / name, **kept)

    return write


def test_a_file_is_read_by_the_names_of_its_extensions(good):
    image = Image.read(good(MASK=np.eye(*SHAPE, dtype=np.uint8)))
    assert image.shape == SHAPE
    assert (image.band, image.unit, image.zero_point) == ("r", "adu", 28.0)
    assert image.mask.sum() == SHAPE[0]
    assert np.all(image.weight[~image.mask] == np.float32(0.01))
    assert image.wcs is None
    np.testing.assert_allclose(image.psf.fwhm, 3.0, rtol=0.02)


@pytest.mark.parametrize(
    ("name", "values"),
    [("ERR", np.full(SHAPE, 10.0)), ("IVAR", np.full(SHAPE, 0.01)), ("VARIANCE", None)],
)
def test_any_measure_of_the_noise_leads_to_the_same_weights(good, name, values):
    values = np.full(SHAPE, 100.0) if values is None else values
    image = Image.read(good(VAR=None, **{name: values}))
    np.testing.assert_allclose(image.weight, 0.01, rtol=1e-6)


def test_big_endian_and_integer_pixels_become_native_floats(good):
    image = Image.read(good(SCI=flat_image().astype(">i4"), VAR=np.full(SHAPE, 100, ">i2")))
    assert image.data.dtype == np.float64
    assert image.data.dtype.isnative
    assert image.clean_data.dtype == np.float32


def test_extensions_can_be_named_or_numbered(good):
    path = good(VAR=None, OTHER=flat_image(1), SIGMA=np.full(SHAPE, 5.0))
    by_name = Image.read(path, sci="other", err="sigma")
    by_number = Image.read(path, sci=3, err=4)
    np.testing.assert_array_equal(by_name.data, flat_image(1))
    np.testing.assert_array_equal(by_number.data, by_name.data)
    np.testing.assert_allclose(by_name.variance, 25.0)


@pytest.mark.parametrize("band", ["i", "I"])
def test_a_band_is_found_in_upper_and_lower_case(tmp_path, band):
    arrays = {}
    for number, letter in enumerate("GI"):
        arrays[f"SCI_{letter}"] = flat_image(number), {"FILTER": letter.lower()}
        arrays[f"VAR_{letter}"] = np.full(SHAPE, 100.0 + number)
        arrays[f"PSF_{letter}"] = gaussian_samples(3.0 + number)
    image = Image.read(write_fits(tmp_path / "bands.fits", **arrays), band=band)
    assert image.band == "i"
    np.testing.assert_array_equal(image.data, flat_image(1))
    np.testing.assert_array_equal(image.variance, 101.0)
    np.testing.assert_allclose(image.psf.fwhm, 4.0, rtol=0.02)
    with pytest.raises(InputError, match=r"bands g, i; pick one with --band"):
        Image.read(tmp_path / "bands.fits")
    with pytest.raises(InputError, match=r"no extension SCI_Z; bands: g, i"):
        Image.read(tmp_path / "bands.fits", band="z")


def test_a_plain_file_is_read_with_a_psf_from_another_file(tmp_path):
    fits.PrimaryHDU(flat_image(), tan_wcs(0.36, reference=(10.0, 20.0)).to_header()).writeto(
        tmp_path / "plain.fits"
    )
    psf = fits.PrimaryHDU(np.kron(gaussian_samples(), np.ones((3, 3))))
    psf.header["OVERSAMP"] = 3
    psf.writeto(tmp_path / "psf.fits")
    image = Image.read(tmp_path / "plain.fits", band="V", psf=tmp_path / "psf.fits")
    assert image.band == "V"
    assert image.psf.oversampling == 3
    assert any("estimated from the pixels" in note for note in image.notes)
    np.testing.assert_allclose(np.sqrt(image.variance), 10.0, rtol=0.2)
    np.testing.assert_allclose(image.wcs.all_pix2world(9.0, 19.0, 0), (150.0, 2.0), atol=1e-9)


def test_a_cube_is_read_only_with_a_plane(tmp_path):
    cube = np.stack([flat_image(seed) for seed in range(3)])
    fits.PrimaryHDU(cube).writeto(tmp_path / "cube.fits")
    with pytest.raises(InputError, match=r"3 planes; say which"):
        Image.read(tmp_path / "cube.fits", psf=gaussian_samples())
    image = Image.read(tmp_path / "cube.fits", psf=gaussian_samples(), plane=2)
    np.testing.assert_array_equal(image.data, flat_image(2))


def test_unusable_pixels_are_counted_and_given_zero_weight(good):
    data, variance = flat_image(), np.full(SHAPE, 100.0)
    data[0, :3] = np.nan, np.inf, -np.inf
    variance[1, :4] = 0.0, -1.0, np.nan, np.inf
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, :5] = 1
    image = Image.read(good(SCI=data, VAR=variance, MASK=mask))
    assert np.sum(image.weight == 0) == 12
    assert np.all(np.isfinite(image.clean_data))
    assert np.all(image.clean_data[image.weight == 0] == 0)
    text = "\n".join(image.notes)
    assert "3 pixels (0.2 %) NaN or infinite: given zero weight" in text
    assert "4 pixels (0.3 %) without a positive, finite variance: given zero weight" in text
    assert "5 pixels (0.4 %) masked: given zero weight" in text


@pytest.mark.parametrize(
    ("header", "bits", "bad"),
    [
        ({}, None, [1, 2, 8, 16, 128, 256]),
        ({"MP_BAD": 5, "MP_SAT": 2, "HIERARCH MP_DETECTED": 0}, None, [4, 32]),
        ({}, [5, "INTRP"], [4, 32]),
        ({}, [], []),
        ({"MP_TRAIL": 6}, ["trail"], [64]),
    ],
)
def test_only_bad_planes_of_a_bit_mask_make_pixels_bad(good, header, bits, bad):
    flags = np.zeros(SHAPE, np.int32)
    flags[0, :12] = 1 << np.arange(12)
    image = Image.read(good(MASK=(flags, header)), mask_planes=bits)
    np.testing.assert_array_equal(flags[image.mask], bad)
    assert any("taken as bad" in note for note in image.notes)


def test_mask_bits_that_do_not_exist_are_refused(good):
    path = good(MASK=np.full(SHAPE, 32, np.int32))
    with pytest.raises(InputError, match=r"no mask plane 'SATUR'.*known: BAD, SAT"):
        Image.read(path, mask_planes=["SATUR"])
    with pytest.raises(InputError, match=r"mask bit 64"):
        Image.read(path, mask_planes=[64])


BAD_FILES = [
    ({"SCI": None}, {}, r"image\.fits: no extension SCI|shape \(32, 40\)"),
    ({"PSF": None}, {}, r"no PSF extension; give .* --psf FILE"),
    ({"PSF": np.full((15, 15), np.nan)}, {}, r"non-finite"),
    ({"PSF": np.zeros((15, 15))}, {}, r"sum of the PSF must be positive"),
    ({"PSF": gaussian_samples(36.0, 101)}, {}, r"FWHM of 3\d\.\d px.*give psf_oversampling"),
    ({"PSF": np.ones((3, 15, 15))}, {}, r"3 planes"),
    ({"VAR": np.ones((32, 41))}, {}, r"VAR has shape \(32, 41\), SCI \(32, 40\)"),
    ({"MASK": np.ones((31, 40), np.uint8)}, {}, r"MASK has shape \(31, 40\), SCI \(32, 40\)"),
    ({"MASK": np.ones(SHAPE, np.uint8)}, {}, r"no pixel can be used: 1280 pixels .* masked"),
    ({"VAR": np.zeros(SHAPE)}, {}, r"no pixel can be used: 1280 pixels .* variance"),
    ({"SCI": np.full(SHAPE, np.nan)}, {}, r"no pixel can be used: 1280 pixels .* NaN"),
    ({"SCI": np.full(SHAPE, np.nan), "VAR": None}, {}, r"no pixel can be used"),
    ({"SCI": np.full(SHAPE, 7.0), "VAR": None}, {}, r"no noise to estimate it from"),
    ({}, {"sci": "NOPE"}, r"no image extension 'NOPE'; it holds SCI, VAR, PSF"),
    ({}, {"var": 9}, r"no image extension 9"),
    ({}, {"var": "VAR", "err": "VAR"}, r"give one of var, err"),
    ({}, {"psf": "nowhere.fits"}, r"nowhere\.fits: no such file"),
    ({}, {"psf_oversampling": 0.5}, r"oversampling"),
    ({"VAR": None}, {"gain": 0.0}, r"gain 0\.0; it must be positive"),
    ({"VAR": None}, {"gain": 2.0, "read_noise": -1.0}, r"read noise -1\.0"),
    ({"VAR": None}, {"read_noise": 5.0}, r"needs a gain"),
    ({}, {"mask_planes": ["SAT"]}, r"it has no MASK"),
    ({"SCI": 1e-30 * flat_image(), "VAR": np.full(SHAPE, 1e-58)}, {}, r"single precision"),
]


@pytest.mark.parametrize(("changes", "options", "message"), BAD_FILES)
def test_bad_files_are_refused_in_two_lines_that_name_them(good, changes, options, message):
    path = good(**changes)
    with pytest.raises(InputError, match=message) as error:
        Image.read(path, **options)
    assert len(str(error.value).splitlines()) <= 2
    assert "image.fits" in str(error.value) or "nowhere.fits" in str(error.value)


@pytest.mark.parametrize(("oversampling", "noted"), [(1, True), (3, False)])
def test_psf_larger_than_the_image_is_kept_whole(good, oversampling, noted):
    samples = gaussian_samples(3.0 * oversampling, 41 * oversampling)
    image = Image.read(good(PSF=samples), psf_oversampling=oversampling)
    assert image.psf.pixels.shape == samples.shape
    np.testing.assert_allclose(image.psf.fwhm, 3.0, rtol=0.02)
    assert any("larger than the image; if it is oversampled" in n for n in image.notes) == noted


def test_files_that_are_not_fits_are_refused(tmp_path, good):
    with pytest.raises(InputError, match=r"absent\.fits: no such file"):
        Image.read(tmp_path / "absent.fits")
    (tmp_path / "text.fits").write_text("not a FITS file")
    with pytest.raises(InputError, match=r"text\.fits: not a readable FITS file"):
        Image.read(tmp_path / "text.fits")
    whole = good().read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(InputError, match=r"cut\.fits"):
        Image.read(tmp_path / "cut.fits")


@pytest.mark.parametrize(
    ("unit", "zero_point"),
    [("nJy", 31.4), ("nanomaggy", 22.5), ("Jy", 8.9), ("mJy", 16.4), ("MJy/sr", None), ("", None)],
)
def test_physical_units_have_their_zero_points(good, unit, zero_point):
    image = Image.read(good(SCI=(flat_image(), {"BUNIT": unit})))
    assert image.zero_point == zero_point
    assert image.unit == unit


def test_a_zero_point_is_read_from_the_header_unless_it_is_given(good):
    path = good(SCI=(flat_image(), {"FLUXMAG0": 1e10}))
    assert Image.read(path).zero_point == pytest.approx(25.0)
    assert Image.read(path, zero_point=26.5).zero_point == 26.5


def test_arrays_need_equal_shapes_and_a_psf():
    data = flat_image()
    with pytest.raises(InputError, match=r"no PSF"):
        Image.from_arrays(data, np.ones(SHAPE))
    with pytest.raises(InputError, match=r"the variance has shape \(3, 3\), the image \(32, 40\)"):
        Image.from_arrays(data, np.ones((3, 3)), psf=PSF.gaussian(3.0))
    with pytest.raises(InputError, match=r"the mask has shape"):
        Image.from_arrays(data, np.ones(SHAPE), np.zeros((2, 2), bool), psf=PSF.gaussian(3.0))
    with pytest.raises(InputError, match=r"two-dimensional"):
        Image.from_arrays(np.ones(5), np.ones(5), psf=PSF.gaussian(3.0))
    with pytest.raises(InputError, match=r"not an array of real numbers"):
        Image.from_arrays(data.astype(complex), np.ones(SHAPE), psf=PSF.gaussian(3.0))


def test_masked_arrays_keep_their_mask():
    data = np.ma.masked_greater(flat_image(), 110.0)
    image = Image.from_arrays(data, np.ones(SHAPE), psf=PSF.gaussian(3.0))
    np.testing.assert_array_equal(image.mask, data.mask)


@pytest.mark.parametrize(
    "uncertainty",
    [
        StdDevUncertainty(np.full(SHAPE, 4.0)),
        VarianceUncertainty(np.full(SHAPE, 16.0)),
        InverseVariance(np.full(SHAPE, 1 / 16)),
    ],
)
def test_ccddata_brings_all_it_holds(uncertainty):
    mask = np.zeros(SHAPE, bool)
    mask[3, 4] = True
    ccd = CCDData(
        flat_image(),
        uncertainty=uncertainty,
        mask=mask,
        unit="adu",
        wcs=tan_wcs(0.36, reference=(10.0, 20.0)),
        meta={"FILTER": "g", "MAGZPT": 25.0},
        psf=gaussian_samples(),
    )
    for image in (Image.from_ccddata(ccd), Image.from_arrays(ccd, psf=PSF.gaussian(3.0))):
        np.testing.assert_allclose(image.variance, 16.0)
        np.testing.assert_array_equal(image.mask, mask)
        assert (image.unit, image.band, image.zero_point) == ("adu", "g", 25.0)
        assert image.wcs.has_celestial
    assert Image.from_ccddata(ccd, band="z").band == "z"


def test_ccddata_takes_a_record_of_saturated_pixels():
    saturated = np.zeros(SHAPE, bool)
    saturated[4, 5] = True
    ccd = CCDData(flat_image(), mask=saturated, unit="adu")
    image = Image.from_arrays(ccd, psf=PSF.gaussian(3.0), saturated=saturated)
    np.testing.assert_array_equal(image.saturated, saturated)


def test_ccddata_without_uncertainty_says_what_was_done():
    ccd = CCDData(flat_image(), unit="electron", meta={"GAIN": 1.0})
    image = Image.from_ccddata(ccd, psf=PSF.gaussian(3.0))
    assert any("estimated" in note and "gain 1" in note for note in image.notes)
    image = Image.from_ccddata(ccd, psf=PSF.gaussian(3.0), gain=1.0, read_noise=3.0)
    np.testing.assert_allclose(np.median(image.variance), 109.0, rtol=0.05)


def test_a_given_mask_replaces_that_of_ccddata():
    mask = np.zeros(SHAPE, bool)
    mask[2] = True
    ccd = CCDData(flat_image(), mask=~mask, unit="adu")
    image = Image.from_arrays(ccd, mask=mask, psf=PSF.gaussian(3.0))
    np.testing.assert_array_equal(image.mask, mask)


def test_ccddata_can_leave_the_photon_noise_of_sources_to_the_model():
    uncertainty = StdDevUncertainty(np.full(SHAPE, 50.0))
    ccd = CCDData(flat_image(), uncertainty, unit="adu", meta={"GAIN": 2.0})
    image = Image.from_arrays(ccd, psf=PSF.gaussian(3.0), model_variance=True)
    assert image.photon_gain == 2.0
    np.testing.assert_allclose(image.variance, image.variance[0, 0])
    assert image.variance[0, 0] < 2500.0
    assert any("photon noise follows the model" in note for note in image.notes)
    with pytest.raises(InputError, match="needs a gain"):
        Image.from_arrays(
            CCDData(flat_image(), unit="adu"), psf=PSF.gaussian(3.0), model_variance=True
        )


def test_an_image_is_described_in_one_line(good):
    image = Image.read(good())
    assert repr(image) == (
        "<Image shape=(32, 40), band='r', unit='adu', PSF FWHM=3.00 px, name='image.fits'>"
    )
    plain = Image.from_arrays(flat_image(), np.ones(SHAPE), psf=PSF.gaussian(2.5))
    assert repr(plain) == "<Image shape=(32, 40), PSF FWHM=2.50 px>"


def test_the_real_image_of_m2_is_read_whole(data_path):
    image = Image.read(data_path("m2/m2_r.fits"))
    assert image.shape == (100, 100)
    assert (image.band, image.unit) == ("r", "adu")
    assert image.zero_point == pytest.approx(28.1556, abs=1e-4)
    assert image.psf.oversampling == 5
    assert np.all(image.weight > 0)
    assert image.wcs.has_celestial


def test_detected_pixels_of_the_real_image_of_hsc_are_used(data_path):
    path = data_path("hsc_cosmos/hsc_cosmos_35.fits")
    image = Image.read(path, band="i")
    assert image.band == "i"
    assert image.zero_point == 27.0
    assert image.wcs is None
    with fits.open(path) as hdus:
        flags = hdus["MASK_I"].data
    np.testing.assert_array_equal(image.mask, (flags & 8) > 0)
    assert image.mask.mean() < 0.06


def test_a_written_image_is_read_back_unchanged(tmp_path, good):
    image = Image.read(good(MASK=np.eye(*SHAPE, dtype=np.uint8)))
    write_image(tmp_path / "again.fits", image)
    back = Image.read(tmp_path / "again.fits")
    for name in ("data", "variance", "mask"):
        np.testing.assert_array_equal(getattr(back, name), getattr(image, name))
    assert (back.band, back.unit, back.zero_point) == ("r", "adu", 28.0)
    np.testing.assert_allclose(back.psf.pixels, image.psf.pixels, atol=1e-4)
