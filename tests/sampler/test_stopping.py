"""The end of a run: after its draws, when its chains agree, or when its time is over."""

import json
import math

import jax
import numpy as np
import pytest

from probcat import PSF, InputError, Prior, sample, simulate_image
from probcat.sampler.checkpoint import MANIFEST, Checkpoint
from probcat.sampler.sample import Run
from probcat.sampler.settings import SamplerSettings
from probcat.sampler.stopping import StoppingRule
from probcat.samples.diagnostics import diagnose

BLOCK, NUM_WARMUP, NUM_SAMPLES = 10, 20, 100
COUNTS = {"num_chains": 4, "num_warmup": NUM_WARMUP, "num_samples": NUM_SAMPLES}
SETTINGS = SamplerSettings(checkpoint_interval=BLOCK)


def yes():
    return True


def no():
    return False


def never():
    raise AssertionError("convergence need not be judged here")


def test_a_run_of_fixed_length_ends_after_it():
    rule = StoppingRule(20, 100, 10)
    assert not rule.is_over(110, 1e9, never)
    assert rule.is_over(120, 0.0, never)
    assert [rule.num_kept(made) for made in (10, 20, 50, 120)] == [0, 0, 30, 100]
    assert rule.end(0) == rule.end(120) == 120


def test_convergence_is_checked_at_the_end_of_intervals():
    rule = StoppingRule(20, 100, 10, until_converged=True, max_time=60.0)
    assert rule.interval == 20  # of 100 / 4 in whole blocks
    assert not rule.is_over(110, 1e9, never)
    for made in (120, 140, 160):
        assert rule.is_over(made, 0.0, yes)
        assert not rule.is_over(made, 0.0, no)
        assert rule.is_over(made, 60.0, never)
        assert not rule.is_over(made + 10, 0.0, never)
        assert rule.is_over(made + 10, 60.0, never)
    assert [rule.end(made) for made in (0, 120, 130, 140, 141)] == [120, 120, 140, 140, 160]


def test_every_interval_has_one_check_whatever_the_sizes_are():
    for warmup, samples, block in ((7, 33, 10), (20, 5, 10), (3, 1000, 7)):
        rule = StoppingRule(warmup, samples, block, until_converged=True)
        ends = range(block, 100 * block + 1, block)
        checked = [made for made in ends if rule.is_over(made, 0.0, yes)]
        beyond = [made for made in ends if made >= warmup + samples]
        assert checked == beyond[:: rule.interval // block]


def test_oldest_draws_become_warm_up_but_never_too_many():
    rule = StoppingRule(20, 100, 10, until_converged=True)
    assert [rule.num_kept(20 + made) for made in (0, 100, 150, 151, 300)] == [0, 100, 100, 101, 200]


@pytest.fixture(scope="module")
def image():
    sources = {"x": [9.0, 20.0], "y": [10.0, 18.2], "flux": [900.0, 400.0]}
    psf = PSF.moffat(2.8, 3.0, size=15)
    return simulate_image(sources, psf, (28, 30), jax.random.key(3), noise=1.0).image


@pytest.fixture
def quick(image, monkeypatch):
    """Replace the kernel by independent draws of ln L; the chains differ in early draws.

    The fixture sets the draw, warm-up included, from which the chains agree, and lists the draws.
    """
    script = {"agree_from": 0, "made": []}

    def advance(run, state, log=print):
        first = int(state.i)
        rng = np.random.default_rng(first)
        number = np.arange(first, first + BLOCK)
        offset = np.where(number < script["agree_from"], 5.0, 0.0) * np.arange(4)[:, None]
        # Everything else is constant, as in the first chain at the start.
        draws = jax.tree.map(lambda values: np.asarray(values)[:1, None], state.sample)
        draws = jax.tree.map(
            lambda values: np.broadcast_to(values, (4, BLOCK, *values.shape[2:])), draws
        )
        draws = draws._replace(log_likelihood=rng.normal(size=(4, BLOCK)) + offset)
        script["made"].append(first)
        return state._replace(i=state.i + BLOCK), draws

    monkeypatch.setattr(Run, "advance", advance)
    return script


def run(image, directory=None, **options):
    prior = Prior.from_image(image, extended_fraction=0.0)
    given = {
        "rng_key": 1,
        "max_time": "30s",
        "settings": SETTINGS,
        "directory": directory,
        "progress_bar": False,
    }
    return sample(image, prior, **{**given, **COUNTS, **options})


def test_converged_chains_stop_at_once(image, quick):
    # 400 independent draws exceed an R-hat of 1.05 with a probability of 8e-6, and a drift of 0.5
    # with one of 6e-7; the seeds are fixed.
    samples = run(image, until_converged=True)
    assert len(quick["made"]) == 12
    assert samples.num_draws == NUM_SAMPLES
    assert samples.attrs["num_warmup"] == NUM_WARMUP
    fixed = run(image)
    np.testing.assert_array_equal(
        fixed.scalars["log_likelihood"], samples.scalars["log_likelihood"]
    )


def test_a_run_continues_until_early_draws_are_gone(image, quick):
    quick["agree_from"] = NUM_WARMUP + 70
    samples = run(image, until_converged=True)
    made = BLOCK * len(quick["made"])
    # A few of the draws that differ may be left; at 220 draws the last two thirds have none.
    assert NUM_WARMUP + NUM_SAMPLES < made <= NUM_WARMUP + 220
    kept = -(-2 * (made - NUM_WARMUP) // 3)
    assert samples.num_draws == kept > NUM_SAMPLES
    assert samples.attrs["num_warmup"] == made - kept
    drawn = [np.random.default_rng(i).normal(size=(4, BLOCK)) for i in range(0, made, BLOCK)]
    last = np.concatenate(drawn, axis=1)[:, -100:]
    np.testing.assert_allclose(samples.scalars["log_likelihood"][:, -100:], last, rtol=1e-6)
    assert diagnose(samples).converged


def test_a_run_stops_when_its_time_is_over(image, quick, monkeypatch):
    quick["agree_from"] = math.inf
    clock = iter(range(10**6))
    monkeypatch.setattr("probcat.sampler.history.time.monotonic", lambda: float(next(clock)))
    samples = run(image, until_converged=True, max_time=90)
    assert NUM_SAMPLES + NUM_WARMUP <= BLOCK * len(quick["made"]) < 90 * BLOCK
    assert not diagnose(samples).converged
    assert samples.num_draws >= NUM_SAMPLES
    with pytest.raises(InputError, match="no duration"):
        run(image, until_converged=True, max_time="soon")


@pytest.mark.parametrize("stop_after", [1, 9, 12, 17])
def test_a_killed_run_resumes_to_the_same_end(image, quick, tmp_path, monkeypatch, stop_after):
    quick["agree_from"] = NUM_WARMUP + 70
    whole = run(image, until_converged=True)
    save, saved = Checkpoint.save, []

    def stop(self, *arguments):
        save(self, *arguments)
        saved.append(1)
        if len(saved) == stop_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run(image, tmp_path, until_converged=True)
    quick["made"].clear()
    resumed = run(image, tmp_path, until_converged=True)
    assert quick["made"][0] == stop_after * BLOCK
    for name, values in whole.scalars.items():
        np.testing.assert_array_equal(values, resumed.scalars[name], err_msg=name)
    assert whole.attrs["num_warmup"] == resumed.attrs["num_warmup"]
    # A finished run makes no further draw.
    quick["made"].clear()
    run(image, tmp_path, until_converged=True)
    assert not quick["made"]


def test_time_is_counted_over_all_parts_of_a_run(image, quick, tmp_path):
    quick["agree_from"] = math.inf
    run(image, tmp_path, until_converged=True, max_time=1e-3)
    made = len(quick["made"])
    assert made == 12
    run(image, tmp_path, until_converged=True, max_time=1e-3)
    assert len(quick["made"]) == made
    # More time: the run continues from where it was.
    seconds = json.loads((tmp_path / MANIFEST).read_text())["seconds"]
    assert seconds > 1e-3
    run(image, tmp_path, until_converged=True, max_time=seconds + 0.5)
    assert quick["made"][made] == made * BLOCK


def test_bar_shows_phases_and_the_worst_quantity(image, quick, monkeypatch, capsys):
    from probcat.sampler import progress

    phases = []
    enter = progress.Progress.enter

    def record(self, phase):
        phases.append(phase)
        enter(self, phase)

    monkeypatch.setattr(progress.Progress, "enter", record)
    run(image, progress_bar=True)
    assert phases == ["compiling", "warm-up", *["sampling"] * 10]
    shown = capsys.readouterr().err
    assert "R-hat=" in shown
    assert "(log_likelihood)" in shown


def test_rhat_is_not_computed_where_it_takes_long(monkeypatch):
    from probcat.sampler import progress

    now, calls = [0.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    class Verdict:
        worst_rhat = ("mu", 1.5)

    def diagnose():
        calls.append(now[0])
        now[0] += 1.0
        return Verdict

    bar = progress.Progress(lambda done: 100, 0, True)
    for _ in range(300):
        bar.judge(diagnose)
        now[0] += 1.0
    assert len(calls) == 6  # a second of each 50
    hidden = progress.Progress(lambda done: 100, 0, False)
    hidden.judge(lambda: never())
