"""Depth that further bands add: stars of M2 in r, r and i, and g, r and i, against HST.

The default prior of points alone, from empty catalogs: no figure of it is set by hand.
"""

from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from benchmarks.common import convergence, data_path, device_name, report, timed_draws
from benchmarks.crowded import simulate_bands
from benchmarks.fits import NUISANCES
from benchmarks.m2 import BORDER, EDGES, MAG_GAP, RADIUS, psf_options
from probcat.model.prior.parameters import UNCERTAIN_PSF
from probcat.sampler.compiled_block import use_all_cores

HST_LIMIT = 22.33
"""Truth of the matching of Liu et al. (2023): 1,000 HST electrons, in r."""

RATES = (0.1, 0.15, 0.2, 0.25, 0.3)
"""False-discovery rates at which sets of bands are compared."""


@click.command()
@click.option("--seconds", default=400.0, show_default=True, help="CPU-seconds for each set.")
@click.option("--bands", "sets", multiple=True, default=["r", "ri", "rgi"], show_default=True)
@click.option(
    "--psf",
    type=click.Choice(["given", "frame", "stars"]),
    default="given",
    show_default=True,
    help="Those of the cutouts' files, those of the frame's psField, or built from stars.",
)
@click.option("--psf-floor", is_flag=True, help="Sample error and width of the PSFs too.")
@click.option("--refine", default=0, show_default=True, help="Rounds of refining the PSFs first.")
@click.option("--simulated", is_flag=True, help="HST's stars as these images would see them.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
def main(
    seconds: float,
    sets: tuple[str, ...],
    psf: str,
    psf_floor: bool,
    refine: int,
    simulated: bool,
    seed: int,
    file: Path | None,
) -> None:
    """Sample every set of bands, and print completeness, FDR and F1."""
    use_all_cores()
    results: dict[str, Any] = {"device": device_name(), "seconds": seconds, "psf": psf}
    results |= {"psf_floor": psf_floor, "refine": refine, "simulated": simulated}
    results["seed"] = seed
    for bands in sets:
        images = _read(bands, psf, simulated, seed)
        found = _measure(images, seconds, psf_floor, refine, seed)
        click.echo(f"\n{bands}")
        report(found, None)
        results[bands] = found
    if file is not None:
        report(results, file)


def _read(bands: str, psf: str, simulated: bool, seed: int) -> list[Any]:
    from probcat import Image

    options = psf_options(psf)
    images = [Image.read(data_path(f"m2/m2_{band}.fits"), band=band, **options) for band in bands]
    return simulate_bands(images, seed) if simulated else images


def _measure(
    images: list[Any], seconds: float, psf_floor: bool, refine: int, seed: int
) -> dict[str, Any]:
    from probcat import Prior, condense, refine_psf
    from probcat.sampler.collect import to_samples
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    uncertain = UNCERTAIN_PSF if psf_floor else {}
    if refine:
        images = refine_psf(images, rounds=refine, extended_fraction=0.0, rng_key=seed)
    prior = Prior.from_image(images, extended_fraction=0.0, **uncertain)
    run = Run(images, prior, SamplerSettings(), jax.random.key(seed), (4, 100, 1))
    timed_draws(run, seconds=0.0)  # compiles
    track = timed_draws(run, seconds)
    half = len(track["blocks"]) // 2
    samples = to_samples(track["blocks"][half:], {"psf_fwhm": float(images[0].psf.fwhm)})
    step = max(1, samples.num_draws // 100)
    catalog = condense(samples.select_draws(slice(None, None, step)))
    found = {
        "flux_min": float(prior.flux_limits[0]),
        "draws": int(sum(block.samples.num_draws for block in track["blocks"])),
        "cpu_s": track["cpu"][-1],
        "n_mean": float(samples.num_sources.mean()),
        "chi2_per_pixel": float(samples.scalars["chi2_per_pixel"].mean()),
    }
    for name in ("num_sources", "log_likelihood"):
        rhat, ess = convergence(samples.scalars[name])
        found |= {f"rhat_{name}": rhat, f"ess_{name}_per_cpu_s": 2.0 * ess / track["cpu"][-1]}
    for name, values in samples.scalars.items():
        if name.startswith(NUISANCES) and np.ptp(values) > 0:
            found[f"rhat_{name}"] = convergence(values)[0]
            found[f"mean_{name}_of_chains"] = np.mean(values, axis=1).round(5).tolist()
    return found | _scores(catalog, images[0])


def _scores(catalog: Any, image: Any) -> dict[str, Any]:
    """Completeness and FDR per magnitude, where completeness falls to a half, and F1."""
    from astropy.table import Table

    from probcat.metrics import Sources, measure_offset, score_detection

    table = Table.read(data_path("m2/m2_truth_hst.fits"))
    x, y, flux = (np.asarray(table[name], float) for name in ("x", "y", "flux"))
    magnitude = image.zero_point - 2.5 * np.log10(flux)
    own = image.zero_point - 2.5 * np.log10(catalog["flux"])
    found = Sources(catalog["x"], catalog["y"], own, catalog["prob_exist"])
    truth = Sources(x, y, magnitude)
    offset = measure_offset(found, truth, radius=1.0, max_mag_difference=0.5, brighter_than=19.0)
    shared = {"radius": RADIUS, "max_mag_difference": MAG_GAP, "shape": image.shape}
    edges = np.arange(EDGES[0], EDGES[-1] + 0.1, 0.5)
    truth = truth.shift(*offset)
    scores = score_detection(found, truth, edges=edges, border=BORDER, **shared)
    click.echo(str(scores))
    f1, precision, recall = _starnet(catalog, own, truth, magnitude, image.shape)
    depth = {
        f"half_complete_mag_at_fdr_{rate:.2f}": _depth(found, truth, rate, edges, shared)
        for rate in RATES
    }
    return {
        "half_complete_mag": _half_complete(edges, scores.completeness),
        **depth,
        "magnitude_edges": edges.tolist(),
        "completeness": np.round(scores.completeness, 3).tolist(),
        "false_discovery_rate": np.round(scores.false_discovery_rate, 3).tolist(),
        "starnet_f1": f1,
        "starnet_precision": precision,
        "starnet_recall": recall,
    }


def _depth(found: Any, truth: Any, rate: float, edges: np.ndarray, shared: dict) -> float | None:
    """Magnitude of half completeness of the most objects whose false-discovery rate is a rate."""
    from probcat.metrics import Sources, score_detection

    for limit in np.linspace(0.05, 0.99, 48):
        kept = found.prob >= limit
        sure = Sources(found.x[kept], found.y[kept], found.mag[kept])
        scores = score_detection(sure, truth, edges=edges, border=BORDER, **shared)
        if scores.overall().false_discovery_rate[0] <= rate:
            return _half_complete(edges, scores.completeness)
    return None


def _half_complete(edges: np.ndarray, completeness: np.ndarray) -> float:
    """Magnitude at which completeness falls through one half, interpolated between bins."""
    middle = 0.5 * (edges[1:] + edges[:-1])
    below = np.flatnonzero((completeness < 0.5) & (middle > 19.0))
    if not below.size:
        return float(edges[-1])
    last = below[0]
    high, low = completeness[last - 1], completeness[last]
    return float(middle[last - 1] + 0.5 * (high - 0.5) / (high - low))


def _starnet(
    catalog: Any, own: np.ndarray, truth: Any, magnitude: np.ndarray, shape: tuple[int, int]
) -> tuple[float, float, float]:
    """F1, precision and recall as Liu et al. (2023) match: 0.5 px along each axis, 0.5 mag.

    Objects that exist with more than even odds against stars above `HST_LIMIT`, both at least
    5 px from the border; an object's own magnitude may be fainter than the limit by the gap.
    """
    from scipy.optimize import linear_sum_assignment

    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x >= 5) & (y >= 5) & (x <= shape[1] - 6) & (y <= shape[0] - 6)

    kept = (magnitude < HST_LIMIT) & inside(truth.x, truth.y)
    x, y, mag = truth.x[kept], truth.y[kept], magnitude[kept]
    sure = (catalog["prob_exist"] > 0.5) & (own < HST_LIMIT) & inside(catalog["x"], catalog["y"])
    found_x, found_y, found_mag = (v[sure] for v in (catalog["x"], catalog["y"], own))
    far = np.maximum(np.abs(found_x[:, None] - x[None]), np.abs(found_y[:, None] - y[None]))
    allowed = (far < 0.5) & (np.abs(found_mag[:, None] - mag[None]) < 0.5)
    rows, cols = linear_sum_assignment(np.where(allowed, far, 10.0))
    hits = int(allowed[rows, cols].sum())
    precision, recall = hits / max(len(found_x), 1), hits / len(x)
    return 2.0 * precision * recall / max(precision + recall, 1e-9), precision, recall


if __name__ == "__main__":
    main()
