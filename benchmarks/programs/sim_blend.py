"""A simulated blend of three stars and two galaxies in six bands, without any positions given.

**Noise.** Pixels hold whole photons, so the gain is one. The noise of the sky is estimated from
the pixels, and the photon noise of the sources follows the model.

**Masks.** The mask of an object is where its `footprint` exceeds one half. The true mask is where
its noise-free light exceeds three sigma of the noise of the sky: in each band, in the reference
band (in which positions are given, and which scarlet's own comparisons use), and in any band.

**Light.** Shares of light are scored in pixels where the noise-free light of some object exceeds
three sigma.

**Matching.** An object is found if an object of the catalog lies within half a FWHM of it. For
shares of light, detections of sep and photutils are matched to objects so that the fraction of
correctly assigned light is largest. This is in their favour: the centroid of a blend is no object.

**scarlet2**, where it is installed, is given positions and types. Its masks are where the light
of its own model exceeds three sigma. The boxes that it chooses for galaxies leave out much of
their light, so a second run has boxes as wide as the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.rivals.scores import score_detections, score_scarlet
from benchmarks.support.data import data_path
from benchmarks.support.options import Options, shared_options
from benchmarks.support.run_images import (
    ImageRun,
    residual_chi2,
    run_images,
    summarize_run,
)
from benchmarks.support.timing import peak_memory
from probcat.sampler.compiled_block import use_all_cores

FILE = "sim_blend/sim_blend.fits"
"""File with images, PSFs and truth, relative to the reference data."""
BANDS = "irzgyu"
"""Bands, the one in which most objects have the highest signal-to-noise ratio first."""
GAIN = 1.0
"""Electrons per unit of the pixels."""
LIGHT_OFFSET_Y = -0.5
"""Shift in pixels from y of the true catalog to the centre of the noise-free light of the stars."""
PSF_NAMES = {"u": "z", "g": "r", "r": "u", "z": "g"}
"""Names in the file of the PSFs that the pixels of u, g, r and z have.

In the 225 px around the brighter isolated star, chi-square is between 214 and 391 with these PSFs,
and 298, 893, 310 and 411 with those of the bands' own names.
"""
MAX_DRAWS = 200
"""Largest number of draws that pixels are assigned with."""
SCORES = {
    "mean_iou": ("masks", "mean_iou"),
    "masks_iou_above_half": ("masks", "true_with_iou_above_0.5"),
    "light_correct": ("light", "correct"),
    "light_brier": ("light", "brier"),
}
"""Scores of the summary, with the group and the key of the whole scores."""


@click.command()
@shared_options(
    "seed", "sampler", "prior", "residuals", "raw_file", seconds=600.0, num_chains=4, num_warmup=120
)
@click.option("--bands", default=BANDS, show_default=True, help="Bands, the reference first.")
def main(options: Options, bands: str) -> None:
    """Sample the blend; score masks and shares of light, also those of other programs."""
    use_all_cores()
    from probcat.metrics.truth_files import read_truth

    path = data_path(FILE)
    images = read_images(path, bands)
    truth = read_truth(path, images[0].shape)
    run = run_images(images, options, sampler={"checkpoint_interval": 2})
    results: dict[str, Any] = {"reference": bands[0], **summarize_run(run)}
    scores = score_run(run, truth)
    results["chi2_per_pixel"] = residual_chi2(run, options.residuals, "sim_blend_")
    # Memory is measured before other programs run.
    results["peak_rss_mib"] = peak_memory()
    programs = {"probcat": scores, **score_detections(images, truth)}
    programs |= score_scarlet(images, truth, LIGHT_OFFSET_Y)
    click.echo(score_table(programs, bands))
    results |= {name: scores[name] for name in ("objects", "objects_sure", "prob_exist")}
    results["prob_star"] = scores["prob_star"]
    results["bands"] = list(bands)
    results["programs"] = {name: summarize_scores(found, bands) for name, found in programs.items()}
    raw = {"traces": run.samples.scalars, "programs": programs}
    options.finish(results, options.settings(bands=bands), raw)


def read_images(path: Path, bands: Sequence[str]) -> list[Any]:
    """Read the bands of the blend, each with the PSF that its stars have."""
    from probcat import Image

    def read(band: str) -> Any:
        return Image.read(path, band=band, gain=GAIN, model_variance=True)

    return [replace(read(band), psf=read(PSF_NAMES.get(band, band)).psf) for band in bands]


def score_run(run: ImageRun, truth: Any) -> dict[str, Any]:
    """Score the samples of the blend.

    Parameters
    ----------
    run : ImageRun
        The run on the blend.
    truth : probcat.metrics.truth.Truth
        True objects with their noise-free light.

    Returns
    -------
    dict
        `prob_exist` and `prob_star` of the object that is matched to each true one (0 and NaN
        without a match), numbers of objects, and the scores of `probcat.metrics.compare`.
    """
    from probcat import assign_pixels, condense
    from probcat.metrics.compare import score_found
    from probcat.metrics.score_pixels import Found
    from probcat.metrics.score_sources import match_objects

    catalog = condense(run.samples)
    assignments = assign_pixels(run.samples, catalog, run.images, max_draws=MAX_DRAWS)
    objects = catalog.to_table(run.images)
    labels = [image.band for image in run.images]
    compared = score_found(Found(objects, run.images, labels, assignments), truth)
    radius = compared.about["match_radius"]
    one, other = match_objects(objects, truth, run.images, radius).pairs
    exist, star = np.zeros(len(truth)), np.full(len(truth), np.nan)
    exist[other], star[other] = catalog["prob_exist"][one], catalog["prob_star"][one]
    return {
        "objects": len(catalog),
        "objects_sure": int(np.sum(catalog["prob_exist"] > 0.5)),
        "prob_exist": np.round(exist, 3).tolist(),
        "prob_star": np.round(star, 3).tolist(),
        "found": int(np.sum(exist > 0.5)),
        "match_radius": radius,
        **compared.to_dict()["scores"],
    }


def summarize_scores(scores: Mapping[str, Any], bands: Sequence[str]) -> dict[str, Any]:
    """Return the most important scores of a program, as lists over bands."""
    summary: dict[str, Any] = {"found": scores["found"]}
    for name, (group, key) in SCORES.items():
        summary[name] = [scores[f"{group}_{band}"][key] for band in bands]
    return summary


def score_table(programs: Mapping[str, Mapping[str, Any]], bands: Sequence[str]) -> str:
    """Return a table of all programs: masks, and shares of light."""
    reference = bands[0]
    lines = [
        f"{'':26} found  mean IoU ({reference}, any)  IoU>.5 ({reference})  "
        f"light right ({reference}, mean)  Brier ({reference}, mean)"
    ]
    for name, scores in programs.items():
        masks = [
            scores[f"masks_{band}"] for band in (reference, "any") if f"masks_{band}" in scores
        ]
        lights = [scores[f"light_{band}"] for band in bands]
        own = lights[0]
        means = [float(np.mean([light[key] for light in lights])) for key in ("correct", "brier")]
        iou = "  ".join(f"{mask['mean_iou']:6.3f}" for mask in masks)
        lines.append(
            f"{name:26} {scores['found']:5d}  {iou:>21}  {masks[0]['true_with_iou_above_0.5']:11d}"
            f"  {own['correct']:14.3f} {means[0]:8.3f}  {own['brier']:12.4f} {means[1]:8.4f}"
        )
    for band in bands:
        parts = [f"{name} {s[f'masks_{band}']['mean_iou']:.3f}" for name, s in programs.items()]
        lines.append(f"mean IoU in {band}: " + ", ".join(parts))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
