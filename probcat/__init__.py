"""Probabilistic cataloguing: a posterior over the catalogs of an astronomical image.

The public names below are imported when they are first used, so that ``import probcat`` is
fast and a program that only samples never loads astropy, arviz or matplotlib.
"""

import importlib
from typing import TYPE_CHECKING, Any

from probcat.errors import InputError

__version__ = "0.1.0"

_HOMES = {
    "Assignment": "assign",
    "CondensedCatalog": "condensing",
    "Flag": "flags",
    "Image": "image",
    "PSF": "psf",
    "Prior": "prior",
    "SamplerSettings": "sampling",
    "Samples": "samples",
    "VaryingPSF": "psf_varying",
    "assign_pixels": "assign",
    "combine": "combination",
    "condense": "condensing",
    "export_table": "export",
    "read_assignment": "io.assignment",
    "read_catalog": "io.catalog",
    "refine_psf": "psf_refine",
    "sample": "sampling",
    "simulate_image": "simulate",
    "summarize": "summary",
    "write_report": "report",
}

__all__ = ["InputError", "__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from probcat.assign import Assignment as Assignment
    from probcat.assign import assign_pixels as assign_pixels
    from probcat.combination import combine as combine
    from probcat.condensing import CondensedCatalog as CondensedCatalog
    from probcat.condensing import condense as condense
    from probcat.export import export_table as export_table
    from probcat.flags import Flag as Flag
    from probcat.image import Image as Image
    from probcat.io.assignment import read_assignment as read_assignment
    from probcat.io.catalog import read_catalog as read_catalog
    from probcat.prior import Prior as Prior
    from probcat.psf import PSF as PSF
    from probcat.psf_refine import refine_psf as refine_psf
    from probcat.psf_varying import VaryingPSF as VaryingPSF
    from probcat.report import write_report as write_report
    from probcat.samples import Samples as Samples
    from probcat.sampling import SamplerSettings as SamplerSettings
    from probcat.sampling import sample as sample
    from probcat.simulate import simulate_image as simulate_image
    from probcat.summary import summarize as summarize


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'probcat' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"probcat.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
