"""Number of sources in the core of an object."""

import numpy as np
import pytest

from probcat import Samples, condense
from probcat.catalog.multiplicity import LARGEST, MIN_SHARE, SPARROW, multiplicities
from tests.builders import samples_from_draws

FWHM = 4.0


def draws(*catalogs):
    """Flat sources and labels of draws, each a list of (x, y, flux, object)."""
    rows = [(number, *source) for number, one in enumerate(catalogs) for source in one]
    sample, x, y, flux, label = map(np.array, zip(*rows, strict=True))
    return {"x": x, "y": y, "flux": flux, "sample": sample}, label


def test_fractions_of_draws_with_one_two_and_three_sources():
    one, two, three = (10.0, 10.0, 50.0, 0), (11.0, 10.0, 40.0, 1), (10.0, 11.5, 30.0, 2)
    flat, label = draws([one], [one, two], [one, two, three], [two], [one, two])
    found = multiplicities(np.array([[10.0, 10.0], [11.0, 10.0]]), flat, label, FWHM)
    # Of the four draws with either object.
    np.testing.assert_allclose(found, [[0.25, 0.5, 0.25, 0.0], [0.25, 0.5, 0.25, 0.0]])


@pytest.mark.parametrize(
    ("companion", "counts"),
    [
        ((10.0 + 0.99 * SPARROW * FWHM, 10.0, 100.0, -1), True),
        ((10.0 + 1.01 * SPARROW * FWHM, 10.0, 100.0, -1), False),
        ((11.0, 10.0, 1.01 * 100.0 * MIN_SHARE / (1.0 - MIN_SHARE), -1), True),
        ((11.0, 10.0, 0.99 * 100.0 * MIN_SHARE / (1.0 - MIN_SHARE), -1), False),
    ],
    ids=["near", "far", "bright", "faint"],
)
def test_a_companion_counts_if_it_is_near_and_bright_enough(companion, counts):
    flat, label = draws([(10.0, 10.0, 100.0, 0), companion])
    (found,) = multiplicities(np.array([[10.0, 10.0]]), flat, label, FWHM)
    assert found[1] == float(counts)


def test_many_sources_are_counted_together():
    sources = [(10.0 + 0.1 * number, 10.0, 20.0, number) for number in range(LARGEST + 2)]
    flat, label = draws(sources)
    found = multiplicities(np.array([[10.0, 10.0]]), flat, label, FWHM)
    np.testing.assert_allclose(found, [[0.0] * (LARGEST - 1) + [1.0]])


def test_draws_in_which_the_object_lies_outside_its_core_have_one_source():
    flat, label = draws([(10.0, 10.0, 100.0, 0)], [(14.0, 10.0, 100.0, 0)])
    found = multiplicities(np.array([[10.0, 10.0]]), flat, label, FWHM)
    np.testing.assert_allclose(found, [[1.0, 0.0, 0.0, 0.0]])


def test_no_objects():
    flat, _ = draws([(10.0, 10.0, 100.0, -1)])
    assert multiplicities(np.zeros((0, 2)), flat, np.array([-1]), FWHM).shape == (0, LARGEST)


def test_a_catalog_has_the_column_if_the_psf_is_known():
    pair = [(10.0, 10.0, 100.0), (12.0, 10.0, 80.0)]
    samples = samples_from_draws([pair, pair, pair[:1], pair])
    assert "prob_blend" not in condense(samples).columns
    attrs = {**samples.attrs, "psf_fwhm": FWHM}
    catalog = condense(Samples(samples.sources, samples.scalars, samples.stats, attrs))
    np.testing.assert_allclose(catalog["prob_blend"], [0.75, 1.0])
    assert catalog.to_table()["prob_blend"].description
