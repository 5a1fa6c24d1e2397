"""Several images and bands from the command line: what goes together, and what does not."""

import dataclasses
import tomllib

import jax
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner

from probcat import PSF, Image, InputError, simulate_image
from probcat.catalog.fits import read_catalog
from probcat.image.alignment import LARGEST_MISFIT, align_images
from probcat.image.fits_output import write_image
from probcat.image.several import read_configured_images
from probcat.run.cli import main
from probcat.samples.samples import Samples
from tests.builders import tan_wcs

STARS = {"x": np.array([8.0, 13.5, 17.0]), "y": np.array([9.0, 15.25, 6.5])}
FLUX = {"g": 700.0, "r": 900.0, "i": 1100.0}
SHAPE = (24, 22)
SHIFTS = {"g": (0.0, 0.0), "r": (0.47, -0.18), "i": (-1.3, 0.6)}
QUICK = """
[prior]
extended_fraction = 0.0
flux_min = 40.0
flux_max = 1e5
half_light_radius_median = 1.5
half_light_radius_min = 0.5
half_light_radius_max = 9.0
background = 0.0
background_mean = 0.0
background_scatter = 1.0
colour_mean = [0.2]
colour_scatter = [0.5]
[sampler]
num_chains = 1
num_warmup = 2
num_samples = 2
checkpoint_interval = 2
passes = 1
split_merge = 0
merge_and_split = 0
companion = 0
leapfrog_steps = 1
"""


def make_wcs(shift=(0.0, 0.0)):
    return tan_wcs(0.36, reference=(12.0 + shift[0], 12.0 + shift[1]))


def make_image(band, with_wcs=True, seed=0):
    """The stars in one band, on a grid of its own where it has a WCS."""
    shift = SHIFTS[band] if with_wcs else (0.0, 0.0)
    sources = {
        "x": STARS["x"] + shift[0],
        "y": STARS["y"] + shift[1],
        "flux": FLUX[band] * np.array([1.0, 0.7, 0.5]),
    }
    made = simulate_image(
        sources, PSF.moffat(2.8, 3.0, size=13), SHAPE, jax.random.key(seed), noise=2.0, band=band
    )
    wcs = make_wcs(shift) if with_wcs else None
    return dataclasses.replace(made.image, wcs=wcs, zero_point=27.0, unit="adu")


def run_command(*arguments):
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files of three bands, one of two of them, and settings that take no time."""
    monkeypatch.chdir(tmp_path)
    family = [fits.PrimaryHDU()]
    for number, band in enumerate(FLUX):
        image = make_image(band, seed=number)
        write_image(f"{band}.fits", image)
        with fits.open(f"{band}.fits") as hdus:
            for hdu in hdus[1:]:
                hdu.name = f"{hdu.name}_{band.upper()}"
                family += [hdu.copy()] if band != "i" else []
    fits.HDUList(family).writeto("bands.fits")
    (tmp_path / "quick.toml").write_text(QUICK)
    return tmp_path


@pytest.fixture
def no_figures(monkeypatch):
    from matplotlib.figure import Figure

    monkeypatch.setattr("probcat.run.results.write_figures", lambda *arguments: None)
    monkeypatch.setattr(Figure, "savefig", lambda *arguments, **options: None)


def write_own_options(files):
    """Write files that need an option each, and the configuration that has them."""
    flags = np.zeros(SHAPE, np.int16)
    flags[3, 4], flags[5, 6] = 1 << 3, 1 << 9
    for band in "gr":
        with fits.open(f"{band}.fits") as hdus:
            if band == "r":
                hdus["PSF"].writeto("psf_r.fits")
                del hdus["PSF"]
            hdus["MASK"].data = flags
            hdus["MASK"].header.update({"MP_CRAY": 3, "MP_GHOST": 9})
            hdus.writeto(f"own_{band}.fits")
    (files / "own.toml").write_text(
        '[image]\nfiles = ["own_g.fits", "own_r.fits"]\npsf = ["", "psf_r.fits"]\n'
        'mask_planes = [["ghost"], [3, "GHOST"]]\nzero_point = [26.0, 26.5]\n'
        "saturation = [60.0, inf]\n" + QUICK
    )


def test_files_families_and_lists_of_options_run_to_the_end(files, no_figures, monkeypatch):
    """All have the same sizes and prior, so that one compilation serves all."""
    write_own_options(files)
    quick = ["--config", "quick.toml"]
    for out, arguments in (
        ("files", ["g.fits", "r.fits", *quick]),
        ("family", ["bands.fits", *quick]),
        ("own", ["--config", "own.toml"]),
    ):
        result = run_command(*arguments, "--out", out, "--quiet")
        assert result.exit_code == 0, result.output
        table = read_catalog(files / out / "catalog.fits")
        columns = {f"{name}_{band}" for name in ("flux", "mag") for band in "gr"}
        assert columns | {"ra", "dec", "flux_r_err"} <= set(table.colnames)
        assert result.output.count("prior: ") >= 3
        assert "prior: point sources alone (given)" in result.output
        if out == "files":
            assert "2 images in 2 bands: g (g.fits); r (r.fits)" in result.output
            for name in ("assignment_g", "assignment_r", "model_g", "model_r"):
                assert (files / out / f"{name}.fits").stat().st_size > 0
            # Maps of the others would compile anew, and show nothing else.
            monkeypatch.setattr(
                "probcat.run.results._write_image_results", lambda *arguments: {"flags": 0}
            )
    one, other = (
        Samples.from_netcdf(files / out / "samples.nc").sources for out in ("files", "family")
    )
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)
    assert "own_g.fits: mask: taken as bad (as asked): GHOST (bit 9: 1 px)" in result.output
    both = "CRAY (bit 3: 1 px), GHOST (bit 9: 1 px)"
    assert f"own_r.fits: mask: taken as bad (as asked): {both}" in result.output
    assert "own_g.fits: saturation: " in result.output
    with open(files / "own" / "config.toml", "rb") as handle:
        image = tomllib.load(handle)["image"]
    assert image["files"] == [str(files / f"own_{band}.fits") for band in "gr"]
    assert image["psf"] == ["", str(files / "psf_r.fits")]
    assert fits.getheader(files / "own" / "catalog.fits", 1)["MAGZERO"] == 26.0


def test_bands_of_a_family_are_picked_in_the_order_asked_for(files):
    assert [image.band for image in read_configured_images({"files": "bands.fits"})] == ["g", "r"]
    for bands in (["r"], ["r", "g"], "g"):
        found = read_configured_images({"files": "bands.fits", "band": bands})
        assert [image.band for image in found] == list(bands)
    mixed = read_configured_images({"files": ["i.fits", "bands.fits"]})
    assert [image.band for image in mixed] == ["i", "g", "r"]


def alter(path, new, change):
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(new)


def move_far(hdus):
    hdus["SCI"].header["CRVAL2"] += 0.5


def drop_wcs(hdus):
    for key in [key for key in hdus["SCI"].header if key[:5] in ("CTYPE", "CRVAL", "CRPIX")]:
        del hdus["SCI"].header[key]


def same_band(hdus):
    hdus["SCI"].header["FILTER"] = "g"
    del hdus["SCI"].header["MAGZERO"]


def no_zero_point(hdus):
    del hdus["SCI"].header["MAGZERO"]


def in_electrons(hdus):
    hdus["SCI"].header["FILTER"] = "g"
    hdus["SCI"].header["BUNIT"] = "electron"
    del hdus["SCI"].header["MAGZERO"]


def wider_psf(hdus):
    grid = np.arange(-40.0, 41.0)
    hdus["PSF"] = fits.ImageHDU(PSF.moffat(28.0, 3.0).evaluate_grid(grid, grid), name="PSF")


BAD = [
    (["g.fits", "far.fits"], "far.fits: does not overlap g.fits on the sky"),
    (["g.fits", "lost.fits"], "lost.fits: has no WCS, which several images need"),
    (["g.fits", "same.fits"], "same.fits: has no zero point, another image of band 'g' has"),
    (["none.fits", "electron.fits"], "electron.fits: is in electron, none.fits of the same band"),
    (["g.fits", "r.fits", "./g.fits"], "g.fits: given twice, its light would count twice"),
    (["g.fits", "link.fits"], "link.fits: given twice (also as g.fits)"),
    (["bands.fits", "--band", "r", "--band", "R"], "bands.fits: given twice"),
    (["g.fits", "--mask-plane", "SATURN"], "g.fits[MASK]: no mask plane 'SATURN' (no MP_ keyw"),
    (["g.fits", "--mask-plane", "9"], "g.fits[MASK]: no mask bit 9; it has no bit set"),
    (["planes.fits", "--mask-plane", "2"], "no mask bit 2; it has CRAY (3), GHOST (9)"),
    (["planes.fits", "--mask-plane", "SAT"], "no mask plane 'SAT' (MP_ keywords); known: CRAY"),
    (["g.fits", "--saturation", "-3"], "g.fits: saturation -3.0; it must be above zero"),
    (["g.fits", "--psf", "sky.fits"], "g.fits: the PSF, (15, 15), does not look like one"),
    (["g.fits", "--psf", "table.fits"], "table.fits: no extension PSF"),
    (["g.fits", "--psf", "quick.toml"], "quick.toml: not a readable FITS file"),
    (["g.fits", "--psf", "SCI"], "g.fits: the PSF is the image itself"),
    (["wide.fits"], "wide.fits: the PSF has a FWHM of 28.0 px, more than the image, (24, 22), is"),
    (["g.fits", "--estimate-psf"], "whole peaks are too few to estimate a PSF from; 5 are needed"),
    (["g.fits", "--psf-stars", "none.csv"], "none.csv: no such file"),
    (["g.fits", "--psf", "PSF", "--estimate-psf"], "g.fits: a PSF is given, and one is to be"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_refused_before_sampling(arguments, message, files, monkeypatch):
    def sample(*arguments, **options):
        raise AssertionError("sampled")

    monkeypatch.setattr("probcat.sampler.sample.sample", sample)
    for new, change in (
        ("far", move_far),
        ("lost", drop_wcs),
        ("same", same_band),
        ("none", no_zero_point),
        ("electron", in_electrons),
        ("wide", wider_psf),
    ):
        alter("g.fits" if new in ("none", "wide") else "r.fits", f"{new}.fits", change)
    (files / "link.fits").symlink_to("g.fits")
    with fits.open("g.fits") as hdus:
        hdus["MASK"].data = np.full(SHAPE, 8, np.int16)
        hdus["MASK"].header.update({"MP_CRAY": 3, "MP_GHOST": 9})
        hdus.writeto("planes.fits")
    sky = np.random.default_rng(0).normal(100.0, 10.0, (15, 15))
    fits.PrimaryHDU(sky).writeto("sky.fits")
    column = fits.Column("x", "D", array=np.zeros(3))
    fits.BinTableHDU.from_columns([column]).writeto("table.fits")
    result = run_command(*arguments, "--out", "out")
    assert result.exit_code == 2, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("probcat: error:")]
    assert len(lines) == 1
    assert message in result.output
    assert not (files / "out").exists()


def test_same_file_serves_twice_where_its_pixels_differ(files):
    with fits.open("g.fits") as hdus:
        hdus["SCI"].name = "FIRST"
        second = fits.ImageHDU(hdus["FIRST"].data + 1.0, hdus["FIRST"].header, name="SECOND")
        fits.HDUList([*hdus, second]).writeto("two.fits")
    two = read_configured_images({"files": ["two.fits", "two.fits"], "sci": ["FIRST", "SECOND"]})
    assert np.all(two[1].data - two[0].data > 0.9)
    with pytest.raises(InputError, match=r"two\.fits: given twice"):
        read_configured_images({"files": ["two.fits", "two.fits"], "sci": ["FIRST", "first"]})


def test_distortion_that_no_affine_map_follows_is_refused():
    plain = make_image("g")
    curved = make_wcs()
    curved.wcs.ctype = "RA---TAN-SIP", "DEC--TAN-SIP"
    terms = np.zeros((3, 3))
    messages = []
    for bend in (1e-5, 1e-3):
        terms[2, 0] = bend
        bent = WCS(naxis=2)
        bent.wcs.ctype = curved.wcs.ctype
        bent.wcs.crval, bent.wcs.crpix = curved.wcs.crval, curved.wcs.crpix
        bent.wcs.cd = curved.wcs.cd
        from astropy.wcs import Sip

        bent.sip = Sip(terms, np.zeros((3, 3)), None, None, bent.wcs.crpix)
        image = dataclasses.replace(make_image("r"), wcs=bent, name="bent.fits")
        try:
            align_images([plain, image])
        except InputError as error:
            messages.append(str(error))
    # A bend of 1e-3 px / px^2 over 22 px departs by about 1e-3 * 11^2 / 2.
    (message,) = messages
    assert "bent.fits: the map from" in message
    assert f"more than {LARGEST_MISFIT}; cut both to a smaller field" in message


def test_saturated_pixels_have_zero_weight_and_are_counted(files):
    level = float(np.sort(make_image("g").data, axis=None)[-5])
    image = Image.read("g.fits", saturation=level)
    assert image.mask.sum() == 5
    assert np.all(image.weight[image.mask] == 0)
    assert any(f"saturation: 5 pixels at or above {level:g} (as" in note for note in image.notes)
    with fits.open("g.fits", mode="update") as hdus:
        hdus["SCI"].header["SATURATE"] = level
    image = Image.read("g.fits")
    assert image.mask.sum() == 5
    assert any("(SATURATE of the header) masked" in note for note in image.notes)
    assert Image.read("g.fits", saturation=np.inf).mask.sum() == 0
