"""In warm-up the first of several images may be sampled alone, in the form of all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probcat import InputError, Prior, SamplerSettings
from probcat.sampler.checkpoint import flatten_state, restore_state
from probcat.sampler.collect import to_block
from probcat.sampler.residual import fresh_residual
from probcat.sampler.sample import Run
from probcat.sampler.warmup.first_image import FRACTION, SEVERAL, draws_alone, prior_alone
from tests.sampler.test_tiling import make_image

BLOCK = 3


@pytest.fixture(scope="module")
def images():
    return [make_image("r", (26, 30), 0.0, 0.2, 1), make_image("i", (24, 24), 0.5, 0.26, 2)]


@pytest.fixture(scope="module")
def run(images):
    settings = SamplerSettings(
        first_image_fraction=0.5,
        passes=1,
        checkpoint_interval=BLOCK,
        num_temperatures=2,
        start_beta=0.01,
    )
    more = {"psf_error_floor_scatter": 0.02, "background_model": ["plane", "level"]}
    # Of stars alone, which are sooner compiled.
    prior = Prior.from_image(images, extended_fraction=0.0, **more)
    return Run(images, prior, settings, jax.random.key(5), (2, 40, 1))


@pytest.fixture(scope="module")
def blocks(run):
    """States before and after every block up to the second in which all images are seen."""
    states, drawn = [run.begin()], []
    while int(states[-1].i) < run.num_alone + 2 * BLOCK:
        # Blocks give up the buffers of the state that they start from.
        state, draws = run.advance(jax.tree.map(jnp.copy, states[-1]))
        states.append(state)
        drawn.append(draws)
    return states, drawn


def test_draws_alone_are_whole_blocks_of_the_warmup(images):
    prior = Prior.from_image(images)
    assert draws_alone(SamplerSettings(checkpoint_interval=8), prior, SEVERAL, 100) == 8 * int(
        FRACTION * 100 / 8
    )
    assert draws_alone(SamplerSettings(), prior, SEVERAL - 1, 100) == 0
    assert draws_alone(SamplerSettings(first_image_fraction=0.3), prior, 2, 100) == 30
    assert draws_alone(SamplerSettings(first_image_fraction=0.3), prior, 1, 100) == 0
    stars = Prior.from_image(images, extended_fraction=0.0)
    assert draws_alone(SamplerSettings(), stars, SEVERAL, 100) == 0
    with pytest.raises(InputError, match=r"first_image_fraction = 1.5; it must be at most 1"):
        SamplerSettings(first_image_fraction=1.5)


def test_what_the_first_image_has_comes_back(images):
    """Whatever has an axis of images or bands, of both kinds of sources."""
    settings = SamplerSettings(first_image_fraction=0.5)
    prior = Prior.from_image(images, psf_width_change_scatter=0.02, noise_scale_scatter=0.1)
    run = Run(images, prior, settings, jax.random.key(5), (2, 40, 1))
    rng, state = np.random.default_rng(0), run.begin()
    drawn = jax.tree.map(lambda values: rng.uniform(size=values.shape), state.sample)
    state = state._replace(sample=jax.tree.map(jnp.asarray, drawn))
    narrow = run.first_image.without_others(state)
    one = Run(images[:1], prior_alone(prior), settings, jax.random.key(5), (2, 40, 1)).begin()
    assert narrow.sample.points.marks.shape[-1] == one.sample.points.marks.shape[-1] == 3
    assert narrow.sample.extended.marks.shape[-1] == one.sample.extended.marks.shape[-1] == 7
    for name in (
        "background",
        "psf_error_floor",
        "psf_width_change",
        "noise_scale",
        "offset",
        "flux_scale",
    ):
        assert getattr(narrow.sample, name).shape == getattr(one.sample, name).shape
    wide = run.first_image.with_others(narrow.sample, state.sample)
    for kind, last in (("points", 0), ("extended", 4)):
        given, found = (np.asarray(getattr(draw, kind).marks) for draw in (state.sample, wide))
        assert given.shape == found.shape
        np.testing.assert_array_equal(given[..., :3], found[..., :3])
        np.testing.assert_array_equal(given[..., 4:], found[..., 4:])
        assert given.shape[-1] == 4 + last
    for name in state.sample._fields:
        if name not in ("points", "extended", "chi2"):
            np.testing.assert_array_equal(getattr(state.sample, name), getattr(wide, name))


def test_form_of_state_and_draws_is_that_of_all_images(run, blocks):
    states, drawn = blocks
    assert run.num_alone == 18
    shapes = [[leaf.shape for leaf in jax.tree.leaves(state)] for state in states]
    assert all(own == shapes[0] for own in shapes)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(draws)] for draws in drawn]
    assert all(own == shapes[-1] for own in shapes)
    for draws in drawn:
        samples, _ = to_block(draws, run.layout, float(run.scene.num_pixels), run.labels)
        assert np.isfinite(samples.scalars["chi2_per_pixel"]).all()
        assert np.isfinite(samples.scalars["offset_x_i"]).all()


def test_what_other_images_have_waits(run, blocks):
    states, drawn = blocks
    number = run.num_alone // BLOCK
    before, last, after = (
        jax.tree.map(np.asarray, state.sample) for state in (states[0], states[number], states[-1])
    )
    mean = float(run.prior.colour_mean[0])
    colours = last.points.marks[..., 3][last.points.active]
    assert colours.size > 4
    assert (colours == np.float32(mean)).all()
    assert (after.points.marks[..., 3][after.points.active] != np.float32(mean)).all()
    # The first image has a plane of three terms.
    assert (last.background[:, 3:] == before.background[:, 3:]).all()
    assert (last.background[:, :3] != before.background[:, :3]).all()
    assert (last.psf_error_floor[:, 1] == before.psf_error_floor[:, 1]).all()
    assert (last.offset == 0.0).all()
    assert (after.offset[:, 1] != 0.0).any()
    assert (after.background[:, 3] != before.background[:, 3]).all()
    assert np.asarray(drawn[0].beta).max() < 1.0


def test_residuals_are_up_to_date(run, blocks):
    """Of the first image while it is alone, and of all once they are seen."""
    states, _ = blocks
    number = run.num_alone // BLOCK
    # Draws 9, 17 and 25 would begin with fresh residuals anyway: 18 are alone, 21 and 24 follow.
    for index, seen in ((number, 1), (number + 1, 2), (number + 2, 2)):
        state = states[index]
        for chain in range(4):
            draw = jax.tree.map(lambda values, chain=chain: values[chain], state.sample)
            fresh = fresh_residual(draw, run.scene, run.layout, run.radii[0][1])
            for plane in range(seen):
                error = np.abs(np.asarray(state.residual[plane][chain] - fresh[plane]))
                weight = np.asarray(run.scene.weight[plane])
                assert (error * np.sqrt(weight)).max() < 1e-2


def test_a_stored_state_goes_on_alike(run, blocks):
    states, _ = blocks
    stored = flatten_state(states[2])
    state, _ = run.advance(restore_state(run.begin(), stored))
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(states[3]), strict=True):
        if not jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
