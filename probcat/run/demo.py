"""A demonstration with known truth: a blend of stars and galaxies, simulated and cataloged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from probcat.model.simulate import Simulation, simulate_image
from probcat.psf.psf import PSF
from probcat.run.config import RunConfig

if TYPE_CHECKING:
    from probcat.samples.summary import Summary

SHAPE = (64, 64)
"""Number of rows and of columns of the image."""
NOISE = 1.0
"""Standard deviation of the sky noise of a pixel, in the unit of the image."""
IMAGE = "demo.fits"
"""Name of the file of the simulated image."""
SAMPLING = {"num_chains": 4, "num_warmup": 100, "num_samples": 100, "until_converged": True}
"""Settings of ``[sampler]`` in the demonstration, which samples until its chains have converged."""
_NUM_STARS, _NUM_GALAXIES, _NUM_GROUPS = 13, 7, 7
_SCENE_SEED = 2
_DETECTABLE = 10.0
"""Signal-to-noise ratio of an isolated source above which it should be found."""
_MATCH_RADIUS = 1.0
"""Largest distance of a match, in pixels."""
_MAX_MAG_DIFFERENCE = 0.5
"""Largest difference in magnitude of a match."""
_COLUMNS = ("x", "y", "mag_r", "prob_exist", "prob_star")


def simulate_blend(seed: int = _SCENE_SEED) -> Simulation:
    """Simulate stars and galaxies in groups, so that most are blended.

    Parameters
    ----------
    seed : int
        Seed of the scene.

    Returns
    -------
    Simulation
        20 sources on 64 x 64 pixels, with a Moffat PSF of 3 pixels FWHM.
    """
    rng = np.random.default_rng(seed)
    count = _NUM_STARS + _NUM_GALAXIES
    extended = np.arange(count) >= _NUM_STARS
    centres = rng.uniform(10.0, 54.0, (_NUM_GROUPS, 2))
    # Groups of a few members, each a PSF width or two apart.
    position = centres[np.arange(count) % _NUM_GROUPS] + rng.normal(0.0, 4.0, (count, 2))
    x, y = np.clip(position, 3.0, 60.0).T
    modulus, angle = rng.uniform(0.0, 0.5, count), rng.uniform(0.0, 2.0 * np.pi, count)
    sources = {
        "x": x,
        "y": y,
        "flux": np.where(
            extended,
            np.exp(rng.uniform(np.log(400.0), np.log(4000.0), count)),
            np.exp(rng.uniform(np.log(60.0), np.log(3000.0), count)),
        ),
        "is_extended": extended,
        "half_light_radius": rng.uniform(1.5, 4.0, count),
        "ellipticity_1": modulus * np.cos(angle),
        "ellipticity_2": modulus * np.sin(angle),
        "sersic_n": rng.choice([1.0, 4.0], count, p=[0.7, 0.3]),
    }
    return simulate_image(
        sources,
        PSF.moffat(3.0, 3.5),
        SHAPE,
        jax.random.key(seed),
        noise=NOISE,
        background=5.0,
        gain=5.0,
        band="r",
        zero_point=27.0,
        unit="adu",
    )


def run_demo(
    out: Path,
    *,
    overwrite: bool = False,
    progress_bar: bool = True,
    log: Callable[[str], None] = print,
    **sampling: Any,
) -> Summary:
    """Simulate a blend, catalog it, and report completeness and purity against the truth.

    Parameters
    ----------
    out : Path
        Directory of the results; the image is written into it as ``demo.fits``.
    overwrite, progress_bar, log
        As in `probcat.run.pipeline.start_run`.
    **sampling
        Settings of ``[sampler]`` in place of the defaults and of `SAMPLING`; None changes nothing.

    Returns
    -------
    Summary
        The closing table.

    Raises
    ------
    InputError
        If the directory already holds a run.
    """
    from probcat.catalog.fits import read_catalog
    from probcat.image.fits_output import write_image
    from probcat.run.directory import check_directory
    from probcat.run.files import CATALOG
    from probcat.run.pipeline import start_run

    check_directory(out, overwrite)
    made = simulate_blend()
    out.mkdir(parents=True, exist_ok=True)
    write_image(out / IMAGE, made.image)
    log(f"{out / IMAGE}: {_NUM_STARS} stars and {_NUM_GALAXIES} galaxies, {SHAPE[1]}x{SHAPE[0]} px")
    # Simulated galaxies are smooth: they have no substructure.
    config = RunConfig(
        image={"files": [str((out / IMAGE).resolve())]},
        sampler=SAMPLING,
        catalog={"substructure": False},
    )
    config = config.update("sampler", **sampling).check()
    summary = start_run(config, out, overwrite=overwrite, progress_bar=progress_bar, log=log)
    log(score_demo(made, read_catalog(out / CATALOG)))
    return summary


def score_demo(made: Simulation, table: Any) -> str:
    """Score the objects of the demonstration against the truth.

    An object (``prob_exist`` > 0.5) is real if it matches a true source, one to one, within 1 pixel
    and 0.5 mag. Completeness counts true sources that would have a signal-to-noise ratio above 10
    if they were isolated.

    Parameters
    ----------
    made : Simulation
        The simulated image and its sources.
    table : astropy.table.Table or mapping
        Columns ``x, y, mag_r, prob_exist, prob_star`` of ``catalog.fits``.

    Returns
    -------
    str
        Three lines: completeness, purity, and the fraction of types that are right.
    """
    from probcat.metrics import Sources, match_sources

    column = {name: np.asarray(table[name], dtype=float) for name in _COLUMNS}
    sure = column["prob_exist"] > 0.5
    found = Sources(*(column[name][sure] for name in ("x", "y", "mag_r")))
    true_mag = made.image.zero_point - 2.5 * np.log10(made.sources["flux"])
    truth = Sources(made.sources["x"], made.sources["y"], true_mag)
    one, other = match_sources(found, truth, _MATCH_RADIUS, _MAX_MAG_DIFFERENCE)
    signal = np.sqrt(np.sum(made.light.astype(float) ** 2 * made.image.weight, axis=(1, 2)))
    bright = np.flatnonzero(signal > _DETECTABLE)
    hits = np.isin(bright, other).sum()
    right = (column["prob_star"][sure][one] < 0.5) == made.sources["is_extended"][other]
    rows = (
        ("completeness", hits, len(bright), f"true sources of S/N > {_DETECTABLE:g} are found"),
        ("purity", len(one), len(found), "objects are true sources"),
        ("star or galaxy", right.sum(), len(one), "true sources found are of the right type"),
    )
    lines = []
    for name, part, whole, what in rows:
        fraction = part / whole if whole else float("nan")
        lines.append(f"  {name:<14}  {fraction:.2f}  ({part} of {whole} {what})")
    return "\n".join(lines)
