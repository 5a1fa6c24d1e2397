"""Placement of windows."""

import jax
import numpy as np
import pytest
from astropy.wcs import WCS

from probcat import PSF, Image, Prior, SamplerSettings
from probcat.sampler.geometry.layout import Layout, PassPlan
from probcat.sampler.geometry.tiling import draw_tiling
from probcat.sampler.geometry.window_sizes import SEAM
from probcat.sampler.residual import fresh_residual
from probcat.sampler.sample import Run

DRAWS = 600


def make_layout(length, interior, margin):
    plan = PassPlan(interior, margin, 16, 0, (), 1, 1)
    pad = 2 + interior + margin + 2
    return Layout((length, length + 7), pad, 1.5, 64, 0, (plan,), 5, 1)


@pytest.mark.parametrize("length", [5, 13, 40, 100])
@pytest.mark.parametrize(("interior", "margin"), [(16, 10), (16, 0), (32, 14)])
def test_windows_reach_every_position_and_stay_in_the_padded_image(length, interior, margin):
    """The least reached pixel is in an interior at 0.17 of placements or more along an axis.

    Less than a tenth of 600 are seen with a probability of 1e-6.
    """
    layout = make_layout(length, interior, margin)
    plan = layout.plans[0]
    place = jax.jit(jax.vmap(lambda key: draw_tiling(key, layout, plan)))
    tiling = place(jax.random.split(jax.random.key(0), DRAWS))
    for axis in (0, 1):
        starts = np.asarray(tiling.origin[..., axis]) + margin
        pixels = layout.region_start(axis) + np.arange(layout.region_pixels(axis))
        inside = (pixels >= starts[..., None]) & (pixels < starts[..., None] + interior)
        assert inside.any(axis=1).mean(axis=0).min() >= 0.1
        first = np.unique(starts - margin)
        assert first.min() >= 0
        assert first.max() + plan.size <= layout.padded_shape[1 - axis]


def test_an_interior_larger_than_the_region_leaves_nothing_out():
    """All of the region is in the interior wherever the window lies."""
    layout = make_layout(10, 32, 8)
    for seed in range(20):
        tiling = draw_tiling(jax.random.key(seed), layout, layout.plans[0])
        for axis in (0, 1):
            lower, upper = layout.region_bounds(axis)
            place = float(tiling.origin[0, axis])
            assert float(tiling.lower_bound[0, axis]) + place <= lower + 1e-3
            assert float(tiling.upper_bound[0, axis]) + place >= upper - 1e-3


def make_image(band, shape, turn, scale, seed):
    """Noise and two bright blobs, on a turned grid of some pixel size about one centre."""
    rng = np.random.default_rng(seed)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [0.5 * (n + 1) for n in shape[::-1]]
    cos, sin = scale * np.cos(turn) / 3600.0, scale * np.sin(turn) / 3600.0
    wcs.wcs.cd = [[-cos, sin], [sin, cos]]
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = sum(
        200.0 * np.exp(-((x - a * shape[1]) ** 2 + (y - b * shape[0]) ** 2) / 8.0)
        for a, b in ((0.1, 0.2), (0.6, 0.5))
    )
    data = (light + rng.normal(0.0, 5.0, shape)).astype(np.float32)
    psf = PSF.gaussian(2.5, size=13)
    return Image.from_arrays(data, np.full(shape, 25.0, np.float32), psf=psf, wcs=wcs, band=band)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"extended_fraction": 0.0}, id="stars"),
        pytest.param({}, id="galaxies", marks=pytest.mark.slow),
    ],
)
def test_one_window_for_a_small_image_keeps_all_residuals_up_to_date(options):
    """Also of a rotated image with other pixels, where sources' light is cut by the window."""
    images = [make_image("r", (26, 30), 0.0, 0.2, 1), make_image("i", (24, 24), 0.5, 0.26, 2)]
    settings = SamplerSettings(extended_moves=2, refit_two_stars=0, passes=2, checkpoint_interval=5)
    prior = Prior.from_image(images, **options)
    run = Run(images, prior, settings, jax.random.key(4), (2, 10, 1))
    for plan in run.layout.plans:
        assert plan.margin == SEAM
        assert plan.num_windows(run.layout, 0) == plan.num_windows(run.layout, 1) == 1
    state = run.begin()
    for _ in range(3):
        state, draws = run.advance(state)
    # The last draw that began with a fresh residual is the ninth of 15.
    assert np.asarray(draws.moves)[..., 1, :].sum() > 20
    for chain in range(2):
        draw = jax.tree.map(lambda values, chain=chain: values[chain], state.sample)
        assert int(draw.points.active.sum() + draw.extended.active.sum()) > 0
        assert bool(options) or int(draw.extended.active.sum()) > 0
        fresh = fresh_residual(draw, run.scene, run.layout, run.radii[0][1])
        for kept, plane, weight in zip(state.residual, fresh, run.scene.weight, strict=True):
            error = np.abs(np.asarray(kept[chain] - plane)) * np.sqrt(np.asarray(weight))
            assert error.max() < 1e-2
