"""The table of deblenders."""

import numpy as np
import pytest

from benchmarks.fields.blends import NOISE, Renderer
from benchmarks.programs.deblenders import SCORES, format_table, score_blend, summarize_scores
from benchmarks.rivals.deblender import RIVALS, Deblended
from probcat import Image
from probcat.metrics import true_shares
from probcat.metrics.score_pixels import true_masks


@pytest.fixture(scope="module")
def blend():
    return Renderer(None).draw((0, 8))


def truth_of(blend):
    """The truth in the form of a deblender's result."""
    x, y, flux = (np.asarray(blend.sources[name]) for name in ("x", "y", "flux"))
    masks = true_masks(blend.light, np.full(blend.light.shape[1:], NOISE))
    return Deblended(x, y, flux, masks, true_shares(blend.light)[0])


def test_the_truth_has_perfect_scores(blend):
    scores = summarize_scores([score_blend(blend, truth_of(blend))] * 2)
    for name in ("completeness", "purity", "iou", "light"):
        assert scores[name] == [1.0, 1.0, 1.0]
    assert scores["brier"] == [0.0, 0.0, 0.0]
    assert scores["flux_error"][0] in (0.0, None)


def test_a_lost_source_costs_completeness_and_light(blend):
    true = truth_of(blend)
    kept = np.arange(len(true.x)) > 0
    fewer = Deblended(
        true.x[kept], true.y[kept], true.flux[kept], true.masks[kept], true.shares[kept]
    )
    scores = summarize_scores([score_blend(blend, fewer)])
    assert scores["completeness"][0] == pytest.approx(kept.mean(), abs=1e-4)
    assert scores["purity"][0] == 1.0
    assert scores["light"][0] < 1.0


@pytest.mark.parametrize("name", list(RIVALS))
def test_every_rival_divides_a_blend(blend, name):
    if not RIVALS[name].is_installed:
        pytest.skip(f"{RIVALS[name].package} is not installed")
    found = RIVALS[name].run(blend.image)
    assert len(found.x) > 0
    assert found.masks.shape == found.shares.shape == (len(found.x), *blend.light.shape[1:])
    assert np.all(found.shares.sum(axis=0) < 1.0 + 1e-6)
    scores = score_blend(blend, found)
    assert set(scores) == set(SCORES)
    # Every program finds something in this bright blend.
    assert np.mean(scores["completeness"]) > 0.0


def test_an_image_without_sources_has_no_objects(blend):
    empty = blend.image
    rng = np.random.default_rng(0)

    empty = Image.from_arrays(
        rng.normal(10.0, NOISE, empty.shape).astype(np.float32), empty.variance, psf=empty.psf
    )
    for rival in RIVALS.values():
        if rival.is_installed:
            assert len(rival.run(empty).x) <= 2


def test_the_table_has_a_row_for_each_program(blend):
    results = {"truth": summarize_scores([score_blend(blend, truth_of(blend))])}
    lines = format_table(results).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("truth")
