"""Probabilistic cataloguing: a posterior over the catalogs of an astronomical image.

The public names below are imported when they are first used, so that ``import probcat`` is
fast and a program that only samples never loads astropy, arviz or matplotlib.

Each of these rooms imports only from the rooms before it: `numerics`, `files`, `psf`, `image`,
`model`, `samples`, `sampler` and `catalog`, `pixels`, `plots` and `metrics`, `run`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from probcat.errors import InputError

__version__ = "0.1.0"

_ROOMS = ("metrics", "plots")
"""Rooms whose public names are reached through the room, as `probcat.plots.plot_scene`."""
_HOMES = {
    "Alternative": "catalog.alternatives",
    "Assignment": "pixels.assignment",
    "Comparison": "metrics.compare",
    "CondensedCatalog": "catalog.catalog",
    "Diagnostics": "samples.diagnostics",
    "Flag": "pixels.flags",
    "Image": "image.image",
    "PSF": "psf.psf",
    "PosteriorModel": "pixels.model_image",
    "Prior": "model.prior.prior",
    "PriorParameters": "model.prior.parameters",
    "SamplerSettings": "sampler.settings",
    "Samples": "samples.samples",
    "Simulation": "model.simulate",
    "Summary": "samples.summary",
    "Truth": "metrics.truth",
    "VaryingPSF": "psf.varying",
    "assign_pixels": "pixels.assign",
    "combine": "pixels.combine_bands",
    "compare": "run.compare",
    "condense": "catalog.condense",
    "diagnose": "samples.diagnostics",
    "export_table": "catalog.export",
    "posterior_model": "pixels.model_image",
    "read_assignment": "pixels.fits",
    "read_catalog": "catalog.fits",
    "read_images": "image.several",
    "read_model": "pixels.fits",
    "read_psf": "psf.readers.fits",
    "read_truth": "metrics.truth_files",
    "refine_psf": "run.refine_psf",
    "sample": "sampler.sample",
    "samples_per_image": "samples.per_image",
    "simulate_image": "model.simulate",
    "summarize": "samples.summary",
    "write_image": "image.fits_output",
    "write_report": "run.report.page",
}
"""Module in which each public name is defined."""

__all__ = ["InputError", "__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from probcat.catalog.alternatives import Alternative as Alternative
    from probcat.catalog.catalog import CondensedCatalog as CondensedCatalog
    from probcat.catalog.condense import condense as condense
    from probcat.catalog.export import export_table as export_table
    from probcat.catalog.fits import read_catalog as read_catalog
    from probcat.image.fits_output import write_image as write_image
    from probcat.image.image import Image as Image
    from probcat.image.several import read_images as read_images
    from probcat.metrics.compare import Comparison as Comparison
    from probcat.metrics.truth import Truth as Truth
    from probcat.metrics.truth_files import read_truth as read_truth
    from probcat.model.prior.parameters import PriorParameters as PriorParameters
    from probcat.model.prior.prior import Prior as Prior
    from probcat.model.simulate import Simulation as Simulation
    from probcat.model.simulate import simulate_image as simulate_image
    from probcat.pixels.assign import assign_pixels as assign_pixels
    from probcat.pixels.assignment import Assignment as Assignment
    from probcat.pixels.combine_bands import combine as combine
    from probcat.pixels.fits import read_assignment as read_assignment
    from probcat.pixels.fits import read_model as read_model
    from probcat.pixels.flags import Flag as Flag
    from probcat.pixels.model_image import PosteriorModel as PosteriorModel
    from probcat.pixels.model_image import posterior_model as posterior_model
    from probcat.psf.psf import PSF as PSF
    from probcat.psf.readers.fits import read_psf as read_psf
    from probcat.psf.varying import VaryingPSF as VaryingPSF
    from probcat.run.compare import compare as compare
    from probcat.run.refine_psf import refine_psf as refine_psf
    from probcat.run.report.page import write_report as write_report
    from probcat.sampler.sample import sample as sample
    from probcat.sampler.settings import SamplerSettings as SamplerSettings
    from probcat.samples.diagnostics import Diagnostics as Diagnostics
    from probcat.samples.diagnostics import diagnose as diagnose
    from probcat.samples.per_image import samples_per_image as samples_per_image
    from probcat.samples.samples import Samples as Samples
    from probcat.samples.summary import Summary as Summary
    from probcat.samples.summary import summarize as summarize


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"probcat.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'probcat' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"probcat.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS})
