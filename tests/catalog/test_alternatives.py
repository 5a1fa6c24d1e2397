"""Blends of several explanations: which objects stand in for one another, and how probably."""

import numpy as np
import pytest

from probcat.catalog.condense import condense
from probcat.catalog.fits import read_alternatives, read_catalog, write_alternatives
from probcat.errors import InputError
from tests.builders import samples_from_draws


def around(rng, x, y, flux, error=0.02):
    """Scatter a source a little."""
    return (
        x + error * rng.normal(),
        y + error * rng.normal(),
        flux * (1.0 + error * rng.normal()),
    )


def nearest(catalog, x, y):
    return int(catalog["object_id"][np.hypot(catalog["x"] - x, catalog["y"] - y).argmin()])


@pytest.fixture
def swapping():
    """One source or two, each in half of the draws by turns, and a star far from them."""
    rng = np.random.default_rng(0)
    draws = []
    for number in range(200):
        far = around(rng, 15.0, 5.0, 800.0)
        if number % 2:
            draws.append([far, around(rng, 5.0, 5.0, 2000.0)])
        else:
            draws.append([far, around(rng, 4.4, 5.0, 1100.0), around(rng, 5.6, 5.0, 900.0)])
    return samples_from_draws(draws)


def test_one_source_or_two_are_alternatives_with_their_probabilities(swapping):
    catalog = condense(swapping)
    assert len(catalog) == 4
    whole, left, right = (nearest(catalog, x, 5.0) for x in (5.0, 4.4, 5.6))
    found = catalog.alternatives(right)
    assert {each.object_ids: each.probability for each in found} == {
        (whole,): 0.5,
        (left, right): 0.5,
    }
    rows = [catalog.row(each) for each in (whole, left, right)]
    np.testing.assert_array_equal(catalog["alternative_group"][rows], whole)
    np.testing.assert_array_equal(catalog["num_alternatives"][rows], 2)
    far = nearest(catalog, 15.0, 5.0)
    assert catalog["alternative_group"][catalog.row(far)] == 0
    assert catalog["num_alternatives"][catalog.row(far)] == 1
    with pytest.raises(InputError, match="no object 9"):
        catalog.alternatives(9)


def test_draws_of_a_configuration_hold_its_objects(swapping):
    catalog = condense(swapping)
    for each in catalog.alternatives(1):
        rows = [catalog.row(number) for number in each.object_ids]
        assert len(each.draws) == each.probability * 200
        for chain, draw in each.draws[::20]:
            assert set(rows) <= set(catalog.members[chain, draw])


def test_star_that_hides_in_a_brighter_one_is_an_alternative_of_it():
    """The bright star has the light of both where the faint one is missing."""
    rng = np.random.default_rng(1)
    draws = []
    for number in range(300):
        if number % 3:
            draws.append([around(rng, 5.0, 5.0, 3000.0)])
        else:
            draws.append([around(rng, 5.0, 5.0, 2200.0), around(rng, 6.0, 5.0, 800.0)])
    catalog = condense(samples_from_draws(draws))
    assert len(catalog) == 2
    found = catalog.alternatives(1)
    assert [each.object_ids for each in found] == [(1,), (1, 2)]
    assert [each.probability for each in found] == pytest.approx([2 / 3, 1 / 3])


def test_neighbours_that_come_and_go_on_their_own_are_no_alternatives():
    """Of 40 pairs of independent objects none is linked: chance of one below 1e-5.

    By chance an object of half the draws excludes another in 300 draws with a probability of
    less than 1e-8 (7 or fewer joint draws where 75 are expected).
    """
    rng = np.random.default_rng(2)
    place = [(10.0 * row, 10.0 * column) for row in range(8) for column in range(5)]
    draws = []
    for _ in range(300):
        draw = []
        for x, y in place:
            draw += [around(rng, x, y, 900.0)] if rng.random() < 0.5 else []
            draw += [around(rng, x + 1.0, y, 900.0)] if rng.random() < 0.5 else []
        draws.append(draw)
    catalog = condense(samples_from_draws(draws))
    assert len(catalog) == 80
    assert not catalog["alternative_group"].any()


def test_objects_far_apart_are_no_alternatives():
    rng = np.random.default_rng(3)
    draws = [[around(rng, 5.0 if number % 2 else 9.0, 5.0, 900.0)] for number in range(100)]
    catalog = condense(samples_from_draws(draws))
    assert len(catalog) == 2
    assert not catalog["alternative_group"].any()
    assert sorted(each.object_ids for each in catalog.alternatives(2)) == [(), (2,)]


def test_large_galaxies_reach_as_far_as_their_light():
    """A galaxy of half-light radius 5 px, or two stars 4 px to either side."""
    rng = np.random.default_rng(4)
    draws = []
    for number in range(100):
        if number % 2:
            draws.append([(*around(rng, 20.0, 20.0, 5000.0), 5.0)])
        else:
            draws.append([around(rng, 16.0, 20.0, 2500.0), around(rng, 24.0, 20.0, 2500.0)])
    catalog = condense(samples_from_draws(draws))
    np.testing.assert_array_equal(catalog["alternative_group"], [1, 1, 1])
    assert {each.object_ids for each in catalog.alternatives(1)} == {(1,), (2, 3)}


def test_groups_stay_small_in_a_chain_of_exclusions():
    """Thirty places a pixel apart of which every other or the rest is taken."""
    rng = np.random.default_rng(5)
    draws = [
        [around(rng, 1.0 * place, 5.0, 900.0) for place in range(number % 2, 30, 2)]
        for number in range(100)
    ]
    catalog = condense(samples_from_draws(draws))
    group = catalog["alternative_group"]
    assert len(catalog) == 30
    sizes = np.bincount(group)[1:]
    assert (group > 0).sum() > 20
    assert sizes.max() <= 8


def test_alternatives_are_a_table_of_their_own_file(swapping, tmp_path):
    catalog = condense(swapping)
    write_alternatives(tmp_path / "alternatives.fits", catalog.alternatives_table())
    table = read_alternatives(tmp_path / "alternatives.fits")
    np.testing.assert_array_equal(table["configuration"], [1, 2])
    np.testing.assert_allclose(table["prob"], 0.5)
    assert sorted(table["object_ids"]) == ["1", "2 3"]
    empty = condense(samples_from_draws([[] for _ in range(6)])).alternatives_table()
    write_alternatives(tmp_path / "empty.fits", empty)
    assert len(read_alternatives(tmp_path / "empty.fits")) == 0
    with pytest.raises(InputError, match="no table CATALOG"):
        read_catalog(tmp_path / "empty.fits")
