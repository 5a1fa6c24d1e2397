"""Reading several files, and several bands of a file, by one call."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import probcat
from probcat import PSF, Image, InputError, read_images
from probcat.image.fits_output import write_image

SHAPE = (20, 24)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write a file of each of three bands, and a file of the bands g and r."""
    monkeypatch.chdir(tmp_path)
    family = [fits.PrimaryHDU()]
    for number, band in enumerate("gri"):
        image = Image.from_arrays(
            np.full(SHAPE, float(number)),
            np.ones(SHAPE),
            psf=PSF.gaussian(3.0, size=9),
            band=band,
            zero_point=27.0,
        )
        write_image(f"{band}.fits", image)
        with fits.open(f"{band}.fits") as hdus:
            for hdu in hdus[1:]:
                hdu.name = f"{hdu.name}_{band.upper()}"
                family += [hdu.copy()] if band != "i" else []
    fits.HDUList(family).writeto("bands.fits")


def bands_of(images):
    return [image.band for image in images]


def test_files_are_read_in_their_order_by_paths_and_strings(files):
    images = read_images("i.fits", Path("g.fits"))
    assert bands_of(images) == ["i", "g"]
    assert [image.data[0, 0] for image in images] == [2.0, 0.0]
    assert bands_of(probcat.read_images(Path("r.fits"))) == ["r"]


def test_a_file_of_several_bands_is_read_whole_or_in_the_bands_asked_for(files):
    assert bands_of(read_images("bands.fits")) == ["g", "r"]
    assert bands_of(read_images("bands.fits", bands="R")) == ["r"]
    assert bands_of(read_images("bands.fits", bands=["r", "g"])) == ["r", "g"]
    assert bands_of(read_images("i.fits", "bands.fits")) == ["i", "g", "r"]


def test_options_hold_for_all_files_or_for_one_each(files):
    assert [one.zero_point for one in read_images("bands.fits", zero_point=25.0)] == [25.0] * 2
    images = read_images("g.fits", "r.fits", zero_point=[24.0, ""])
    assert [one.zero_point for one in images] == [24.0, 27.0]
    with pytest.raises(InputError, match="zero_point has 3 entries for 2 files; give one for each"):
        read_images("g.fits", "r.fits", zero_point=[1.0, 2.0, 3.0])


def test_what_is_not_there_or_there_twice_is_refused(files):
    with pytest.raises(InputError, match="no image; give one or several FITS files"):
        read_images()
    with pytest.raises(InputError, match=r"bands\.fits: no extension SCI_Z; bands: g, r"):
        read_images("bands.fits", bands="z")
    with pytest.raises(InputError, match=r"no band z in bands\.fits; leave it out"):
        read_images("bands.fits", bands=["g", "z"])
    with pytest.raises(InputError, match=r"g\.fits: given twice"):
        read_images("g.fits", Path("g.fits"))
    with pytest.raises(InputError, match=r"none\.fits: no such file"):
        read_images("none.fits")
    with pytest.raises(TypeError):
        read_images("g.fits", band="g")
