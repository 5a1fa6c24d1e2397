"""How images of one sky relate: their grids, bands and calibration."""

import dataclasses

import numpy as np
import pytest

from probcat import PSF, Image, InputError
from probcat.image.alignment import Alignment, ImageSet, align_images, covered
from tests.builders import tan_wcs

SHAPE = (20, 24)


def make_image(band, shift=(0.0, 0.0), zero_point=27.0, name=""):
    wcs = tan_wcs(0.36, reference=(12.0 + shift[0], 10.0 + shift[1]))
    return Image.from_arrays(
        np.ones(SHAPE),
        np.ones(SHAPE),
        psf=PSF.gaussian(3.0, size=9),
        wcs=wcs,
        band=band,
        zero_point=zero_point,
        name=name,
    )


def test_an_image_set_relates_all_images_to_the_first():
    images = [make_image("g"), make_image("r", (3.0, -2.0)), make_image("r", zero_point=24.5)]
    together = ImageSet.of(images)
    assert together.images == tuple(images)
    assert together.first is images[0]
    assert len(together) == 3
    assert together.bands == ("g", "r")
    assert together.labels == ("g", "r1", "r2")
    assert [one.band for one in together.alignments] == [0, 1, 1]
    assert [one.flux_factor for one in together.alignments] == pytest.approx([1.0, 1.0, 0.1])
    np.testing.assert_array_equal(together.alignments[0].affine, np.eye(2, 3))
    np.testing.assert_allclose(together.alignments[1].affine[:, 2], [3.0, -2.0], atol=1e-6)
    for one, other in zip(together.alignments, align_images(images), strict=True):
        np.testing.assert_array_equal(one.affine, other.affine)


def test_an_image_set_takes_one_image_any_iterable_or_a_set():
    image = make_image("g")
    alone = ImageSet.of(image)
    assert alone.images == (image,)
    assert alone.labels == ("g",)
    assert ImageSet.of(iter([image])).images == (image,)
    assert ImageSet.of(alone) is alone
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(alone, "bands", ("r",))  # noqa: B010


def test_an_image_set_refuses_images_that_do_not_go_together():
    with pytest.raises(InputError, match="no image; give one or several"):
        ImageSet.of([])
    with pytest.raises(InputError, match=r"b\.fits: has no band, others have \(g\)"):
        ImageSet.of([make_image("g"), make_image("", name="b.fits")])
    with pytest.raises(InputError, match=r"far\.fits: does not overlap"):
        ImageSet.of([make_image("g"), make_image("r", (500.0, 0.0), name="far.fits")])


def test_scale_and_reach_describe_the_linear_part_of_the_map():
    alignment = Alignment(np.array([[0.0, -2.0, 5.0], [2.0, 0.0, 7.0]]))
    assert alignment.scale == pytest.approx(2.0)
    assert alignment.reach == pytest.approx(2.0)
    assert alignment.inverse_reach == pytest.approx(0.5)


def test_pixels_beyond_the_first_image_are_not_covered():
    first, second = make_image("g"), make_image("r", (3.0, -2.0))
    seen = covered(align_images([first, second])[1], second, first)
    expected = np.zeros(SHAPE, bool)
    expected[: SHAPE[0] - 2, 3:] = True
    np.testing.assert_array_equal(seen, expected)
