"""Images drawn at once are the images drawn one by one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probcat import PSF, Image, Prior
from probcat.sampler.moves import hmc
from probcat.sampler.moves.hmc_mass import Coordinates, Trajectory
from probcat.sampler.proposals.matched_filter import score_map
from probcat.sampler.sample import Run
from probcat.sampler.settings import SamplerSettings
from probcat.sampler.window import batching as groups
from probcat.sampler.window.light import unit_image, unstack
from probcat.sampler.window.structures import EXTENDED, POINT, Window

WIDTHS = {"r": 2.2, "i": 1.7, "z": 2.9}
SOURCES = {
    POINT: np.array([30.3, 28.9, 1.0, 0.4, -0.3], np.float32),
    EXTENDED: np.array([31.6, 29.2, 1.0, 0.4, -0.3, 2.5, 0.3, -0.2, 1.8], np.float32),
}


@pytest.fixture(scope="module")
def run():
    """Three bands on one grid, whose PSFs differ in width and size."""
    noise = np.random.default_rng(3)
    images = [
        Image.from_arrays(
            noise.normal(0.0, 1.0, (40, 44)),
            np.ones((40, 44)),
            psf=PSF.gaussian(width, size=13 + 2 * number),
            band=band,
        )
        for number, (band, width) in enumerate(WIDTHS.items())
    ]
    prior = Prior.from_image(images, flux_min=10.0, half_light_radius_max=4.0)
    return Run(images, prior, SamplerSettings(), jax.random.key(0), (1, 1, 1))


def make_window(sizes, num_cells):
    """A window at a place of its own in every image."""
    width = max(sizes)
    one = jnp.ones((), jnp.float32)
    return Window(
        weight=jnp.ones((sum(sizes), width), jnp.float32),
        lower_bound=jnp.zeros(2, jnp.float32),
        upper_bound=jnp.full(2, 60.0, jnp.float32),
        density=jnp.ones(2, jnp.float32),
        search_precision=jnp.ones((3, num_cells, num_cells), jnp.float32),
        beta=one,
        largest=one,
        step_size=one,
        shift=jnp.asarray([[0.0, 0.0], [2.2, 1.9], [1.7, 2.4]], jnp.float32),
        flux_factor=jnp.asarray([1.0, 1.3, 0.8], jnp.float32),
        corner=jnp.zeros((3, 2), jnp.float32),
    )


def test_images_of_one_pixel_size_are_drawn_as_they_are_one_by_one(run, monkeypatch):
    run.prepare(run.layout)
    number = len(run.layout.plans) - 1
    sizes = run.layout.window_sizes(number)
    arguments = (run.scene.model, sizes, run.scene.searches[number])
    together = groups.group_images(*arguments)
    monkeypatch.setattr(groups, "_signature", lambda *_: object())
    apart = groups.group_images(*arguments)
    assert together[0].groups == ((0,), (1, 2))
    assert apart[0].groups == ((0,), (1,), (2,))

    window = make_window(sizes, together[1][0].rows.shape[2])
    noise = np.random.default_rng(4).normal(0.0, 1.0, window.weight.shape).astype(np.float32)
    for kind, source in SOURCES.items():
        canvas, other = (
            jax.jit(partial(unit_image, model, window, kind))(source)
            for model, _ in (together, apart)
        )
        np.testing.assert_allclose(canvas, other, atol=1e-6)
        light = [float(part.sum()) for part in unstack(canvas, sizes)]
        expected = np.array([1.0, 1.3 * np.exp(0.4), 0.8 * np.exp(-0.3)])
        np.testing.assert_allclose(light, expected, rtol=0.02)
    scores = [
        jax.jit(partial(score_map, model, search, window))(noise)
        for model, search in (together, apart)
    ]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)
    assert float(jnp.abs(scores[0]).max()) > 0.1

    points = np.array([[30.3, 28.9, 5.0, 5.4, 4.7], [24.1, 35.8, 4.0, 4.2, 4.1]], np.float32)
    extended = np.array([[31.6, 29.2, 6.0, 6.1, 5.8, 0.2, -0.1, 0.3, 0.1]], np.float32)
    at = Coordinates(jnp.asarray(points), jnp.asarray(extended))
    mask = jax.tree.map(lambda values: jnp.ones(values.shape, bool), at)
    path = Trajectory(window, mask, at, at, window.lower_bound, window.upper_bound, 0.3)
    results = []
    for model, _ in (together, apart):
        image, pull_back = jax.vjp(partial(hmc._image, model, path), at)
        results.append((image, pull_back(jnp.asarray(noise))[0]))
    for found, expected in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
