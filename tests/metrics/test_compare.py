"""Comparison of runs with truths: what is read, what is scored, what is refused."""

import importlib
import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from probcat.catalog.fits import write_catalog
from probcat.errors import InputError
from probcat.image.fits_output import write_image
from probcat.metrics.compare import score_found
from probcat.metrics.score_pixels import Found
from probcat.metrics.truth import Truth, truth_from_light, truth_from_masks
from probcat.metrics.truth_files import read_truth
from probcat.model.simulate import simulate_image
from probcat.pixels.assignment import Assignment
from probcat.pixels.fits import write_assignment
from probcat.psf.psf import PSF
from probcat.run.cli import main
from probcat.run.compare import compare
from probcat.run.config import RunConfig, write_config
from tests.builders import tan_wcs

SHAPE = (26, 30)
SOURCES = {"x": [8.0, 21.5, 14.0], "y": [12.0, 8.25, 18.0], "flux": [900.0, 600.0, 400.0]}


@pytest.fixture(scope="module")
def made():
    """Three stars of noise one; light is exact."""
    options = {"noise": 1.0, "band": "r", "zero_point": 27.0, "unit": "adu"}
    made = simulate_image(
        SOURCES, PSF.moffat(3.0, 3.5, size=21), SHAPE, jax.random.key(0), **options
    )
    return replace(made, image=replace(made.image, wcs=tan_wcs(0.18, reference=(10.0, 12.0))))


def make_table(rows=(0, 1, 2), prob=(1.0, 1.0, 1.0), shift=0.0):
    """A catalog of true sources, moved along x."""
    x, y, flux = (np.asarray(SOURCES[name])[list(rows)] for name in ("x", "y", "flux"))
    table = Table({"object_id": np.arange(1, len(rows) + 1), "x": x + shift, "y": y})
    table["flux_r"], table["prob_exist"] = flux, np.asarray(prob)[: len(rows)]
    table["prob_star"] = np.linspace(0.9, 0.7, len(rows))
    for name in ("x", "y", "flux_r"):
        width = 5.0 if name == "flux_r" else 0.1
        table[f"{name}_q16"], table[f"{name}_q84"] = table[name] - width, table[name] + width
    return table


def make_assignment(made, rows=(0, 1, 2)):
    """Maps that are true; light of what is left out goes to sources of no object."""
    light, noise = made.light.astype(float), 1.0 / np.sqrt(made.image.weight)
    size = max(SHAPE)
    own = np.zeros((3, size, size), np.float32)
    own[:, : SHAPE[0], : SHAPE[1]] = light / np.maximum(light.sum(axis=0), 1e-9)
    print_of = np.zeros((3, size, size), np.float32)
    print_of[:, : SHAPE[0], : SHAPE[1]] = light > 3.0 * noise
    left = [row for row in range(3) if row not in rows]
    rest = own[left].sum(axis=0)[: SHAPE[0], : SHAPE[1]]
    rows = list(rows)
    stamps = {"light": own[rows], "footprint": print_of[rows]}
    unassigned = {"light": rest, "footprint": np.zeros_like(rest)}
    origins = np.zeros((len(rows), 2), int)
    return Assignment(np.arange(1, len(rows) + 1), origins, stamps, unassigned, SHAPE, "r")


def make_found(made, rows=(0, 1, 2), **options):
    table = make_table(rows, **options)
    return Found(table, [made.image], ["r"], [make_assignment(made, rows)])


def true_table():
    return Table({**SOURCES, "is_star": [True, True, False]})


@pytest.fixture
def run_directory(made, tmp_path):
    """A run that found all, as far as a comparison reads it."""
    out = tmp_path / "run"
    out.mkdir()
    write_image(tmp_path / "image.fits", made.image)
    image = {"files": [str(tmp_path / "image.fits")], "band": "r"}
    write_config(out / "config.toml", RunConfig(image=image))
    write_catalog(out / "catalog.fits", make_table())
    write_assignment(out / "assignment.fits", make_assignment(made))
    return out


@pytest.mark.parametrize("name", ["truth.csv", "truth.ecsv", "truth.fits"])
@pytest.mark.parametrize("sky", [False, True])
def test_tables_of_sources_are_read(tmp_path, name, sky):
    table = true_table()
    if sky:
        table["ra"], table["dec"] = tan_wcs(0.18, reference=(10.0, 12.0)).pixel_to_world_values(
            table["x"], table["y"]
        )
        table.remove_columns(["x", "y"])
    table.rename_column("flux", "flux_r")
    table["flux_r_err"] = 1.0
    table.write(tmp_path / name)
    truth = read_truth(tmp_path / name, SHAPE, tan_wcs(0.18, reference=(10.0, 12.0)))
    np.testing.assert_allclose([truth.x, truth.y], [SOURCES["x"], SOURCES["y"]], atol=1e-6)
    assert list(truth.flux) == ["r"]
    np.testing.assert_allclose(truth.flux["r"], SOURCES["flux"])
    np.testing.assert_array_equal(truth.is_star, [1, 1, 0])


def test_types_are_read_as_words_or_flags(tmp_path):
    words = {"type": ["PSF", "galaxy", "?"], "is_star": ["True", "false", "maybe"]}
    for column, values in {**words, "extended": [0.0, 1.0, np.nan]}.items():
        Table({"x": [1, 2, 3], "y": [1, 2, 3], column: values}).write(tmp_path / f"{column}.ecsv")
        star = read_truth(tmp_path / f"{column}.ecsv").is_star
        np.testing.assert_array_equal(star, [1, 0, np.nan])


def write_light(path, light, table=None, name="TRUTH_R"):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(light.astype(np.float32), name=name)]
    if table is not None:
        hdus.append(fits.BinTableHDU(table, name="CATALOG"))
    fits.HDUList(hdus).writeto(path)


def test_components_of_one_object_are_one(tmp_path):
    light = np.zeros((3, 5, 6))
    light[0, 1, 1], light[1, 3, 3], light[2, 2, 4] = 3.0, 1.0, 2.0
    light[0, 4, 4] = -0.5
    table = Table({"index": [7, 7, 9], "x": [1.5, 1.5, 4.0], "y": [1.6, 1.6, 2.0]})
    table["is_star"] = [False, False, True]
    write_light(tmp_path / "truth.fits", light, table)
    truth = read_truth(tmp_path / "truth.fits")
    assert len(truth) == 2
    np.testing.assert_allclose(truth.x, [1.5, 4.0])
    np.testing.assert_allclose(truth.light["r"].sum(axis=(1, 2)), [4.0, 2.0])
    assert truth.light["r"].min() == 0.0
    np.testing.assert_array_equal(truth.is_star, [0, 1])
    alone = truth_from_light({"r": light})
    np.testing.assert_allclose([alone.x, alone.y], [[1, 3, 4], [1, 3, 2]])
    with pytest.raises(InputError, match="2 rows for 3 components"):
        truth_from_light({"r": light}, table[:2])
    with pytest.raises(InputError, match="equal numbers of components"):
        truth_from_light({"r": light, "i": light[:2]})


@pytest.mark.parametrize("form", ["planes first", "planes last", "labels", "npz", "fits"])
def test_masks_are_read_in_any_form(tmp_path, form):
    masks = np.zeros((3, *SHAPE), bool)
    masks[0, 2:5, 3:8] = masks[1, 10:12, 20:22] = True
    path = tmp_path / ("masks.fits" if form == "fits" else "masks.npy")
    labels = masks[0] * 4 + masks[1] * 9
    if form == "npz":
        path = tmp_path / "pair.npz"
        np.savez(path, X=np.zeros(SHAPE), y_true=np.moveaxis(masks, 0, -1))
    elif form == "fits":
        fits.writeto(path, labels.astype(np.int32))
    else:
        forms = {"planes first": masks, "planes last": np.moveaxis(masks, 0, -1), "labels": labels}
        np.save(path, forms[form])
    truth = read_truth(path, SHAPE)
    np.testing.assert_array_equal(truth.masks, masks[:2])
    np.testing.assert_allclose([truth.x, truth.y], [[5.0, 20.5], [3.0, 10.5]])


def test_what_is_no_truth_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.fits").write_text("no file")
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    np.savez(tmp_path / "other.npz", X=np.ones(3))
    np.save(tmp_path / "shares.npy", rng.random((2, *SHAPE)))
    np.save(tmp_path / "line.npy", np.ones(5))
    np.save(tmp_path / "small.npy", np.ones((2, 4, 4)))
    np.save(tmp_path / "objects.npy", np.array(["a", "b"]))
    np.save(tmp_path / "real.npy", rng.random(SHAPE))
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "empty.fits")
    for name, message in (
        ("missing.fits", "no such file"),
        ("text.npy", "not a readable numpy file"),
        ("text.fits", "not a readable FITS"),
        ("text.csv", "no columns x, y or ra, dec"),
        ("other.npz", "no array y_true or masks; it holds X"),
        ("shares.npy", "masks must have values 0 and 1"),
        ("line.npy", "labels"),
        ("small.npy", "the image"),
        ("objects.npy", "numbers or booleans"),
        ("real.npy", "must have whole numbers"),
        ("empty.fits", "holds no truth"),
    ):
        with pytest.raises(InputError, match=message) as error:
            read_truth(tmp_path / name, SHAPE)
        assert name in str(error.value)
        assert len(str(error.value).splitlines()) <= 2


def test_a_run_that_found_all_scores_full_marks(made):
    truth = truth_from_light({"r": made.light}, true_table())
    scores = score_found(make_found(made), truth).scores
    for name in ("completeness_weighted", "purity_weighted", "f1_sure", "purity_sure"):
        assert scores["detection"][name] == 1.0
    assert scores["existence"]["brier"] == 0.0
    assert scores["position"]["x_offset_median"] == 0.0
    assert scores["position"]["x_coverage_of_68"] == 1.0
    assert scores["flux_r"]["ratio_median"] == pytest.approx(1.0, abs=0.05)
    assert scores["masks_r"]["mean_iou"] == scores["masks_r"]["panoptic_quality"] == 1.0
    assert scores["masks_r"]["true_with_iou_above_0.5"] == 3
    assert scores["light_r"]["correct"] == pytest.approx(1.0, abs=1e-6)
    assert scores["light_r"]["brier"] == pytest.approx(0.0, abs=1e-9)
    assert scores["light_r"]["divergence"] == pytest.approx(0.0, abs=1e-5)
    assert scores["type"]["right"] == pytest.approx(2 / 3)
    assert sum(scores["by_magnitude"]["num_true"]) == 3


def test_bands_are_scored_apart_and_together(made):
    """The second band is deeper, and its maps lack the last object's mask."""
    deep = replace(made.image, band="i", variance=made.image.variance / 25.0)
    maps = make_assignment(made)
    dark = {**maps.stamps, "footprint": maps.stamps["footprint"] * [[[1.0]], [[1.0]], [[0.0]]]}
    second = replace(maps, stamps=dark, band="i")
    table = make_table()
    for end in ("", "_q16", "_q84"):
        table[f"flux_i{end}"] = 2.0 * table[f"flux_r{end}"]
    found = Found(table, [made.image, deep], ["r", "i"], [maps, second])
    light = {"r": made.light, "i": made.light}
    scores = score_found(found, truth_from_light(light, true_table())).scores
    assert scores["masks_r"]["mean_iou"] == 1.0
    assert scores["masks_i"]["found_masks"] == 2
    assert scores["masks_i"]["mean_iou"] < 2 / 3
    assert scores["masks_r"]["mean_iou"] > scores["masks_any"]["mean_iou"] > 0.3
    assert scores["masks_any"]["found_masks"] == 3
    assert scores["light_i"]["pixels"] > scores["light_r"]["pixels"]
    assert scores["flux_i"]["ratio_median"] == pytest.approx(2.0, rel=0.05)
    assert scores["flux_i"]["coverage_of_68"] == 0.0


def test_a_run_that_missed_one_is_marked_down(made):
    """The brightest is missed, the faintest improbable, all are half a pixel off."""
    truth = truth_from_light({"r": made.light}, true_table())
    result = score_found(make_found(made, (1, 2), prob=(1.0, 0.4), shift=0.5), truth)
    scores = result.scores
    detection = scores["detection"]
    assert (detection["true_sources"], detection["found_sure"]) == (3, 1)
    assert detection["completeness_weighted"] == pytest.approx(1.4 / 3)
    assert detection["completeness_sure"] == pytest.approx(1 / 3)
    assert detection["purity_weighted"] == 1.0
    assert scores["existence"]["brier"] == pytest.approx(0.6**2 / 2)
    assert scores["position"]["x_offset_median"] == pytest.approx(0.5)
    assert scores["position"]["x_coverage_of_68"] == 0.0
    assert scores["position"]["y_coverage_of_68"] == 1.0
    assert scores["masks_r"]["mean_iou"] == pytest.approx(2 / 3)
    shares = make_assignment(made)
    light = made.light.clip(min=0)
    counts = (light > 3.0 / np.sqrt(made.image.weight)).any(axis=0)
    lost = (light[0] * counts).sum() / (light.sum(axis=0) * counts).sum()
    assert scores["light_r"]["correct"] == pytest.approx(1.0 - lost, abs=1e-5)
    # What is missed goes to sources of no object: both errors count.
    expected = np.mean(2.0 * shares.map(1)[counts] ** 2)
    assert scores["light_r"]["brier"] == pytest.approx(expected, rel=1e-5)
    near = score_found(make_found(made, shift=0.5), truth, match_radius=0.4).scores["detection"]
    assert near["completeness_sure"] == near["purity_sure"] == 0.0


def test_sources_without_a_magnitude_still_count(made):
    truth = Truth(*(np.array(SOURCES[name]) for name in ("x", "y")), {"": np.array([9.0, 0.0, -1])})
    scores = score_found(make_found(made), truth).scores
    assert scores["detection"]["true_sources"] == 3
    assert scores["detection"]["completeness_sure"] == 1.0
    assert sum(scores["by_magnitude"]["num_true"]) == 1


def test_masks_alone_score_masks(made):
    masks = make_assignment(made).stamps["footprint"][:, : SHAPE[0], : SHAPE[1]] > 0
    scores = score_found(make_found(made), truth_from_masks(masks)).scores
    assert scores["masks_r"]["average_precision_0.5_to_0.95"] == 1.0
    assert "position" not in scores
    with pytest.raises(InputError, match="true masks have shape"):
        score_found(make_found(made), truth_from_masks(masks[:, :5]))


def test_a_limit_of_magnitude_differences_needs_magnitudes(made):
    bare = Truth(*(np.array(SOURCES[name]) for name in ("x", "y")))
    assert "by_magnitude" not in score_found(make_found(made), bare).scores
    with pytest.raises(InputError, match="max_mag_difference needs"):
        score_found(make_found(made), bare, max_mag_difference=0.5)
    mags = 27.0 - 2.5 * np.log10(np.array(SOURCES["flux"])) + np.array([0.0, 0.0, 0.8])
    with_mags = replace(bare, mag={"r": mags})
    close = score_found(make_found(made), with_mags, max_mag_difference=0.5).scores["detection"]
    assert close["completeness_sure"] == pytest.approx(2 / 3)


def test_options_and_bands_that_do_not_fit_are_refused(made):
    found = make_found(made)
    truth = truth_from_light({"g": made.light, "i": made.light}, true_table())
    with pytest.raises(InputError, match="bands g, i, but the run is of r"):
        score_found(found, truth)
    small = truth_from_light({"r": made.light[:, :5]}, true_table())
    with pytest.raises(InputError, match="noise-free images"):
        score_found(found, small)
    for options in ({"match_radius": -1.0}, {"max_mag_difference": np.nan}, {"threshold": 1.0}):
        with pytest.raises(InputError, match=next(iter(options))):
            score_found(found, truth, **options)


def test_the_command_prints_and_writes_all_scores(made, run_directory, tmp_path):
    write_light(tmp_path / "truth.fits", made.light, true_table())
    command = ["compare", str(run_directory), str(tmp_path / "truth.fits")]
    file = tmp_path / "scores" / "scores.json"
    result = CliRunner().invoke(main, [*command, "--match-radius", "1", "--json", str(file)])
    assert result.exit_code == 0, result.output
    stored = json.loads(file.read_text())
    assert stored["scores"]["masks_r"]["mean_iou"] == 1.0
    assert stored["scores"]["detection"]["completeness_sure"] == 1.0
    assert stored["about"]["match_radius"] == 1.0
    for text in ("completeness weighted", "panoptic quality", "by magnitude", "flux r"):
        assert text in result.output
    again = compare(run_directory, tmp_path / "truth.fits", match_radius=1.0)
    assert again.to_dict() == stored


def test_the_command_explains_what_is_wrong(run_directory, tmp_path):
    (run_directory / "catalog.fits").rename(tmp_path / "catalog.fits")
    for folder, truth, message in (
        (tmp_path, "truth.fits", "holds no run"),
        (run_directory, "truth.fits", "finish the run"),
    ):
        result = CliRunner().invoke(main, ["compare", str(folder), str(tmp_path / truth)])
        assert result.exit_code == 2
        assert message in result.output
        assert "Traceback" not in result.output
    (tmp_path / "catalog.fits").rename(run_directory / "catalog.fits")
    result = CliRunner().invoke(main, ["compare", str(run_directory), str(tmp_path / "no.npy")])
    assert result.exit_code == 2
    assert "no such file" in result.output


def test_calibration_of_blends_counts_what_was_said(made):
    """A catalog with one object too many, and one missed."""
    objects = importlib.import_module("benchmarks.programs.objects")
    blends = importlib.import_module("benchmarks.fields.blends")
    sources = {name: np.array(values) for name, values in SOURCES.items()}
    sources["is_star"] = np.array([1.0, 0.0, 1.0])
    blend = blends.Blend(made.image, sources, made.light.clip(min=0.0))
    catalog = {name: np.array(made) for name, made in make_table((0, 1)).items()}
    catalog = {name.replace("flux_r", "flux"): v for name, v in catalog.items()}
    catalog["x"] = catalog["x"] + np.array([0.2, 6.0])
    catalog["prob_exist"] = np.array([0.9, 0.3])
    found = objects.compare_blend(blend, catalog, make_assignment(made, (0, 1)))
    assert found["exist"] == [[0.9, True], [0.3, False]]
    assert found["star"] == [[pytest.approx(0.9), True]]
    assert (found["true_sources"], found["found"], found["sure"]) == (3, 1, 1)
    assert (found["flux_covered"], found["flux_counted"]) == (1.0, 1)
    prob, part, count = np.array(found["light"])
    # The second object's light is nobody's, so what its maps say has no partner.
    true = make_assignment(made)
    lit = made.light.clip(min=0.0).sum(axis=0) >= 1.0
    assert prob.sum() == pytest.approx(sum(true.map(i)[lit].sum() for i in (1, 2)), rel=0.02)
    assert part.sum() == pytest.approx(lit.sum(), rel=0.02)
    assert count[-1] > 0
    results = objects.summarize_blends([found | {"cpu_seconds": 1.0}] * 2)
    assert results["calibration_error_exist"] == pytest.approx(0.5 * (0.1 + 0.3))
    assert results["completeness"] == pytest.approx(1 / 3)
    assert results["purity"] == 1.0


def test_blends_are_of_the_stated_population():
    pytest.importorskip("galsim")
    blends = importlib.import_module("benchmarks.fields.blends")
    renderer = blends.Renderer(None)
    for number in range(4):
        blend = renderer.draw((0, number))
        again = renderer.draw((0, number))
        np.testing.assert_array_equal(blend.image.data, again.image.data)
        assert blends.FEWEST <= len(blend.sources["x"]) <= blends.MOST
        star = blend.sources["is_star"] > 0.5
        flux, light = blend.sources["flux"], blend.light.sum(axis=(1, 2))
        np.testing.assert_allclose(light[star], flux[star], rtol=0.02)
        assert (light <= 1.001 * flux).all()
        centre = np.einsum("nyx,x->n", blend.light, np.arange(blends.SHAPE[1])) / light
        inside = star & (np.abs(blend.sources["x"] - 19.5) < 8)
        np.testing.assert_allclose(centre[inside], blend.sources["x"][inside], atol=0.05)
        residual = blend.image.data - blend.light.sum(axis=0) - blends.LEVEL
        # 1600 pixels of unit noise: five sigma on the scatter and on the mean.
        assert residual.std() == pytest.approx(1.0, abs=5 / np.sqrt(2 * 1600))
        assert residual.mean() == pytest.approx(0.0, abs=5 / 40)


def test_shares_of_other_programs_sum_to_one():
    pytest.importorskip("sep")
    baselines = importlib.import_module("benchmarks.rivals.baselines")
    rows, cols = np.indices((40, 50))
    truth = [(12.0, 14.0, 400.0), (33.0, 25.0, 250.0)]
    data = sum(f / 8 * np.exp(-((cols - x) ** 2 + (rows - y) ** 2) / 8) for x, y, f in truth)
    data = data + np.random.default_rng(0).normal(0.0, 0.3, data.shape)
    for segments in (baselines.segment_sep(data), baselines.segment_photutils(data, 3.0)):
        order = np.argsort(segments.x)
        np.testing.assert_allclose(segments.x[order], [12.0, 33.0], atol=0.5)
        np.testing.assert_allclose(segments.y[order], [14.0, 25.0], atol=0.5)
        hard = baselines.hard_shares(segments)
        assert set(np.unique(hard.sum(axis=0))) == {0.0, 1.0}
        assert hard[order[0], 14, 12] == hard[order[1], 25, 33] == 1.0
        for soft in (
            baselines.nearest_shares(segments, data.shape),
            baselines.gaussian_shares(segments, data),
        ):
            np.testing.assert_allclose(soft.sum(axis=0)[10:30, 8:38], 1.0, atol=1e-6)
            assert soft[order[0], 14, 12] > 0.99
