"""Programs start, scenes are simulated, sampled and ranked, and results name their origin."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import click
import jax
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

import probcat
from benchmarks.fields.cameras import ZERO_POINT
from benchmarks.support import options, results
from probcat import PSF, Image
from probcat.image.alignment import image_labels
from probcat.model.simulate import render_light

FOLDER = Path(__file__).parents[2] / "benchmarks"
PROGRAMS = sorted(path.stem for path in (FOLDER / "programs").glob("[!_]*.py"))
SUMMARIES = sorted((FOLDER / "results").glob("*.json"))
NUM_IMAGES = 3


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_give_help(name):
    module = importlib.import_module(f"benchmarks.programs.{name}")
    result = CliRunner().invoke(module.main, ["--help"])
    assert result.exit_code == 0, result.output
    assert "--json" in result.output


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda path: path.stem)
def test_summaries_are_short_and_say_where_they_come_from(path):
    text = path.read_text()
    summary = json.loads(text)
    assert len(text.splitlines()) <= results.MAX_LINES
    assert {"commit", "device", "command", "settings"} <= summary.keys()
    if summary["commit"].startswith("not recorded"):
        assert summary["committed_in"]
    else:
        assert {"version", "date"} <= summary.keys()


def test_summary_is_as_long_as_allowed_and_plain():
    rows = {f"row {n}": {"values": np.arange(5) / 3.0, "text": "x" * 60} for n in range(12)}
    keys = {f"key {n}": n for n in range(40)}
    lists = {"list": list(range(200)), "nan": np.nan, "tuple": (np.float32(1.5), None, True)}
    text = results.format_summary({"rows": rows, "keys": keys, **lists})
    summary = json.loads(text)
    assert len(text.splitlines()) <= results.MAX_LINES
    assert summary["keys"] == keys
    assert summary["list"] == lists["list"]
    assert summary["nan"] is None
    assert summary["tuple"] == [1.5, None, True]
    assert summary["rows"]["row 3"]["values"] == [0.0, 0.33333, 0.66667, 1.0, 1.3333]
    # The longer object has its rows on lines of their own, the other one does not fit.
    assert sum(line.startswith("  ") for line in text.splitlines()) >= len(keys)
    many = {f"key {n}": n for n in range(100)}
    assert json.loads(results.format_summary(many)) == many


def test_settings_are_numbers_by_name():
    assert options.parse_settings(["passes=3", "border=-1.5"]) == {"passes": 3, "border": -1.5}
    for wrong in ("passes", "passes=many"):
        with pytest.raises(click.BadParameter, match=wrong):
            options.parse_settings([wrong])


def test_condensing_writes_where_its_results_come_from(tmp_path):
    condensing = importlib.import_module("benchmarks.programs.condensing")
    file = tmp_path / "results" / "condensing.json"
    command = f"--draws 40 --sources 30 --bands 2 --seed 3 --json {file}"
    result = CliRunner().invoke(condensing.main, command.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    summary = json.loads(file.read_text())
    assert summary["settings"] == {
        "seed": 3,
        "draws": 40,
        "sources": 30,
        "bands": 2,
        "method": "mixture",
    }
    assert summary["version"] == probcat.__version__
    assert summary["stars_found"] > 0.8
    assert "cores" in summary["device"]
    assert summary["commit"]
    assert summary["command"].startswith("python")


@pytest.fixture
def scenes(monkeypatch):
    """Scenes whose sampler makes few kinds of moves, which compiles sooner."""
    module = importlib.import_module("benchmarks.fields.scenes")
    few = replace(module.SETTINGS, split_merge=0, merge_and_split=0, companion=0)
    monkeypatch.setattr(module, "SETTINGS", few)
    return module


def test_simulated_images_hold_what_the_truth_says(scenes):
    """Another renderer, sent through the coordinates of every image, leaves noise alone."""
    setup = scenes.make_setup(NUM_IMAGES, 2, 0, stars_only=True)
    scene = scenes.draw_scene(setup, jax.random.key(3), np.random.default_rng(3))
    truth = {name: values[0, 0] for name, values in scene.sources.items()}
    assert truth["active"].sum() > 1
    sky = scene.images[0].wcs.pixel_to_world(truth["x"], truth["y"])
    chi2, number = 0.0, 0
    for image, label in zip(scene.images, image_labels(scene.images), strict=True):
        x, y = image.wcs.world_to_pixel(sky)
        flux = truth["flux"] if image.band == "r" else truth[f"flux_{image.band}"]
        flux = flux * 10.0 ** (0.4 * (image.zero_point - ZERO_POINT))
        light = render_light({**truth, "x": x, "y": y, "flux": flux}, image.psf, image.shape)
        assert light.sum(axis=0).max() > 5.0 * np.sqrt(image.variance[0, 0])
        level = scene.scalars[f"background_{label}"].item()
        chi2 += np.sum((image.data - level - light.sum(axis=0)) ** 2 * image.weight)
        number += image.data.size
    # False alarms: 1e-6 on either side.
    low, high = stats.chi2(number).ppf([1e-6, 1.0 - 1e-6])
    assert low < chi2 < high


def test_calibration_ranks_the_truth_of_a_scene(scenes, tmp_path, monkeypatch):
    calibration = importlib.import_module("benchmarks.programs.calibration")
    monkeypatch.setattr(calibration, "use_all_cores", lambda: None)
    file, raw, figure = (tmp_path / name for name in ("a.json", "ranks.json", "ranks.png"))
    command = f"--scenes 1 --images {NUM_IMAGES} --stars-only --num-chains 2 --num-warmup 20 "
    command += f"--num-samples 20 --thin 5 --json {file} --raw {raw} --figure {figure}"
    result = CliRunner().invoke(calibration.main, command.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "covered (%)" in result.output
    stored = json.loads(file.read_text())
    assert stored["num_draws"] == 8
    assert {"flux", "position"} == stored["coverage"].keys()
    record = json.loads(raw.read_text())
    assert record["settings"] == stored["settings"]
    for name in ("num_sources", "background_r2", "flux_g_1", "colour_g_2", "x_3"):
        assert 0 <= record["ranks"][name][0] <= 8
    assert figure.stat().st_size > 1000


@pytest.mark.parametrize(("shift", "fair"), [(0.0, True), (1.0, False)])
def test_ranks_tell_fair_draws_from_shifted_ones(shift, fair):
    """Uniform ranks fail with a chance of 1e-6; a bias of one sigma is never missed."""
    ranks = importlib.import_module("benchmarks.support.ranks")
    rng = np.random.default_rng(1)
    record = ranks.Record({"num_chains": 1, "num_samples": 99, "thin": 1})
    for _ in range(1000):
        draws = rng.normal(size=(1, 99))
        values = {name: rng.normal() + shift for name in ("flux_1", "flux_g_1", "x_1")}
        record.add("ranks", {name: ranks.rank(v, draws, rng) for name, v in values.items()})
        record.add("exists", {"1": True})
    assert (min(ranks.uniformity(record).values()) > 1e-6) == fair
    row = ranks.coverage(record)["flux"]
    assert row["counted"] == 2000
    assert row["0.50_error"] == pytest.approx(np.sqrt(0.25 / 2000))
    assert row["0.50_scene_error"] == pytest.approx(row["0.50_error"], rel=0.5)
    assert (abs(row["0.50"] - 0.5) < 5.0 * row["0.50_scene_error"]) == fair


@pytest.mark.slow
def test_scarlet_gives_a_star_and_a_galaxy_their_light(monkeypatch):
    pytest.importorskip("scarlet2")
    scarlet = importlib.import_module("benchmarks.rivals.scarlet")
    monkeypatch.setattr(scarlet, "MAX_STEPS", 200)

    def gaussian(shape, x, y, fwhm):
        rows, cols = np.indices(shape)
        return np.exp(-4.0 * np.log(2.0) * ((rows - y) ** 2 + (cols - x) ** 2) / fwhm**2)

    rng = np.random.default_rng(0)
    shape, x, y = (33, 35), np.array([12.3, 20.4]), np.array([15.0, 17.2])
    peaks = np.array([[400.0, 100.0], [200.0, 300.0]])[:, :, None, None]
    light = peaks * [gaussian(shape, *one) for one in zip(x, y, (3.5, 8.0), strict=True)]
    psf = PSF.from_pixels(gaussian((21, 21), 10, 10, 3.5))
    images = [
        Image.from_arrays(own.sum(axis=0) + noise, np.full(shape, 9.0), psf=psf, band=band)
        for own, noise, band in zip(light, rng.normal(0.0, 3.0, (2, *shape)), "gr", strict=True)
    ]
    # scarlet2 mixes types and ranks.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        models = scarlet.fit_scarlet(images, x, y, np.array([True, False]), wide=True)
    assert models.chi2 < 1.2
    assert np.minimum(models.light, light).sum() / light.sum() > 0.9
