"""Large extended sources keep their whole footprint, in windows of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat import PSF, Image, Prior, SamplerSettings
from probcat.image.alignment import align_images
from probcat.model.prior.defaults import log_normal_within
from probcat.numerics.shape_matrices import semi_major
from probcat.sampler.geometry.layout import Layout, PassPlan
from probcat.sampler.geometry.stamp_sizes import SMALL_IMAGE, large_stamp_radius, stamp_radii
from probcat.sampler.kernel import CatalogKernel
from probcat.sampler.scene.plane import Plane
from probcat.sampler.scene.render import extended_stamps
from probcat.sampler.scene.scene import build_scene
from tests.sampler.exactness.harness import ALL_MOVES, compare_with_prior, exact_state, make_prior

SMALL, LARGE, LIMIT = 5, 9, 1.8
SHAPE = (18, 20)
FEW_MOVES = ("birth_death_extended", "companion_extended", "retype") * 2


def make_scene(num_chains, moves=FEW_MOVES):
    plans = (
        PassPlan(10, 6, 24, 16, moves, 1, 1, LIMIT),
        PassPlan(12, LARGE, 32, 16, moves, 1, 1),
    )
    layout = Layout(SHAPE, 26, 1.3, 64, 32, plans, 4, num_chains)
    prior = make_prior(half_light_radius=log_normal_within(1.5, 0.4, 0.5, 4.0))
    psf = PSF.moffat(2.6, 3.0, size=11)
    plane = Plane(np.zeros(SHAPE), np.full(SHAPE, 0.05), psf, SMALL, LARGE)
    scene = build_scene([plane], prior, layout, large_size=LIMIT)
    return layout, scene


def test_stamps_end_at_the_footprint_of_their_class():
    layout, scene = make_scene(16)
    state = exact_state(jax.random.key(1), scene, layout)
    sources = jax.tree.map(
        lambda values: values.reshape(-1, values.shape[-1]), state.sample.extended
    )
    marks = sources.marks
    stamps = np.asarray(extended_stamps(scene, 0, marks[:, :2], marks[:, 2], marks[:, 3:], LARGE))
    active, size = np.asarray(sources.active), np.asarray(semi_major(sources.marks[:, 3:]))
    reach = np.abs(np.arange(-LARGE, LARGE + 1))
    for chosen, half_side in ((active & (size <= LIMIT), SMALL), (active & (size > LIMIT), LARGE)):
        assert chosen.any()
        lit = np.abs(stamps[chosen]).sum(axis=(0, 1)) > 0
        assert reach[lit].max() == half_side


@pytest.mark.parametrize(
    "moves", [FEW_MOVES, pytest.param(ALL_MOVES, marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_two_classes_of_windows_leave_the_joint_unchanged(moves):
    """Sources cross from one class to the other only where both stamps fit."""
    layout, scene = make_scene(500, moves)
    kernel = CatalogKernel(layout, LARGE)
    start = exact_state(jax.random.key(2), scene, layout)

    @jax.jit
    def run(state, keys):
        def body(state, key):
            for number, plan in enumerate(layout.plans):
                state = kernel.sweep(
                    state,
                    jax.random.fold_in(key, number),
                    scene=scene,
                    plan=plan,
                    number=number,
                    warming=False,
                )
            return state, None

        return jax.lax.scan(body, state, keys)[0]

    end = run(start, jax.random.split(jax.random.key(3), 4))
    assert not np.asarray(end.sample.overflow).any()
    sizes = [semi_major(s.sample.extended.marks[..., 3:]) for s in (start, end)]
    large = [np.asarray(size > LIMIT).sum(1) for size in sizes]
    assert np.mean(large[0] != large[1]) > 0.05
    # About 20 p values: a false alarm has probability below 1e-4.
    p_values = compare_with_prior(end, scene, layout)
    assert min(p_values.values()) > 5e-6, p_values


def test_a_class_of_its_own_only_where_the_prior_allows_large_sources():
    prior = make_prior()
    assert large_stamp_radius(prior, 9) == (9, float("inf"))
    radius, size = large_stamp_radius(prior, 5)
    assert radius == 16
    assert size == 2.0
    # No light is followed further than a small image is wide.
    assert large_stamp_radius(prior, 5, 12)[0] == 12
    assert large_stamp_radius(prior, 5, 4) == (5, float("inf"))
    endless = make_prior(half_light_radius=dist.LogNormal(jnp.float32(0.0), jnp.float32(1.0)))
    assert large_stamp_radius(endless, 5)[0] == 64


def test_all_sources_of_a_small_image_have_the_larger_footprint():
    def found(side):
        rng = np.random.default_rng(side)
        data, variance = rng.normal(0.0, 1.0, (side, side)), np.ones((side, side))
        image = Image.from_arrays(data, variance, psf=PSF.gaussian(5.0))
        links = align_images([image])
        return stamp_radii([image], links, Prior.from_image(image), SamplerSettings())

    radii, size = found(2 * SMALL_IMAGE)
    small, large = radii[0]
    assert small < large
    assert size == small / 2.5
    assert found(SMALL_IMAGE) == ([(large, large)], float("inf"))
    # Nothing is seen further from a source than the image is wide.
    assert found(40) == ([(40, 40)], float("inf"))
