"""Calibration of `prob_blend`, and unrecognized blends found by it.

Images hold a single source or a close pair (`benchmarks.fields.pairs`). For every object of the
condensed catalog with `prob_exist` above one half, `prob_blend` is compared with whether two or
more true sources are in its core, each with 10 % or more of the true flux there: the definition of
the column (`probcat.catalog.multiplicity`), with the truth in place of a draw.

A pair is an unrecognized blend if sep finds one object. The curve says which fraction of these
are rejected if the images with the largest `prob_blend` are.
"""

import time
from typing import Any

import click
import numpy as np
from tqdm.auto import tqdm

from benchmarks.fields.blends import FWHM, Blend
from benchmarks.fields.pairs import PairRenderer
from benchmarks.programs.objects import cosmos_folder, make_layout, sample_blend
from benchmarks.rivals.deblender import RIVALS
from benchmarks.support.options import Options, shared_options
from benchmarks.support.results import read_raw
from probcat.catalog.multiplicity import SPARROW, count_in_core
from probcat.sampler.compiled_block import use_all_cores

REJECTED = (0.1, 0.3, 0.5)
"""Fractions of images that are rejected."""
NUM_BINS = 10
"""Number of bins of the reliability diagram."""


@click.command()
@shared_options(
    "seed", "sampler", "prior", "raw_file", num_chains=4, num_warmup=100, num_samples=100
)
@click.option("--scenes", default=200, show_default=True, help="Number of images.")
def main(options: Options, scenes: int) -> None:
    """Sample single sources and pairs, and compare `prob_blend` with the truth.

    Images that the raw file holds already, with the same settings, are not sampled again.
    """
    use_all_cores()
    folder = cosmos_folder(None)
    settings = options.settings(galaxies="sersic" if folder is None else "cosmos", first=0)
    found: list[dict[str, Any]] = read_raw(options.raw_file, settings).get("scenes", [])
    renderer = PairRenderer(folder)
    layout = make_layout(renderer.draw((options.seed, 0)), settings)
    with tqdm(total=scenes, initial=len(found), unit="image") as bar:
        while len(found) < scenes:
            number = len(found)
            blend = renderer.draw((options.seed, number))
            cpu = time.process_time()
            samples = sample_blend(blend, settings, number, layout, None)
            scores = score_image(blend, samples)
            found.append({**scores, "cpu_seconds": time.process_time() - cpu})
            options.save_raw(settings, {"scenes": found})
            bar.update()
    options.finish(summarize_images(found), settings)


def score_image(blend: Blend, samples: Any) -> dict[str, Any]:
    """Compare the objects of an image with its truth.

    Returns
    -------
    dict
        `objects`, pairs of `prob_blend` and whether it came true; `largest`, the largest
        `prob_blend` of all objects; `unrecognized`, whether the image is a pair of which sep finds
        one object; and `is_pair`.
    """
    from probcat import condense

    catalog = condense(samples)
    x, y, flux = (np.asarray(blend.sources[name], float) for name in ("x", "y", "flux"))
    sure = np.flatnonzero(catalog["prob_exist"] > 0.5)
    pairs = []
    for row in sure:
        offset = np.stack([x - catalog["x"][row], y - catalog["y"][row]], axis=1)
        number = count_in_core(offset / (SPARROW * FWHM), flux, np.zeros(len(x), int), 1)[0]
        pairs.append([float(catalog["prob_blend"][row]), bool(number >= 2)])
    detected = len(RIVALS["sep"].run(blend.image).x)
    return {
        "objects": pairs,
        "largest": max([prob for prob, _ in pairs], default=0.0),
        "is_pair": len(x) == 2,
        "unrecognized": bool(len(x) == 2 and detected <= 1),
    }


def summarize_images(scenes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return calibration error and curve of all images.

    Parameters
    ----------
    scenes : list of dict
        Results of `score_image`.

    Returns
    -------
    dict
        Results for a summary.
    """
    from benchmarks.support.reliability import chance_error, diagram_columns
    from probcat.metrics import brier_score, calibration_error, reliability

    pairs = np.array([pair for one in scenes for pair in one["objects"]], float).reshape(-1, 2)
    diagram = reliability(pairs[:, 0], pairs[:, 1], NUM_BINS)
    hidden = np.array([one["unrecognized"] for one in scenes], bool)
    order = np.argsort([-one["largest"] for one in scenes], kind="stable")
    curve = {}
    for fraction in REJECTED:
        rejected = order[: round(fraction * len(order))]
        curve[f"{fraction:.0%}"] = float(hidden[rejected].sum() / max(hidden.sum(), 1))
    return {
        "images": len(scenes),
        "pairs": int(sum(one["is_pair"] for one in scenes)),
        "unrecognized": int(hidden.sum()),
        "objects": len(pairs),
        "calibration_error": calibration_error(*diagram),
        "chance_error": chance_error(pairs[:, 0]),
        "brier": brier_score(pairs[:, 0], pairs[:, 1]),
        "reliability": diagram_columns(*diagram),
        "found_by_fraction_rejected": curve,
        "median_cpu_seconds": float(np.median([one["cpu_seconds"] for one in scenes])),
    }


if __name__ == "__main__":
    main()
