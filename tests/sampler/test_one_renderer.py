"""The sampler and everything that renders its samples later have one model of the sky."""

import jax
import jax.numpy as jnp
import numpy as np

from probcat import PSF
from probcat.model.prior.defaults import log_normal_within
from probcat.model.renderer import Renderer
from probcat.numerics.shape_matrices import semi_major
from probcat.sampler.geometry.layout import Layout, PassPlan
from probcat.sampler.geometry.tiling import Sources
from probcat.sampler.scene.plane import Plane
from probcat.sampler.scene.render import render
from probcat.sampler.scene.scene import build_scene
from tests.sampler.exactness.harness import make_prior

SHAPE = (24, 26)
SMALL, LARGE, LIMIT = 7, 12, 1.8
PSF_ = PSF.moffat(2.6, 3.0, size=11)


def make_catalog(rng, number):
    """Positions on and around the image, fluxes and shapes on both sides of the limit of sizes."""
    x, y = (rng.uniform(-1.0, side, number) for side in SHAPE[::-1])
    flux = rng.uniform(50.0, 200.0, number)
    radius, sersic_n = rng.uniform(0.6, 3.0, number), rng.uniform(0.6, 4.0, number)
    angle = rng.uniform(0.0, np.pi, number)
    shape = np.stack([radius, 0.3 * np.cos(angle), 0.3 * np.sin(angle), sersic_n], axis=1)
    return tuple(np.asarray(part, np.float32) for part in (x, y, flux, shape))


def test_a_catalog_is_rendered_alike_inside_and_outside_the_sampler():
    layout = Layout(SHAPE, 26, 1.3, 64, 32, (PassPlan(10, 6, 24, 16, (), 1, 1, LIMIT),), 4, 1)
    prior = make_prior(half_light_radius=log_normal_within(1.5, 0.4, 0.5, 4.0))
    plane = Plane(np.zeros(SHAPE), np.ones(SHAPE), PSF_, SMALL, LARGE)
    scene = build_scene([plane], prior, layout, large_size=LIMIT)
    renderer = Renderer.from_psf(PSF_, extended_radius=SMALL, large_radius=LARGE, large_size=LIMIT)
    x, y, flux, shape = make_catalog(np.random.default_rng(4), 12)
    extended = np.arange(12) >= 5
    size = np.asarray(semi_major(jnp.asarray(shape)))[extended]
    assert (size > LIMIT).any()
    assert (size < LIMIT).any()

    at = np.stack([x, y], axis=1) + layout.pad
    pixel = np.round(at).astype(np.int32)
    marks = np.concatenate([at - pixel, flux[:, None]], axis=1).astype(np.float32)
    points = Sources(pixel[~extended], marks[~extended])
    galaxies = Sources(pixel[extended], np.concatenate([marks[extended], shape[extended]], axis=1))
    points, galaxies = jax.tree.map(jnp.asarray, (points, galaxies))
    (padded,) = jax.jit(lambda *sources: render(scene, layout, *sources, LARGE))(points, galaxies)
    inside = np.asarray(padded)[layout.pad : -layout.pad, layout.pad : -layout.pad]

    columns = map(jnp.asarray, (x, y, flux, shape, extended, np.ones(12, bool)))
    outside = np.asarray(jax.jit(renderer.image, static_argnums=6)(*columns, SHAPE))
    np.testing.assert_allclose(inside, outside, atol=2e-5 * outside.max())
