"""Condensing: objects with known answers, one source a draw, and nothing lost."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from probcat.catalog.condense import condense
from probcat.errors import InputError
from probcat.numerics.auction import auction
from probcat.samples.samples import Samples
from tests.builders import samples_from_draws

METHODS = ("mixture", "greedy")


def make_image(band="", wcs=None, zero_point=None, unit="ADU"):
    """What the table of a catalog needs of an image."""
    return SimpleNamespace(band=band, wcs=wcs, zero_point=zero_point, unit=unit, shape=(40, 40))


def with_band(samples, ratio_of):
    """Add a flux in band i: that of the first times `ratio_of(x, y, flux)`."""
    sources = dict(samples.sources)
    ratio = ratio_of(*(sources[name] for name in ("x", "y", "flux")))
    return Samples({**sources, "flux_i": (sources["flux"] * ratio).astype(np.float32)})


def scattered_field(num_draws=120, seed=1):
    """Stars on a loose grid whose presence and scatter go with flux; and stray sources."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(6) * 4.0, np.arange(6) * 4.0)
    x, y = (
        (x + rng.uniform(-0.8, 0.8, x.shape)).ravel(),
        (y + rng.uniform(-0.8, 0.8, y.shape)).ravel(),
    )
    flux = np.geomspace(300.0, 1e5, x.size)
    share = np.clip(flux / 600.0, 0.0, 1.0)
    draws, truth = [], []
    for _ in range(num_draws):
        here = np.flatnonzero(rng.random(x.size) < share)
        scatter = np.minimum(60.0 / flux[here], 0.2)
        stars = np.stack(
            [
                x[here] + scatter * rng.normal(size=here.size),
                y[here] + scatter * rng.normal(size=here.size),
                flux[here] * np.exp(scatter * rng.normal(size=here.size)),
            ],
            axis=1,
        )
        stray = np.stack([*rng.uniform(0, 20, (2, 3)), rng.uniform(250, 500, 3)], axis=1)
        draws.append([tuple(source) for source in np.concatenate([stars, stray])])
        truth.append(here)
    count = np.bincount(np.concatenate(truth), minlength=x.size)
    return samples_from_draws(draws), {"x": x, "y": y, "flux": flux, "share": count / num_draws}


@pytest.mark.parametrize("method", METHODS)
def test_no_object_has_two_sources_of_a_draw(method):
    rng = np.random.default_rng(3)
    draws = [rng.uniform([0, 0, 200], [6, 6, 400], (rng.integers(0, 40), 3)) for _ in range(60)]
    samples = samples_from_draws([[tuple(source) for source in draw] for draw in draws])
    catalog = condense(samples, method=method)
    members = catalog.members.reshape(60, -1)
    for draw in members:
        rows = draw[draw >= 0]
        assert rows.size == np.unique(rows).size
    assert (members[~samples.sources["active"].reshape(60, -1)] == -1).all()
    linked = (members >= 0).sum()
    assert linked == catalog["num_members"].sum()
    assert linked + catalog.num_unassigned * 60 == pytest.approx(samples.num_sources.sum())
    assert (catalog["prob_exist"] >= 0.05).all()


def test_objects_of_a_known_field_are_found():
    samples, truth = scattered_field()
    catalog = condense(samples)
    distance = np.hypot(
        catalog["x"][:, None] - truth["x"], catalog["y"][:, None] - truth["y"]
    ) + np.abs(np.log(catalog["flux"][:, None] / truth["flux"]))
    for star in np.flatnonzero(truth["share"] > 0.5):
        row = distance[:, star].argmin()
        assert distance[row, star] < 0.25
        # A stray source may stand in for the star in a few draws, not in many.
        assert catalog["prob_exist"][row] == pytest.approx(truth["share"][star], abs=0.06)
    assert np.sum(catalog["prob_exist"] > 0.5) == np.sum(truth["share"] > 0.5)
    assert (np.diff(catalog["flux"]) <= 0).all()
    np.testing.assert_array_equal(catalog["object_id"], np.arange(1, len(catalog) + 1))


def test_statistics_are_those_of_the_members():
    samples, _ = scattered_field()
    catalog = condense(samples)
    for object_id in (1, 10, 30):
        row = catalog.row(object_id)
        draws = catalog.posterior(samples, object_id)
        for name in ("x", "y", "flux"):
            values = draws[name].astype(np.float64)
            assert catalog[name][row] == pytest.approx(values.mean())
            assert catalog[f"{name}_err"][row] == pytest.approx(values.std())
            for end, level in (("q16", 0.16), ("q50", 0.5), ("q84", 0.84)):
                assert catalog[f"{name}_{end}"][row] == pytest.approx(np.quantile(values, level))
        assert np.isnan(catalog["half_light_radius"][row])
        assert catalog["prob_star"][row] == 1.0


def test_close_bright_pair_stays_two_objects():
    rng = np.random.default_rng(5)
    draws = [
        [
            (10.0 + 0.02 * rng.normal(), 10.0 + 0.02 * rng.normal(), 1000.0 + 10 * rng.normal()),
            (10.4 + 0.02 * rng.normal(), 10.0 + 0.02 * rng.normal(), 1000.0 + 10 * rng.normal()),
        ]
        for _ in range(80)
    ]
    catalog = condense(samples_from_draws(draws))
    assert len(catalog) == 2
    np.testing.assert_array_equal(catalog["prob_exist"], [1.0, 1.0])
    np.testing.assert_allclose(np.sort(catalog["x"]), [10.0, 10.4], atol=0.02)
    assert (catalog["x_err"] < 0.05).all()


def test_modes_of_one_source_in_two_chains_are_one_object():
    rng = np.random.default_rng(6)
    draws = [
        [(x + 0.02 * rng.normal(), 5.0 + 0.02 * rng.normal(), flux * (1 + 0.01 * rng.normal()))]
        for x, flux in ((5.0, 1000.0), (5.12, 1100.0))
        for _ in range(60)
    ]
    catalog = condense(samples_from_draws(draws))
    assert len(catalog) == 1
    assert catalog["prob_exist"][0] == 1.0


def test_blend_that_one_chain_splits_keeps_probabilities_below_one():
    rng = np.random.default_rng(7)
    single = [[(5.0, 5.0, 2000.0 * (1 + 0.01 * rng.normal()))] for _ in range(60)]
    double = [
        [(4.5, 5.0, 1000.0 * (1 + 0.02 * rng.normal())), (5.5, 5.0, 1000.0)] for _ in range(60)
    ]
    catalog = condense(samples_from_draws(single + double))
    assert 2 <= len(catalog) <= 3
    assert (catalog["prob_exist"] <= 1.0).all()
    assert catalog["prob_exist"].sum() == pytest.approx(1.5, abs=0.02)


def test_faint_star_keeps_draws_that_scatter_beyond_the_radius():
    """Of a scatter of 0.5 px on either axis, a third of the draws are beyond 0.75 px."""
    rng = np.random.default_rng(12)
    draws = [
        [(10.0 + 0.5 * rng.normal(), 10.0 + 0.5 * rng.normal(), 300.0 * np.exp(0.3 * rng.normal()))]
        for _ in range(200)
    ]
    catalog = condense(samples_from_draws(draws))
    # Beyond twice the radius are 1.1 %; more than 12 of 200 have a chance below 1e-5.
    assert catalog["prob_exist"][0] > 0.94
    assert catalog["x_err"][0] == pytest.approx(0.5, abs=0.1)


def test_colours_tell_apart_what_positions_and_fluxes_do_not():
    rng = np.random.default_rng(13)
    draws = [
        [
            (10.0 + 0.3 * rng.normal(), 10.0 + 0.3 * rng.normal(), 900.0 + 40 * rng.normal()),
            (10.2 + 0.3 * rng.normal(), 10.0 + 0.3 * rng.normal(), 1100.0 + 40 * rng.normal()),
        ]
        for _ in range(150)
    ]
    samples = samples_from_draws(draws)
    samples = with_band(samples, lambda x, y, flux: np.where(flux > 1000.0, 0.5, 2.0))
    catalog = condense(samples)
    sure = np.flatnonzero(catalog["prob_exist"] > 0.5)
    assert len(sure) == 2
    np.testing.assert_allclose(catalog["flux_i"][sure] / catalog["flux"][sure], [0.5, 2.0], 0.02)
    np.testing.assert_allclose(catalog["flux"][sure], [1100.0, 900.0], rtol=0.02)


def test_covariance_is_that_of_the_draws():
    rng = np.random.default_rng(14)
    mixing = np.array([[0.05, 0.0, 0.0], [0.03, 0.04, 0.0], [10.0, -5.0, 20.0]])
    draws = [[tuple([10.0, 12.0, 900.0] + mixing @ rng.normal(size=3))] for _ in range(80)]
    samples = with_band(samples_from_draws(draws), lambda x, y, flux: 1.0 + 0.1 * x)
    catalog = condense(samples)
    assert catalog.covariance_names == ("x", "y", "flux", "flux_i")
    own = catalog.posterior(samples, 1)
    values = [own[name].astype(np.float64) for name in catalog.covariance_names]
    expected = np.cov(values, bias=True)
    np.testing.assert_allclose(catalog.covariance(1), expected, rtol=1e-9)
    table = catalog.to_table([make_image("r"), make_image("i")])
    assert table["x_flux_r_cov"][0] == pytest.approx(expected[0, 2])
    assert table["flux_r_flux_i_cov"][0] == pytest.approx(expected[2, 3])
    assert str(table["x_flux_r_cov"].unit) == "adu pix"
    assert str(table["flux_r_flux_i_cov"].unit) == "adu2"
    with pytest.raises(InputError, match="no object 2"):
        catalog.covariance(2)


def test_rhat_tells_objects_that_chains_disagree_on():
    rng = np.random.default_rng(15)
    draws = [
        [(5.0, 5.0, 900.0 + 30 * rng.normal()), (15.0, 5.0, 500.0 + 9 * rng.normal())]
        if number < 100
        else [(5.0, 5.0, 900.0 + 30 * rng.normal())]
        for number in range(200)
    ]
    catalog = condense(samples_from_draws(draws))
    assert catalog["rhat"][0] < 1.1
    assert catalog["rhat"][1] > 2.0
    few = condense(samples_from_draws(draws[:6]))
    assert np.isnan(few["rhat"]).all()


def test_types_and_shapes_come_from_the_extended_members():
    rng = np.random.default_rng(8)
    draws = [[(5.0, 5.0, 900.0, 2.0 + 0.1 * rng.normal())] for _ in range(30)]
    draws += [[(5.0, 5.0, 900.0)] for _ in range(10)]
    catalog = condense(samples_from_draws(draws))
    assert len(catalog) == 1
    assert catalog["prob_star"][0] == pytest.approx(0.25)
    radii = [draw[0][3] for draw in draws[:30]]
    assert catalog["half_light_radius"][0] == pytest.approx(np.mean(radii), rel=1e-6)
    assert catalog["ellipticity_2"][0] == pytest.approx(-0.2)


def test_star_here_and_galaxy_there_is_one_object():
    rng = np.random.default_rng(11)
    draws = [
        [(5.0 + 0.05 * rng.normal(), 5.0 + 0.05 * rng.normal(), flux, *shape)]
        for flux, shape in ((500.0, ()), (1300.0, (2.0,)))
        for _ in range(50)
    ]
    catalog = condense(samples_from_draws(draws))
    assert len(catalog) == 1
    assert catalog["prob_exist"][0] == 1.0
    assert catalog["prob_star"][0] == pytest.approx(0.5)


def test_order_of_slots_does_not_matter():
    rng = np.random.default_rng(9)
    samples, _ = scattered_field()
    order = np.argsort(rng.random(samples.sources["active"].shape), axis=-1)
    shuffled = Samples(
        {
            name: np.take_along_axis(values, order, axis=-1)
            for name, values in samples.sources.items()
        }
    )
    one, other = condense(samples), condense(shuffled)
    bright = one["prob_exist"] > 0.5
    np.testing.assert_allclose(
        one["flux"][bright], other["flux"][other["prob_exist"] > 0.5], rtol=1e-2
    )
    assert (
        abs(one["num_members"].sum() - other["num_members"].sum())
        <= 0.01 * one["num_members"].sum()
    )


@pytest.mark.parametrize("method", METHODS)
def test_empty_catalogs_condense_to_nothing(method):
    catalog = condense(samples_from_draws([[] for _ in range(6)]), method=method)
    assert len(catalog) == 0
    assert catalog.num_unassigned == 0.0
    assert len(catalog.to_table()) == 0


@pytest.mark.parametrize("options", [{"method": "guess"}, {"radius": 0.0}, {"min_prob": 1.5}])
def test_bad_options_are_refused(options):
    with pytest.raises(InputError):
        condense(samples_from_draws([[(1.0, 1.0, 5.0)]] * 4), **options)


def test_unknown_object_or_foreign_samples_are_refused():
    samples = samples_from_draws([[(1.0, 1.0, 5.0)]] * 4)
    catalog = condense(samples)
    with pytest.raises(InputError, match="no object 2"):
        catalog.posterior(samples, 2)
    with pytest.raises(InputError, match="not the samples"):
        catalog.posterior(samples_from_draws([[(1.0, 1.0, 5.0)]] * 6), 1)


def test_table_has_units_and_sky_positions():
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = (
        ["RA---TAN", "DEC--TAN"],
        [30.0, 5.0],
        [11.0, 11.0],
    )
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    catalog = condense(samples_from_draws([[(10.0, 10.0, 100.0)]] * 8))
    table = catalog.to_table(make_image("r", wcs=wcs, zero_point=25.0))
    assert {"object_id", "x_err", "flux_r_err", "prob_exist", "sersic_n"} <= set(table.colnames)
    assert (table["ra"][0], table["dec"][0]) == pytest.approx((30.0, 5.0))
    assert table["mag_r"][0] == pytest.approx(20.0)
    assert table.meta["PIXSCALE"] == pytest.approx(0.36)
    assert str(table["flux_r"].unit) == "adu"
    assert str(table["half_light_radius"].unit) == "pix"
    assert str(catalog.to_table(make_image(unit="furlong"))["flux"].unit) == "furlong"
    assert np.isnan(catalog.to_table(make_image())["mag"][0])
    for column in ("ra", "mag", "position_angle"):
        assert column not in catalog.to_table().colnames
    assert catalog.to_table()["flux"].unit is None


def test_bands_have_their_own_units_zero_points_and_proper_names():
    samples = with_band(samples_from_draws([[(5.0, 5.0, 900.0)]] * 8), lambda x, y, flux: 2.0)
    renamed = {name.replace("flux_i", "flux_F814W-x"): v for name, v in samples.sources.items()}
    catalog = condense(Samples(renamed, attrs={"bands": ["F606W-x", "F814W-x"]}))
    images = [
        make_image("F606W-x", zero_point=25.0),
        make_image("F606W-x", zero_point=26.0),
        make_image("F814W-x", zero_point=24.0, unit="electron"),
    ]
    table = catalog.to_table(images)
    assert table["mag_F606W_x"][0] == pytest.approx(25.0 - 2.5 * np.log10(900.0))
    assert table["mag_F814W_x"][0] == pytest.approx(24.0 - 2.5 * np.log10(1800.0))
    assert str(table["flux_F606W_x"].unit) == "adu"
    assert str(table["flux_F814W_x_err"].unit) == "electron"
    assert str(table["flux_F606W_x_flux_F814W_x_cov"].unit) == "adu electron"
    for wrong in (images[0], images[2], images[::-1]):
        with pytest.raises(InputError, match="band"):
            catalog.to_table(wrong)


def test_errors_and_shapes_on_the_sky_follow_the_wcs():
    """A turned WCS of rectangular pixels, near the pole of right ascension's errors."""
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [0.001, 60.0]
    wcs.wcs.crpix, turn = [11.0, 11.0], np.deg2rad(30.0)
    matrix = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.cd = matrix * 1e-4
    rng = np.random.default_rng(16)
    draws = [
        [(10.0 + 0.2 * rng.normal(), 10.0 + 0.05 * rng.normal(), 900.0, 2.0)] for _ in range(100)
    ]
    samples = samples_from_draws(draws)
    catalog = condense(samples)
    table = catalog.to_table(make_image(wcs=wcs))
    own = catalog.posterior(samples, 1)
    sky = wcs.pixel_to_world(own["x"].astype(float), own["y"].astype(float))
    dx, dy = SkyCoord(table["ra"][0], table["dec"][0], unit="deg").spherical_offsets_to(sky)
    expected = np.cov(dx.deg, dy.deg, bias=True)
    assert table["ra_err"][0] == pytest.approx(np.sqrt(expected[0, 0]), rel=1e-4)
    assert table["dec_err"][0] == pytest.approx(np.sqrt(expected[1, 1]), rel=1e-4)
    correlation = expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1])
    assert table["ra_dec_corr"][0] == pytest.approx(correlation, abs=1e-4)
    # The major axis is at 0.5 atan2(-0.2, 0.1) in pixels; a step along it gives its angle.
    axis = 0.5 * np.arctan2(-0.2, 0.1)
    ends = wcs.pixel_to_world(
        10.0 + np.cos(axis) * np.array([0, 1]), 10 + np.sin(axis) * np.array([0, 1])
    )
    angle = ends[0].position_angle(ends[1]).deg % 180.0
    assert table["position_angle"][0] == pytest.approx(angle, abs=0.01)
    assert table["half_light_radius_sky"][0] == pytest.approx(2.0 * 0.36, rel=1e-5)


def test_auction_is_nearly_optimal_and_one_to_one():
    rng = np.random.default_rng(10)
    for _ in range(100):
        rows, columns = rng.integers(1, 10, 2)
        gains = rng.normal(2.0, 3.0, (rows, columns))
        candidates = np.where(rng.random(gains.shape) < 0.7, np.arange(columns), -1)
        matched = auction(candidates, gains, columns, epsilon=0.02)
        used = matched[matched >= 0]
        assert used.size == np.unique(used).size
        allowed = np.where(candidates >= 0, gains, -1e3)
        best = np.concatenate([allowed, np.zeros((rows, rows))], axis=1)
        optimum = best[linear_sum_assignment(best, maximize=True)].sum()
        found = gains[np.flatnonzero(matched >= 0), used].sum()
        assert optimum - 0.02 * rows - 1e-9 <= found <= optimum + 1e-9
