"""Placement of windows."""

import jax
import numpy as np
import pytest

from probcat.layout import Layout, PassPlan
from probcat.windows import draw_tiling

DRAWS = 600


def make_layout(length, interior, margin):
    plan = PassPlan(interior, margin, 16, 0, (), 1, 1)
    pad = 2 + interior + margin + 2
    return Layout((length, length + 7), pad, 1.5, 64, 0, (plan,), 5, 1)


@pytest.mark.parametrize("length", [5, 13, 40, 100])
@pytest.mark.parametrize(("interior", "margin"), [(16, 10), (16, 0), (32, 14)])
def test_windows_reach_every_position_and_stay_in_the_padded_image(length, interior, margin):
    """The least reached pixel is in an interior at 5 % of placements or more along an axis.

    A pixel of probability 0.05 is missed by 600 placements with probability 4e-14.
    """
    layout = make_layout(length, interior, margin)
    plan = layout.plans[0]
    draw = jax.jit(jax.vmap(lambda key: draw_tiling(key, layout, plan)))
    tiling = draw(jax.random.split(jax.random.key(0), DRAWS))
    for axis in (0, 1):
        starts = np.asarray(tiling.origin[..., axis]) + margin
        pixels = layout.region_start(axis) + np.arange(layout.region_pixels(axis))
        inside = (pixels >= starts[..., None]) & (pixels < starts[..., None] + interior)
        assert inside.any(axis=1).mean(axis=0).min() > 0.01
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
            assert float(tiling.lower[0, axis]) + place <= lower + 1e-3
            assert float(tiling.upper[0, axis]) + place >= upper - 1e-3
