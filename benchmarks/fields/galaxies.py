"""Fields of galaxies by name: images, and the true galaxies where they are known."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.fields.hsc_blends import blend_files, find_blend, read_blend
from benchmarks.support.data import data_path
from benchmarks.support.galaxy_mixing import Galaxies

KINDS = ("demo", "hsc", "hsc_grizy", "sim_blend", "blends")
"""Kinds of fields: the demonstration, a field of HSC in i and in grizy, a simulated blend in six
bands, and real blends of HSC in i."""
BLEND = "blend "
"""Beginning of the name of the field of a blend."""
HSC_BANDS = "igrzy"
"""Bands of the field of HSC, the deepest first."""


@dataclass(frozen=True, eq=False)
class GalaxyField:
    """A field that is sampled.

    Attributes
    ----------
    images : list of Image
        The images, the one whose pixels positions are given in first.
    galaxies : Galaxies or None
        True galaxies, if they are known.
    simulation : Simulation or None
        Image and sources of the demonstration.
    """

    images: list[Any]
    galaxies: Galaxies | None = None
    simulation: Any = None


def field_names(kind: str, blend: str | None = None) -> list[str]:
    """Return the names of fields.

    Parameters
    ----------
    kind : str
        One of `KINDS`, or ``all``.
    blend : str, optional
        Name of a blend, or the last digits of it; then `kind` does not matter.
    """
    if blend is not None:
        return [BLEND + find_blend(blend)]
    names = []
    for one in KINDS if kind == "all" else [kind]:
        names += [BLEND + path.stem for path in blend_files()] if one == "blends" else [one]
    return names


def read_field(name: str) -> GalaxyField:
    """Read a field.

    Parameters
    ----------
    name : str
        One of the names of `field_names`.

    Returns
    -------
    GalaxyField
    """
    from probcat import Image

    if name.startswith(BLEND):
        return GalaxyField(read_blend(name.removeprefix(BLEND)))
    if name == "demo":
        return _demonstration()
    if name == "sim_blend":
        return _simulated_blend()
    path = data_path("hsc_cosmos/hsc_cosmos_35.fits")
    bands = HSC_BANDS if name == "hsc_grizy" else HSC_BANDS[0]
    return GalaxyField([Image.read(path, band=band) for band in bands])


def _demonstration() -> GalaxyField:
    from probcat.run.demo import simulate_blend

    made = simulate_blend()
    true = {key: np.asarray(values) for key, values in made.sources.items()}
    extended = true["is_extended"].astype(bool)
    galaxies = Galaxies(*(true[key][extended] for key in ("x", "y", "flux")))
    return GalaxyField([made.image], galaxies, made)


def _simulated_blend() -> GalaxyField:
    from benchmarks.programs.sim_blend import BANDS, FILE, LIGHT_OFFSET_Y, read_images
    from probcat.metrics.truth_files import read_truth

    path = data_path(FILE)
    images = read_images(path, BANDS)
    truth = read_truth(path, images[0].shape)
    assert truth.is_star is not None
    extended = truth.is_star < 0.5
    flux = truth.light[BANDS[0]].sum(axis=(1, 2))
    place = (truth.x[extended], truth.y[extended] + LIGHT_OFFSET_Y)
    return GalaxyField(images, Galaxies(*place, flux[extended]))
