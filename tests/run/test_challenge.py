"""Sets of blends for training and comparing deblenders."""

import numpy as np
import pytest
from astropy.table import Table
from click.testing import CliRunner

from probcat import InputError
from probcat.run.challenge import (
    CATALOG,
    FRACTIONS,
    IMAGES,
    MASKS,
    score_submission,
    write_challenge,
)
from probcat.run.cli import main

NUMBER, SIZE = 6, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_challenge(
        tmp_path_factory.mktemp("challenge") / "set", NUMBER, size=SIZE, seed=3, progress_bar=False
    )


def read(folder):
    with np.load(folder / MASKS) as stored:
        return stored["masks"], stored["number"]


def test_a_set_holds_images_masks_shares_and_catalogs(folder):
    images, fractions = np.load(folder / IMAGES), np.load(folder / FRACTIONS)
    masks, number = read(folder)
    assert images.shape == (NUMBER, SIZE, SIZE)
    assert masks.shape == fractions.shape == (NUMBER, 6, SIZE, SIZE)
    catalog = Table.read(folder / CATALOG)
    assert len(catalog) == number.sum()
    assert np.all((number >= 2) & (number <= 6))
    for index in range(NUMBER):
        total = fractions[index].astype(float).sum(axis=0)
        # A pixel without light has no shares.
        np.testing.assert_allclose(total[total > 0.0], 1.0, atol=5e-3)
        assert (total > 0.0).mean() > 0.9
        assert not masks[index, number[index] :].any()
        rows = catalog[catalog["image"] == index]
        for one, row in enumerate(rows):
            if masks[index, one].any():
                x, y = round(float(row["x"])), round(float(row["y"]))
                assert masks[index, one, y, x]


def test_masks_of_transparent_objects_overlap(folder):
    masks, _ = read(folder)
    assert (masks.sum(axis=1) > 1).any()


def test_the_seed_decides(folder, tmp_path):
    again = write_challenge(tmp_path / "a", 2, size=SIZE, seed=3, progress_bar=False)
    other = write_challenge(tmp_path / "b", 2, size=SIZE, seed=4, progress_bar=False)
    np.testing.assert_array_equal(np.load(again / IMAGES), np.load(folder / IMAGES)[:2])
    assert not np.array_equal(np.load(other / IMAGES), np.load(again / IMAGES))


def test_the_truth_has_a_perfect_score_and_half_of_it_less(folder, tmp_path):
    masks, _ = read(folder)
    assert score_submission(folder, folder / MASKS) == {
        "mean_iou": 1.0,
        "average_precision_0.5": 1.0,
        "panoptic_quality": 1.0,
    }
    # Without the first object of every image.
    np.savez(tmp_path / "fewer.npz", masks=masks[:, 1:])
    seen = masks.any(axis=(2, 3)).sum()
    lost = masks[:, 0].any(axis=(1, 2)).sum()
    scores = score_submission(folder, tmp_path / "fewer.npz")
    # Another mask may be matched to a lost one, with a smaller intersection over union.
    assert (seen - lost) / seen <= scores["mean_iou"] < 1.0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.zeros(3)}, "no array 'masks'"),
        ({"masks": np.zeros((NUMBER, SIZE, SIZE))}, "3 axes"),
        ({"masks": np.zeros((NUMBER + 1, 2, SIZE, SIZE))}, "needs"),
    ],
)
def test_a_submission_that_does_not_fit_is_refused(folder, tmp_path, arrays, message):
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(InputError, match=message):
        score_submission(folder, tmp_path / "wrong.npz")


def test_commands_write_and_score(tmp_path):
    run = CliRunner().invoke
    where = str(tmp_path / "set")
    made = run(main, ["simulate", "--challenge", where, "-n", "2", "--size", "32", "--quiet"])
    assert made.exit_code == 0, made.output
    scored = run(main, ["compare", where, f"{where}/{MASKS}", "--json", str(tmp_path / "s.json")])
    assert scored.exit_code == 0, scored.output
    assert "mean_iou                 1.0000" in scored.output
    assert (tmp_path / "s.json").is_file()
    again = run(main, ["simulate", "--challenge", where, "-n", "2", "--quiet"])
    assert again.exit_code == 2
    assert "already holds a set of blends" in again.output


def test_the_camera_of_a_survey(tmp_path):
    pytest.importorskip("surveycodex")
    from probcat.run.challenge import survey_camera

    camera = survey_camera("HSC", "i")
    assert 0.1 < camera.pixel_scale < 0.3
    assert 0.4 < camera.fwhm < 1.0
    assert camera.sky > 1e3
    with pytest.raises(InputError, match="knows"):
        survey_camera("Palomar", "i")
    with pytest.raises(InputError, match="has u"):
        survey_camera("LSST", "q")
