"""A finished run without sampling: draws are scatter about what the images were made of."""

import dataclasses

import jax
import numpy as np
from astropy.wcs import WCS

from probcat import PSF, Prior, simulate_image
from probcat.catalog.condense import condense
from probcat.image.fits_output import write_image
from probcat.run.config import RunConfig, write_config
from probcat.run.results import write_results
from probcat.samples.samples import SHAPE_NAMES, Samples

SHAPE = (36, 44)
# A star, a galaxy beside it, a star apart, and a faint one that one chain of two holds.
X = np.array([12.0, 17.0, 33.0, 25.0])
Y = np.array([15.0, 17.0, 24.0, 8.0])
FLUX = {"g": np.array([3000.0, 2500.0, 900.0, 150.0])}
FLUX["r"] = 1.4 * FLUX["g"]
EXTENDED = np.array([False, True, False, False])
GALAXY = (2.5, 0.3, 0.1, 1.0)
SHIFT = (1.47, -2.18)
NUM_DRAWS = 40


def make_run(directory, monkeypatch, bands=("g", "r")):
    """Write images, settings, samples and what follows from them; no figures."""
    from matplotlib.figure import Figure

    images, files = [], []
    for number, band in enumerate(bands):
        images.append(make_image(band, number))
        files.append(str(directory / f"{band}.fits"))
        write_image(files[-1], images[-1])
    prior = Prior.from_image(images)
    config = RunConfig({"files": files}, prior.to_config(), {"seed": 3, "prior_only": False})
    write_config(directory / "config.toml", config)
    samples = make_samples(bands)
    samples.to_netcdf(directory / "samples.nc")
    with monkeypatch.context() as patch:
        patch.setattr("probcat.run.results.write_figures", lambda *arguments: None)
        patch.setattr(Figure, "savefig", lambda *arguments, **options: None)
        write_results(Samples.from_netcdf(directory / "samples.nc"), images, config, directory)
    return directory


def without_objects(contents):
    """Give the contents of a run whose samples hold no source."""
    samples = contents.samples
    dark = {**samples.sources, "active": np.zeros_like(samples.sources["active"])}
    samples = dataclasses.replace(samples, sources=dark).compact()
    images = []
    for one in contents.images:
        none = {kind: values[:0] for kind, values in one.assignment.stamps.items()}
        assignment = dataclasses.replace(
            one.assignment,
            object_ids=one.assignment.object_ids[:0],
            origins=one.assignment.origins[:0],
            stamps=none,
        )
        columns = {name: values[:0] for name, values in one.columns.items()}
        images.append(dataclasses.replace(one, assignment=assignment, columns=columns))
    return dataclasses.replace(
        contents,
        samples=samples,
        catalog=condense(samples),
        table=contents.table[:0],
        images=tuple(images),
    )


def make_image(band, number):
    """The sky in one band, on a grid of its own."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.0
    wcs.wcs.crpix = 12.0 + number * SHIFT[0], 12.0 + number * SHIFT[1]
    wcs.wcs.cdelt = -5e-5, 5e-5
    sources = {"x": X + number * SHIFT[0], "y": Y + number * SHIFT[1], "flux": FLUX[band]}
    sources |= {"is_extended": EXTENDED}
    sources |= {name: np.full(4, value) for name, value in zip(SHAPE_NAMES, GALAXY, strict=True)}
    psf = PSF.moffat(2.8, 3.0, size=13)
    made = simulate_image(sources, psf, SHAPE, jax.random.key(number), noise=2.0, band=band)
    return dataclasses.replace(
        made.image, wcs=wcs, zero_point=27.0, unit="adu", name=f"{band}.fits"
    )


def make_samples(bands):
    """Scatter about the truth, with the attributes of a run."""
    rng = np.random.default_rng(0)
    dims = (2, NUM_DRAWS, 4)
    active = np.ones(dims, dtype=bool)
    active[0, :, 3] = False
    extended = np.broadcast_to(EXTENDED, dims) & active
    sources = {
        "x": X + 0.05 * rng.normal(size=dims),
        "y": Y + 0.05 * rng.normal(size=dims),
        "active": active,
        "is_extended": extended,
    }
    for number, band in enumerate(bands):
        name = f"flux_{band}" if number else "flux"
        sources[name] = FLUX[band] * (1 + 0.02 * rng.normal(size=dims))
    for name, value in zip(SHAPE_NAMES, GALAXY, strict=True):
        sources[name] = np.where(extended, value + 0.01 * rng.normal(size=dims), np.nan)
    labels = [f"_{band}" for band in bands] if len(bands) > 1 else [""]
    scalars = {f"background{label}": 0.1 * rng.normal(size=dims[:2]) for label in labels}
    scalars |= {"log_likelihood": rng.normal(size=dims[:2]), "mu": rng.normal(size=dims[:2])}
    attrs = {
        "radii": [[12, 0]] * len(bands),
        "extended_radius": 12,
        "large_radius": 0,
        "large_size": None,
        "band": bands[0],
        "bands": list(bands),
        "image_shapes": [list(SHAPE)] * len(bands),
        "unit": "adu",
        "psf_fwhm": 2.8,
        "background_model": ["level"],
        "background_mesh": 64.0,
        "version": "0.1.0",
    }
    return Samples(sources, scalars, {}, attrs)
