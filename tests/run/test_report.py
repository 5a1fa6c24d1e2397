"""What a report holds: the arrays of the page against the run, errors, and the size."""

import base64
import json
import re
import shutil
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from probcat.catalog.catalog import CondensedCatalog
from probcat.catalog.fits import write_alternatives
from probcat.errors import InputError
from probcat.pixels.assignment import KINDS, Assignment
from probcat.pixels.fits import read_assignment
from probcat.pixels.flags import Flag
from probcat.run.cli import main
from probcat.run.config import read_config, write_config
from probcat.run.directory import clear_directory
from probcat.run.files import ALTERNATIVES, FIGURES, MEMBERS, REPORT
from probcat.run.report.columns import order_columns
from probcat.run.report.contents import read_contents
from probcat.run.report.data import draws_to_keep, page_data
from probcat.run.report.packing import LEVELS, pack, pack_stamps, quantise, shrink, shrink_factor
from probcat.run.report.page import render_page, write_report
from probcat.run.report.sky import sky_polynomial
from probcat.run.results import write_figures
from probcat.samples.per_image import samples_per_image
from probcat.samples.samples import Samples
from tests.run.report_run import EXTENDED, NUM_DRAWS, SHAPE, SHIFT, X, Y, make_run, without_objects

# Bokeh itself is about 2.1 MB.
MOST_BYTES = 2_600_000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        return make_run(tmp_path_factory.mktemp("run"), patch)


@pytest.fixture(scope="module")
def contents(run):
    return read_contents(run)


@pytest.fixture(scope="module")
def page(contents):
    return page_data(contents)


def unpack(html):
    """Description and arrays of a page, as a browser reads them."""
    blocks = dict(re.findall(r'<script type="[^"]+" id="([^"]+)">(.*?)</script>', html, re.DOTALL))
    info = json.loads(blocks["probcat-info"])
    content = zlib.decompress(base64.b64decode(blocks["probcat-data"]))
    arrays = {
        name: np.frombuffer(content, dtype, count, offset)
        for name, (dtype, offset, count) in info["arrays"].items()
    }
    return info, arrays


def decode(coded, low, high):
    return np.where(
        coded == 0, np.nan, low + (coded - 1.0) / (np.iinfo(coded.dtype).max - 1) * (high - low)
    )


def test_command_writes_one_file_that_holds_everything(run):
    result = CliRunner().invoke(main, ["report", str(run)])
    assert result.exit_code == 0, result.output
    html = (run / "report.html").read_text()
    assert result.output.strip() == str(run / "report.html")
    assert len(html) < MOST_BYTES
    assert not re.search(r"<(?:script|link)[^>]+(?:src|href)=", html)
    assert "NOT CONVERGED" in html
    assert "extended_fraction_a" in html
    info, arrays = unpack(html)
    assert [image["label"] for image in info["images"]] == ["g", "r"]
    assert arrays["table/object_id"].tolist() == [1, 2, 3, 4]


def test_out_names_the_file(run, tmp_path):
    result = CliRunner().invoke(main, ["report", str(run), "--out", str(tmp_path / "a.html")])
    assert result.exit_code == 0
    assert (tmp_path / "a.html").is_file()
    assert not list(tmp_path.glob(".*"))


def test_layers_are_those_of_the_image(contents, page):
    info, arrays = page
    for number, one in enumerate(contents.images):
        scale = info["images"][number]["scale"]
        soft = scale["linear"] * (scale["high"] - scale["low"])
        step = (scale["ends"][1] - scale["ends"][0]) * np.arcsinh(1 / scale["linear"]) / 65534
        for layer, values in (("data", one.image.data), ("model", one.model.mean)):
            coded = decode(arrays[f"image/{number}/{layer}"].reshape(SHAPE), *scale["ends"])
            shown = scale["low"] + soft * np.sinh(coded * np.arcsinh(1 / scale["linear"]))
            tolerance = step * np.hypot(soft, shown - scale["low"]).max()
            np.testing.assert_allclose(shown, values, atol=tolerance)
        residual = decode(arrays[f"image/{number}/residual"].reshape(SHAPE), -50.0, 50.0)
        np.testing.assert_allclose(residual, one.model.residual, atol=2e-3)


def test_maps_are_those_of_the_file(run, page):
    info, arrays = page
    for number, band in enumerate("gr"):
        written = read_assignment(run / f"assignment_{band}.fits")
        boxes = arrays[f"image/{number}/boxes"].reshape(-1, 4)
        assert info["images"][number]["kinds"] == list(written.stamps)
        for kind in written.stamps:
            values = arrays[f"image/{number}/map/{kind}"]
            for row, (y0, x0, height, width) in enumerate(boxes):
                start = arrays[f"image/{number}/start"][row]
                canvas = np.zeros(SHAPE)
                cut = values[start : start + height * width].reshape(height, width) / LEVELS
                canvas[y0 : y0 + height, x0 : x0 + width] = cut
                expected = written.map(row + 1, kind)
                np.testing.assert_allclose(canvas, expected, atol=0.51 / LEVELS)


def test_every_image_has_objects_at_its_own_pixels(page):
    _, arrays = page
    order = arrays["table/object_id"] - 1
    assert order.tolist() == [0, 1, 2, 3]
    for number in (0, 1):
        for axis, truth in (("x", X), ("y", Y)):
            place = arrays[f"image/{number}/object/{axis}"]
            expected = truth + number * SHIFT["xy".index(axis)]
            np.testing.assert_allclose(place, expected, atol=0.06)
    width, height = (arrays[f"image/1/object/{name}"] for name in ("width", "height"))
    assert width[EXTENDED] > height[EXTENDED] > width[0] == height[0]


def test_draws_of_an_object_are_its_own(contents, page):
    info, arrays = page
    names = info["draws"]["names"]
    assert names[:4] == ["x", "y", "flux", "flux_r"]
    low, high = (arrays[f"draws/{end}"].reshape(4, -1) for end in ("low", "high"))
    values = arrays["draws/values"].reshape(-1, len(names))
    for row in range(4):
        rows = slice(*(arrays["draws/start"][row] + [0, arrays["draws/count"][row]]))
        own = contents.catalog.posterior(contents.samples, row + 1)
        shown = decode(values[rows], low[row], high[row])
        for column, name in enumerate(names):
            step = (high[row, column] - low[row, column]) / 254
            np.testing.assert_allclose(shown[:, column], own[name], atol=0.51 * step + 1e-6)
        assert arrays["draws/extended"][rows].all() == EXTENDED[row]


def test_draws_that_hold_an_object_are_told_by_chain(page):
    info, arrays = page
    held = np.unpackbits(arrays["existence"].reshape(4, -1), axis=1, bitorder="little")
    held = held[:, : info["existence_draws"]]
    assert held[:3].all()
    assert held[3].tolist() == [0] * NUM_DRAWS + [1] * NUM_DRAWS
    by_chain = arrays["existence/chains"].reshape(4, 2)
    np.testing.assert_allclose(by_chain, [[1, 1], [1, 1], [1, 1], [0, 1]])


def test_table_has_the_columns_of_the_catalog(contents, page):
    info, arrays = page
    for name in contents.table.colnames:
        np.testing.assert_allclose(arrays[f"table/{name}"], contents.table[name], rtol=1e-6)
    assert info["units"]["flux_g"] == "adu"
    assert order_columns(["flags", "x_err", "prob_exist", "mag_r", "x", "x_q16", "object_id"]) == [
        "object_id",
        "x",
        "mag_r",
        "prob_exist",
        "flags",
    ]


def test_columns_and_kinds_of_others_are_kept(contents):
    table = contents.table.copy()
    table["flags"] = np.array([0, 1, 2, 3], dtype=np.uint8)
    table["alternatives"] = ["", "2 3", "", "<b>"]
    first = contents.images[0]
    stamps = {**first.assignment.stamps, "other": first.assignment.stamps["light"]}
    first = replace(first, assignment=replace(first.assignment, stamps=stamps))
    info, arrays = page_data(replace(contents, table=table, images=(first,)))
    assert arrays["table/flags"].tolist() == [0, 1, 2, 3]
    assert info["text"]["alternatives"] == ["", "2 3", "", "<b>"]
    assert info["images"][0]["kinds"] == [*KINDS, "other"]


def test_a_run_without_objects_has_a_page(contents):
    empty = without_objects(contents)
    info, arrays = page_data(empty)
    assert info["num_objects"] == info["draws"]["objects"] == 0
    assert not any(values.size for name, values in arrays.items() if name.startswith("table/"))
    assert "0 (prob_exist" in render_page(empty)


def test_alternatives_and_names_of_flags_are_read(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    with fits.open(copy / "catalog.fits") as hdus:
        hdus["CATALOG"].header["FLAG2"] = "SATURATED", "bit 4"
        hdus.writeto(copy / "catalog.fits", overwrite=True)
    rows = {
        "alternative_group": [1, 1, 3],
        "configuration": [1, 2, 1],
        "prob": [0.75, 0.25, 1.0],
        "object_ids": ["1 2", "1", ""],
    }
    write_alternatives(copy / "alternatives.fits", Table(rows))
    info, _ = page_data(read_contents(copy))
    assert info["alternatives"] == {"1": [(0.75, "1 2"), (0.25, "1")], "3": [(1.0, "")]}
    assert info["flags"]["2"] == "SATURATED"


def test_sky_polynomial_agrees_with_the_wcs(contents):
    image = contents.images[1].image
    fitted = sky_polynomial(image.wcs, image.shape)
    x, y = np.array([0.0, 20.3, 43.0]), np.array([35.0, 11.2, 0.0])
    u, v = (2 * x - SHAPE[1] + 1) / SHAPE[1], (2 * y - SHAPE[0] + 1) / SHAPE[0]
    powers = [(i, j) for i in range(4) for j in range(4 - i)]
    xi, eta = (
        sum(c * u**i * v**j for c, (i, j) in zip(fitted[n], powers, strict=True))
        for n in ("xi", "eta")
    )
    below = np.cos(fitted["dec"]) - eta * np.sin(fitted["dec"])
    ra = np.degrees(fitted["ra"] + np.arctan2(xi, below))
    up = np.sin(fitted["dec"]) + eta * np.cos(fitted["dec"])
    dec = np.degrees(np.arctan2(up, np.hypot(xi, below)))
    expected = image.wcs.pixel_to_world_values(x, y)
    np.testing.assert_allclose([ra, dec], expected, atol=1e-7)
    assert sky_polynomial(None, SHAPE) is None


def test_numbers_keep_their_precision_when_packed():
    arrays = {"a": np.arange(5, dtype=np.uint8), "b": np.array([np.pi]), "c": np.zeros(0, np.int32)}
    index, text = pack(arrays)
    content = zlib.decompress(base64.b64decode(text))
    for name, (dtype, offset, count) in index.items():
        assert offset % 8 == 0
        np.testing.assert_array_equal(np.frombuffer(content, dtype, count, offset), arrays[name])
    assert quantise(np.array([0.0, 0.5, 1.0, np.nan, 9.0]), 0.0, 1.0, np.uint8).tolist() == [
        1,
        128,
        255,
        0,
        255,
    ]
    assert quantise(np.array([3.0, 3.0]), 3.0, 3.0).tolist() == [1, 1]


def test_large_images_are_averaged():
    assert [shrink_factor(shape) for shape in ((100, 1500), (1501, 10), (4000, 2))] == [1, 2, 3]
    values = np.arange(15.0).reshape(3, 5)
    values[0, 0] = np.nan
    expected = [[(1 + 5 + 6) / 3, (2 + 3 + 7 + 8) / 4, 6.5], [10.5, 12.5, 14.0]]
    np.testing.assert_allclose(shrink(values, 2), expected)


def test_a_large_catalog_stays_within_bounds():
    for size, fewest, most in ((100, 200, 200), (1500, 50, 200), (200_000, 0, 25)):
        prob = np.where(np.arange(size) % 2, 1.0, 0.1)
        kept = draws_to_keep(np.full(size, 800), prob, 7)
        assert kept.sum() * 7 <= 12_000_000
        assert fewest <= kept[prob > 0.5].min() <= kept.max() <= most
        assert kept[prob < 0.2].max() <= 25
    stamps = {kind: np.ones((6, 4, 4), np.float32) for kind in KINDS}
    origins = np.array([[0, 0], [-2, 3], [50, 50], [3, 3], [4, 4], [5, 5]])
    blank = {kind: np.zeros((10, 10), np.float32) for kind in KINDS}
    assignment = Assignment(np.arange(1, 7), origins, stamps, blank, (10, 10))
    packed = pack_stamps(assignment, 16 + 8 + 16)
    assert packed.num_kept == 4
    assert packed.boxes[:5].tolist() == [
        [0, 0, 4, 4],
        [0, 3, 2, 4],
        [0, 0, 0, 0],
        [3, 3, 4, 4],
        [0, 0, 0, 0],
    ]
    assert all(len(values) == 40 for values in packed.values.values())


def refuse(directory, match, **options):
    with pytest.raises(InputError, match=match):
        write_report(directory, **options)


def test_what_is_no_finished_run_is_refused(run, tmp_path):
    refuse(tmp_path, "holds no run")
    (tmp_path / "config.toml").write_text("[sampler]\nprior_only = true\n")
    refuse(tmp_path, "prior alone")
    (tmp_path / "config.toml").write_text("[sampler]\nseed = 1\n")
    refuse(tmp_path, "not finished")
    refuse(run, "no directory", out=tmp_path / "missing" / "a.html")
    refuse(run, "is a directory", out=tmp_path)
    result = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert result.exit_code == 2
    assert "not finished" in result.output


def test_results_of_other_samples_or_settings_are_refused(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    config = read_config(copy / "config.toml")
    write_config(copy / "config.toml", config.update("catalog", min_prob=0.9))
    refuse(copy, "members.nc: does not belong.* probcat condense")
    write_config(copy / "config.toml", config)
    Samples.from_netcdf(copy / "samples.nc").select_draws(slice(9)).to_netcdf(copy / "samples.nc")
    refuse(copy, "members.nc: does not belong.* probcat condense")
    (copy / "members.nc").unlink()
    refuse(copy, f"holds no members.nc; write it with: probcat condense {copy}")


def test_the_report_condenses_nothing(run, tmp_path, monkeypatch):
    def condense(*arguments, **options):
        raise AssertionError("condensed")

    monkeypatch.setattr("probcat.catalog.condense.condense", condense)
    assert write_report(run, out=tmp_path / "page.html").is_file()


def test_a_new_run_takes_the_old_page_away(tmp_path):
    for name in (REPORT, MEMBERS, ALTERNATIVES, "mine.html"):
        (tmp_path / name).write_text("")
    clear_directory(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]


def test_convergence_is_judged_once_and_the_catalog_is_the_only_table(tmp_path, monkeypatch):
    calls = []

    def ess_of(values):
        calls.append(len(values))
        return np.full(len(values), 500.0)

    monkeypatch.setattr("probcat.samples.diagnostics.ess_of", ess_of)
    monkeypatch.setattr("probcat.samples.diagnostics.rhat_of", lambda v: np.ones(len(v)))
    run = make_run(tmp_path, monkeypatch, bands=("g",))
    assert len(calls) == 1
    # Warnings are errors here, such as that of several tables in a file.
    table = Table.read(run / "catalog.fits")
    assert len(table) == len(CondensedCatalog.from_netcdf(run / "members.nc")) == 4
    assert (table["flags"] & Flag.NOT_CONVERGED == 0).all()
    assert "configuration" in Table.read(run / "alternatives.fits").colnames


def test_figures_of_several_images_are_those_of_the_first(contents, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    written = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **options: written.append(path))
    first = contents.images[0]
    (own, _) = samples_per_image(contents.samples, [one.image for one in contents.images])
    given = (own, first.image, contents.catalog, first.assignment, first.model, tmp_path)
    write_figures(*given)
    assert [path.name for path in written] == list(FIGURES)


def test_missing_bokeh_is_said(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    refuse(run, r"probcat\[report\]")
