"""Files written and read back: catalogs, models, assignments, configuration."""

import inspect
from dataclasses import fields

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.io.votable.ucd import parse_ucd
from astropy.table import Column, Table
from astropy.wcs import WCS

import probcat
from probcat.catalog import condense, export
from probcat.catalog.fits import read_catalog, write_catalog
from probcat.errors import InputError
from probcat.image.fits_input import image_arguments
from probcat.image.image import Image
from probcat.model.prior.parameters import PriorParameters
from probcat.pixels.assignment import Assignment
from probcat.pixels.fits import write_assignment, write_model
from probcat.pixels.model_image import PosteriorModel
from probcat.psf.psf import PSF
from probcat.psf.readers.fits import read_psf
from probcat.run import settings
from probcat.run.config import RunConfig, read_config, write_config
from probcat.run.settings import CatalogSettings, ImageSettings, RunSettings


def make_table(flux_unit="adu"):
    table = Table()
    table["object_id"] = np.array([1, 2])
    table["x"] = [1.0, 2.0] * units.pix
    table["x_err"] = [0.1, 0.2] * units.pix
    table["ra"] = [10.0, 11.0] * units.deg
    unit = units.Unit(flux_unit, parse_strict="silent")
    table["flux_r"] = Column([100.0, 50.0], unit=unit)
    table["flux_r_q84"] = Column([101.0, 51.0], unit=unit)
    table["mag_r"] = [20.0, 21.0] * units.mag
    table["prob_star"] = [1.0, 0.0]
    table["sersic_n_err"] = [np.nan, 0.5]
    table["half_light_radius_q16"] = [np.nan, 2.0] * units.pix
    table["flux_r"].description = "a description that is longer than what fits beside a value" * 2
    return table


def test_catalog_keeps_units_and_gets_ucds(tmp_path):
    path = tmp_path / "catalog.fits"
    write_catalog(path, make_table(), {"SEED": (3, "seed"), "CREATOR": "probcat"})
    with fits.open(path) as hdus:
        header = hdus["CATALOG"].header
        assert hdus[0].header["SEED"] == header["SEED"] == 3
        columns = {header[f"TTYPE{i}"]: i for i in range(1, header["TFIELDS"] + 1)}
        ucds = {name: header[f"TUCD{i}"] for name, i in columns.items()}
        assert header[f"TUNIT{columns['x']}"] == "pix"
        assert header[f"TUNIT{columns['ra']}"] == "deg"
    for ucd in ucds.values():
        parse_ucd(ucd, check_controlled_vocabulary=True)
    assert ucds["x_err"] == "stat.error;pos.cartesian.x"
    assert ucds["flux_r_q84"] == "phot.flux;stat.max"
    assert ucds["sersic_n_err"] == "stat.error;src.morph.param"
    back = read_catalog(path)
    assert back["flux_r"].unit == units.adu
    for name in make_table().colnames:
        np.testing.assert_array_equal(back[name], make_table()[name])


def test_catalog_keeps_units_that_fits_does_not_know(tmp_path):
    write_catalog(tmp_path / "c.fits", make_table("nanomaggies"))
    with fits.open(tmp_path / "c.fits") as hdus:
        assert "nanomaggies" in [hdus["CATALOG"].header.get(f"TUNIT{i}") for i in range(1, 9)]


def make_assignment(count=3, seed=0):
    rng = np.random.default_rng(seed)
    kinds = ("light", "dominant", "footprint")
    return Assignment(
        object_ids=np.arange(1, count + 1),
        origins=rng.integers(-3, 20, (count, 2)),
        stamps={kind: rng.random((count, 7, 7)).astype(np.float32) for kind in kinds},
        unassigned={kind: rng.random((20, 30)).astype(np.float32) for kind in kinds},
        shape=(20, 30),
        band="i",
    )


@pytest.mark.parametrize("count", [0, 1, 40])
def test_assignment_comes_back_bit_for_bit(tmp_path, count):
    path = tmp_path / "assignment.fits"
    made = make_assignment(count)
    write_assignment(path, made, {"SEED": 1})
    back = probcat.read_assignment(path)
    np.testing.assert_array_equal(back.object_ids, made.object_ids)
    np.testing.assert_array_equal(back.origins, made.origins)
    assert (back.shape, back.band) == ((20, 30), "i")
    assert list(back.stamps) == list(made.stamps)
    for kind in made.stamps:
        np.testing.assert_array_equal(back.unassigned[kind], made.unassigned[kind])
        for object_id in made.object_ids:
            expected = made.map(object_id, kind)
            np.testing.assert_array_equal(back.map(object_id, kind), expected)
            assert back.map(object_id, kind).shape == (20, 30)


def test_sparse_maps_are_small_on_disk(tmp_path):
    stamps = np.zeros((100, 41, 41), np.float32)
    stamps[:, 15:25, 15:25] = np.random.default_rng(1).random((100, 10, 10))
    made = make_assignment(100)
    made.stamps.clear()
    made.stamps["light"] = stamps
    write_assignment(tmp_path / "a.fits", made)
    assert (tmp_path / "a.fits").stat().st_size < stamps.nbytes / 5


def test_file_without_objects_is_no_assignment(tmp_path):
    fits.PrimaryHDU(np.ones((3, 3))).writeto(tmp_path / "other.fits")
    with pytest.raises(InputError, match=r"other\.fits: no table OBJECTS"):
        probcat.read_assignment(tmp_path / "other.fits")
    with pytest.raises(InputError, match=r"other\.fits: no table CATALOG"):
        read_catalog(tmp_path / "other.fits")


def test_model_has_the_image_s_wcs_and_unit(tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 10.0, -5.0
    wcs.wcs.cdelt = -1e-4, 1e-4
    image = Image.from_arrays(
        np.ones((8, 9)), np.ones((8, 9)), psf=PSF.gaussian(2.0), wcs=wcs, unit="adu"
    )
    mean, std, residual = (np.full((8, 9), value, np.float32) for value in (1.0, 0.5, 0.0))
    residual[2, 3] = np.nan
    write_model(tmp_path / "model.fits", image, PosteriorModel(mean, std, residual), {"SEED": 1})
    with fits.open(tmp_path / "model.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["MODEL", "MODEL_STD", "RESIDUAL"]
        assert hdus["MODEL"].header["BUNIT"] == "adu"
        assert hdus["RESIDUAL"].header["BUNIT"] == "sigma"
        np.testing.assert_array_equal(hdus["RESIDUAL"].data, residual)
        back = WCS(hdus["MODEL"].header)
        np.testing.assert_allclose(
            back.all_pix2world(3.0, 4.0, 0), wcs.all_pix2world(3.0, 4.0, 0), rtol=1e-10
        )


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "catalog.fits"
    write_catalog(path, make_table(), {"SEED": 1})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Illegal value"):
        write_catalog(path, make_table(), {"SEED": object()})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["catalog.fits"]


def test_psf_file_of_bands_or_planes(tmp_path):
    arrays = {f"PSF_{band}": np.full((5, 5), value) for value, band in enumerate("GR")}
    hdus = [fits.ImageHDU(data, name=name) for name, data in arrays.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "bands.fits")
    samples, oversampling = read_psf(tmp_path / "bands.fits", band="r")
    assert samples[0, 0] == 1
    assert oversampling is None
    with pytest.raises(InputError, match=r"no extension PSF_Z or PSF; it holds PSF_G, PSF_R"):
        read_psf(tmp_path / "bands.fits", band="z")
    fits.PrimaryHDU(np.stack([np.zeros((5, 5)), np.ones((5, 5))])).writeto(tmp_path / "cube.fits")
    assert read_psf(tmp_path / "cube.fits", plane=1)[0].sum() == 25
    with pytest.raises(InputError, match=r"no plane 2; there are 2"):
        read_psf(tmp_path / "cube.fits", plane=2)


def test_configuration_comes_back_as_written(tmp_path):
    config = RunConfig(
        image={"files": ["a.fits"], "band": "i", "mask_planes": ["SAT", 3], "gain": None},
        prior={"flux_min": np.float32(0.1)},
        sampler={"seed": 3, "num_chains": 2, "prior_only": False},
        catalog={"min_prob": 0.1},
    )
    write_config(tmp_path / "c.toml", config)
    back = read_config(tmp_path / "c.toml")
    assert back.image == {"files": ["a.fits"], "band": "i", "mask_planes": ["SAT", 3]}
    assert back.prior == {"flux_min": 0.1}
    assert back.sampler == config.sampler
    assert back.catalog == config.catalog


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sampler]\nnum_sample = 3", r"unknown key 'num_sample' in section \[sampler\]; did you"),
        ("[image]\nbant = 'i'", r"unknown key 'bant' in section \[image\]; did you mean band"),
        ("[catalog]\nradios = 1.0", r"unknown key 'radios' in section \[catalog\]"),
        ("[smapler]\nseed = 1", r"unknown key 'smapler' in .*bad\.toml; did you mean sampler"),
        ("seed = 1", r"unknown key 'seed'"),
        ("image = 1", r"\[image\] must be a section"),
        ("[sampler]\nseed = -1", r"seed = -1; it must be 0 or more"),
        ("[sampler]\nnum_chains = 2.5", r"num_chains = 2\.5; it must be a whole number"),
        ("[sampler]\nnum_samples = true", r"num_samples = True; it must be a whole number"),
        ("[sampler]\nprior_only = 1", r"prior_only = 1; it must be true or false"),
        ("[sampler]\npasses = 'two'", r"passes = 'two'; it must be a whole number"),
        ("[sampler]\nborder = true", r"border = True; it must be a number"),
        ("[catalog]\nmin_prob = '0.1'", r"min_prob = '0\.1'; it must be a number"),
        ("[catalog]\nmin_prob = 2", r"min_prob = 2; it must be in \[0, 1\]"),
        ("[catalog]\nradius = -1.0", r"radius = -1\.0; it must be positive"),
        ("[catalog]\nradius = [1.0]", r"radius = \[1\.0\]; it must be a number"),
        ("[catalog]\nmethod = 'graedy'", r"method = 'graedy'; it must be mixture or greedy"),
        ("[catalog]\nmax_draws = 0", r"max_draws = 0; it must be positive"),
        ("[image]\ngain = 'high'", r"gain = 'high'; it must be a number or a list"),
        ("[image]\ngain = [1.0, true]", r"gain = \[1\.0, True\]; it must be a number or a list"),
        ("[image]\nestimate_psf = 1", r"estimate_psf = 1; it must be true or false or a list"),
        ("[image]\nrefine_psf = 1.5", r"refine_psf = 1\.5; it must be a whole number"),
        ("[image]\nrefine_psf = -1", r"refine_psf = -1; it must be 0 or more"),
        ("[sampler\n", r"not a TOML file"),
    ],
)
def test_bad_configuration_is_refused(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_config(path)
    assert "bad.toml" in str(error.value)


def test_missing_configuration_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: No such file"):
        read_config(tmp_path / "none.toml")


def test_lists_with_an_entry_for_each_file_are_accepted():
    image = {
        "files": ["a.fits", "b.fits"],
        "band": ["g", "r"],
        "psf": ["", "psf.fits"],
        "mask_planes": [["SAT"], [3, "CR"]],
        "psf_origin": [[0, 0.5], [10, 20]],
        "saturation": [60.0, np.inf],
        "gain": np.array([1.0, 2.0]),
        "model_variance": [True, False],
    }
    assert RunConfig(image=image).check().image == image


SECTIONS = {
    "image": (ImageSettings,),
    "prior": (PriorParameters,),
    "sampler": (RunSettings, probcat.SamplerSettings),
    "catalog": (CatalogSettings,),
}


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [(section, *pair) for section, keys in settings.RENAMED.items() for pair in keys.items()],
)
def test_former_keys_name_the_new_ones(tmp_path, section, old, new):
    known = {field.name for one in SECTIONS[section] for field in fields(one)}
    assert new in known
    assert old not in known
    path = tmp_path / "old.toml"
    path.write_text(f"[{section}]\n{old} = 1\n")
    message = rf"old\.toml: '{old}' in section \[{section}\] is now called '{new}'; rename it"
    with pytest.raises(InputError, match=message):
        read_config(path)


def defaults_of(function, *left_out):
    """Return keyword parameters of a function and their defaults."""
    parameters = inspect.signature(function).parameters.items()
    return {k: p.default for k, p in parameters if p.default is not p.empty and k not in left_out}


def test_settings_are_the_options_that_they_set():
    declared = {
        one: {field.name: field.default for field in fields(one)}
        for one in (ImageSettings, RunSettings, CatalogSettings)
    }
    condensing = defaults_of(condense.condense)
    assigning = defaults_of(probcat.assign_pixels, "renderer")
    assert tuple(condensing) == settings.CONDENSE_OPTIONS
    assert tuple(assigning) == settings.ASSIGN_OPTIONS
    assert declared[CatalogSettings] == condensing | assigning
    of_run = {"files": (), "refine_psf": 0, "refined_psf": None}
    assert declared[ImageSettings] == defaults_of(image_arguments) | of_run
    assert {*settings.REFINE_OPTIONS, "files"} == set(of_run)
    others = ("prior", "rng_key", "settings", "directory", "progress_bar")
    assert declared[RunSettings] == defaults_of(probcat.sample, *others) | {"seed": 0}
    assert settings.METHODS == condense.METHODS
    assert tuple(export.FORMATS) == settings.EXPORT_FORMATS


def test_options_are_passed_on_only_where_they_are_given():
    catalog = {"radius": 0.7, "max_draws": 20}
    config = RunConfig({"files": "a.fits", "refine_psf": 1}, {}, {"seed": 3, "passes": 2}, catalog)
    assert config.image_options() == {"files": "a.fits"}
    assert config.condense_options() == {"radius": 0.7}
    assert config.assign_options() == {"max_draws": 20}
    assert config.run_settings() == RunSettings(seed=3)
    assert config.sampler_settings() == probcat.SamplerSettings(passes=2)
