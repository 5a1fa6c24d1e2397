"""Mass matrix of trajectories with extended sources, and free motion between bounds."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probcat import PSF, Image, Prior
from probcat.sampler.moves import hmc
from probcat.sampler.moves.hmc_coordinates import Coordinates
from probcat.sampler.moves.hmc_mass import Trajectory
from probcat.sampler.moves.hmc_metric import (
    Anchor,
    DenseMass,
    dense_drift,
    dense_kinetic,
    dense_momentum,
    draw_anchor,
    fisher_mass,
    flatten,
    unflatten,
)
from probcat.sampler.sample import Run
from probcat.sampler.settings import SamplerSettings
from probcat.sampler.window import batching
from probcat.sampler.window.structures import Window

BANDS = ("r", "i")
STEP = 0.02
"""Step of numerical derivatives."""


@pytest.fixture(scope="module")
def run():
    """Two bands on one grid."""
    noise = np.random.default_rng(3)
    images = [
        Image.from_arrays(
            noise.normal(0.0, 1.0, (30, 30)), np.ones((30, 30)), psf=PSF.gaussian(2.5), band=band
        )
        for band in BANDS
    ]
    prior = Prior.from_image(images, flux_min=10.0, half_light_radius_max=4.0)
    return Run(images, prior, SamplerSettings(), jax.random.key(0), (1, 1, 1))


def make_path(run, occupied=(True, True, False)):
    """Model, window and trajectory of two stars and two galaxies; one slot of each is empty."""
    sizes = (48, 48)
    model = batching.group_images(run.scene.model, sizes, run.scene.searches[0])[0]
    one = jnp.ones((), jnp.float32)
    window = Window(
        weight=jnp.asarray(np.random.default_rng(5).uniform(0.5, 1.5, (96, 48)), jnp.float32),
        lower_bound=jnp.full(2, 10.0, jnp.float32),
        upper_bound=jnp.full(2, 38.0, jnp.float32),
        density=jnp.ones(2, jnp.float32),
        search_precision=jnp.ones((2, 56, 56), jnp.float32),
        beta=one,
        largest=jnp.float32(np.inf),
        step_size=one,
        shift=jnp.zeros((2, 2), jnp.float32),
        flux_factor=jnp.asarray([1.0, 1.3], jnp.float32),
        corner=jnp.zeros((2, 2), jnp.float32),
    )
    here = np.asarray(occupied)[:, None]
    points = np.array([[20.3, 22.1, 6.0, 5.8], [25.2, 21.0, 5.0, 5.5], [0, 0, 0, 0]], np.float32)
    galaxies = np.array(
        [
            [22.0, 20.4, 7.0, 6.9, 0.3, 0.2, -0.1, 0.4],
            [28.4, 26.0, 6.5, 6.0, -0.2, 0.0, 0.3, -0.2],
            [0, 0, 0, 0, 0, 0, 0, 0],
        ],
        np.float32,
    )
    mask = Coordinates(
        jnp.asarray(np.broadcast_to(here, points.shape)),
        jnp.asarray(np.broadcast_to(here, galaxies.shape)),
    )
    at = Coordinates(jnp.asarray(points), jnp.asarray(galaxies))
    mass = jax.tree.map(lambda value: jnp.full(value.shape, 25.0, jnp.float32), at)
    low, _ = model.prior.flux_limits
    path = Trajectory(
        window=window,
        mask=mask,
        scales=at,
        mass=mass,
        lower_bound=jnp.append(window.lower_bound, jnp.log(low)),
        upper_bound=jnp.append(window.upper_bound, jnp.float32(8.0)),
        tau=0.3,
    )
    return model, window, path, at


def test_mass_is_the_fisher_matrix_of_the_image(run):
    model, window, path, at = make_path(run)
    precision = jax.tree.map(lambda value: jnp.full(value.shape, 4.0, jnp.float32), at)
    mass = jax.jit(partial(fisher_mass, model))(window, path, Anchor(at, precision))
    image = jax.jit(lambda flat: hmc._image(model, path, unflatten(flat, at)))
    root_weight = np.sqrt(np.asarray(window.weight, np.float64))
    steps = STEP * np.eye(flatten(at).size, dtype=np.float32)
    columns = [
        (np.asarray(image(flatten(at) + step), np.float64) - image(flatten(at) - step))
        * (root_weight / (2.0 * STEP))
        for step in steps
    ]
    weighted = np.stack(columns, axis=-1).reshape(-1, len(columns))
    here = np.asarray(flatten(path.mask))
    expected = (weighted.T @ weighted)[np.ix_(here, here)]
    found = np.asarray(mass.root, np.float64) @ np.asarray(mass.root, np.float64).T
    found = found[np.ix_(here, here)]
    scale = np.sqrt(np.diag(found))
    # Off the diagonal there is nothing but the light.
    difference = (found - expected) / np.outer(scale, scale)
    prior = np.diag(difference)
    np.testing.assert_allclose(difference - np.diag(prior), 0.0, atol=2e-3)
    assert np.all(prior > 0.0)
    inverse = np.asarray(mass.inverse, np.float64)[np.ix_(here, here)]
    np.testing.assert_allclose(inverse @ found, np.eye(len(found)), atol=5e-2)


def random_mass(rng, mask):
    """A mass matrix with strong correlations among occupied coordinates."""
    size = len(mask)
    part = rng.normal(size=(size, size + 4))
    matrix = np.where(np.outer(mask, mask), part @ part.T, np.eye(size))
    root = np.linalg.cholesky(matrix)
    return DenseMass(
        jnp.asarray(root, jnp.float32), jnp.asarray(np.linalg.inv(matrix), jnp.float32)
    )


@pytest.mark.parametrize("time", [0.3, 3.0])
def test_free_motion_can_be_reversed_and_keeps_its_energy(run, time):
    _, _, path, at = make_path(run)
    rng = np.random.default_rng(1)
    mass = random_mass(rng, np.asarray(flatten(path.mask)))
    drift = jax.jit(lambda at, momentum: dense_drift(mass, path, at, momentum, jnp.float32(time)))
    bounced = 0
    for _ in range(10):
        normal = unflatten(jnp.asarray(rng.normal(0, 4, flatten(at).shape), jnp.float32), at)
        momentum = dense_momentum(mass, normal, path.mask)
        end, turned, arrived = drift(at, momentum)
        assert bool(arrived)
        free = flatten(at) + time * mass.inverse @ flatten(momentum)
        bounced += not np.allclose(free, flatten(end), atol=1e-3)
        energies = [float(dense_kinetic(mass, each)) for each in (momentum, turned)]
        assert energies[1] == pytest.approx(energies[0], rel=1e-4)
        low, high = np.asarray(path.lower_bound), np.asarray(path.upper_bound)
        for sources in map(np.asarray, end):
            assert np.all((sources[:2, :3] >= low) & (sources[:2, :3] <= high))
            assert np.all(sources[2] == 0.0)
        back, _, _ = drift(end, jax.tree.map(jnp.negative, turned))
        np.testing.assert_allclose(flatten(back), flatten(at), atol=5e-3)
    if time > 1.0:
        assert bounced >= 5


def test_too_many_reflections_are_reported(run):
    _, _, path, at = make_path(run)
    mass = random_mass(np.random.default_rng(1), np.asarray(flatten(path.mask)))
    momentum = jax.tree.map(lambda value: jnp.where(value != 0.0, 1e5, 0.0), at)
    *_, arrived = dense_drift(mass, path, at, momentum, jnp.float32(100.0))
    assert not bool(arrived)


def test_anchors_scatter_by_their_precision(run):
    model, _, path, at = make_path(run)
    normal = jax.tree.map(jnp.ones_like, at)
    anchor = draw_anchor(model, normal, path, at)
    for place, precision, start in zip(anchor.at, anchor.precision, at, strict=True):
        np.testing.assert_allclose((place - start) ** 2 * precision, 1.0, rtol=1e-3)
    far = jax.tree.map(lambda value: value + 1.0, at)
    expected = -0.5 * float(
        sum(np.sum(np.where(m, p, 0.0)) for m, p in zip(path.mask, anchor.precision, strict=True))
    )
    moved = anchor._replace(at=far)
    assert float(moved.log_density(path.mask, at)) == pytest.approx(expected, rel=1e-4)
