"""The benchmark of galaxies: its fields, costs, followed galaxies, and file of entries."""

import json

import click
import jax
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.fields import galaxies as fields
from benchmarks.fields.hsc_blends import blend_files, find_blend, read_blend
from benchmarks.programs import galaxies as program
from benchmarks.support.entries import Entries, compare_entries
from benchmarks.support.galaxy_mixing import Galaxies, follow, slots_of_truth
from benchmarks.support.galaxy_summary import MEASURES
from benchmarks.support.results import MAX_LINES
from benchmarks.support.until_converged import sampling_costs
from probcat import PSF, simulate_image
from tests.builders import samples_from_draws


def test_blends_are_read_with_the_whole_psf_and_without_pixels_outside(data_path):
    data_path("hsc_blends")
    assert len(blend_files()) == 24
    name = find_blend("86634")
    (image,) = read_blend(name)
    with np.load(data_path(f"hsc_blends/{name}.npz")) as arrays:
        weight, pixels = arrays["weights"][2], arrays["images"][2]
    np.testing.assert_allclose(image.weight, weight, rtol=1e-5)
    np.testing.assert_array_equal(image.data, pixels)
    assert image.band == "i"
    assert image.psf.pixels.shape == (41, 41) > image.shape
    with pytest.raises(click.ClickException, match="0 blends"):
        find_blend("no blend")
    assert len(fields.field_names("all")) == 4 + 24
    assert fields.field_names("demo", "86634") == [f"blend {name}"]


def test_true_galaxies_of_simulated_fields(data_path):
    demo = fields.read_field("demo")
    assert len(demo.galaxies.x) == 7
    data_path("sim_blend/sim_blend.fits")
    blend = fields.read_field("sim_blend")
    assert len(blend.images) == 6
    assert len(blend.galaxies.x) == 2
    assert np.all(blend.galaxies.flux > 0)


def test_a_block_that_compiles_costs_what_the_next_ones_cost():
    costs = sampling_costs(
        [50.0, 2.0, 4.0, 3.0, 90.0, 1.0], [True, False, False, False, True, False]
    )
    np.testing.assert_array_equal(costs, [3.0, 2.0, 4.0, 3.0, 1.0, 1.0])
    np.testing.assert_array_equal(sampling_costs([2.0, 9.0], [False, True]), [2.0, 2.0])
    np.testing.assert_array_equal(sampling_costs([9.0], [True]), [0.0])


def test_a_galaxy_is_followed_through_shuffled_draws():
    """It is a galaxy in two draws, a star in the third, and absent or too faint in the others."""
    far, faint = (30.0, 30.0, 100.0, 2.0), (10.1, 10.0, 20.0)
    draws = [
        [(10.2, 10.0, 110.0, 2.0), far, faint],
        [far, (9.9, 10.3, 90.0, 4.0)],
        [(10.0, 10.0, 100.0), far],
        [far],
        [far, faint],
        [far, (12.0, 10.0, 100.0, 2.0)],
    ]
    samples = samples_from_draws(draws, num_chains=2)
    truth = Galaxies(np.array([10.0, 20.0]), np.array([10.0, 20.0]), np.array([100.0, 50.0]))
    slots = slots_of_truth(samples, truth)
    assert slots.shape == (2, 2, 3)
    np.testing.assert_array_equal(slots[0] >= 0, [[True] * 3, [False] * 3])
    assert (slots[1] == -1).all()
    found = follow(samples, slots[0])
    np.testing.assert_allclose(np.exp(found["log_flux"]), [[110, 90, 100], [90] * 3], rtol=1e-5)
    np.testing.assert_allclose(np.exp(found["log_radius"]), [[2, 4, 2], [2] * 3], rtol=1e-5)
    assert follow(samples, slots[1]) == {}


def test_entries_are_kept_by_label_and_field(tmp_path):
    file = tmp_path / "raw" / "entries.json"
    entries = Entries(file)
    entries.start("abc123", {"commit": "abc123"}, {"seed": 0})
    entries.add("abc123", "demo", {"cost": 4.0})
    entries.start("def456", {"commit": "def456"}, {"seed": 0})
    entries.add("def456", "demo", {"cost": 2.0})
    entries.add("def456", "hsc", {"cost": np.inf})
    again = Entries(file)
    again.start("abc123", {"commit": "abc123"}, {"seed": 0})
    assert again.fields("abc") == {"demo": {"cost": 4.0}}
    assert again.fields("def456")["hsc"] == {"cost": None}
    with pytest.raises(click.ClickException, match="other settings; give another --label"):
        again.start("abc123", {}, {"seed": 1})
    with pytest.raises(click.ClickException, match="one of the labels abc123, def456"):
        again.fields("nothing")
    table = compare_entries(
        again.fields("abc"), again.fields("def"), [("cost", lambda entry: entry["cost"])]
    )
    heading, row, ratio = table.splitlines()
    assert heading.split() == ["cost"]
    assert row.split() == ["demo", "4", ">", "2"]
    assert ratio.split() == ["median", "ratio", "x", "0.5", "(1)"]


def small_field(extended):
    sources = {
        "x": [8.0, 15.5],
        "y": [7.0, 13.0],
        "flux": [900.0, 3000.0],
        "is_extended": [False, extended],
        "half_light_radius": [np.nan, 2.5],
        "ellipticity_1": [np.nan, 0.1],
        "ellipticity_2": [np.nan, 0.2],
        "sersic_n": [np.nan, 1.0],
    }
    psf = PSF.moffat(2.8, 3.0, size=15)
    key = jax.random.key(3)
    made = simulate_image(sources, psf, (20, 24), key, noise=1.0, zero_point=27.0)
    galaxies = Galaxies(np.array([15.5]), np.array([13.0]), np.array([3000.0]))
    return fields.GalaxyField([made.image], galaxies, made)


def run_program(arguments, field, monkeypatch, names=("blend 1", "demo")):
    monkeypatch.setattr(program, "use_all_cores", lambda: None)
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    monkeypatch.setattr(program, "read_field", lambda name: field)
    monkeypatch.setattr(program, "field_names", lambda kind, blend: list(names))
    result = CliRunner().invoke(program.main, arguments.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def check_entry(entry):
    assert entry["draws"] > entry["draws_judged"] > 0
    assert entry["cpu_s"] > 0.0
    assert entry["draw_cpu_s"] > 0.0
    assert entry["first_block_cpu_s"] > 0.0
    assert 1 <= entry["compiling_blocks"] <= 1 + len(entry["grown"])
    assert entry["converged"] or entry["reasons"]
    assert (entry["detectable"], entry["galaxies"]["number"]) == (2, 1)
    assert {"date", "device", "grown", "rhat", "ess_per_cpu_s"} <= entry.keys()


def test_fields_are_sampled_once_and_compared(tmp_path, monkeypatch):
    """Stars alone, which compile sooner; one of them stands for the galaxy."""
    raw, summary = tmp_path / "raw.json", tmp_path / "summary.json"
    common = "--prior extended_fraction=0.0 --setting checkpoint_interval=4 --setting passes=1 "
    common += "--setting merge_and_split=0 --setting companion=0 "
    common += f"--num-warmup 8 --num-chains 2 --seconds 0.2 --raw {raw} "
    field, sampled = small_field(extended=False), []
    sample_until_converged = program.sample_until_converged

    def sample_once(*arguments):
        sampled.append(sample_until_converged(*arguments) if not sampled else sampled[0])
        return sampled[0]

    monkeypatch.setattr(program, "sample_until_converged", sample_once)
    run_program(common + f"--label before --json {summary}", field, monkeypatch)
    assert len(sampled) == 2
    check_entry(json.loads(raw.read_text())["before"]["fields"]["demo"])
    stored = json.loads(summary.read_text())
    assert len(summary.read_text().splitlines()) <= MAX_LINES
    assert stored["blends"]["number"] == 1
    assert len(stored["blends"]["each"]["1"]) == len(MEASURES)
    assert "galaxies" in stored["demo"]
    run_program(common + "--label before", field, monkeypatch)
    assert len(sampled) == 2
    run_program(common + "--label before --again", field, monkeypatch)
    assert len(sampled) == 4
    run_program(common + "--label after", field, monkeypatch, names=["demo"])
    assert len(sampled) == 5
    table = run_program(f"--raw {raw} --compare before after", field, monkeypatch)
    assert [line.split()[0] for line in table.splitlines()[1:]] == ["demo", "median"]


@pytest.mark.slow
def test_a_galaxy_is_sampled_and_followed(tmp_path, monkeypatch):
    raw = tmp_path / "raw.json"
    arguments = f"--num-warmup 40 --num-chains 2 --seconds 60 --label one --raw {raw}"
    run_program(arguments, small_field(extended=True), monkeypatch, names=["demo"])
    entry = json.loads(raw.read_text())["one"]["fields"]["demo"]
    check_entry(entry)
    assert {"log_flux", "log_radius", "sersic_n"} <= entry["galaxies"].keys()
    assert entry["galaxies"]["present"] > 0.9
    assert 0.8 < entry["chi2_per_pixel"] < 1.2
