"""Bright blends held for one galaxy are found out, at a signal where nothing but a fit can."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probcat.sampler.geometry.tiling import Sources
from tests.sampler.exactness.harness import (
    advance,
    exact_state,
    make_layout,
    make_prior,
    make_scene,
    render_chain,
)

CHAINS = 12
STARS = [(9.1, 8.6, 1500.0), (10.7, 9.3, 1000.0)]
GALAXY = (9.1, 8.6, 1600.0, 1.2, 0.2, 0.1, 1.5)
TAKEN_FOR = (9.7, 8.9, 2500.0, 1.1, 0.3, 0.1, 1.0)
CASES = {
    "refit_two_stars": (STARS, [], [TAKEN_FOR]),
    "refit_star_and_galaxy": ([(11.3, 9.9, 900.0)], [GALAXY], [TAKEN_FOR]),
}


def catalog(layout, sources, like):
    """The same sources in every chain."""
    pixel, marks = np.array(like.pixel), np.zeros(like.marks.shape, np.float32)
    for slot, (x, y, *rest) in enumerate(sources):
        whole = np.round([x, y])
        pixel[:, slot] = whole + layout.pad
        marks[:, slot] = [x - whole[0], y - whole[1], *rest]
    return Sources(jnp.asarray(pixel), jnp.asarray(marks))


@pytest.mark.slow
@pytest.mark.parametrize("move", list(CASES))
def test_two_bright_sources_are_told_from_a_galaxy(move):
    stars, galaxies, taken_for = CASES[move]
    layout = make_layout([move] * 4, 0, CHAINS)
    scene = make_scene(layout, make_prior(), 0.07)
    state = exact_state(jax.random.key(3), scene, layout)

    def model(points, extended):
        draw = state.sample._replace(
            points=catalog(layout, points, state.sample.points),
            extended=catalog(layout, extended, state.sample.extended),
        )
        return draw, jax.jit(jax.vmap(lambda one: render_chain(scene, layout, one)))(draw)[0]

    _, light = model(stars, galaxies)
    draw, wrong = model([], taken_for)
    seen = np.asarray(scene.weight[0]) > 0.0
    residual = state.residual[0] + jnp.where(seen, light - wrong, 0.0)
    state = state._replace(sample=draw, residual=(residual,))
    end = advance(jax.random.key(4), state, scene, layout, 24)

    number = [
        np.sum(np.asarray(s.active), axis=1) for s in (end.sample.points, end.sample.extended)
    ]
    right = (number[0] == len(stars)) & (number[1] == len(galaxies))
    assert right.mean() > 0.7, number
    points = jax.tree.map(np.asarray, end.sample.points)
    where = (points.pixel - layout.pad + points.marks[..., :2])[right]
    found = where[points.active[right]].reshape(-1, len(stars), 2)
    found = np.take_along_axis(found, np.argsort(found[..., :1], axis=1), axis=1)
    # Their errors are below .05 px.
    expected = np.array(stars)[None, :, :2]
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=0.3)
