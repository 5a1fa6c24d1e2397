"""A PSF that varies over the image: its tables, its use in the sampler, exactness."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat import Image, InputError, VaryingPSF
from probcat.model.extended_sources import extended_image, extended_tables
from probcat.model.point_sources import point_patch, points_image
from probcat.model.renderer import Renderer
from probcat.model.simulate import render_light
from probcat.psf.position_weights import bilinear, polynomial, weights
from probcat.sampler.geometry.membership import store_members
from probcat.sampler.geometry.tiling import Sources, add
from probcat.sampler.moves import MOVES
from probcat.sampler.residual import fresh_residual
from probcat.sampler.scene.render import render, render_points
from probcat.sampler.state import initial_state
from probcat.sampler.sweep import Placement
from probcat.sampler.window.batching import group_images
from probcat.sampler.window.light import unit_image, unstack
from probcat.sampler.window.structures import FLUX, POINT
from tests.sampler.exactness.harness import (
    EXTENDED_RADIUS,
    SHAPE,
    advance,
    compare_with_prior,
    exact_state,
    make_joint,
    make_layout,
    make_prior,
    make_scene,
    make_varying_psf,
)

# 30 p values at most: a false alarm has probability 1e-5.
LEAST_P = 1e-5 / 30
FRAME = (60, 80)


@pytest.fixture(scope="module")
def psf():
    return make_varying_psf(FRAME)


@pytest.fixture(scope="module")
def tables(psf):
    return psf.point_tables(tolerance=1e-3)


def positions():
    return [(-3.0, 20.0), (3.3, 4.2), (41.0, 30.0), (70.7, 10.1), (20.5, 58.9), (90.0, 59.0)]


def test_weights_are_polynomials_or_interpolate_between_nodes():
    grid = bilinear([0.0, 10.0, 30.0], [5.0, 6.0])
    nodes = [(x, y) for y in (5.0, 6.0) for x in (0.0, 10.0, 30.0)]
    found = [weights(grid, np.array(node)) for node in nodes]
    np.testing.assert_allclose(found, np.eye(6), atol=1e-14)
    expected = np.array([0.0, 0.15, 0.05, 0.0, 0.6, 0.2])
    np.testing.assert_allclose(weights(grid, np.array([15.0, 5.8])), expected, atol=1e-14)
    beyond = weights(grid, np.array([-7.0, 9.0]))
    np.testing.assert_allclose(beyond, np.eye(6)[3], atol=1e-14)
    single = weights(grid.single(), jnp.asarray([15.0, 5.8], jnp.float32))
    np.testing.assert_allclose(single, expected, atol=1e-6)

    coefficients = np.zeros((2, 3, 2))
    coefficients[0, 0], coefficients[1, 2] = [1.0, 0.0], [0.0, 4.0]
    surface = polynomial(coefficients, (50.0, 10.0), (50.0, 10.0), (0.0, 0.0), (100.0, 20.0))
    raw = np.array([1.0, 4.0 * 0.5 * 0.2**2])
    np.testing.assert_allclose(weights(surface, np.array([60.0, 15.0])), raw / raw.sum())
    moved = surface.moved((40.0, 3.0))
    np.testing.assert_allclose(weights(moved, np.array([20.0, 12.0])), raw / raw.sum())


def test_the_psf_is_interpolated_and_sums_to_one_everywhere(psf):
    assert any("FWHM 2." in note and "to 3." in note for note in psf.notes)
    corner, middle = psf.at(0.0, 59.0), psf.at(39.5, 59.0)
    other = psf.at(79.0, 59.0)
    np.testing.assert_allclose(middle.pixels, 0.5 * (corner.pixels + other.pixels), atol=1e-6)
    assert corner.fwhm > 1.2 * psf.at(0.0, 0.0).fwhm
    assert psf.at(-20.0, 70.0).pixels == pytest.approx(corner.pixels)
    for x, y in positions():
        assert psf.at(x, y).pixels.sum() == pytest.approx(4.0, abs=1e-12)
    # The mean over the image sets scales.
    assert psf.at(39.5, 29.5).fwhm == pytest.approx(psf.fwhm, rel=0.05)


def test_a_varying_psf_is_described_in_one_line(psf):
    assert repr(psf) == (
        f"<VaryingPSF shape={psf.pixels.shape}, oversampling=2, FWHM={psf.fwhm:.2f} px, "
        f"{len(psf.components)} components>"
    )


def test_components_of_any_sum_are_normalised():
    x, y = np.meshgrid(np.arange(-8.0, 9.0), np.arange(-8.0, 9.0))
    round_one, wide = (np.exp(-0.5 * (x**2 + y**2) / s**2) for s in (1.4, 2.0))
    coefficients = np.zeros((1, 2, 2))
    coefficients[0, 0, 0], coefficients[0, 1, 1] = 3.0, 0.4
    variation = polynomial(coefficients, (10.0, 0.0), (10.0, 1.0), (0.0, 0.0), (20.0, 20.0))
    psf = VaryingPSF.from_components([round_one, wide], variation)
    expected = 3.0 * round_one + 0.4 * 0.7 * wide
    local = psf.at(17.0, 5.0).pixels
    assert local.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(local, expected / expected.sum(), atol=1e-4 * local.max())
    with pytest.raises(InputError, match=r"no positive sum at pixel \(0, 10\)"):
        VaryingPSF.from_components([round_one, 20.0 * wide], variation)
    with pytest.raises(InputError, match="they must be 2 arrays"):
        VaryingPSF.from_components([round_one], variation)
    with pytest.raises(InputError, match="nodes of a grid of PSFs must be increasing"):
        VaryingPSF.from_grid([3.0, 2.0], [0.0], [[wide, wide]])
    with pytest.raises(InputError, match=r"for a grid of 1 x 2 nodes"):
        VaryingPSF.from_grid([2.0, 3.0], [0.0], [[wide]])


def test_a_cut_out_image_has_the_psf_of_its_position(psf):
    cut = psf.in_frame((50, 20), (10, 12))
    np.testing.assert_allclose(
        cut.at(4.0, 5.0).pixels, psf.at(54.0, 25.0).pixels, atol=2e-4 * psf.peak
    )
    # Beyond the image the PSF is that at its border.
    np.testing.assert_allclose(cut.at(40.0, 5.0).pixels, cut.at(11.5, 5.0).pixels)
    far = psf.in_frame((500, 300), (10, 12))
    assert far.variation is None
    assert any("beyond its own field" in note for note in far.notes)
    np.testing.assert_allclose(far.pixels, psf.at(79.0, 59.0).pixels, atol=1e-6)
    image = Image.from_arrays(np.ones((10, 12)), np.ones((10, 12)), psf=psf, psf_origin=(50, 20))
    np.testing.assert_allclose(image.psf.pixels, cut.pixels)
    assert any("PSF: varies over the image" in note for note in image.notes)


def test_point_tables_meet_the_tolerance_at_all_positions(psf, tables):
    assert psf.table_error(tables) <= 1e-3
    assert psf.at(0.0, 0.0).point_tables().rows.shape[1] <= tables.rows.shape[1] <= 8
    pixels, x, y = np.arange(24.0), 11.3, 12.2
    render_patch = jax.jit(point_patch, static_argnums=3)
    for position in positions():
        truth = psf.at(*position).evaluate_grid(pixels - x, pixels - y)
        found = render_patch(
            tables, jnp.float32(x), jnp.float32(y), 24, jnp.asarray(position, jnp.float32)
        )
        assert np.abs(found - truth).max() < 1e-3 * psf.peak
    mean = render_patch(tables.mean, jnp.float32(x), jnp.float32(y), 24)
    assert np.abs(mean - psf.evaluate_grid(pixels - x, pixels - y)).max() < 1e-3 * psf.peak
    assert np.abs(mean - truth).max() > 0.05 * psf.peak
    with pytest.raises(ValueError, match="needs to know where"):
        render_patch(tables, jnp.float32(x), jnp.float32(y), 24)


def test_the_image_of_points_has_the_gradient_of_finite_differences(tables):
    """In the gradient a source moves with the PSF of its fixed position."""
    keys = jax.random.split(jax.random.key(0), 4)
    x, y = jax.random.uniform(keys[0], (2, 5), minval=7.0, maxval=17.0)
    flux = jax.random.uniform(keys[1], (5,), minval=1.0, maxval=3.0)
    position = jax.random.uniform(keys[2], (5, 2), minval=0.0, maxval=60.0)
    weight = jax.random.normal(keys[3], (24, 24))
    patches = jax.vmap(lambda x, y, position: point_patch(tables, x, y, 24, position))(
        x, y, position
    )
    image = points_image(tables, x, y, flux, 24, position)
    np.testing.assert_allclose(image, jnp.tensordot(flux, patches, 1), atol=1e-6)

    @jax.jit
    def projected(columns):
        return jnp.sum(weight * points_image(tables, *columns, 24, position))

    columns = jnp.stack([x, y, flux])
    gradient = np.asarray(jax.jit(jax.grad(projected))(columns))
    steps = 1e-2 * np.eye(columns.size, dtype=np.float32).reshape(-1, *columns.shape)
    slopes = [float(projected(columns + s) - projected(columns - s)) / 2e-2 for s in steps]
    np.testing.assert_allclose(gradient.ravel(), slopes, atol=2e-3)


def test_an_extended_source_has_the_psf_of_its_position(psf):
    varying = extended_tables(psf, 48)
    shape = jnp.asarray([1.5, 0.2, -0.1, 1.3], jnp.float32)
    render_galaxy = jax.jit(
        lambda t: extended_image(t, jnp.float32(23.4), jnp.float32(24.1), shape)
    )
    for position in positions():
        truth = np.asarray(render_galaxy(extended_tables(psf.at(*position), 48)))
        found = np.asarray(render_galaxy(varying.at(jnp.asarray(position, jnp.float32))))
        assert np.abs(found - truth).max() < 1e-3 * truth.max()
    mean = render_galaxy(varying)
    assert np.abs(mean - truth).max() > 0.02 * truth.max()


def test_the_simulation_the_sampler_and_the_renderer_agree():
    """Light as it is simulated, as the sampler renders it, and as samples are rendered."""
    psf = make_varying_psf()
    sources = {
        "x": np.array([2.2, 16.4, 10.0, 18.1, 4.0]),
        "y": np.array([3.1, 2.7, 9.2, 15.5, 13.0]),
        "flux": np.array([500.0, 800.0, 300.0, 600.0, 400.0]),
        "is_extended": np.array([False, False, True, False, True]),
        "half_light_radius": np.array([np.nan, np.nan, 1.4, np.nan, 0.8]),
        "ellipticity_1": np.array([np.nan, np.nan, 0.2, np.nan, -0.1]),
        "ellipticity_2": np.array([np.nan, np.nan, 0.1, np.nan, 0.3]),
        "sersic_n": np.array([np.nan, np.nan, 1.2, np.nan, 2.0]),
    }
    light = render_light(sources, psf, SHAPE).sum(axis=0)
    layout = make_layout(["birth_death_point"], 0, 1)
    scene = make_scene(layout, make_prior(), 0.07, psf=psf)
    shapes = [sources[name] for name in list(sources)[4:]]
    marks = np.stack([sources["x"], sources["y"], sources["flux"], *shapes], axis=1)
    pixel = np.round(marks[:, :2])
    marks[:, :2] -= pixel
    pixel = jnp.asarray(pixel + layout.pad, jnp.int32)
    kept = sources["is_extended"][:, None]
    points = Sources(pixel, jnp.asarray(np.where(kept, 0.0, marks)[:, :3], jnp.float32))
    extended = Sources(pixel, jnp.asarray(np.where(kept, marks, 0.0), jnp.float32))
    (image,) = render(scene, layout, points, extended, EXTENDED_RADIUS)
    rendered = np.asarray(image)[layout.pad : -layout.pad, layout.pad : -layout.pad]

    renderer = Renderer.from_psf(psf, extended_radius=EXTENDED_RADIUS)
    columns = [jnp.asarray(sources[name], jnp.float32) for name in ("x", "y", "flux")]
    shape = np.where(kept, np.stack(shapes, axis=1), np.array([1.0, 0.0, 0.0, 1.0]))
    shape, is_extended = jnp.asarray(shape, jnp.float32), jnp.asarray(sources["is_extended"])
    found = renderer.image(*columns, shape, is_extended, jnp.ones(5, bool), SHAPE)
    np.testing.assert_allclose(found, rendered, atol=1e-4 * light.max())
    # The stamp cuts off a little of the light of galaxies.
    assert np.abs(rendered - light).max() < 5e-3 * light.max()
    star = {name: values[3:4] for name, values in sources.items()}
    elsewhere = render_light(star, psf.at(0.0, 0.0), SHAPE)[0]
    assert np.abs(elsewhere - render_light(star, psf, SHAPE)[0]).max() > 0.1 * light.max()


@pytest.fixture(scope="module")
def moved():
    """Exact draws of catalog and data, before and after moves of points and galaxies."""
    layout = make_layout(["birth_death_point", "birth_death_extended"], 1, 400)
    scene = make_scene(layout, make_prior(), 0.07, psf=make_varying_psf())
    start = exact_state(jax.random.key(41), scene, layout)
    return start, advance(jax.random.key(42), start, scene, layout, 6), scene, layout


def test_moves_leave_the_joint_unchanged(moved):
    _, end, scene, layout = moved
    moves = dict(zip(MOVES, np.asarray(end.sample.moves).sum(axis=(0, 2, 3))[:, 1], strict=False))
    assert min(moves["birth_death_point"], moves["birth_death_extended"]) > 40, moves
    assert np.mean(end.sample.hmc_acceptance) > 0.3
    p_values = compare_with_prior(end, scene, layout)
    assert min(p_values.values()) > LEAST_P, p_values


@pytest.mark.slow
def test_all_moves_leave_the_joint_unchanged():
    layout = make_layout(list(MOVES), 1, 1000)
    scene = make_scene(layout, make_prior(), 0.07, psf=make_varying_psf())
    start = exact_state(jax.random.key(51), scene, layout)
    end = advance(jax.random.key(52), start, scene, layout, 6, with_globals=True)
    p_values = compare_with_prior(end, scene, layout)
    assert min(p_values.values()) > LEAST_P, p_values
    assert largest_change(start, end, scene, layout, chains=20) < 1e-3


def largest_change(start, end, scene, layout, chains):
    """Greatest change, in sigma, of the noise in the residuals of some chains."""

    @jax.jit
    def noise(draw, residual):
        fresh = jax.vmap(lambda draw: fresh_residual(draw, scene, layout, EXTENDED_RADIUS))
        return [plane - own for plane, own in zip(residual, fresh(draw), strict=True)]

    first = [
        jax.tree.map(lambda values: values[:chains], (state.sample, state.residual))
        for state in (start, end)
    ]
    changes = [
        np.abs(np.asarray(after - before)) * np.sqrt(np.asarray(weight))[None]
        for weight, before, after in zip(scene.weight, *(noise(*one) for one in first), strict=True)
    ]
    return max(change.max() for change in changes)


def test_the_running_residual_equals_a_fresh_render(moved):
    assert largest_change(*moved, chains=20) < 1e-3


def test_windows_know_where_they_are_in_every_image():
    """The light of sources in the windows of an image equals their light in a rendered image."""
    psfs = [make_varying_psf(), make_varying_psf((26, 27)), make_varying_psf((26, 27))]
    prior = make_prior(
        colours=dist.Normal(np.array([0.4], np.float32), np.array([0.5], np.float32)),
        background=(dist.Normal(5.0, 2.0), dist.Normal(1.0, 1.0), 3.0),
        extended_fraction=0.0,
    )
    layout, scene = make_joint((), 0, 1, 0.05, prior, psfs=psfs, extended_slots=0)
    key = jax.random.key(5)
    state = initial_state(key, scene, layout)
    draw, residual = jax.tree.map(lambda values: values[0], (state.sample, state.residual))
    number = draw.points.marks.shape[0]
    low, high = np.array([layout.region_bounds(axis) for axis in (0, 1)], np.float32).T
    position = jax.random.uniform(key, (number, 2), minval=low[None], maxval=high[None])
    rest = [
        position - jnp.round(position),
        jnp.full((number, 1), 100.0),
        jnp.full((number, 1), 0.2),
    ]
    points = Sources(jnp.round(position).astype(jnp.int32), jnp.concatenate(rest, axis=1))

    @jax.jit
    def both(points):
        placement = Placement.draw(key, scene, layout, 0)
        tiling, sizes = placement.tiling, placement.sizes
        sample = draw._replace(points=points)
        visits, held = placement.load(sample, residual, (), jnp.float32(0.1), key)
        model, _ = group_images(scene.model, sizes, scene.searches[0])

        def light(window, sources):
            patches = jax.vmap(partial(unit_image, model, window, POINT))(sources)
            return jnp.tensordot(sources[:, FLUX], patches, 1)

        windows = jax.vmap(light)(visits.window, visits.state.points)
        found = [
            add(jnp.zeros(shape), part, corners)
            for shape, part, corners in zip(
                layout.padded_shapes, unstack(windows, sizes), tiling.corners, strict=True
            )
        ]
        others, _ = store_members(points, tiling, held[0], jnp.zeros_like(held[0].marks))
        images = [
            render_points(scene, index, points, shape) - render_points(scene, index, others, shape)
            for index, shape in enumerate(layout.padded_shapes)
        ]
        return found, images, held[0].members.number

    found, images, members = both(points)
    assert members.sum() > 5
    for window_light, image in zip(found, images, strict=True):
        assert float(image.max()) > 5.0
        np.testing.assert_allclose(window_light, image, atol=1e-3)
