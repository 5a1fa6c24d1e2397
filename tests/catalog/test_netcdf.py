"""The condensed catalog as a file, and without JAX."""

import subprocess
import sys

import numpy as np
import pytest

from probcat.catalog.catalog import CondensedCatalog
from probcat.catalog.condense import condense
from probcat.errors import InputError
from probcat.samples.samples import Samples
from tests.builders import samples_from_draws


def galaxy_with_parts():
    """Samples of a galaxy with a clump, and of a star that half of the draws contain."""
    draws = [
        [(20.0, 20.0, 5000.0, 2.0), (20.1, 20.0, 3000.0, 0.8)]
        + ([(31.0, 8.0, 800.0)] if number % 2 else [])
        for number in range(40)
    ]
    return samples_from_draws(draws)


def assert_same(one, other):
    assert list(one.columns) == list(other.columns)
    for name, values in one.columns.items():
        assert other[name].dtype == values.dtype
        np.testing.assert_array_equal(other[name], values)
    assert other.members.dtype == one.members.dtype
    np.testing.assert_array_equal(other.members, one.members)
    assert (one.part_of is None) == (other.part_of is None)
    if one.part_of is not None:
        assert other.part_of.dtype == one.part_of.dtype
        np.testing.assert_array_equal(other.part_of, one.part_of)
    assert other.num_unassigned == one.num_unassigned
    assert other.attrs == one.attrs


@pytest.mark.parametrize("substructure", [True, False])
def test_catalog_and_members_come_back(tmp_path, substructure):
    samples = galaxy_with_parts()
    catalog = condense(samples, substructure=substructure)
    assert substructure == (catalog.part_of is not None)
    catalog = catalog.with_columns({"flags": np.arange(len(catalog), dtype=np.int32)})
    catalog.to_netcdf(tmp_path / "members.nc")
    back = CondensedCatalog.from_netcdf(tmp_path / "members.nc")
    assert_same(catalog, back)
    for name, values in catalog.posterior(samples, 1).items():
        np.testing.assert_array_equal(back.posterior(samples, 1)[name], values)
    assert [path.name for path in tmp_path.iterdir()] == ["members.nc"]


def test_catalog_without_objects_comes_back(tmp_path):
    catalog = condense(samples_from_draws([[] for _ in range(6)]))
    catalog.to_netcdf(tmp_path / "members.nc")
    assert_same(catalog, CondensedCatalog.from_netcdf(tmp_path / "members.nc"))


def test_missing_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        CondensedCatalog.from_netcdf(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("not netCDF")
    with pytest.raises(InputError, match="not a netCDF"):
        CondensedCatalog.from_netcdf(tmp_path / "text.nc")
    galaxy_with_parts().to_netcdf(tmp_path / "samples.nc")
    with pytest.raises(InputError, match="holds no members"):
        CondensedCatalog.from_netcdf(tmp_path / "samples.nc")


WITHOUT_JAX = """
import sys
sys.modules["jax"] = sys.modules["numpyro"] = None
import probcat
samples = probcat.Samples.from_netcdf(sys.argv[1] + "/samples.nc")
catalog = probcat.condense(samples)
catalog.to_netcdf(sys.argv[1] + "/members.nc")
catalog = probcat.CondensedCatalog.from_netcdf(sys.argv[1] + "/members.nc")
print(probcat.summarize(samples, catalog))
from probcat.catalog.fits import write_alternatives, write_catalog
write_catalog(sys.argv[1] + "/catalog.fits", catalog.to_table())
write_alternatives(sys.argv[1] + "/alternatives.fits", catalog.alternatives_table())
print(len(probcat.read_catalog(sys.argv[1] + "/catalog.fits")), "rows")
"""


def test_catalog_and_samples_work_without_jax(tmp_path):
    samples = galaxy_with_parts()
    samples.to_netcdf(tmp_path / "samples.nc")
    command = [sys.executable, "-c", WITHOUT_JAX, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    catalog = condense(Samples.from_netcdf(tmp_path / "samples.nc"))
    assert_same(catalog, CondensedCatalog.from_netcdf(tmp_path / "members.nc"))
    assert f"{len(catalog)} rows" in result.stdout
