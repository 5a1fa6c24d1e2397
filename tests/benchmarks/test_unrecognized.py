"""Calibration of `prob_blend`, on samples that are the truth."""

import numpy as np
import pytest

from benchmarks.fields.blends import FWHM
from benchmarks.fields.pairs import RATIO, SEPARATION, PairRenderer
from benchmarks.programs.unrecognized import score_image, summarize_images
from probcat import Samples
from tests.builders import samples_from_draws


@pytest.fixture(scope="module")
def images():
    renderer = PairRenderer(None)
    return [renderer.draw((0, number)) for number in range(24)]


def sampled_truth(blend):
    """Samples whose draws are all the truth, as points."""
    columns = (blend.sources[name] for name in ("x", "y", "flux"))
    samples = samples_from_draws([list(zip(*columns, strict=True))] * 8)
    attrs = {**samples.attrs, "psf_fwhm": FWHM}
    return Samples(samples.sources, samples.scalars, samples.stats, attrs)


def test_images_hold_singles_and_close_pairs(images):
    number = np.array([len(one.sources["x"]) for one in images])
    assert set(number) == {1, 2}
    for one in images:
        if len(one.sources["x"]) == 2:
            x, y, flux = (one.sources[name] for name in ("x", "y", "flux"))
            apart = np.hypot(x[1] - x[0], y[1] - y[0]) / FWHM
            assert SEPARATION[0] <= apart <= SEPARATION[1]
            assert RATIO[0] <= flux[1] / flux[0] <= RATIO[1]


def test_the_truth_is_calibrated(images):
    scenes = [{**score_image(one, sampled_truth(one)), "cpu_seconds": 1.0} for one in images]
    results = summarize_images(scenes)
    assert results["calibration_error"] == 0.0
    assert results["brier"] == 0.0
    assert results["images"] == len(images)
    assert 0 < results["unrecognized"] <= results["pairs"]
    curve = list(results["found_by_fraction_rejected"].values())
    assert curve == sorted(curve)
    assert curve[-1] > 0.5
