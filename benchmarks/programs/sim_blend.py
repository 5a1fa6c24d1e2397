"""A simulated blend of three stars and two galaxies in six bands, blind.

No positions are given.  Pixels hold whole photons, so the gain is one: the sky's noise is
estimated from the pixels, and the photon noise of sources follows the model.  The mask of an
object is where its `footprint` exceeds one half, and the true mask where its noise-free light
exceeds three sigma of the sky's noise: in every band, in the reference band (which scarlet's own
comparisons take, and which positions are given in), and in any band.  Shares of light are scored
in pixels where the noise-free light of some object exceeds three sigma.  An object is found if an
object of the catalog lies within half a FWHM of it.  For shares of light, detections of other
programs are matched to objects so that the most light is right, which is in their favour: a
blend's centroid is off.  scarlet2, where it is installed, is given positions and which objects are
stars; its masks are where its own light exceeds three sigma.  The boxes of galaxies that it
chooses leave out much of their light, so that in a second row they are as wide as the image.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.rivals.baselines import (
    detection_image,
    gaussian_shares,
    hard_shares,
    nearest_shares,
    segment_photutils,
    segment_sep,
)
from benchmarks.rivals.scarlet import fit_scarlet
from benchmarks.support.results import data_path, device_name, parse_settings, peak_memory, report
from benchmarks.support.run_images import describe, fit, residuals
from probcat.sampler.compiled_block import use_all_cores

FILE = "sim_blend/sim_blend.fits"
BANDS = "irzgyu"
"""The one in which most of the objects are brightest in units of the noise comes first."""
GAIN = 1.0
LIGHT_OFFSET_Y = -0.5
"""To be added to y of the catalog: the noise-free light of every star is centred there."""
PSF_NAMES = {"u": "z", "g": "r", "r": "u", "z": "g"}
"""Bands whose PSF is under another's name in the file, as the pixels of its stars tell: in the 225
px around the brighter isolated one chi2 is 214 to 391 with these, and 298, 893, 310 and 411 with
those of the bands' own names."""
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
    from probcat.metrics.truth_files import read_truth

    path = data_path(FILE)
    images = read_images(path, bands)
    truth = read_truth(path, images[0].shape)
    results: dict[str, Any] = {
        "device": device_name(),
        "settings": {"seconds": seconds, "bands": bands, "seed": seed, "num_chains": num_chains}
        | {"num_warmup": num_warmup, "setting": list(setting), "prior": list(prior)},
        "reference": bands[0],
    }
    found = fit(
        images,
        seconds,
        prior=parse_settings(prior),
        settings={"checkpoint_interval": 2} | parse_settings(setting),
        num_chains=num_chains,
        num_warmup=num_warmup,
        seed=seed,
    )
    results |= describe(found)
    scores = score(found, truth)
    results["probcat"] = scores
    results["chi2_per_pixel"] = residuals(found, out, "sim_blend_")
    results["peak_rss_mib"] = peak_memory()
    # After the memory was measured, which is to be probcat's.
    results["programs"] = baselines(images, truth)
    click.echo(table(results["programs"] | {"probcat": scores}, bands))
    report({name: value for name, value in results.items() if name != "programs"}, None)
    if file is not None:
        report(results, file)


def read_images(path: Path, bands: str) -> list[Any]:
    """Read the bands, each with the PSF that its stars have."""
    from probcat import Image

    def read(band: str) -> Any:
        return Image.read(path, band=band, gain=GAIN, model_variance=True)

    return [replace(read(band), psf=read(PSF_NAMES.get(band, band)).psf) for band in bands]


def score(found: Any, truth: Any) -> dict[str, Any]:
    """Score samples of the blend.

    Parameters
    ----------
    found : benchmarks.fits.Fit
    truth : probcat.metrics.truth.Truth

    Returns
    -------
    dict
        `prob_exist` and `is_star` as found of every true object, 0 and NaN where none is
        matched, and the scores of `probcat.metrics.compare`.
    """
    from probcat import assign_pixels, condense
    from probcat.metrics.compare import score_found
    from probcat.metrics.score_pixels import Found
    from probcat.metrics.score_sources import match_objects
    from probcat.run.results import catalog_table
    from probcat.samples.per_image import samples_per_image

    catalog = condense(found.samples)
    assignments = [
        assign_pixels(view, catalog, image, max_draws=MAX_DRAWS)
        for view, image in zip(
            samples_per_image(found.samples, found.images), found.images, strict=True
        )
    ]
    objects = catalog_table(catalog, found.images)
    labels = [image.band for image in found.images]
    compared = score_found(Found(objects, found.images, labels, assignments), truth)
    radius = compared.about["match_radius"]
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
    """Scores of other programs: hard labels, shares built on their detections, and scarlet2."""
    from probcat.metrics import Sources
    from probcat.numerics.robust import sky_level

    detection = detection_image(images)
    fwhm = float(images[0].psf.fwhm)
    bands = [image.clean_data - sky_level(image.clean_data, image.weight > 0) for image in images]
    programs = {"sep": segment_sep(detection), "photutils": segment_photutils(detection, fwhm)}
    results: dict[str, dict[str, Any]] = {}
    for name, segments in programs.items():
        ways = {
            "labels": lambda _, own=segments: hard_shares(own),
            "nearest": lambda data, own=segments: nearest_shares(own, data.shape),
            "gaussians": lambda data, own=segments: gaussian_shares(own, data),
        }
        found, masks = Sources(segments.x, segments.y), [segments.masks] * len(images)
        for way, shares in ways.items():
            given = [shares(data) for data in bands]
            results[f"{name} {way}"] = _score_program(found, masks, given, images, truth)
    return results | _scarlet(images, truth)


def _scarlet(images: Sequence[Any], truth: Any) -> dict[str, dict[str, Any]]:
    """Scores of scarlet2, with boxes of its choice and wide ones; none without it."""
    from probcat.metrics import Sources, true_shares
    from probcat.metrics.score_pixels import true_masks
    from probcat.pixels.assign import pixel_noise

    if find_spec("scarlet2") is None:
        click.echo("scarlet2 is not installed and left out")
        return {}
    given = Sources(truth.x, truth.y + LIGHT_OFFSET_Y)
    noise = [pixel_noise(image) for image in images]
    results = {}
    for name, wide in (("scarlet2 (positions given)", False), ("scarlet2 (given, wide)", True)):
        models = fit_scarlet(images, given.x, given.y, truth.is_star > 0.5, wide=wide)
        masks = [true_masks(*one) for one in zip(models.light, noise, strict=True)]
        shares = [true_shares(light)[0] for light in models.light]
        results[name] = _score_program(given, masks, shares, images, truth, _in_order)
        results[name] |= {"steps": models.steps, "chi2_per_pixel": models.chi2}
    return results


def _score_program(
    found: Any,
    masks: Sequence[np.ndarray],
    shares: Sequence[np.ndarray],
    images: Sequence[Any],
    truth: Any,
    pair: Callable[..., tuple[np.ndarray, np.ndarray]] | None = None,
) -> dict[str, Any]:
    """Scores of masks and shares in every band, and of masks against those of any band."""
    from probcat.metrics import Sources, match_sources
    from probcat.metrics.score_pixels import light_scores, mask_scores, true_masks
    from probcat.pixels.assign import pixel_noise

    radius = 0.5 * float(images[0].psf.fwhm)
    near = match_sources(found, Sources(truth.x, truth.y), radius)
    scores: dict[str, Any] = {"objects": len(found), "found": len(near[0])}
    true = []
    for image, own, given in zip(images, masks, shares, strict=True):
        light, noise = truth.light[image.band], pixel_noise(image)
        true.append(true_masks(light, noise))
        scores[f"masks_{image.band}"] = mask_scores(own, true[-1])
        pairs = (pair or _most_light)(given, light)
        scores[f"light_{image.band}"] = light_scores(given, light, noise, pairs)
    scores["masks_any"] = mask_scores(np.logical_or.reduce(masks), np.logical_or.reduce(true))
    return scores


def _most_light(shares: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match detections to objects so that the most light is right."""
    from scipy.optimize import linear_sum_assignment

    from probcat.metrics import true_shares

    true, total = true_shares(light)
    right = [[np.sum(np.minimum(own, one) * total) for one in true] for own in shares]
    return linear_sum_assignment(np.reshape(right, (len(shares), len(true))), maximize=True)


def _in_order(shares: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match objects that were given: light in another's place is wrong."""
    return np.arange(len(shares)), np.arange(len(light))


def table(programs: dict[str, dict[str, Any]], bands: str) -> str:
    """Lines of all programs: masks in the reference band and in any, light in the reference."""
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
