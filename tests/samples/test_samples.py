"""Samples: compacting, joining, and files that arviz and a killed writer leave readable."""

import os

import numpy as np
import pytest

from probcat.errors import InputError
from probcat.samples.samples import FLOAT_NAMES, SHAPE_NAMES, Samples


def make_samples(seed=0, chains=2, draws=5, capacity=8):
    rng = np.random.default_rng(seed)
    dims = (chains, draws, capacity)
    sources = {name: rng.normal(size=dims).astype(np.float32) for name in FLOAT_NAMES}
    sources["active"] = rng.random(dims) < 0.4
    sources["is_extended"] = rng.random(dims) < 0.5
    scalars = {"mu": rng.normal(size=dims[:2]), "num_sources": sources["active"].sum(-1)}
    stats = {"birth": rng.random(dims[:2])}
    return Samples(sources, scalars, stats, {"seed": 3, "settings": {"num_warmup": np.int64(7)}})


def test_compact_keeps_every_active_source_and_nothing_else():
    samples = make_samples()
    packed = samples.compact()
    assert packed.capacity == samples.num_sources.max()
    np.testing.assert_array_equal(packed.num_sources, samples.num_sources)
    before, after = samples.flatten(), packed.flatten()
    for name in ("sample", "x", "y", "flux", "is_extended"):
        np.testing.assert_array_equal(before[name], after[name])
    assert np.isnan(packed.sources["x"][~packed.sources["active"]]).all()
    for name in SHAPE_NAMES:
        assert np.isnan(after[name][~after["is_extended"]]).all()
        np.testing.assert_array_equal(
            after[name][after["is_extended"]], before[name][before["is_extended"]]
        )


def test_compact_of_empty_catalogs_keeps_one_slot():
    samples = make_samples()
    empty = {**samples.sources, "active": np.zeros_like(samples.sources["active"])}
    assert Samples(empty).compact().capacity == 1


def test_file_round_trip_is_exact(tmp_path):
    samples = make_samples().compact()
    samples.to_netcdf(tmp_path / "samples.nc")
    again = Samples.from_netcdf(tmp_path / "samples.nc")
    for before, after in (
        (samples.sources, again.sources),
        (samples.scalars, again.scalars),
        (samples.stats, again.stats),
    ):
        assert before.keys() == after.keys()
        for name in before:
            assert before[name].dtype == after[name].dtype
            np.testing.assert_array_equal(before[name], after[name])
    assert again.attrs == {"seed": 3, "settings": {"num_warmup": 7}}


def test_arviz_reads_the_file(tmp_path):
    from probcat.samples.chains import import_arviz

    az = import_arviz()
    samples = make_samples(draws=50)
    samples.to_netcdf(tmp_path / "samples.nc")
    tree = az.from_netcdf(tmp_path / "samples.nc")
    posterior = tree["posterior"].to_dataset() if hasattr(tree, "children") else tree.posterior
    assert posterior["mu"].dims == ("chain", "draw")
    assert az.ess(posterior)["mu"] > 1
    sources = tree["sources"]
    assert sources["x"].dims == ("chain", "draw", "source")
    assert {"chain", "draw", "source"} <= set(sources.coords)


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "samples.nc"
    samples = make_samples()
    samples.to_netcdf(path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        make_samples(seed=1).to_netcdf(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["samples.nc"]


def test_concatenate_pads_shorter_blocks():
    first, second = make_samples(0, capacity=4), make_samples(1, capacity=9)
    joined = Samples.concatenate([first, second])
    assert (joined.num_draws, joined.capacity) == (10, 9)
    np.testing.assert_array_equal(
        joined.num_sources, np.concatenate([first.num_sources, second.num_sources], axis=1)
    )
    np.testing.assert_array_equal(joined.scalars["mu"][:, 5:], second.scalars["mu"])
    thinned = joined.select_draws(slice(None, None, 5))
    np.testing.assert_array_equal(thinned.scalars["mu"][:, 1], second.scalars["mu"][:, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"sources": {"x": s.sources["x"]}}, "lack"),
        (lambda s: {"sources": {**s.sources, "x": s.sources["x"][:, :2]}}, "x has shape"),
        (lambda s: {"sources": s.sources, "scalars": {"mu": np.zeros(3)}}, "mu has shape"),
    ],
)
def test_inconsistent_samples_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Samples(**change(make_samples()))


def test_missing_or_foreign_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Samples.from_netcdf(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("not netCDF")
    with pytest.raises(InputError, match="not a netCDF"):
        Samples.from_netcdf(tmp_path / "text.nc")


def test_joining_nothing_or_different_chains_is_refused():
    with pytest.raises(InputError, match="no samples"):
        Samples.concatenate([])
    with pytest.raises(InputError, match="chains"):
        Samples.concatenate([make_samples(chains=2), make_samples(chains=3)])
