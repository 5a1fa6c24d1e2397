"""Catalogs in the formats of other programs, read back."""

import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from probcat.catalog.condense import condense
from probcat.catalog.export import FORMATS
from probcat.catalog.fits import write_catalog
from probcat.errors import InputError
from probcat.pixels.flags import flag_cards
from probcat.run.cli import main
from probcat.run.export import export_run
from tests.builders import tan_wcs
from tests.catalog.test_condense import make_image, samples_from_draws

READERS = {
    "ecsv": "ascii.ecsv",
    "ascii": "ascii.commented_header",
    "csv": "ascii.csv",
    "fits": "fits",
    "votable": "votable",
}


def make_wcs(turn=25.0):
    return tan_wcs(0.2, np.deg2rad(turn), (20.0, 20.0))


@pytest.fixture
def run(tmp_path):
    """Write the catalog of two stars, one of them in 30 % of the draws, and a galaxy."""
    rng = np.random.default_rng(0)
    draws = []
    for number in range(100):
        draw = [(8.0, 9.0, 900.0 + rng.normal()), (25.0, 30.0, 700.0 + rng.normal(), 3.0)]
        draws.append(draw + ([(14.0, 20.0, 300.0 + rng.normal())] if number % 10 < 3 else []))
    catalog = condense(samples_from_draws(draws))
    catalog = catalog.with_columns({"flags": np.zeros(3, np.int32)})
    table = catalog.to_table(make_image("r", make_wcs(), 27.0, "adu"))
    cards = {"SEED": (4, "seed"), **flag_cards()}
    write_catalog(tmp_path / "catalog.fits", table, cards)
    return tmp_path


def export(*arguments):
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


@pytest.mark.parametrize("format", READERS)
def test_tables_come_back(run, format):
    original = Table.read(run / "catalog.fits")
    result = export(run, "--format", format)
    assert result.exit_code == 0, result.output
    path = result.output.strip()
    assert path.endswith(FORMATS[format])
    table = Table.read(path, format=READERS[format])
    assert table.colnames == original.colnames
    for name in original.colnames:
        expected = np.ma.filled(np.ma.asarray(original[name], dtype=float), np.nan)
        found = np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan)
        np.testing.assert_array_equal(found, expected)
    if format in ("ecsv", "fits", "votable"):
        assert str(table["flux_r"].unit) == "adu"
        assert str(table["half_light_radius_sky"].unit) == "arcsec"


def test_fits_export_keeps_header_and_ucds(run):
    assert export(run, "--format", "fits", "--min-prob", 0.5).exit_code == 0
    header = fits.getheader(run / "catalog_export.fits", "CATALOG")
    assert (header["SEED"], header["FLAG2"], header["NAXIS2"]) == (4, "SATURATED", 2)
    ucds = {header[f"TTYPE{n}"]: header.get(f"TUCD{n}") for n in range(1, header["TFIELDS"] + 1)}
    assert ucds["ra"] == "pos.eq.ra;meta.main"
    assert ucds["x_y_cov"] == "stat.covariance"


def test_votable_has_ucds_and_descriptions(run):
    assert export(run, "--format", "votable").exit_code == 0
    text = (run / "catalog.xml").read_text()
    assert 'ucd="stat.probability;src.class.starGalaxy"' in text
    assert "fraction of draws that contain it" in text


def test_parquet_comes_back_with_units(run):
    pytest.importorskip("pyarrow")
    assert export(run, "--format", "parquet").exit_code == 0
    table = Table.read(run / "catalog.parquet")
    np.testing.assert_array_equal(table["object_id"], [1, 2, 3])
    np.testing.assert_array_equal(np.isnan(table["half_light_radius"]), [True, False, True])
    assert str(table["flux_r"].unit) == "adu"


def test_parquet_without_pyarrow_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = export(run, "--format", "parquet")
    assert result.exit_code == 2
    assert "pip install 'probcat[parquet]'" in result.output
    assert not (run / "catalog.parquet").exists()


def test_least_probability_and_file_name(run, tmp_path):
    out = tmp_path / "sure.csv"
    result = export(run, "--format", "csv", "--min-prob", 0.5, "--out", out)
    assert result.output.strip() == str(out)
    np.testing.assert_array_equal(Table.read(out, format="ascii.csv")["object_id"], [1, 2])


def test_regions_of_the_image_are_where_objects_are(run):
    regions = pytest.importorskip("regions")
    assert export(run, "--format", "ds9", "--frame", "image").exit_code == 0
    one, galaxy, faint = regions.Regions.read(run / "catalog.reg", format="ds9")
    assert isinstance(one, regions.CirclePixelRegion)
    assert (one.center.x, one.center.y) == pytest.approx((8.0, 9.0), abs=1e-3)
    assert isinstance(galaxy, regions.EllipsePixelRegion)
    # g = (0.1, -0.2): axis ratio (1 - |g|) / (1 + |g|), geometric mean of the semi-axes 3.
    norm = np.hypot(0.1, 0.2)
    assert galaxy.width / galaxy.height == pytest.approx((1 + norm) / (1 - norm), rel=1e-3)
    assert galaxy.width * galaxy.height / 4.0 == pytest.approx(9.0, rel=1e-3)
    axis = np.rad2deg(0.5 * np.arctan2(-0.2, 0.1))
    assert galaxy.angle.to_value("deg") % 180.0 == pytest.approx(axis % 180.0, abs=0.01)
    assert [str(each.meta["text"]) for each in (one, galaxy, faint)] == ["1", "2", "3"]
    colours = [each.visual["edgecolor"] for each in (one, galaxy, faint)]
    assert colours[0] == colours[1] != colours[2]


def test_regions_of_the_sky_are_those_of_the_image(run):
    regions = pytest.importorskip("regions")
    assert export(run, "--format", "ds9").exit_code == 0
    on_sky = regions.Regions.read(run / "catalog.reg", format="ds9")
    one, galaxy, _ = (each.to_pixel(make_wcs()) for each in on_sky)
    assert (one.center.x, one.center.y) == pytest.approx((8.0, 9.0), abs=1e-3)
    assert one.radius == pytest.approx(1.5, rel=1e-2)
    assert (galaxy.center.x, galaxy.center.y) == pytest.approx((25.0, 30.0), abs=1e-3)
    assert galaxy.width * galaxy.height / 4.0 == pytest.approx(9.0, rel=1e-2)
    axis = np.rad2deg(0.5 * np.arctan2(-0.2, 0.1))
    difference = (galaxy.angle.to_value("deg") - axis + 90.0) % 180.0 - 90.0
    assert abs(difference) < 0.2


def test_catalog_without_sky_positions_has_regions_of_the_image(run):
    catalog = condense(samples_from_draws([[(8.0, 9.0, 900.0)]] * 8))
    write_catalog(run / "catalog.fits", catalog.to_table())
    path = export_run(run, "ds9")
    assert path.read_text().splitlines()[2:] == [
        "image",
        "circle(9.000,10.000,1.500) # color=green text={1}",
    ]
    with pytest.raises(InputError, match="no ra and dec"):
        export_run(run, "ds9", frame="fk5")


def test_empty_catalog_is_exported(run):
    write_catalog(run / "catalog.fits", condense(samples_from_draws([[]] * 6)).to_table())
    for format in ("ecsv", "ascii", "csv", "ds9", "fits", "votable"):
        path = export_run(run, format)
        if format in READERS:
            assert len(Table.read(path, format=READERS[format])) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "excel"}, "unknown format 'excel'"),
        ({"format": "csv", "min_prob": 1.2}, "min_prob must be in"),
        ({"format": "csv", "frame": "fk5"}, "only DS9 regions have a frame"),
        ({"format": "csv", "out": "missing/catalog.csv"}, "there is no directory"),
        ({"format": "fits", "out": "catalog.fits"}, "is the catalog to be exported"),
    ],
)
def test_bad_options_are_refused(run, options, message):
    if "out" in options:
        options = {**options, "out": run / options["out"]}
    before = (run / "catalog.fits").read_bytes()
    with pytest.raises(InputError, match=message):
        export_run(run, **options)
    assert (run / "catalog.fits").read_bytes() == before
