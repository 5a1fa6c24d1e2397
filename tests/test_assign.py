"""Pixel assignment against a direct count, with a small Gaussian renderer."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probcat.assign import Assignment, assign_pixels
from probcat.condensing import CondensedCatalog, condense
from probcat.errors import InputError
from probcat.ownership import FOOTPRINT_SIGMA, KINDS, LIT_SIGMA
from probcat.posterior import posterior_model
from probcat.samples import SHAPE_NAMES, Samples


class GaussianRenderer:
    """Points of width 1.2 px; extended sources wider by their half-light radius."""

    radius = 5

    def stamps(self, x, y, flux, shape, extended):
        col, row = (jnp.round(p).astype(jnp.int32) - self.radius for p in (x, y))
        width = jnp.where(extended, jnp.hypot(1.2, shape[:, 0]), 1.2)[:, None]
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
        "extended": np.broadcast_to(np.arange(num_sources) % 3 == 0, dims).copy(),
    }
    sources |= {name: np.full(dims, np.nan, np.float32) for name in SHAPE_NAMES}
    sources["half_light_radius"][sources["extended"]] = 1.5
    background = rng.normal(5.0, 0.1, dims[:2])
    samples = Samples(sources, {"background": background}).compact()
    return samples


def link_at_random(samples, num_objects, seed=2):
    """Make any one-to-one linking: what is checked holds for each."""
    rng = np.random.default_rng(seed)
    active = samples.sources["active"]
    members = np.full(active.shape, -1, np.int32)
    for chain, draw in np.ndindex(active.shape[:2]):
        slots = np.flatnonzero(active[chain, draw])
        rows = rng.permutation(num_objects)[: slots.size]
        members[chain, draw, slots[: rows.size]] = rows
    return CondensedCatalog({"object_id": np.arange(1, num_objects + 1)}, members, 0.0)


def arguments(samples, chain, draw):
    """Sources of a draw as the renderer takes them."""
    values = {name: np.nan_to_num(v[chain, draw], nan=1.0) for name, v in samples.sources.items()}
    shape = np.stack([values[name] for name in SHAPE_NAMES], axis=-1)
    return values["x"], values["y"], values["flux"], shape, values["extended"], values["active"]


def count_directly(samples, catalog, image, renderer):
    """Compute all maps draw by draw with plain arrays, shape (objects + 1, ny, nx)."""
    weight = image.weight
    sigma = np.where(weight > 0, 1 / np.sqrt(np.where(weight > 0, weight, 1.0)), np.nan)
    sigma = np.where(np.isnan(sigma), np.nanmedian(sigma), sigma)
    size = len(catalog)
    sums = {kind: np.zeros((size + 1, *image.shape)) for kind in KINDS}
    num_lit = np.zeros(image.shape)
    stamps_of = jax.jit(renderer.stamps)
    active = samples.sources["active"]
    for chain, draw in np.ndindex(active.shape[:2]):
        slots = np.flatnonzero(active[chain, draw])
        if not slots.size:
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
        lit = total >= LIT_SIGMA * sigma
        num_lit += lit
        objects = catalog.members[chain, draw, slots]
        loose = np.zeros(image.shape)
        for plane, row in zip(own, objects, strict=True):
            sums["light"][row] += np.where(lit, plane / np.maximum(total, 1e-30), 0.0)
            sums["dominant"][row] += lit & (plane == own.max(axis=0))
            if row < 0:
                loose += plane
            else:
                sums["footprint"][row] += plane > FOOTPRINT_SIGMA * sigma
        sums["footprint"][-1] += loose > FOOTPRINT_SIGMA * sigma
    num_draws = active.shape[0] * active.shape[1]
    sums["light"] /= np.maximum(num_lit, 1)
    return {k: v if k == "light" else v / num_draws for k, v in sums.items()}, num_lit / num_draws


@pytest.mark.parametrize(("num_objects", "max_memory"), [(9, 1024.0), (4, 0.006)])
def test_maps_equal_a_direct_count(num_objects, max_memory):
    image, samples, renderer = make_image(), make_samples(), GaussianRenderer()
    catalog = link_at_random(samples, num_objects)
    assignment = assign_pixels(samples, catalog, image, renderer, max_memory=max_memory)
    expected, _ = count_directly(samples, catalog, image, renderer)
    for kind in KINDS:
        for row, object_id in enumerate(catalog["object_id"]):
            found = assignment.map(object_id, kind, band="r")
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected[kind][row], atol=2e-5)
        np.testing.assert_allclose(assignment.unassigned[kind], expected[kind][-1], atol=2e-5)


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
    assert 0.05 < lit.mean() < 0.95


def test_condensed_stars_own_their_light():
    rng = np.random.default_rng(4)
    dims = (1, 40, 2)
    sources = {
        "x": np.broadcast_to([8.0, 12.0], dims) + 0.01 * rng.normal(size=dims),
        "y": np.full(dims, 10.0),
        "flux": np.broadcast_to([1000.0, 500.0], dims),
        "active": np.ones(dims, bool),
        "extended": np.zeros(dims, bool),
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


def test_unknown_object_kind_or_band_is_refused():
    stamps = {kind: np.ones((1, 3, 3), np.float32) for kind in KINDS}
    blank = {kind: np.zeros((5, 6), np.float32) for kind in KINDS}
    assignment = Assignment(np.array([7]), np.array([[-1, 4]]), stamps, blank, (5, 6), "r")
    expected = np.zeros((5, 6))
    expected[:2, 4:] = 1.0
    np.testing.assert_array_equal(assignment.map(7), expected)
    for arguments, message in (
        ((8,), "no object 8"),
        ((7, "mass"), "kind"),
        ((7, "light", "g"), "band"),
    ):
        with pytest.raises(InputError, match=message):
            assignment.map(*arguments)


def test_catalog_of_other_samples_is_refused():
    catalog = link_at_random(make_samples(), 3)
    with pytest.raises(InputError, match="not the samples"):
        assign_pixels(make_samples(num_draws=5), catalog, make_image(), GaussianRenderer())


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
