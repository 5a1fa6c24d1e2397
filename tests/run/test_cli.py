"""The command line: exit codes, messages, files; the sampler is replaced by a quick one."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import asdict, fields
from pathlib import Path

import jax
import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

import probcat
from probcat.image.fits_output import write_image
from probcat.model.simulate import simulate_image
from probcat.psf.psf import PSF
from probcat.run.cli import main
from probcat.run.demo import SAMPLING
from probcat.run.settings import CatalogSettings, ImageSettings, RunSettings
from probcat.samples.samples import FLOAT_NAMES, Samples

OUTPUTS = ["assignment.fits", "catalog.fits", "config.toml", "model.fits", "samples.nc"]
TRUTH = {"x": [10.0, 21.5, 14.0], "y": [12.0, 8.25, 24.0], "flux": [900.0, 600.0, 400.0]}


@pytest.fixture
def image_path(tmp_path):
    made = simulate_image(
        TRUTH,
        PSF.moffat(3.0, 3.5),
        (32, 30),
        jax.random.key(0),
        noise=2.0,
        band="r",
        zero_point=27.0,
        unit="adu",
    )
    write_image(tmp_path / "image.fits", made.image)
    return tmp_path / "image.fits"


@pytest.fixture
def calls(monkeypatch):
    """Replace the sampler by scatter about the truth, and record the options it is called with."""
    calls: list[dict[str, object]] = []

    def sample(image, prior, *, rng_key, num_chains=2, num_warmup=7, num_samples=20, **rest):
        calls.append({"num_chains": num_chains, "num_samples": num_samples, **rest})
        rng = np.random.default_rng(int(jax.random.key_data(rng_key)[-1]))
        shape = (num_chains, num_samples, 3)
        sources = {name: np.full(shape, np.nan, np.float32) for name in FLOAT_NAMES}
        for name, values in TRUTH.items():
            scatter = 0.05 if name != "flux" else 20.0
            sources[name] = (values + scatter * rng.normal(size=shape)).astype(np.float32)
        sources |= {"is_extended": np.zeros(shape, bool), "active": np.ones(shape, bool)}
        scalars = {
            "log_likelihood": rng.normal(size=shape[:2]),
            "background": 0.1 * rng.normal(size=shape[:2]),
            "chi2_per_pixel": np.ones(shape[:2]),
        }
        tried, accepted = np.full(shape[:2], 100.0), np.full(shape[:2], 2.0)
        stats = {"tried_birth_death_up": tried, "accepted_birth_death_up": accepted}
        return Samples(sources, scalars, stats)

    monkeypatch.setattr("probcat.sampler.sample.sample", sample)
    return calls


@pytest.fixture
def no_figures(monkeypatch):
    """Leave out the figures, which take longer than all the rest."""
    monkeypatch.setattr("probcat.run.results.write_figures", lambda *arguments: None)


def probcat_command(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_run_writes_every_file_and_ends_with_the_table(image_path, calls, tmp_path):
    out = tmp_path / "out"
    result = probcat_command("run", image_path, "--out", out, "--seed", 5, "--num-samples", 30)
    assert result.exit_code == 0, result.output
    for name in OUTPUTS:
        assert (out / name).stat().st_size > 0
    assert len(list(out.glob("*.png"))) >= 4
    words = ("objects", "sources N", "chi2 per pixel", "R-hat", "ESS", "birth_death 2 %", "time")
    for word in words:
        assert word in result.output
    with open(out / "config.toml", "rb") as handle:
        config = tomllib.load(handle)
    assert config["sampler"]["seed"] == 5
    assert config["sampler"]["num_samples"] == calls[0]["num_samples"] == 30
    assert config["image"]["files"] == [str(image_path)]
    assert config["prior"]
    with fits.open(out / "catalog.fits") as hdus:
        header, table = hdus["CATALOG"].header, hdus["CATALOG"].data
        assert header["SEED"] == 5
        assert header["CREATOR"] == f"probcat {probcat.__version__}"
        assert header["INPUT1"] == "image.fits"
        assert len(table) == 3
        np.testing.assert_allclose(table["x"], TRUTH["x"], atol=0.1)
        np.testing.assert_allclose(
            table["mag_r"], 27.0 - 2.5 * np.log10(table["flux_r"]), rtol=1e-6
        )
        assert {"prob_exist", "prob_star", "flux_r_err", "sersic_n"} <= set(table.names)
    assignment = probcat.read_assignment(out / "assignment.fits")
    assert assignment.map(1, "light").shape == (32, 30)


def test_condense_and_info_work_on_the_directory(image_path, calls, no_figures, tmp_path):
    out = tmp_path / "out"
    assert probcat_command("run", image_path, "--out", out).exit_code == 0
    before = fits.getdata(out / "catalog.fits")
    (out / "catalog.fits").unlink()
    result = probcat_command("condense", out)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(fits.getdata(out / "catalog.fits")["x"], before["x"])
    result = probcat_command("info", out)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("  verdict         converged\n  objects ")
    assert "\n  objects         3 (prob_exist > 0.5)\n  sources N" in result.output
    assert result.output.endswith((out / "config.toml").read_text())


def test_condense_takes_options_and_keeps_them(image_path, calls, no_figures, tmp_path):
    out = tmp_path / "out"
    assert probcat_command("run", image_path, "--out", out).exit_code == 0
    options = ["--method", "greedy", "--radius", 0.5, "--min-prob", 0.2]
    result = probcat_command("condense", out, *options)
    assert result.exit_code == 0, result.output
    with open(out / "config.toml", "rb") as handle:
        catalog = tomllib.load(handle)["catalog"]
    assert catalog == {"method": "greedy", "radius": 0.5, "min_prob": 0.2}
    header = fits.getheader(out / "catalog.fits", "CATALOG")
    assert (header["CONDENSE"], header["LINKRAD"], header["MINPROB"]) == ("greedy", 0.5, 0.2)
    assert header["NOBJ"] == 3
    assert header["FLAG0"] == "EDGE"
    table = fits.getdata(out / "catalog.fits", "CATALOG")
    assert {"blend_id", "blendedness", "flags", "x_flux_r_cov"} <= set(table.names)
    np.testing.assert_array_equal(table["blend_id"], table["object_id"])
    before = (out / "config.toml").read_text()
    result = probcat_command("condense", out, "--radius", -1)
    assert result.exit_code == 2
    assert "[catalog] radius = -1.0; it must be positive" in result.output
    assert (out / "config.toml").read_text() == before


def test_written_configuration_repeats_the_run(image_path, calls, no_figures, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    options = ["--seed", 3, "--num-chains", 3, "--num-samples", 12, "--num-warmup", 4]
    assert probcat_command("run", image_path, "--out", first, *options).exit_code == 0
    result = probcat_command("run", "--config", first / "config.toml", "--out", second)
    assert result.exit_code == 0, result.output
    assert (first / "config.toml").read_text() == (second / "config.toml").read_text()
    drop = {"directory"}
    assert {k: v for k, v in calls[0].items() if k not in drop} == {
        k: v for k, v in calls[1].items() if k not in drop
    }
    with fits.open(first / "catalog.fits") as a, fits.open(second / "catalog.fits") as b:
        np.testing.assert_array_equal(a["CATALOG"].data["x"], b["CATALOG"].data["x"])


def test_prior_only_keeps_samples_and_makes_no_catalog(image_path, calls, tmp_path):
    out = tmp_path / "out"
    result = probcat_command("run", image_path, "--out", out, "--prior-only")
    assert result.exit_code == 0, result.output
    assert calls[0]["prior_only"] is True
    assert (out / "samples.nc").exists()
    assert not (out / "catalog.fits").exists()
    assert probcat_command("condense", out).exit_code == 2


def test_an_old_run_is_kept_unless_told_otherwise(image_path, calls, no_figures, tmp_path):
    out = tmp_path / "out"
    assert probcat_command("run", image_path, "--out", out).exit_code == 0
    (out / "mine.txt").write_text("a file of the user's")
    result = probcat_command("run", image_path, "--out", out)
    assert result.exit_code == 2
    assert "already holds a run" in result.output
    assert "--overwrite" in result.output
    assert len(calls) == 1
    result = probcat_command("run", tmp_path / "absent.fits", "--out", out, "--overwrite")
    assert result.exit_code == 2
    assert (out / "samples.nc").exists()
    assert probcat_command("run", image_path, "--out", out, "--overwrite").exit_code == 0
    assert (out / "mine.txt").exists()


def test_options_become_settings_of_the_same_name(image_path, calls, tmp_path):
    out = tmp_path / "out"
    options = ["--prior-only", "--zero-point", 25.5, "--saturation", 700, "--mask-plane", "0"]
    options += ["--gain", 2.0, "--read-noise", 5, "--model-variance", "--seed", 0]
    (tmp_path / "seven.toml").write_text("[sampler]\nseed = 7\nnum_samples = 6\n")
    options += ["--config", tmp_path / "seven.toml", "--uncertain-psf"]
    result = probcat_command("run", image_path, "--out", out, *options)
    assert result.exit_code == 0, result.output
    with open(out / "config.toml", "rb") as handle:
        config = tomllib.load(handle)
    assert config["image"] == {
        "files": [str(image_path)],
        "zero_point": 25.5,
        "saturation": 700.0,
        "mask_planes": ["0"],
        "gain": 2.0,
        "read_noise": 5.0,
        "model_variance": True,
    }
    chosen = {name: config["sampler"][name] for name in ("seed", "num_samples", "prior_only")}
    assert chosen == {"seed": 0, "num_samples": 6, "prior_only": True}
    assert config["prior"]["psf_width_change_scatter"] == 0.02
    assert "catalog" not in config


def test_interruption_says_how_to_resume(image_path, calls, no_figures, tmp_path, monkeypatch):
    import probcat.sampler.sample

    quick = probcat.sampler.sample.sample
    out = tmp_path / "out"

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("probcat.sampler.sample.sample", stop)
    result = probcat_command("run", image_path, "--out", out, "--num-samples", 15)
    assert result.exit_code == 130
    assert f"probcat run --out {out} --resume" in result.output
    described = probcat_command("info", out).output
    assert described.startswith("This run is not finished; resume it with: probcat run --out")
    assert "num_samples = 15" in described
    monkeypatch.setattr("probcat.sampler.sample.sample", quick)
    for option in (["--seed", 0], ["--band", "r"], ["--estimate-psf"], ["--overwrite"]):
        refused = probcat_command("run", "--out", out, "--resume", *option)
        assert refused.exit_code == 2
        assert "--resume takes all settings from --out" in refused.output
    result = probcat_command("run", "--out", out, "--resume")
    assert result.exit_code == 0, result.output
    assert calls[-1]["num_samples"] == 15
    assert (out / "catalog.fits").exists()


def test_interruption_before_sampling_has_nothing_to_resume(image_path, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("probcat.run.pipeline.read_input", stop)
    result = probcat_command("run", image_path, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert "there is nothing to resume" in result.output


BAD_RUNS = [
    (["none.fits"], "none.fits: no such file"),
    ([], "no image"),
    (["image.fits", "plain.fits"], "no PSF"),
    (["image.fits", "small.fits"], "without a WCS all images share one pixel grid"),
    (["image.fits", "other.fits", "--band", "r"], "1 bands for 2 files"),
    (["image.fits", "--psf", "none.fits"], "none.fits: no such file"),
    (["image.fits", "--config", "none.toml"], "none.toml"),
    (["image.fits", "--config", "unknown.toml"], "unknown key 'flux_mni'"),
    (["image.fits", "--config", "limit.toml"], "flux"),
    (["plain.fits"], "no PSF"),
    (["masked.fits"], "no pixel can be used"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_RUNS)
def test_bad_input_ends_in_one_message_and_status_2(
    arguments, message, image_path, calls, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unknown.toml").write_text("[prior]\nflux_mni = 3.0\n")
    (tmp_path / "limit.toml").write_text("[prior]\nflux_min = 0.0\n")
    fits.PrimaryHDU(np.random.default_rng(0).normal(size=(20, 20))).writeto("plain.fits")
    with fits.open(image_path) as hdus:
        hdus.writeto("other.fits")
        hdus["SCI"].data = hdus["SCI"].data[:-4]
        for name in ("VAR", "MASK"):
            hdus[name].data = hdus[name].data[:-4]
        hdus.writeto("small.fits")
    with fits.open(image_path) as hdus:
        hdus["MASK"].data[:] = 1
        hdus.writeto("masked.fits")
    result = probcat_command("run", *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("probcat: error:")]
    assert len(lines) == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not calls
    assert not (tmp_path / "out").exists()


def test_commands_on_a_directory_without_a_run(tmp_path):
    for command in ("condense", "info"):
        result = probcat_command(command, tmp_path)
        assert result.exit_code == 2
        assert "holds no run" in result.output
    result = probcat_command("export", tmp_path, "--format", "csv")
    assert result.exit_code == 2
    assert "holds no catalog.fits" in result.output


def test_version_is_printed():
    assert probcat.__version__ in probcat_command("--version").output


def test_help_names_every_command_in_a_whole_sentence():
    lines = probcat_command("--help").output.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == sorted(main.commands)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


def test_help_lists_options_in_groups_with_the_defaults_that_are_used():
    text = probcat_command("run", "--help").output
    headings = [line[:-1] for line in text.splitlines() if line and line[0] not in " U"]
    assert headings == ["Input", "PSF", "Noise", "Sampler", "Output", "Other"]
    shown = dict(re.findall(r"--([a-z-]+) N [^[]*\[default: (\d+)\]", text))
    assert {name.replace("-", "_"): int(value) for name, value in shown.items()} == {
        **{k: v for k, v in asdict(RunSettings()).items() if type(v) is int},
        "num_temperatures": probcat.SamplerSettings().num_temperatures,
    }
    shown = dict(re.findall(r"--([a-z-]+) N [^[]*\[default: (\d+)\]", command_help("demo")))
    assert int(shown["num-warmup"]) == SAMPLING["num_warmup"]
    assert "[default: --no-until-converged]" in text
    assert "[default: --until-converged]" in command_help("demo")
    assert "[default: 10m]" in text


def test_until_converged_reaches_the_sampler(image_path, calls, no_figures, tmp_path):
    given = ("--until-converged", "--max-time", "90s", "--prior-only")
    result = probcat_command("run", image_path, "--out", tmp_path / "a", *given)
    assert result.exit_code == 0, result.output
    assert (calls[-1]["until_converged"], calls[-1]["max_time"]) == (True, "90s")
    config = tmp_path / "a" / "config.toml"
    again = ("--config", config, "--out", tmp_path / "b", "--no-until-converged")
    result = probcat_command("run", *again)
    assert result.exit_code == 0, result.output
    assert calls[-1]["until_converged"] is False


def test_time_that_would_not_be_used_is_refused(image_path, tmp_path):
    result = probcat_command("run", image_path, "--out", tmp_path / "a", "--max-time", "5m")
    assert result.exit_code == 2
    assert "add --until-converged" in result.output
    given = ("--until-converged", "--max-time", "soon")
    result = probcat_command("run", image_path, "--out", tmp_path / "a", *given)
    assert result.exit_code == 2
    assert "[sampler] max_time: 'soon' is no duration" in result.output


def command_help(command):
    result = probcat_command(command, "--help")
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("command", sorted(main.commands))
def test_brackets_of_help_mean_a_default(command):
    _usage, text = command_help(command).split("\n\n", 1)
    brackets = re.findall(r"\[([^]]*)\]", re.sub(r"\s+", " ", text))
    assert all(text.startswith("default: ") for text in brackets), brackets


def test_options_are_called_as_in_a_configuration():
    image = {field.name for field in fields(ImageSettings)}
    sampler = {
        field.name for one in (RunSettings, probcat.SamplerSettings) for field in fields(one)
    }
    others = {"images", "out", "config", "uncertain_psf", "overwrite", "resume", "quiet"}
    names = {option.name for option in main.commands["run"].params}
    assert names - others <= image | sampler
    catalog = {field.name for field in fields(CatalogSettings)}
    assert {option.name for option in main.commands["condense"].params} <= catalog | {"directory"}


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, probcat, probcat.run.cli\n"
        "heavy = {'jax', 'numpyro', 'astropy', 'arviz', 'matplotlib', 'scipy', 'xarray'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_sampler_needs_jax_and_numpyro_only():
    code = (
        "import sys, probcat\n"
        "probcat.sample, probcat.Image, probcat.PSF, probcat.Prior\n"
        "heavy = {'astropy', 'arviz', 'matplotlib', 'corner', 'xarray', 'dask', 'click'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_taken_from_where_it_is_defined():
    for name, home in probcat._HOMES.items():
        assert getattr(probcat, name).__module__ == f"probcat.{home}"
    assert set(probcat.__all__) <= set(dir(probcat))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = probcat.nothing


def test_type_checkers_see_the_same_public_names():
    tree = ast.parse(Path(probcat.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imports for alias in node.names}
    assert seen == {name: f"probcat.{home}" for name, home in probcat._HOMES.items()}


def test_rooms_that_users_need_are_attributes():
    code = "import probcat; print(probcat.plots.plot_scene, probcat.metrics.brier_score)"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


KILLED = """
import os, sys
from probcat.sampler.checkpoint import Checkpoint
from probcat.run.cli import main
save, calls = Checkpoint.save, []
def save_and_die(self, *arguments):
    save(self, *arguments)
    calls.append(1)
    if len(calls) == 3:
        os._exit(9)
Checkpoint.save = save_and_die
main(sys.argv[1:])
"""

QUICK = """
[prior]
extended_fraction = 0.0
[sampler]
num_chains = 2
num_warmup = 4
num_samples = 6
checkpoint_interval = 2
passes = 1
split_merge = 0
companion = 0
leapfrog_steps = 1
"""


def test_killed_run_continues_in_a_new_process_bit_for_bit(image_path, tmp_path):
    (tmp_path / "quick.toml").write_text(QUICK)
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def run(code, seed, *arguments):
        command = [sys.executable, "-c", code, "run", *map(str, arguments), "--quiet"]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    start = [image_path, "--config", tmp_path / "quick.toml"]
    plain = "import sys; from probcat.run.cli import main; main(sys.argv[1:])"
    assert run(KILLED, "1", *start, "--out", killed).returncode == 9
    assert not (killed / "samples.nc").exists()
    done = run(plain, "2", "--out", killed, "--resume")
    assert done.returncode == 0, done.stderr
    assert run(plain, "3", *start, "--out", whole).returncode == 0
    one, two = (Samples.from_netcdf(folder / "samples.nc") for folder in (whole, killed))
    assert one.num_draws == 6
    for name, values in one.sources.items():
        np.testing.assert_array_equal(values, two.sources[name])
    np.testing.assert_array_equal(one.scalars["log_likelihood"], two.scalars["log_likelihood"])
