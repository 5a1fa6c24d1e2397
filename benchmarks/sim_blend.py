"""A simulated blend of three stars and two galaxies in six bands, blind.

No positions are given.  Pixels hold whole photons, so the gain is one: the sky's noise is
estimated from the pixels, and the photon noise of sources follows the model.  The mask of an
object is where its `footprint` exceeds one half, and the true mask where its noise-free light
exceeds three sigma of the sky's noise: in every band, in the reference band (which scarlet's own
comparisons take, and which positions are given in), and in any band.  Shares of light are scored
in pixels where the noise-free light of some object exceeds three sigma.  An object is found if an
object of the catalog lies within half a FWHM of it.  For shares of light, detections of other
programs are matched to objects so that the most light is right, which is in their favour: a
blend's centroid is off.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.baselines import (
    Segments,
    detection_image,
    gaussian_shares,
    hard_shares,
    nearest_shares,
    segment_photutils,
    segment_sep,
)
from benchmarks.common import data_path, device_name, parse_settings, peak_memory, report
from benchmarks.fits import describe, fit, residuals
from probcat.blocks import use_all_cores

FILE = "sim_blend/sim_blend.fits"
BANDS = "irzgyu"
"""The one in which most of the objects are brightest in units of the noise comes first."""
GAIN = 1.0
MAX_DRAWS = 200


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="CPU-seconds to sample for.")
@click.option("--bands", default=BANDS, show_default=True, help="The first is the reference.")
@click.option("--num-chains", default=4, show_default=True)
@click.option("--num-warmup", default=120, show_default=True, help="Draws of warm-up.")
@click.option("--seed", default=0, show_default=True)
@click.option("--setting", multiple=True, help="NAME=VALUE of [sampler]; may be repeated.")
@click.option("--prior", multiple=True, help="NAME=VALUE of [prior]; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Draw residuals of every band there.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
def main(
    seconds: float,
    bands: str,
    num_chains: int,
    num_warmup: int,
    seed: int,
    setting: tuple[str, ...],
    prior: tuple[str, ...],
    out: Path | None,
    file: Path | None,
) -> None:
    """Sample the blend; score masks and shares of light beside those of other programs."""
    use_all_cores()
    from probcat import Image
    from probcat.io import read_truth

    path = data_path(FILE)
    images = [Image.read(path, band=band, gain=GAIN, model_variance=True) for band in bands]
    truth = read_truth(path, images[0].shape)
    results: dict[str, Any] = {
        "device": device_name(),
        "settings": {"seconds": seconds, "bands": bands, "seed": seed, "num_chains": num_chains}
        | {"num_warmup": num_warmup, "setting": list(setting), "prior": list(prior)},
        "reference": bands[0],
    }
    programs = baselines(images, truth)
    found = fit(
        images,
        seconds,
        prior=parse_settings(prior),
        # In larger windows galaxies fill the slots during warm-up, and all compiles anew.
        settings={"block": 2, "extended_interior": 16} | parse_settings(setting),
        num_chains=num_chains,
        num_warmup=num_warmup,
        seed=seed,
    )
    results |= describe(found)
    scores = score(found, truth)
    results["probcat"], programs["probcat"] = scores, scores
    results["programs"] = {name: one for name, one in programs.items() if name != "probcat"}
    results["chi2_per_pixel"] = residuals(found, out, "sim_blend_")
    results["peak_rss_mib"] = peak_memory()
    click.echo(table(programs, bands))
    report({name: value for name, value in results.items() if name != "programs"}, None)
    if file is not None:
        report(results, file)


def score(found: Any, truth: Any) -> dict[str, Any]:
    """Score samples of the blend.

    Parameters
    ----------
    found : benchmarks.fits.Fit
    truth : probcat.truth.Truth

    Returns
    -------
    dict
        `prob_exist` and `is_star` as found of every true object, 0 and NaN where none is
        matched, and the scores of `probcat.compare`.
    """
    from probcat import assign_pixels, condense
    from probcat.compare import Found, score_found
    from probcat.compare_sources import match_objects
    from probcat.results import catalog_table
    from probcat.views import views

    catalog = condense(found.samples)
    assignments = [
        assign_pixels(view, catalog, image, max_draws=MAX_DRAWS)
        for view, image in zip(views(found.samples, found.images), found.images, strict=True)
    ]
    objects = catalog_table(catalog, found.images)
    labels = [image.band for image in found.images]
    compared = score_found(Found(objects, found.images, labels, assignments), truth)
    radius = compared.about["radius"]
    one, other = match_objects(objects, truth, found.images, radius).pairs
    exist, star = np.zeros(len(truth)), np.full(len(truth), np.nan)
    exist[other], star[other] = catalog["prob_exist"][one], catalog["prob_star"][one]
    return {
        "objects": len(catalog),
        "objects_sure": int(np.sum(catalog["prob_exist"] > 0.5)),
        "prob_exist": np.round(exist, 3).tolist(),
        "prob_star": np.round(star, 3).tolist(),
        "found": int(np.sum(exist > 0.5)),
        "radius": radius,
        **compared.to_dict()["scores"],
    }


def baselines(images: Sequence[Any], truth: Any) -> dict[str, dict[str, Any]]:
    """Scores of other programs: hard labels, and shares built on their detections."""
    detection = detection_image(images)
    fwhm = float(images[0].psf.fwhm)
    programs = {"sep": segment_sep(detection), "photutils": segment_photutils(detection, fwhm)}
    results: dict[str, dict[str, Any]] = {}
    for name, segments in programs.items():
        ways = {
            "labels": lambda _, own=segments: hard_shares(own),
            "nearest": lambda data, own=segments: nearest_shares(own, data.shape),
            "gaussians": lambda data, own=segments: gaussian_shares(own, data),
        }
        for way, shares in ways.items():
            results[f"{name} {way}"] = _score_program(segments, shares, images, truth)
    return results


def _score_program(
    segments: Segments, shares: Any, images: Sequence[Any], truth: Any
) -> dict[str, Any]:
    """Scores of masks and shares in every band, and of masks against those of any band."""
    from probcat.assign import pixel_noise
    from probcat.compare_pixels import light_scores, mask_scores, true_masks
    from probcat.metrics import Sources, match_sources
    from probcat.noise import sky_level

    radius = 0.5 * float(images[0].psf.fwhm)
    found = Sources(segments.x, segments.y)
    near = match_sources(found, Sources(truth.x, truth.y), radius)
    scores: dict[str, Any] = {"objects": len(found), "found": len(near[0])}
    true = []
    for image in images:
        light, noise = truth.light[image.band], pixel_noise(image)
        data = image.clean_data - sky_level(image.clean_data, image.weight > 0)
        true.append(true_masks(light, noise))
        scores[f"masks_{image.band}"] = mask_scores(segments.masks, true[-1])
        given = shares(data)
        pairs = _most_light(given, light)
        scores[f"light_{image.band}"] = light_scores(given, light, noise, pairs)
    scores["masks_any"] = mask_scores(segments.masks, np.logical_or.reduce(true))
    return scores


def _most_light(shares: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match detections to objects so that the most light is right."""
    from scipy.optimize import linear_sum_assignment

    from probcat.metrics import true_shares

    true, total = true_shares(light)
    right = [[np.sum(np.minimum(own, one) * total) for one in true] for own in shares]
    return linear_sum_assignment(np.reshape(right, (len(shares), len(true))), maximize=True)


def table(programs: dict[str, dict[str, Any]], bands: str) -> str:
    """Lines of all programs: masks in the reference band and in any, light in the reference."""
    reference = bands[0]
    lines = [
        f"{'':20} found  mean IoU ({reference}, any)  IoU>.5 ({reference})  "
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
            f"{name:20} {scores['found']:5d}  {iou:>21}  {masks[0]['true_with_iou_above_0.5']:11d}"
            f"  {own['correct']:14.3f} {means[0]:8.3f}  {own['brier']:12.4f} {means[1]:8.4f}"
        )
    for band in bands:
        parts = [f"{name} {s[f'masks_{band}']['mean_iou']:.3f}" for name, s in programs.items()]
        lines.append(f"mean IoU in {band}: " + ", ".join(parts))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
