"""One table of deblenders: the same blends of real galaxies and stars, the same scores.

Blends are those of `benchmarks.programs.objects` (3 to 6 stars and galaxies of COSMOS on 40x40 px).
probcat has its default prior; its samples are kept in `--keep`, so that another rival needs no
sampling. A rival that is not installed has no row.

**Scores.** Objects are matched to true sources within half a FWHM. `completeness` and `purity` are
fractions of all true sources and of all objects; of probcat, objects with `prob_exist` above one
half count. `iou` is the mean over true masks (pixels in which a source exceeds three sigma) of the
largest intersection over union, `iou_close` that of sources within one FWHM of another one.
`light` is the fraction of the light that is assigned to the right source, `brier` the mean squared
error of shares. `flux_error` is the median of the relative error of fluxes of matched sources that
have another source within two FWHM. Intervals of 95 % are from resampled blends.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm.auto import tqdm

from benchmarks.fields.blends import FWHM, NOISE, Blend, Renderer
from benchmarks.programs.objects import cosmos_folder, make_layout, sample_blend
from benchmarks.rivals.deblender import RIVALS, Deblended, Rival
from benchmarks.support.options import Options, shared_options
from probcat.sampler.compiled_block import use_all_cores

KEEP = Path(__file__).parents[1] / "results" / "raw" / "blends"
"""Default folder of the samples."""
RADIUS = 0.5 * FWHM
"""Largest distance in pixels of an object from the source that it matches."""
CLOSE = FWHM
"""Distance in pixels of sources that are hard to tell apart."""
NEAR = 2.0 * FWHM
"""Distance in pixels within which another source makes a source blended."""
MASK_THRESHOLD = 0.5
"""Probability above which a pixel belongs to an object of probcat."""
RESAMPLED = 1000
"""Number of resampled sets of blends for the intervals."""
SCORES = ("completeness", "purity", "iou", "iou_close", "light", "brier", "flux_error", "seconds")
"""Columns of the table."""


@click.command()
@shared_options(
    "seed", "sampler", "prior", "figure", "raw_file", num_chains=4, num_warmup=150, num_samples=80
)
@click.option("--scenes", default=60, show_default=True, help="Number of blends.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    default=KEEP,
    show_default=True,
    help="Folder for the samples of the blends; blends found there are not sampled again.",
)
def main(options: Options, scenes: int, keep: Path) -> None:
    """Deblend the same blends with every program, and print the table of scores."""
    use_all_cores()
    folder = cosmos_folder(None)
    population = "sersic" if folder is None else "cosmos"
    settings = options.settings(galaxies=population, first=0)
    renderer = Renderer(folder)
    layout = make_layout(renderer.draw((options.seed, 0)), settings)
    programs: dict[str, Callable[[Blend, int], Deblended]] = {}
    programs["probcat"] = lambda blend, number: deblend_probcat(
        blend, sample_blend(blend, settings, number, layout, keep)
    )
    for name, rival in RIVALS.items():
        if rival.is_installed:
            programs[name] = _runner(rival)
        else:
            click.echo(f"{name}: {rival.package} is not installed")
    found: dict[str, list[dict[str, list[float]]]] = {name: [] for name in programs}
    for number in tqdm(range(scenes), unit="blend"):
        blend = renderer.draw((options.seed, number))
        for name, program in programs.items():
            found[name].append(score_blend(blend, program(blend, number)))
    results = {name: summarize_scores(scores) for name, scores in found.items()}
    click.echo(format_table(results))
    told = {name: rival.told for name, rival in RIVALS.items() if rival.told}
    options.finish({"scenes": scenes, "told": told, "programs": results}, settings)
    if options.figure is not None:
        plot_table(results, options.figure)


def _runner(rival: Rival) -> Callable[[Blend, int], Deblended]:
    """Program that runs a rival on the image of a blend."""
    return lambda blend, number: rival.run(blend.image)


def deblend_probcat(blend: Blend, samples: Any) -> Deblended:
    """Objects of the condensed catalog that probably exist."""
    from probcat import assign_pixels, condense
    from probcat.metrics.score_pixels import object_masks

    catalog = condense(samples)
    maps = assign_pixels(samples, catalog, blend.image)
    sure = catalog["prob_exist"] > 0.5
    shares = np.reshape([maps.map(number) for number in maps.object_ids], (-1, *maps.shape))
    return Deblended(
        catalog["x"][sure],
        catalog["y"][sure],
        catalog["flux"][sure],
        object_masks(maps, MASK_THRESHOLD)[sure],
        shares[sure],
        float(samples.attrs.get("cpu_seconds", np.nan)),
    )


def score_blend(blend: Blend, found: Deblended) -> dict[str, list[float]]:
    """Score the objects of one program in one blend.

    Parameters
    ----------
    blend : Blend
        The blend, with the light of every source.
    found : Deblended
        The objects.

    Returns
    -------
    dict of str to list of float
        Values by name of `SCORES`, whose mean (of `flux_error` the median) over all blends is the
        score: one for each source, object or blend.
    """
    from probcat.metrics import Sources, align_shares, match_sources, score_light, true_shares
    from probcat.metrics.score_pixels import true_masks
    from probcat.metrics.segmentation import pairwise_iou

    x, y, flux = (np.asarray(blend.sources[name], float) for name in ("x", "y", "flux"))
    noise = np.full(blend.light.shape[1:], NOISE)
    one, other = match_sources(Sources(found.x, found.y), Sources(x, y), RADIUS)
    apart = np.hypot(x[:, None] - x[None], y[:, None] - y[None])
    np.fill_diagonal(apart, np.inf)
    nearest = apart.min(axis=1)
    masks = true_masks(blend.light, noise)
    seen = masks.any(axis=(1, 2))
    iou = pairwise_iou(found.masks, masks) if len(found.x) else np.zeros((1, len(x)))
    best = iou.max(axis=0)
    true, total = true_shares(blend.light)
    counts = masks.any(axis=0)
    light = score_light(*align_shares(found.shares, true, (one, other)), total, counts)
    blended = nearest[other] < NEAR
    error = np.abs(found.flux[one] / flux[other] - 1.0)[blended]
    return {
        "completeness": np.isin(np.arange(len(x)), other).astype(float).tolist(),
        "purity": np.isin(np.arange(len(found.x)), one).astype(float).tolist(),
        "iou": best[seen].tolist(),
        "iou_close": best[seen & (nearest < CLOSE)].tolist(),
        "light": [light.correct],
        "brier": [light.brier],
        "flux_error": error.tolist(),
        "seconds": [found.seconds],
    }


def summarize_scores(scores: Sequence[dict[str, list[float]]]) -> dict[str, list[float | None]]:
    """Score of all blends, with its 95 % interval.

    Parameters
    ----------
    scores : sequence of dict
        Results of `score_blend`.

    Returns
    -------
    dict of str to list
        Score, lower and upper end of the interval by name; None without any value.
    """
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(scores), size=(RESAMPLED, len(scores)))
    summary: dict[str, list[float | None]] = {}
    for name in SCORES:
        average = np.median if name == "flux_error" else np.mean
        values = [np.asarray(one[name], float) for one in scores]

        def score(indices: Any, values: Any = values, average: Any = average) -> float:
            joined = np.concatenate([values[index] for index in indices])
            joined = joined[np.isfinite(joined)]
            return float(average(joined)) if joined.size else float("nan")

        again = np.array([score(indices) for indices in chosen])
        again = again[np.isfinite(again)]
        ends = np.percentile(again, (2.5, 97.5)) if again.size else np.full(2, np.nan)
        three = (score(range(len(scores))), *map(float, ends))
        summary[name] = [round(one, 4) if np.isfinite(one) else None for one in three]
    return summary


def format_table(results: dict[str, dict[str, list[float | None]]]) -> str:
    """Return the table of all programs."""
    width = max(map(len, results))
    lines = [f"{'':{width}}" + "".join(f"{name:>14}" for name in SCORES)]
    for name, scores in results.items():
        cells = [scores[one][0] for one in SCORES]
        lines.append(
            f"{name:{width}}" + "".join(f"{'':>14}" if v is None else f"{v:14.3f}" for v in cells)
        )
    return "\n".join(lines)


def plot_table(results: dict[str, dict[str, list[float | None]]], path: Path) -> None:
    """Write a figure with a panel for each score, and intervals of all programs."""
    import matplotlib.pyplot as plt

    names = list(results)
    figure, axes = plt.subplots(2, 4, figsize=(14, 5.5), sharey=True, layout="constrained")
    for axis, score in zip(axes.flat, SCORES, strict=True):
        for row, name in enumerate(names):
            value, low, high = results[name][score]
            if value is None or low is None or high is None:
                continue
            colour = "C1" if name == "probcat" else "C0"
            ends = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
            axis.errorbar(value, row, xerr=ends, fmt="o", color=colour, capsize=2)
        axis.set_title(score.replace("_", " "))
        axis.set_yticks(range(len(names)), names)
        axis.grid(axis="x", alpha=0.3)
    axes.flat[0].invert_yaxis()
    axes.flat[-1].set_xscale("log")
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
