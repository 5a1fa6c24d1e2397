"""Parts of galaxies: their density, how often a source is one, and that no light is lost."""

import numpy as np
import pytest

from probcat.catalog.condense import condense
from probcat.catalog.substructure import (
    SubstructurePrior,
    find_substructure,
    fold_substructure,
    part_density,
)
from probcat.errors import InputError
from probcat.samples.samples import Samples
from tests.builders import samples_from_draws

GALAXY = (20.0, 20.0, 5000.0, 2.0)


def repeated(*sources, num_draws=400, area=1600.0, mu=5.0):
    """One catalog many times, of a known prior density."""
    samples = samples_from_draws([list(sources)] * num_draws)
    shape = samples.sources["active"].shape[:2]
    scalars = {"mu": np.full(shape, mu), "flux_slope": np.full(shape, 2.0)}
    attrs = {"area": area, "prior": {"flux_min": 50.0}}
    return Samples(samples.sources, scalars, attrs=attrs)


def share_of_parts(samples, prior=None):
    part_of = find_substructure(samples, prior)
    return (part_of >= 0).sum() / (part_of.shape[0] * part_of.shape[1])


@pytest.mark.parametrize("extended", [False, True])
def test_density_adds_up_to_the_number_of_parts(extended):
    prior = SubstructurePrior(number=1.7, flux_fraction=0.05, double=0.3)
    step = np.arange(-60.0, 60.0, 0.3)
    x, y = (axis.ravel() for axis in np.meshgrid(step, step))
    # Of two extended components the part is the fainter.
    flux = np.geomspace(1e-4, 1.0 if extended else 1e3, 100)[:, None] * 5000.0
    shape = {"half_light_radius": 3.0, "ellipticity_1": 0.3, "ellipticity_2": -0.2}
    number = np.zeros(len(flux))
    for index, one in enumerate(flux[:, 0]):
        sources = {"x": np.append(x, 0.0), "y": np.append(y, 0.0)}
        sources["flux"] = np.append(np.full(len(x), one), 5000.0)
        sources |= {name: np.full(len(x) + 1, value) for name, value in shape.items()}
        sources["is_extended"] = np.append(np.full(len(x), extended), True)
        part = np.arange(len(x))
        density = part_density(sources, part, np.full(len(x), len(x)), prior)
        number[index] = density.sum() * 0.3**2
    total = np.trapezoid(number, flux[:, 0])
    assert total == pytest.approx(1.7 + (0.3 if extended else 0.0), rel=0.01)


def test_share_of_draws_is_the_probability():
    part = (22.0, 21.0, 300.0)
    samples = repeated(GALAXY, part)
    one = {name: values[0, 0] for name, values in samples.sources.items()}
    order = np.argsort(-one["flux"])
    odds = part_density(one, order[1:], order[:1], SubstructurePrior()) / (
        5.0 / 1600.0 * 50.0 / 300.0**2
    )
    expected = float(odds[0] / (1.0 + odds[0]))
    assert 0.2 < expected < 0.9
    # Evenly spread numbers: closer than random ones would be.
    assert share_of_parts(samples) == pytest.approx(expected, abs=0.01)
    part_of = find_substructure(samples)
    chain, draw, source = np.nonzero(part_of >= 0)
    assert (samples.sources["flux"][chain, draw, source] == 300.0).all()
    assert (samples.sources["flux"][chain, draw, part_of[chain, draw, source]] == 5000.0).all()


@pytest.mark.parametrize(
    "other",
    [
        (35.0, 20.0, 300.0),
        (22.0, 21.0, 4500.0),
        (22.0, 21.0, 6000.0),
    ],
    ids=["far", "bright", "outshining"],
)
def test_others_are_objects(other):
    assert share_of_parts(repeated(GALAXY, other)) < 0.05


def test_a_second_component_is_a_part():
    assert share_of_parts(repeated(GALAXY, (20.1, 20.0, 3000.0, 0.8))) > 0.95


@pytest.mark.parametrize("flux", [2000.0, 9000.0])
def test_a_point_at_the_centre_of_a_galaxy_is_an_object(flux):
    samples = repeated(GALAXY, (20.1, 20.0, flux))
    samples = Samples(samples.sources, samples.scalars, attrs=samples.attrs | {"psf_fwhm": 3.0})
    assert share_of_parts(samples) < 0.05
    catalog = condense(samples)
    assert sorted(catalog["prob_star"]) == [0.0, 1.0]
    assert sorted(catalog["flux"]) == pytest.approx(sorted([5000.0, flux]), rel=0.01)


def test_the_psf_blurs_where_a_second_component_is():
    samples = repeated(GALAXY, (21.4, 20.0, 4900.0, 1.5))
    assert share_of_parts(samples) < 0.1
    wide = Samples(samples.sources, samples.scalars, attrs=samples.attrs | {"psf_fwhm": 5.0})
    assert share_of_parts(wide) > 0.3


def test_points_have_no_parts():
    star = (*GALAXY[:3],)
    samples = repeated(star, (20.5, 20.5, 300.0))
    assert share_of_parts(samples) == 0.0
    catalog = condense(samples)
    assert len(catalog) == 2
    assert (catalog["num_components"] == 0.0).all()


def test_a_switch_that_is_none_is_refused():
    with pytest.raises(InputError, match="true or false"):
        condense(repeated(GALAXY), substructure="no")


def test_a_part_has_no_parts():
    """What lies on a component that is surely a part belongs to the whole galaxy."""
    samples = repeated(GALAXY, (20.0, 20.0, 3000.0, 1.5), (20.5, 20.0, 60.0))
    part_of = find_substructure(samples)
    chain, draw, source = np.nonzero(part_of >= 0)
    assert (samples.sources["flux"][chain, draw, part_of[chain, draw, source]] == 5000.0).all()
    assert (part_of >= 0).sum(axis=-1).max() == 2


def test_light_of_parts_is_that_of_the_object():
    rng = np.random.default_rng(0)
    clump = (21.5, 20.5, 150.0)
    draws = [
        [GALAXY, (31.0, 8.0, 800.0), *([clump] if rng.random() < 0.6 else [])] for _ in range(200)
    ]
    samples = samples_from_draws(draws)
    shape = samples.sources["active"].shape[:2]
    samples = Samples(
        samples.sources,
        {"mu": np.full(shape, 3.0)},
        attrs={"area": 1600.0, "prior": {"flux_min": 50.0}},
    )
    catalog, apart = condense(samples), condense(samples, substructure=False)
    part_of = catalog.part_of
    total = np.where(samples.sources["active"], samples.sources["flux"], 0.0).sum()
    folded = fold_substructure(samples, part_of)
    kept = np.where(folded.sources["active"], folded.sources["flux"], 0.0).sum()
    assert kept == pytest.approx(total, rel=1e-6)
    assert apart.part_of is None
    assert len(apart) == 3
    assert apart["flux"][0] == pytest.approx(5000.0)
    number = (part_of >= 0).sum() / 200.0
    assert number > 0.4
    assert catalog["num_components"][0] == pytest.approx(number)
    assert catalog["flux"][0] == pytest.approx(5000.0 + 150.0 * number)
    found = catalog.posterior(samples, 1)
    assert found["flux"].mean() == pytest.approx(5000.0 + 150.0 * number)
    # All light of the part is the galaxy's; what is no part stays an object or belongs to nobody.
    owners = catalog.owners
    assert (owners[part_of >= 0] == 0).all()
    rest = samples.sources["active"] & (samples.sources["flux"] == 150.0) & (part_of < 0)
    assert (owners[rest] != 0).all()
    assert catalog["prob_exist"][0] == apart["prob_exist"][0] == 1.0
