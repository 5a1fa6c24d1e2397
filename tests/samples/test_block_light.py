"""Light of catalogs in blocks against rendered Gaussians."""

import numpy as np
import pytest

from probcat.numerics.robust import FWHM_PER_SIGMA, HALF_LIGHT_MOMENT
from probcat.samples import block_light as module
from probcat.samples.block_light import MIN_LIGHT, block_light
from tests.builders import gaussian_light, samples_from_draws

FWHM, SHAPE = 4.0, (33, 50)
ATTRS = {"psf_fwhm": FWHM, "image_shapes": [SHAPE], "prior": {"flux_min": 1e-3}}


def draws_of(count, num_sources, rng):
    """Draws of stars and galaxies, some of them outside the image."""
    draws = []
    for _ in range(count):
        sources = []
        for number in range(num_sources):
            place = rng.uniform(-6, SHAPE[1] + 6), rng.uniform(-6, SHAPE[0] + 6)
            size = (rng.uniform(0.5, 9.0),) if number % 3 == 0 else ()
            sources.append((*place, rng.uniform(50, 500), *size))
        draws.append(sources)
    return draws


def test_light_is_that_of_gaussians_of_the_same_second_moments():
    draws = draws_of(4, 12, np.random.default_rng(0))
    found = block_light(samples_from_draws(draws), max_blocks=10**6)
    assert found is None  # neither the size of the image nor the PSF is known
    found = block_light(samples_from_draws_with(draws), max_blocks=10**6)
    fine = 8  # samples per pixel
    rows, columns = round(SHAPE[0] / FWHM), round(SHAPE[1] / FWHM)
    assert found.light.shape == (rows * columns, 2, 2)
    for number, sources in enumerate(draws):
        light = np.zeros((SHAPE[0] * fine, SHAPE[1] * fine))
        for x, y, flux, *size in sources:
            radius = size[0] if size else 0.0
            sigma = np.sqrt((FWHM / FWHM_PER_SIGMA) ** 2 + HALF_LIGHT_MOMENT * radius**2)
            centre = ((position + 0.5) * fine - 0.5 for position in (x, y))
            light += gaussian_light(light.shape, *centre, flux, sigma * fine)
        edges = [
            np.linspace(0, n * fine, k + 1) for n, k in zip(SHAPE, (rows, columns), strict=True)
        ]
        expected = sum_in_blocks(light, *edges)
        got = found.light.reshape(rows, columns, 4)[..., number]
        # 4 sigma are rendered, and the rendered light is summed over fine pixels.
        np.testing.assert_allclose(got, expected, atol=0.5)
    np.testing.assert_allclose(
        found.x[:2], [SHAPE[1] / columns / 2 - 0.5, SHAPE[1] / columns * 1.5 - 0.5]
    )


def samples_from_draws_with(draws, **attrs):
    samples = samples_from_draws(draws)
    return type(samples)(samples.sources, attrs={**ATTRS, **attrs})


def sum_in_blocks(light, row_edges, column_edges):
    """Sum of light between edges, with cumulative sums interpolated inside pixels."""

    def integral(values, edges):
        total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
        at = np.arange(len(total))
        return np.stack([np.interp(edges, at, column) for column in total.T], axis=1)

    return np.diff(integral(np.diff(integral(light, row_edges), axis=0).T, column_edges), axis=0).T


def test_chunks_change_nothing(monkeypatch):
    samples = samples_from_draws_with(draws_of(20, 30, np.random.default_rng(1)))
    whole = block_light(samples)
    monkeypatch.setattr(module, "_MAX_CELLS", 1000)
    np.testing.assert_allclose(block_light(samples).light, whole.light, rtol=1e-12, atol=1e-9)


def test_only_blocks_that_hold_a_source_are_judged():
    # One star in the middle of a block, at the lowest flux; another one is rare.
    draws = [[(17.5, 13.5, 20.0)] + [(41.5, 29.5, 20.0)] * (number % 4 == 0) for number in range(8)]
    shape = (40, 60)
    samples = samples_from_draws_with(draws, image_shapes=[shape], prior={"flux_min": 20.0})
    found = block_light(samples)
    np.testing.assert_allclose([found.x, found.y], [[17.5], [13.5]])
    assert (found.light > MIN_LIGHT * 20.0).all()
    # Without a prior, blocks with a thousandth of all light are.
    assert len(block_light(samples_from_draws_with(draws, image_shapes=[shape], prior={})).x) > 5


def test_of_many_blocks_evenly_spaced_ones_are_judged():
    samples = samples_from_draws_with(draws_of(4, 60, np.random.default_rng(2)))
    whole, few = block_light(samples), block_light(samples, max_blocks=7)
    assert len(few.x) == 7
    assert (few.x[-1], few.y[-1]) == (whole.x[-1], whole.y[-1])


def test_no_source_no_block():
    empty = block_light(samples_from_draws_with([[] for _ in range(8)]))
    assert empty.light.shape == (0, 2, 4)


@pytest.mark.parametrize("radius", [0.0, 400.0])
def test_extreme_sizes_are_harmless(radius):
    found = block_light(samples_from_draws_with([[(20.0, 15.0, 1e4, radius)]] * 8))
    assert 0 < found.light.sum(axis=0).max() <= 1e4 * (1 + 1e-9)
