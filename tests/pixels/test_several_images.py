"""Several images from samples to maps: one result for each, and foreign images are refused."""

import dataclasses

import numpy as np
import pytest

from probcat.catalog.condense import condense
from probcat.errors import InputError
from probcat.pixels.assign import assign_pixels
from probcat.pixels.model_image import posterior_model
from probcat.plots import plot_assignment, plot_object, plot_residual, plot_scene
from probcat.samples.per_image import samples_per_image
from tests.run.report_run import FLUX, SHAPE, SHIFT, X, Y, make_image, make_samples

FEW = {"max_draws": 6}


@pytest.fixture(scope="module")
def images():
    return [make_image(band, number) for number, band in enumerate("gr")]


@pytest.fixture(scope="module")
def samples():
    return make_samples("gr")


@pytest.fixture(scope="module")
def catalog(samples):
    return condense(samples)


@pytest.fixture(scope="module")
def maps(samples, catalog, images):
    return assign_pixels(samples, catalog, images, **FEW)


@pytest.fixture(scope="module")
def models(samples, images):
    return posterior_model(samples, images, **FEW)


def test_each_image_has_maps_in_its_own_pixels(samples, catalog, images, maps):
    assert [one.band for one in maps] == ["g", "r"]
    own = samples_per_image(samples, images)
    for number, one in enumerate(maps):
        alone = assign_pixels(own[number], catalog, images[number], **FEW)
        np.testing.assert_array_equal(one.map(1), alone.map(1))
        for row in range(3):
            object_id = int(catalog["object_id"][row])
            x, y = X[row] + number * SHIFT[0], Y[row] + number * SHIFT[1]
            assert one.map(object_id, "dominant")[round(y), round(x)] == 1.0
    assert not np.array_equal(maps[0].map(1), maps[1].map(1))


def test_each_image_has_its_model(images, models):
    for image, model, band in zip(images, models, "gr", strict=True):
        assert model.mean.sum() == pytest.approx(FLUX[band].sum(), rel=0.05)
        assert np.nanmean(model.residual**2) == pytest.approx(1.0, abs=0.25)
        assert model.mean.shape == image.shape


def test_a_sequence_of_one_image_gives_a_list(images):
    alone = make_samples("g")
    (model,) = posterior_model(alone, images[:1], **FEW)
    assert model.mean.shape == SHAPE


def test_levels_of_the_sky_may_differ(samples, catalog, images, maps):
    found = assign_pixels(samples, catalog, images, subtracted_sky=[0.0, 1e4], **FEW)
    np.testing.assert_array_equal(found[0].background, maps[0].background)
    assert found[1].background.min() > 0.9
    with pytest.raises(InputError, match="1 levels in subtracted_sky for 2 images"):
        assign_pixels(samples, catalog, images, subtracted_sky=[0.0], **FEW)


def test_foreign_images_are_refused(samples, catalog, images):
    other_shape = dataclasses.replace(images[1])
    object.__setattr__(other_shape, "data", images[1].data[:-1])
    object.__setattr__(other_shape, "weight", images[1].weight[:-1])
    wrong = (
        (images[1], "got 1 image, but 2 images were sampled"),
        (images[0], "got 1 image, but 2 images were sampled"),
        (images[:1], "got 1 image, but 2 images were sampled"),
        ([*images, images[0]], "got 3 images, but 2 images were sampled"),
        (images[::-1], "of band 'r', 'g', but band 'g', 'r' was sampled"),
        ([images[0], other_shape], r"r.fits: has shape \(35, 44\), but .* \(36, 44\)"),
    )
    for given, message in wrong:
        for refuse in (
            lambda given=given: assign_pixels(samples, catalog, given),
            lambda given=given: posterior_model(samples, given),
            lambda given=given: catalog.to_table(given),
            lambda given=given: plot_scene(given, catalog),
        ):
            with pytest.raises(InputError, match=message):
                refuse()
    alone = make_samples("g")
    with pytest.raises(InputError, match="of band 'r', but band 'g' was sampled"):
        assign_pixels(alone, condense(alone), images[1])
    with pytest.raises(InputError, match="single image only"):
        posterior_model(samples, images, object())


def test_samples_that_record_no_images_take_any(images):
    samples = make_samples("g")
    bare = dataclasses.replace(samples, attrs={})
    assert samples_per_image(bare, images[1:]) == [bare]


def test_shapes_are_those_that_a_rotated_image_sees(samples, images):
    from astropy.wcs import WCS

    angle = np.deg2rad(30.0)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = WCS(naxis=2)
    turned.wcs.ctype, turned.wcs.crval = ("RA---TAN", "DEC--TAN"), (150.0, 2.0)
    # A rotated grid with pixels twice as wide: the galaxy has half the radius in pixels.
    turned.wcs.crpix, turned.wcs.cd = (12.0, 12.0), 1e-4 * np.array([[-cos, sin], [sin, cos]])
    pair = [images[0], dataclasses.replace(images[1], wcs=turned)]
    _, own = samples_per_image(samples, pair)
    here, there = (
        {name: each.sources[name][each.sources["is_extended"]] for name in each.sources}
        for each in (samples, own)
    )
    np.testing.assert_allclose(there["half_light_radius"], here["half_light_radius"] / 2, rtol=1e-4)
    np.testing.assert_array_equal(there["sersic_n"], here["sersic_n"].astype(np.float32))
    before, after = (each["ellipticity_1"] + 1j * each["ellipticity_2"] for each in (here, there))
    np.testing.assert_allclose(abs(after), abs(before), rtol=1e-4)
    change = np.angle(after / before)
    np.testing.assert_allclose(change, change[0], atol=1e-3)
    assert abs(change[0]) == pytest.approx(2.0 * angle, abs=1e-3)


def test_figures_of_several_images_are_lists(samples, catalog, images, maps, models):
    for figures in (
        plot_residual(images, models),
        plot_assignment(maps, images),
        plot_object(1, samples, catalog, maps, images, models),
    ):
        assert len(figures) == 2
    first, second = plot_scene(images, catalog)
    moved = second.collections[0].get_offsets() - first.collections[0].get_offsets()
    np.testing.assert_allclose(moved, np.broadcast_to(SHIFT, moved.shape), atol=1e-3)
    positions = plot_object(1, samples, catalog, maps, images, models)[1].axes[4].lines[0]
    assert np.mean(positions.get_xdata()) == pytest.approx(X[0] + SHIFT[0], abs=0.1)
    with pytest.raises(InputError, match="a list of 2"):
        plot_residual(images, models[:1])
    with pytest.raises(InputError, match="single image only"):
        plot_residual(images, models, axes=[first] * 3)


def test_one_line_tells_what_an_object_holds(samples, catalog, maps):
    assert repr(samples) == "<Samples: 2 chains x 40 draws of up to 4 sources in 2 bands>"
    columns = len(catalog.columns)
    expected = f"<CondensedCatalog: 4 objects of 2 x 40 draws, {columns} columns>"
    assert repr(catalog) == str(catalog) == expected
    kinds = "kinds light, dominant, footprint, photon"
    assert repr(maps[1]) == f"<Assignment: 4 objects on 36 x 44 pixels, band 'r'; {kinds}>"
