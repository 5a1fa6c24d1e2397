"""Pixel assignment against a direct count, with a small Gaussian renderer."""

import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.wcs import WCS

from probcat.catalog.catalog import CondensedCatalog
from probcat.catalog.condense import condense
from probcat.errors import InputError
from probcat.pixels.accumulate import FOOTPRINT_SIGMA, LIT_SIGMA, accumulate
from probcat.pixels.assign import assign_pixels
from probcat.pixels.assignment import KINDS, Assignment
from probcat.pixels.combine_bands import combine
from probcat.pixels.fits import read_assignment, write_assignment
from probcat.pixels.model_image import default_renderer, posterior_model
from probcat.pixels.noise import pixel_noise
from probcat.pixels.run_lengths import encode_mask
from probcat.samples.samples import SHAPE_NAMES, Samples


class GaussianRenderer(NamedTuple):
    """Points of a width in pixels; extended sources wider by their half-light radius."""

    width: float = 1.2

    radius = 5

    def stamps(self, x, y, flux, shape, extended):
        col, row = (jnp.round(p).astype(jnp.int32) - self.radius for p in (x, y))
        width = jnp.where(extended, jnp.hypot(self.width, shape[:, 0]), self.width)[:, None]
        pixels = jnp.arange(2 * self.radius + 1)

        def profile(position, start):
            at = (start[:, None] + pixels[None, :]).astype(jnp.float32)
            return jnp.exp(-0.5 * ((at - position[:, None]) / width) ** 2)

        stamps = profile(y, row)[:, :, None] * profile(x, col)[:, None, :]
        # A ring below zero, as ringing of a real PSF leaves it.
        stamps = jnp.where(stamps < 1e-4, -1e-4, stamps)
        return (flux / (2 * jnp.pi * width[:, 0] ** 2))[:, None, None] * stamps, row, col

    def image(self, x, y, flux, shape, extended, active, image_shape):
        stamps, row, col = self.stamps(x, y, jnp.where(active, flux, 0.0), shape, extended)
        step = jnp.arange(stamps.shape[1])
        rows = row[:, None, None] + step[None, :, None] + 50
        cols = col[:, None, None] + step[None, None, :] + 50
        canvas = jnp.zeros((image_shape[0] + 100, image_shape[1] + 100))
        return canvas.at[rows, cols].add(stamps)[50:-50, 50:-50]


def make_image(shape=(24, 30), sigma=1.0, seed=0):
    rng = np.random.default_rng(seed)
    variance = (sigma**2 * rng.uniform(0.5, 2.0, shape)).astype(np.float32)
    weight = 1.0 / variance
    weight[3, 4] = 0.0
    data = rng.normal(size=shape).astype(np.float32)
    return SimpleNamespace(
        shape=shape, weight=weight, clean_data=data, band="r", photon_variance=0.0
    )


def make_samples(num_draws=12, num_sources=7, shape=(24, 30), seed=1):
    """Sources that wander around fixed places, some outside the image, some galaxies."""
    rng = np.random.default_rng(seed)
    dims = (2, num_draws, num_sources)
    place = rng.uniform([-3, -3], [shape[1] + 2, shape[0] + 2], (num_sources, 2))
    sources = {
        "x": (place[:, 0] + rng.uniform(-0.9, 0.9, dims)).astype(np.float32),
        "y": (place[:, 1] + rng.uniform(-0.9, 0.9, dims)).astype(np.float32),
        "flux": rng.uniform(20, 400, dims).astype(np.float32),
        "active": rng.random(dims) < 0.8,
        "is_extended": np.broadcast_to(np.arange(num_sources) % 3 == 0, dims).copy(),
    }
    sources |= {name: np.full(dims, np.nan, np.float32) for name in SHAPE_NAMES}
    sources["half_light_radius"][sources["is_extended"]] = 1.5
    background = rng.normal(0.5, 1.0, dims[:2])
    samples = Samples(sources, {"background": background}).compact()
    return samples


def link_at_random(samples, num_objects, seed=2, substructure=False):
    """Make any one-to-one linking, with any parts: what is checked holds for each."""
    rng = np.random.default_rng(seed)
    active = samples.sources["active"]
    members = np.full(active.shape, -1, np.int32)
    for chain, draw in np.ndindex(active.shape[:2]):
        slots = np.flatnonzero(active[chain, draw])
        rows = rng.permutation(num_objects)[: slots.size]
        members[chain, draw, slots[: rows.size]] = rows
    part_of = None
    if substructure:
        part_of = np.full(active.shape, -1, np.int32)
        for chain, draw in np.ndindex(active.shape[:2]):
            slots = rng.permutation(np.flatnonzero(active[chain, draw]))
            part_of[chain, draw, slots[3:]] = rng.choice(slots[:3], len(slots[3:]))
        members[part_of >= 0] = -1
    columns = {"object_id": np.arange(1, num_objects + 1)}
    return CondensedCatalog(columns, members, 0.0, part_of=part_of)


def arguments(samples, chain, draw):
    """Sources of a draw as the renderer takes them."""
    values = {name: np.nan_to_num(v[chain, draw], nan=1.0) for name, v in samples.sources.items()}
    shape = np.stack([values[name] for name in SHAPE_NAMES], axis=-1)
    return values["x"], values["y"], values["flux"], shape, values["is_extended"], values["active"]


def count_directly(samples, catalog, image, renderer):
    """Compute all maps draw by draw with plain arrays, shape (objects + 1, ny, nx).

    The background's share of the photons comes under its own name, the light under "total".
    """
    weight = image.weight
    sigma = np.where(weight > 0, 1 / np.sqrt(np.where(weight > 0, weight, 1.0)), np.nan)
    sigma = np.where(np.isnan(sigma), np.nanmedian(sigma), sigma)
    size = len(catalog)
    sums = {kind: np.zeros((size + 1, *image.shape)) for kind in KINDS}
    sums |= {"background": np.zeros(image.shape), "total": np.zeros(image.shape)}
    num_lit = np.zeros(image.shape)
    stamps_of = jax.jit(renderer.stamps)
    active = samples.sources["active"]
    for chain, draw in np.ndindex(active.shape[:2]):
        slots = np.flatnonzero(active[chain, draw])
        sky = max(samples.scalars["background"][chain, draw], 0.0)
        if not slots.size:
            sums["background"] += 1.0
            continue
        own = []
        stamps, rows, cols = map(np.asarray, stamps_of(*arguments(samples, chain, draw)[:5]))
        for slot in slots:
            plane = np.zeros(image.shape)
            for i, j in np.ndindex(stamps.shape[1:]):
                at = rows[slot] + i, cols[slot] + j
                if 0 <= at[0] < image.shape[0] and 0 <= at[1] < image.shape[1]:
                    plane[at] = max(stamps[slot, i, j], 0.0)
            own.append(plane)
        own = np.array(own)
        total = own.sum(axis=0)
        photons = total + sky
        with np.errstate(invalid="ignore"):
            sums["background"] += np.where(photons > 0, sky / photons, 1.0)
            shares = np.where(photons > 0, own / photons, 0.0)
        sums["total"] += total
        lit = total >= LIT_SIGMA * sigma
        num_lit += lit
        objects = catalog.owners[chain, draw, slots]
        together = np.zeros((size + 1, *image.shape))
        for plane, share, row in zip(own, shares, objects, strict=True):
            sums["photon"][row] += share
            sums["light"][row] += np.where(lit, plane / np.maximum(total, 1e-30), 0.0)
            sums["dominant"][row] += lit & (plane == own.max(axis=0))
            together[row] += plane
        sums["footprint"] += together > FOOTPRINT_SIGMA * sigma
    num_draws = active.shape[0] * active.shape[1]
    sums["light"] /= np.maximum(num_lit, 1)
    return {k: v if k == "light" else v / num_draws for k, v in sums.items()}, num_lit / num_draws


@pytest.mark.parametrize(
    ("num_objects", "max_memory", "parts"),
    [(9, 1024.0, False), (4, 0.006, False), (4, 0.006, True)],
)
def test_maps_equal_a_direct_count(num_objects, max_memory, parts):
    image, samples, renderer = make_image(), make_samples(), GaussianRenderer()
    catalog = link_at_random(samples, num_objects, substructure=parts)
    assignment = assign_pixels(samples, catalog, image, renderer, max_memory=max_memory)
    expected, _ = count_directly(samples, catalog, image, renderer)
    for kind in KINDS:
        for row, object_id in enumerate(catalog["object_id"]):
            found = assignment.map(object_id, kind)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected[kind][row], atol=2e-5)
        np.testing.assert_allclose(assignment.unassigned[kind], expected[kind][-1], atol=2e-5)
    np.testing.assert_allclose(assignment.background, expected["background"], atol=2e-5)
    snr_squared = expected["total"] ** 2 * image.weight
    np.testing.assert_allclose(assignment.snr_squared, snr_squared, rtol=1e-4, atol=1e-6)
    assert assignment.snr_squared[3, 4] == 0.0
    assert 0.05 < assignment.background.mean() < 0.95


def test_shares_sum_to_one_where_there_is_light():
    image, samples, renderer = make_image(), make_samples(), GaussianRenderer()
    catalog = link_at_random(samples, 5)
    assignment = assign_pixels(samples, catalog, image, renderer)
    _, lit = count_directly(samples, catalog, image, renderer)
    light, dominant = (
        assignment.unassigned[kind] + sum(assignment.map(i, kind) for i in assignment.object_ids)
        for kind in ("light", "dominant")
    )
    np.testing.assert_allclose(light, lit > 0, atol=1e-5)
    np.testing.assert_allclose(dominant, lit, atol=1e-5)
    photon = assignment.unassigned["photon"].astype(float) + assignment.background
    photon += sum(assignment.map(i, "photon").astype(float) for i in assignment.object_ids)
    np.testing.assert_allclose(photon, 1.0, atol=1e-6)
    assert assignment.background.min() >= 0.0
    assert 0.05 < lit.mean() < 0.95


def test_condensed_stars_own_their_light():
    rng = np.random.default_rng(4)
    dims = (1, 40, 2)
    sources = {
        "x": np.broadcast_to([8.0, 12.0], dims) + 0.01 * rng.normal(size=dims),
        "y": np.full(dims, 10.0),
        "flux": np.broadcast_to([1000.0, 500.0], dims),
        "active": np.ones(dims, bool),
        "is_extended": np.zeros(dims, bool),
    }
    samples = Samples(sources | {name: np.full(dims, np.nan) for name in SHAPE_NAMES})
    catalog = condense(samples)
    assert len(catalog) == 2
    assignment = assign_pixels(samples, catalog, make_image(), GaussianRenderer())
    assert assignment.map(1)[10, 8] > 0.99
    assert assignment.map(2)[10, 12] > 0.98
    assert assignment.map(1, "dominant")[10, 8] == 1.0
    assert assignment.map(2, "footprint")[10, 12] == 1.0
    middle = [assignment.map(i)[10, 10] for i in (1, 2)]
    assert middle[0] == pytest.approx(2 / 3, abs=0.01)
    assert sum(middle) == pytest.approx(1.0, abs=1e-5)


def test_samples_without_sources_give_empty_maps():
    samples = make_samples()
    dark = {**samples.sources, "active": np.zeros_like(samples.sources["active"])}
    samples = Samples(dark, samples.scalars)
    catalog = condense(samples)
    assignment = assign_pixels(samples, catalog, make_image(), GaussianRenderer())
    assert assignment.stamps["light"].shape[0] == 0
    assert not assignment.unassigned["light"].any()
    np.testing.assert_array_equal(assignment.background, 1.0)


def test_unknown_object_or_kind_is_refused():
    stamps = {kind: np.ones((1, 3, 3), np.float32) for kind in KINDS}
    blank = {kind: np.zeros((5, 6), np.float32) for kind in KINDS}
    assignment = Assignment(np.array([7]), np.array([[-1, 4]]), stamps, blank, (5, 6), "r")
    expected = np.zeros((5, 6))
    expected[:2, 4:] = 1.0
    np.testing.assert_array_equal(assignment.map(7), expected)
    for arguments, message in (
        ((8,), "no object 8"),
        ((7, "mass"), "kind"),
    ):
        with pytest.raises(InputError, match=message):
            assignment.map(*arguments)


def test_catalog_of_other_samples_is_refused():
    catalog = link_at_random(make_samples(), 3)
    with pytest.raises(InputError, match="not the samples"):
        assign_pixels(make_samples(num_draws=5), catalog, make_image(), GaussianRenderer())


def test_sky_that_was_taken_off_owns_photons():
    image, samples, renderer = make_image(), make_samples(), GaussianRenderer()
    catalog = link_at_random(samples, 5)
    shares = [
        assign_pixels(samples, catalog, image, renderer, subtracted_sky=sky).background
        for sky in (0.0, 1e3, np.full(image.shape, 1e3))
    ]
    assert shares[0].min() < 0.3
    assert shares[1].min() > 0.9
    np.testing.assert_array_equal(shares[1], shares[2])
    for sky, message in ((np.ones(3), "shape"), (np.nan, "finite")):
        with pytest.raises(InputError, match=message):
            assign_pixels(samples, catalog, image, renderer, subtracted_sky=sky)


@pytest.mark.parametrize("kind", ["noise_scale", "psf_error_floor", "fixed_error", "photons"])
def test_noise_of_maps_is_that_of_the_residuals(kind):
    """With the noise of the residuals as that of the image, all maps are the same."""
    image, samples, renderer = make_image(), make_samples(), GaussianRenderer()
    catalog = link_at_random(samples, 5)
    plain = assign_pixels(samples, catalog, image, renderer)
    sampled = {"noise_scale": 2.0, "psf_error_floor": 0.4}.get(kind)
    if sampled is not None:
        scalars = {**samples.scalars, kind: np.full((2, samples.num_draws), sampled)}
        noisy, image_of = replace(samples, scalars=scalars), image
    elif kind == "fixed_error":
        noisy, image_of = replace(samples, attrs={"psf_error_floor": 0.4}), image
    else:
        noisy, image_of = samples, SimpleNamespace(**{**vars(image), "photon_variance": 3.0})
    model = posterior_model(noisy, image_of, renderer)
    good = image.weight > 0
    noise = np.ones(image.shape)
    noise[good] = ((image.clean_data - model.mean) / model.residual)[good]
    assert np.sqrt(image.weight[good]) @ noise[good] > 1.1 * good.sum()
    found = assign_pixels(noisy, catalog, image_of, renderer)
    weight = np.where(good, 1.0 / noise**2, 0.0).astype(np.float32)
    expected = assign_pixels(
        samples, catalog, SimpleNamespace(**{**vars(image), "weight": weight}), renderer
    )
    np.testing.assert_allclose(found.snr_squared, expected.snr_squared, rtol=2e-4, atol=1e-6)
    for name in KINDS:
        np.testing.assert_allclose(found.stamps[name], expected.stamps[name], atol=1e-5)
    areas = [one.stamps["footprint"].sum() for one in (plain, found)]
    assert areas[1] < 0.95 * areas[0]
    bright = plain.snr_squared > 25.0
    assert (found.snr_squared[bright] < 0.8 * plain.snr_squared[bright]).all()
    if kind == "noise_scale":
        np.testing.assert_allclose(found.snr_squared, plain.snr_squared / 4.0, rtol=1e-5)


def test_sampled_width_of_the_psf_is_that_of_the_renderer():
    from probcat.psf.psf import PSF

    samples = make_samples()
    widths = {"x": 0.1, "y": -0.05}
    scalars = {
        f"psf_width_change_{axis}": np.full((2, samples.num_draws), value)
        for axis, value in widths.items()
    }
    image = SimpleNamespace(psf=PSF.moffat(3.0, 3.5))
    renderer = default_renderer(replace(samples, scalars={**samples.scalars, **scalars}), image)
    np.testing.assert_allclose(renderer.point_tables.width, [0.1, -0.05], rtol=1e-6)
    assert not np.any(default_renderer(samples, image).point_tables.width)


def test_noise_without_samples_is_that_of_the_weights():
    image = make_image()
    good = image.weight > 0
    found = pixel_noise(image)
    np.testing.assert_allclose(found[good], image.weight[good] ** -0.5, rtol=1e-6)
    assert found[3, 4] == np.median(found[good])
    image.weight[:] = 0.0
    assert np.isinf(pixel_noise(image)).all()


def test_many_scenes_share_one_program():
    renderer, image = GaussianRenderer(), make_image()
    for seed in range(3):
        samples = make_samples(num_sources=6 + seed % 2, seed=seed + 10)
        size = accumulate._cache_size()
        assign_pixels(samples, condense(samples, radius=3.0, min_prob=0.3), image, renderer)
        assert accumulate._cache_size() <= size + (seed == 0)


def two_objects(band="r", snr_squared=None, kinds=KINDS, at=(2, 2), values=(0.6, 0.3), wcs=None):
    """Two objects side by side on an image of 6 x 9 pixels; the second reaches beyond it."""
    stamps = {kind: np.zeros((2, 3, 3), np.float32) for kind in kinds}
    for kind in kinds:
        stamps[kind][0], stamps[kind][1] = values
    rest = {kind: np.full((6, 9), 0.1, np.float32) for kind in kinds}
    origins = np.array([at, (4, 7)])
    made = Assignment(np.array([4, 9]), origins, stamps, rest, (6, 9), band, wcs=wcs)
    background = 1.0 - sum((made.map(i, "photon") for i in (4, 9)), rest["photon"])
    snr_squared = np.ones((6, 9)) if snr_squared is None else snr_squared
    return replace(made, background=background, snr_squared=snr_squared)


def make_wcs(shift=0.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [3.0 + shift, 2.0]
    wcs.wcs.cd = np.array([[-1e-4, 2e-5], [2e-5, 1e-4]])
    return wcs


def test_stamps_have_the_coordinates_of_their_pixels():
    assignment = two_objects(wcs=make_wcs())
    stamp = assignment.stamp(9)
    assert stamp.meta == {"object_id": 9, "kind": "light", "band": "r", "origin": (4, 7)}
    np.testing.assert_array_equal(stamp.data[:2, :2], np.float32(0.3))
    assert stamp.data[2].max() == stamp.data[:, 2].max() == 0.0
    sky = stamp.wcs.pixel_to_world_values(1.5, 0.5)
    np.testing.assert_allclose(sky, make_wcs().pixel_to_world_values(8.5, 4.5), rtol=1e-12)
    assert two_objects().stamp(4, "photon").wcs is None
    with pytest.raises(InputError, match="kind"):
        assignment.stamp(9, "mass")


def test_labels_give_each_pixel_to_the_largest_share():
    assignment = two_objects(at=(3, 5))
    labels = assignment.to_labels()
    expected = np.zeros((6, 9), int)
    expected[3:, 5:8] = 4
    np.testing.assert_array_equal(labels, expected)
    expected[4:, 8] = 9
    np.testing.assert_array_equal(assignment.to_labels(min_footprint=0.2), expected)
    # The background holds 0.6 of the photons beside the first object.
    np.testing.assert_array_equal(
        assignment.to_labels("photon", min_footprint=0.0), np.where(expected == 9, 0, expected)
    )
    assert not assignment.to_labels(threshold=0.7).any()
    unassigned = {kind: np.full((6, 9), 0.5, np.float32) for kind in KINDS}
    shy = replace(assignment, unassigned=unassigned).to_labels(min_footprint=0.0)
    assert set(np.unique(shy)) == {0, 4}
    for options in ({"threshold": -0.1}, {"min_footprint": 2.0}, {"kind": "mass"}):
        with pytest.raises(InputError):
            assignment.to_labels(**options)


def test_labels_are_a_segmentation_image():
    pytest.importorskip("photutils")
    segmentation = two_objects().to_segmentation(min_footprint=0.0)
    assert segmentation.labels.tolist() == [4, 9]
    assert segmentation.areas.tolist() == [9, 4]


def decode(rle):
    """Read COCO's run lengths as its documentation has them."""
    runs, place = [], 0
    text = rle["counts"].encode()
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            group = text[place] - 48
            value |= (group & 0x1F) << (5 * shift)
            more, place, shift = bool(group & 0x20), place + 1, shift + 1
            if not more and group & 0x10:
                value |= -1 << (5 * shift)
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    flat = np.repeat(np.arange(len(runs)) % 2, runs)
    return flat.reshape(rle["size"], order="F").astype(bool)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_run_lengths_decode_to_the_mask(share):
    mask = np.random.default_rng(5).random((61, 83)) < share
    rle = encode_mask(mask)
    assert rle["size"] == [61, 83]
    np.testing.assert_array_equal(decode(rle), mask)


def test_run_lengths_are_those_of_coco():
    coco = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(6).random((40, 70)) < 0.3
    mask[:, 20:50] = True
    ours, theirs = encode_mask(mask), coco.encode(np.asfortranarray(mask, np.uint8))
    assert ours["counts"].encode() == theirs["counts"]
    masks = two_objects().to_coco(0.5)
    assert list(masks) == [4, 9]
    with warnings.catch_warnings():
        # What it makes of numpy 2.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = coco.decode(masks[4])
    np.testing.assert_array_equal(found, two_objects().map(4, "footprint") > 0.5)
    assert coco.area(masks[9]) == 0


def test_bands_count_by_their_information():
    known = np.full((6, 9), 3.0)
    known[:, :4] = 0.0
    first = two_objects("r", known, values=(0.6, 0.3))
    second = two_objects("i", np.ones((6, 9)), at=(1, 3), values=(0.5, 0.7))
    both = combine([first, second])
    assert both.band == "r+i"
    np.testing.assert_array_equal(both.snr_squared, known + 1.0)
    for kind in ("dominant", "footprint", "photon"):
        for object_id in (4, 9):
            maps = first.map(object_id, kind), second.map(object_id, kind)
            expected = np.where(known > 0, 0.75 * maps[0] + 0.25 * maps[1], maps[1])
            np.testing.assert_allclose(both.map(object_id, kind), expected, atol=1e-6)
    photon = both.background + both.unassigned["photon"]
    photon = photon + both.map(4, "photon") + both.map(9, "photon")
    np.testing.assert_allclose(photon, 1.0, atol=1e-6)
    # Light counts only where more than half of it is shared out: there in one band alone.
    assert both.map(4)[1, 5] == pytest.approx(0.5)
    assert both.map(4, "photon")[1, 5] == pytest.approx(0.25 * 0.5)
    assert both.map(9)[5, 8] == pytest.approx(0.7)
    alike = combine([first, second], weights=[1.0, 1.0], band="all")
    assert alike.map(9, "photon")[5, 8] == pytest.approx(0.5)
    assert alike.band == "all"
    np.testing.assert_allclose(combine([first]).map(9, "footprint"), first.map(9, "footprint"))


def test_bands_that_do_not_go_together_are_refused():
    one = two_objects(wcs=make_wcs())
    other_objects = replace(one, object_ids=np.array([1, 2]))
    for bands, weights, message in (
        ([], None, "no assignments"),
        ([one, other_objects], None, "different objects"),
        ([one, replace(one, shape=(9, 9))], None, "one pixel grid"),
        ([one, two_objects(wcs=make_wcs(0.3))], None, "0.30 px apart"),
        ([one, replace(one, snr_squared=None)], None, "no snr_squared; give weights"),
        ([one, one], [1.0], "1 weights"),
        ([one, one], [1.0, -1.0], "not negative"),
        ([one, one], [1.0, np.ones(3)], "shape"),
    ):
        with pytest.raises(InputError, match=message):
            combine(bands, weights)


@pytest.mark.parametrize("full", [True, False])
def test_all_kinds_come_back_from_a_file(tmp_path, full):
    made = two_objects(wcs=make_wcs())
    if not full:
        # As the first version wrote them.
        made = two_objects(kinds=KINDS)
        kinds = {name: getattr(made, name) for name in ("stamps", "unassigned")}
        kinds = {n: {k: v for k, v in m.items() if k != "photon"} for n, m in kinds.items()}
        made = replace(made, background=None, snr_squared=None, **kinds)
    write_assignment(tmp_path / "assignment.fits", made)
    back = read_assignment(tmp_path / "assignment.fits")
    assert list(back.stamps) == list(made.stamps)
    assert (back.wcs is not None) == (back.background is not None) == full
    if full:
        np.testing.assert_array_equal(back.map(9, "photon"), made.map(9, "photon"))
        for name in ("background", "snr_squared"):
            np.testing.assert_array_equal(getattr(back, name), getattr(made, name).astype("f4"))
        sky = back.wcs.pixel_to_world_values(8.0, 5.0)
        np.testing.assert_allclose(sky, make_wcs().pixel_to_world_values(8.0, 5.0), rtol=1e-12)


def test_posterior_model_is_the_mean_over_draws():
    image, samples, renderer = make_image(), make_samples(), GaussianRenderer()
    model = posterior_model(samples, image, renderer)
    image_of = jax.jit(lambda *sources: renderer.image(*sources, image.shape))
    images = []
    for chain, draw in np.ndindex(samples.num_chains, samples.num_draws):
        rendered = image_of(*arguments(samples, chain, draw))
        images.append(np.asarray(rendered) + samples.scalars["background"][chain, draw])
    np.testing.assert_allclose(model.mean, np.mean(images, axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.std, np.std(images, axis=0), rtol=1e-3, atol=1e-3)
    assert np.isnan(model.residual[3, 4])
    expected = (image.clean_data - model.mean) * np.sqrt(image.weight)
    np.testing.assert_allclose(model.residual[5:], expected[5:], rtol=1e-4, atol=1e-5)
