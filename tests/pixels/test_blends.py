"""Footprints, blends and flags, on maps made by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from probcat.catalog.condense import condense
from probcat.image.masks import saturated_plane
from probcat.pixels.assignment import KINDS, Assignment
from probcat.pixels.blends import blend_columns, find_footprints, positions
from probcat.pixels.flags import Flag, flag_cards, flag_pixels, flag_run
from probcat.samples.diagnostics import diagnose
from tests.builders import samples_from_draws

SHAPE, SIZE = (20, 60), 9


def make_catalog(places, share=None, num_draws=100):
    """Condense stars at (x, y), the brightest first, in shares of the draws."""
    rng = np.random.default_rng(0)
    share = np.ones(len(places)) if share is None else np.asarray(share)
    draws = []
    for number in range(num_draws):
        draws.append(
            [
                (x + 0.01 * rng.normal(), y + 0.01 * rng.normal(), 1000.0 / (1 + row))
                for row, (x, y) in enumerate(places)
                if (7 * number) % num_draws < share[row] * num_draws
            ]
        )
    samples = samples_from_draws(draws)
    return samples, condense(samples)


def make_maps(catalog, half_width=2):
    """Square footprints about each object; objects share the light of pixels evenly."""
    cover = np.zeros((len(catalog), *SHAPE))
    for row in range(len(catalog)):
        x, y = round(catalog["x"][row]), round(catalog["y"][row])
        rows, columns = (slice(max(c - half_width, 0), c + half_width + 1) for c in (y, x))
        cover[row, rows, columns] = 1.0 if half_width >= 0 else 0.0
    light = cover / np.maximum(cover.sum(axis=0), 1.0)
    origins = np.round(np.stack([catalog["y"], catalog["x"]], 1)).astype(int) - SIZE // 2
    stamps = {kind: np.zeros((len(catalog), SIZE, SIZE), np.float32) for kind in KINDS}
    padded = {"light": np.pad(light, ((0, 0), (SIZE, SIZE), (SIZE, SIZE)))}
    padded["footprint"] = np.pad(cover, ((0, 0), (SIZE, SIZE), (SIZE, SIZE)))
    for row, (y, x) in enumerate(origins + SIZE):
        for kind, values in padded.items():
            stamp = values[row, y : y + SIZE, x : x + SIZE]
            stamps[kind][row] = stamp * catalog["prob_exist"][row]
    blank = {kind: np.zeros(SHAPE, np.float32) for kind in KINDS}
    return Assignment(catalog["object_id"], origins, stamps, blank, SHAPE, "r")


def make_image(fwhm=3.0):
    return SimpleNamespace(
        shape=SHAPE, weight=np.ones(SHAPE), psf=SimpleNamespace(fwhm=fwhm), saturated=None
    )


def columns_of(samples, catalog, half_width=2):
    place = positions(samples, catalog)
    maps = make_maps(catalog, half_width)
    footprints = find_footprints(catalog, maps, make_image(), place)
    return footprints, blend_columns(catalog, footprints, np.full(SHAPE, 2.0))


def test_objects_that_share_pixels_are_a_blend_of_the_brightest():
    samples, catalog = make_catalog([(10, 10), (14, 10), (18, 10), (40, 10)])
    np.testing.assert_allclose(positions(samples, catalog)[:, 0], [10, 14, 18, 40], atol=0.01)
    footprints, found = columns_of(samples, catalog)
    np.testing.assert_array_equal(np.diff(footprints.share.indptr), 25)
    np.testing.assert_array_equal(found["blend_id"], [1, 1, 1, 4])
    # Of 25 pixels an outer object halves 5 with its neighbour, the middle one 10.
    np.testing.assert_allclose(found["blendedness"], [0.1, 0.2, 0.1, 0.0], atol=1e-6)


def test_what_hardly_exists_does_not_join_others():
    samples, catalog = make_catalog([(10, 10), (15, 10), (13, 10)], share=[1.0, 1.0, 0.2])
    _, found = columns_of(samples, catalog)
    np.testing.assert_array_equal(found["blend_id"], [1, 2, 2])
    # Given that it exists, it shares two columns with the one and three with the other.
    assert found["blendedness"][2] == pytest.approx(0.5, abs=1e-6)


def test_object_without_a_footprint_has_its_half_light_area():
    samples, catalog = make_catalog([(10, 10), (40, 10)])
    footprints, found = columns_of(samples, catalog, half_width=-1)
    # Pixels within 1.5 px of the centre of one.
    np.testing.assert_array_equal(np.diff(footprints.share.indptr), [9, 9])
    np.testing.assert_array_equal(found["blend_id"], [1, 2])
    assert ((found["blendedness"] >= 0) & (found["blendedness"] <= 1)).all()


def test_alternatives_are_one_blend():
    rng = np.random.default_rng(1)
    draws = [
        [(10.0 + 0.01 * rng.normal(), 10.0, 900.0)] if number % 2 else [(11.5, 10.0, 500.0)]
        for number in range(100)
    ]
    samples = samples_from_draws(draws)
    _, found = columns_of(samples, condense(samples), half_width=0)
    np.testing.assert_array_equal(found["blend_id"], [1, 1])


def test_empty_catalog_has_empty_columns():
    samples = samples_from_draws([[] for _ in range(6)])
    catalog = condense(samples)
    footprints = find_footprints(catalog, make_maps(catalog), make_image(), np.zeros((0, 2)))
    found = blend_columns(catalog, footprints, np.ones(SHAPE))
    assert len(found["blend_id"]) == len(found["blendedness"]) == 0
    assert len(flag_run(catalog, diagnose(samples))) == 0


def test_flags_of_pixels():
    samples, catalog = make_catalog([(10, 10), (1, 10), (30, 10), (40, 10), (50, 10)])
    place = positions(samples, catalog)
    footprints = find_footprints(catalog, make_maps(catalog), make_image(), place)
    image = make_image()
    image.weight[11, 31] = image.weight[10, 42] = image.weight[10, 53] = 0.0
    image.saturated = np.zeros(SHAPE, bool)
    image.saturated[10, 42] = True
    flags = flag_pixels(footprints, image, place)
    masked = int(Flag.MASKED)
    np.testing.assert_array_equal(flags, [0, Flag.EDGE, masked, masked | int(Flag.SATURATED), 0])
    outside = place + np.array([0.0, 40.0])
    assert (flag_pixels(footprints, make_image(), outside) & Flag.EDGE).all()


@pytest.mark.parametrize(
    ("header", "dtype", "expected"),
    [
        ({"MP_SAT": 3}, np.int32, [0, 1]),
        ({"MP_BAD": 1}, np.int32, [0, 0]),
        ({}, np.int32, [1, 0]),
        ({}, np.uint8, [0, 0]),
    ],
)
def test_saturated_pixels_of_a_mask(header, dtype, expected):
    """By keyword; by HSC's bit 1 in wide integers without keywords; else unknown."""
    mask = np.array([[2, 8]], dtype=dtype)
    np.testing.assert_array_equal(saturated_plane(mask, header), [np.array(expected, bool)])


def test_image_remembers_which_pixels_are_saturated(tmp_path):
    from astropy.io import fits

    from probcat.image.image import Image
    from probcat.psf.psf import PSF

    rng = np.random.default_rng(0)
    data = rng.normal(10.0, 1.0, (30, 30)).astype(np.float32)
    data[12, 7] = 900.0
    mask = np.zeros(data.shape, np.int32)
    mask[3, 4], mask[20, 20] = 2, 1
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI"), fits.ImageHDU(mask, name="MASK")]
    hdus[1].header["SATURATE"] = 500.0
    hdus.append(fits.ImageHDU(np.ones_like(data), name="VAR"))
    fits.HDUList(hdus).writeto(tmp_path / "image.fits")
    image = Image.read(tmp_path / "image.fits", psf=PSF.moffat(3.0, 3.5))
    assert sorted(map(tuple, np.argwhere(image.saturated))) == [(3, 4), (12, 7)]
    assert (image.weight[image.saturated] == 0).all()
    assert image.weight[20, 20] == 0


def test_flags_of_the_run():
    samples, catalog = make_catalog([(10, 10), (30, 10)], share=[1.0, 0.5])
    catalog = catalog.with_columns({"rhat": np.array([1.0, 1.5])})

    def flags_of(**attrs):
        return flag_run(catalog, diagnose(replace(samples, attrs=attrs)))

    full = {"kind": "point", "array": "catalog"}
    early, late = {**full, "draw": 49}, {**full, "draw": 50}
    for grown, expected in (([], 0), ([early], 0), ([early, late], Flag.CAPACITY)):
        flags = flags_of(num_warmup=50, grown=grown)
        np.testing.assert_array_equal(flags & Flag.CAPACITY, int(expected))
        np.testing.assert_array_equal(flags & Flag.CHAINS_DISAGREE > 0, [False, True])
    # Sentences for the reader decide nothing.
    note = "slots of a window for point sources full after 60 draws: enlarged, compiling"
    assert not (flags_of(num_warmup=50, grown=[early], notes=[note]) & Flag.CAPACITY).any()
    assert (flags_of(num_warmup=50, grown=[late], notes=["more room"]) & Flag.CAPACITY).all()
    assert (flags_of() & Flag.NOT_CONVERGED > 0).all() != diagnose(samples).converged


def test_cards_tell_the_meaning_of_every_bit():
    cards = flag_cards()
    for flag in Flag:
        name, meaning = cards[f"FLAG{flag.bit_length() - 1}"]
        assert name == flag.name
        assert f"bit {int(flag)}:" in meaning
        assert len(f"FLAG0   = '{name}' / {meaning}") <= 80
