"""Trajectories in windows with stars and galaxies keep the joint, also at walls and limits.

From exact draws of the joint a statistic of the catalog has the same mean before and after a move,
and its change in each chain is small beside its scatter. The mean change over its error is then a
much sharper test than the comparison of two samples. The window lies at one place in all chains of
a batch, so that sources at its walls can be counted.
"""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat.sampler.geometry.tiling import draw_tiling
from tests.sampler.exactness.harness import (
    advance,
    check_running_residuals,
    exact_state,
    make_joint,
    make_layout,
    make_prior,
    make_scene,
)

NUM_CHAINS = 500
BATCHES = 4
LARGEST_PULL = 5.5
"""Limit of mean changes in standard deviations: a false alarm in 20 of them has p = 8e-7."""
AT_WALL = 0.3
"""Distance in pixels of sources that count as being at a wall of their window."""
COLOURS = {
    "colours": dist.Normal(np.array([0.4], np.float32), np.array([0.5], np.float32)),
    "background": (dist.Normal(5.0, 2.0), dist.Normal(1.0, 1.0), 3.0),
}


def prior_at_limits(**changes):
    """Many sources, most of them near the flux limit, and shapes that reach all their limits."""
    return make_prior(
        expected_sources=dist.Gamma(36.0, 4.0),
        extended_fraction=dist.Beta(4.0, 4.0),
        flux_slope=dist.Normal(2.8, 0.3),
        half_light_radius=dist.Uniform(0.5, 2.5),
        **changes,
    )


def statistics(state, scene, layout, bounds):
    """Sums over the sources of every chain, by name; each has an axis of chains."""
    low, _ = scene.model.prior.flux_limits
    found = {}
    for kind, sources in (("point", state.sample.points), ("extended", state.sample.extended)):
        pixel, marks = np.asarray(sources.pixel), np.asarray(sources.marks, np.float64)
        held = marks[..., 2] > 0.0
        place = pixel + marks[..., :2]
        gap = np.minimum(place - bounds[0], bounds[1] - place).min(axis=-1)
        columns = {
            "at_wall": (gap > 0.0) & (gap < AT_WALL),
            "inside": gap > 0.0,
            "x": place[..., 0],
            "flux": np.log(np.where(held, marks[..., 2], 1.0)),
            "faint": marks[..., 2] < 1.1 * low,
        }
        for number in range(scene.model.prior.num_colours):
            columns[f"colour_{number}"] = marks[..., 3 + number]
            columns[f"square_of_colour_{number}"] = marks[..., 3 + number] ** 2
        if kind == "extended":
            radius, g1, g2, index = np.moveaxis(marks[..., -4:], -1, 0)
            columns |= {
                "radius": radius,
                "small": radius < 0.8,
                "large": radius > 2.2,
                "ellipticity": g1**2 + g2**2,
                "sersic_n": index,
                "low_sersic_n": index < 0.6,
                "high_sersic_n": index > 3.9,
            }
        for name, values in columns.items():
            found[f"{kind}_{name}"] = np.sum(np.where(held, values, 0.0), axis=1)
    for number, (weight, residual) in enumerate(zip(scene.weight, state.residual, strict=True)):
        square = np.asarray(weight) * np.asarray(residual) ** 2
        found[f"chi2_{number}"] = square.sum(axis=(1, 2))
    return found


def window_bounds(rng_key, layout):
    """Corners (x, y) in padded pixels of the interior that `advance` visits in its only pass."""
    key_pass, _ = jax.random.split(jax.random.split(rng_key, 1)[0])
    tiling = draw_tiling(jax.random.split(key_pass)[0], layout, layout.plans[0])
    assert tiling.origin.shape[0] == 1
    bounds = (tiling.lower_bound, tiling.upper_bound)
    return [np.asarray(tiling.origin)[0] + np.asarray(bound)[0] for bound in bounds]


def mean_changes(layout, scene, residual_error, step_size):
    """Mean changes of all statistics in standard deviations, and the mean acceptance."""
    changes, acceptance = [], []
    for batch in range(BATCHES):
        key_state, key_moves = jax.random.split(jax.random.fold_in(jax.random.key(61), batch))
        start = exact_state(key_state, scene, layout)
        end = advance(key_moves, start, scene, layout, 1, step_size)
        check_running_residuals(start, end, scene, layout, residual_error)
        bounds = window_bounds(key_moves, layout)
        before, after = (statistics(state, scene, layout, bounds) for state in (start, end))
        np.testing.assert_array_equal(before["point_inside"], after["point_inside"])
        changes.append({name: after[name] - before[name] for name in before})
        moved = np.any(
            np.asarray(start.sample.points.marks != end.sample.points.marks), axis=(1, 2)
        )
        acceptance.append(moved.mean())
    pulls = {}
    for name in changes[0]:
        change = np.concatenate([batch[name] for batch in changes])
        # Rounding of sums counts as no change.
        if np.count_nonzero(np.abs(change) > 1e-6) >= 30:
            pulls[name] = change.sum() / np.sqrt(np.sum(change**2))
    return pulls, np.mean(acceptance)


def check(layout, scene, residual_error, step_size=0.25):
    pulls, acceptance = mean_changes(layout, scene, residual_error, step_size)
    assert acceptance > 0.2, acceptance
    assert {"point_at_wall", "extended_at_wall", "point_faint", "extended_faint"} <= set(pulls)
    assert max(map(abs, pulls.values())) < LARGEST_PULL, pulls


@pytest.mark.slow
@pytest.mark.parametrize("step_size", [0.1, 0.4])
@pytest.mark.parametrize("weight", [0.0, 0.07], ids=["prior_only", "with_data"])
def test_trajectories_keep_means(weight, step_size):
    layout = make_layout((), 1, NUM_CHAINS)
    check(layout, make_scene(layout, prior_at_limits(), weight), 2e-4, step_size)


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 0.05], ids=["prior_only", "with_data"])
def test_trajectories_in_two_bands_keep_means(weight):
    layout, scene = make_joint((), 1, NUM_CHAINS, weight, prior_at_limits(**COLOURS))
    check(layout, scene, 1e-3)
