"""Depth that further bands add: stars of M2 in r, in r and i, and in g, r and i, against HST.

Every run starts from an empty catalog, with the default prior of point sources alone.
"""

from typing import Any

import click
import jax
import numpy as np

from benchmarks.fields import m2_hst
from benchmarks.fields.crowded import simulate_bands
from benchmarks.support.options import Options, shared_options
from benchmarks.support.results import echo
from benchmarks.support.run_images import summarize_nuisances
from benchmarks.support.timing import convergence, timed_draws, traces
from probcat.model.prior.parameters import UNCERTAIN_PSF
from probcat.sampler.compiled_block import use_all_cores

RATES = (0.1, 0.15, 0.2, 0.25, 0.3)
"""False-discovery rates at which the depths of sets of bands are compared."""


@click.command()
@shared_options("seed", "psf", "psf_floor", "raw_file", seconds=400.0, num_chains=4, num_warmup=100)
@click.option(
    "--bands",
    "sets",
    multiple=True,
    default=["r", "ri", "rgi"],
    show_default=True,
    help="Bands that are sampled together; may be repeated.",
)
@click.option("--refine", default=0, show_default=True, help="Rounds of refining the PSFs first.")
@click.option("--simulated", is_flag=True, help="Simulate the images from the stars of HST.")
def main(options: Options, sets: tuple[str, ...], refine: int, simulated: bool) -> None:
    """Sample every set of bands; measure completeness, false-discovery rate and F1."""
    use_all_cores()
    results: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    for bands in sets:
        images = [m2_hst.read_cutout(band, options.psf) for band in bands]
        if simulated:
            images = simulate_bands(images, options.seed)
        results[bands], raw[bands] = _measure(images, options, refine)
        click.echo(f"\n{bands}")
        echo(results[bands])
    options.finish(results, options.settings(bands=sets, refine=refine, simulated=simulated), raw)


def _measure(
    images: list[Any], options: Options, refine: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results and traces of one set of bands."""
    from probcat import Prior, condense, refine_psf
    from probcat.sampler.collect import to_samples
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    uncertain = UNCERTAIN_PSF if options.psf_floor else {}
    if refine:
        images = refine_psf(images, rounds=refine, extended_fraction=0.0, rng_key=options.seed)
    prior = Prior.from_image(images, extended_fraction=0.0, **uncertain)
    counts = (options.num_chains, options.num_warmup, 1)
    run = Run(images, prior, SamplerSettings(), jax.random.key(options.seed), counts)
    timed_draws(run, seconds=0.0)  # compiles
    track = timed_draws(run, options.seconds)
    half = len(track["blocks"]) // 2
    samples = to_samples(track["blocks"][half:], {"psf_fwhm": float(images[0].psf.fwhm)})
    step = max(1, samples.num_draws // 100)
    catalog = condense(samples.select_draws(slice(None, None, step)))
    cpu = track["cpu"][-1]
    rhat, ess = {}, {}
    for name in ("num_sources", "log_likelihood"):
        rhat[name], number = convergence(samples.scalars[name])
        ess[name] = 2.0 * number / cpu
    nuisances = summarize_nuisances(samples.scalars)
    results = {
        "flux_min": float(prior.flux_limits[0]),
        "draws": int(sum(block.samples.num_draws for block in track["blocks"])),
        "cpu_s": cpu,
        "num_sources_mean": float(samples.num_sources.mean()),
        "chi2_per_pixel": float(samples.scalars["chi2_per_pixel"].mean()),
        "rhat": rhat | {name: convergence(samples.scalars[name])[0] for name in nuisances},
        "ess_per_cpu_s": ess,
        "nuisances": nuisances,
    }
    return results | _scores(catalog, images[0]), traces(track)


def _scores(catalog: Any, image: Any) -> dict[str, Any]:
    """Completeness and false-discovery rate by magnitude, depth, and F1."""
    from probcat.metrics import Sources

    mag = m2_hst.magnitude(image, catalog["flux"])
    found = Sources(catalog["x"], catalog["y"], mag, catalog["prob_exist"])
    truth = m2_hst.match_frames(m2_hst.hst_stars(image), found)
    edges = np.arange(m2_hst.EDGES[0], m2_hst.EDGES[-1] + 0.1, 0.5)
    scores = m2_hst.score_stars(found, truth, image.shape, edges)
    click.echo(str(scores))
    f1, precision, recall = m2_hst.starnet_scores(found, truth, image.shape)
    depths = {f"{rate:.2f}": _depth(found, truth, rate, edges, image.shape) for rate in RATES}
    return {
        "half_complete_mag": _half_complete(edges, scores.completeness),
        "half_complete_mag_at_fdr": depths,
        "magnitude_edges": edges,
        "completeness": np.round(scores.completeness, 3),
        "false_discovery_rate": np.round(scores.false_discovery_rate, 3),
        "starnet": {"f1": f1, "precision": precision, "recall": recall},
    }


def _depth(
    found: Any, truth: Any, rate: float, edges: np.ndarray, shape: tuple[int, int]
) -> float | None:
    """Magnitude of half completeness of as many objects as a false-discovery rate allows."""
    from probcat.metrics import Sources

    for limit in np.linspace(0.05, 0.99, 48):
        kept = found.prob >= limit
        sure = Sources(found.x[kept], found.y[kept], found.mag[kept])
        scores = m2_hst.score_stars(sure, truth, shape, edges)
        if scores.overall().false_discovery_rate[0] <= rate:
            return _half_complete(edges, scores.completeness)
    return None


def _half_complete(edges: np.ndarray, completeness: np.ndarray) -> float:
    """Magnitude at which completeness falls below one half, interpolated between bins."""
    middle = 0.5 * (edges[1:] + edges[:-1])
    below = np.flatnonzero((completeness < 0.5) & (middle > 19.0))
    if not below.size:
        return float(edges[-1])
    last = below[0]
    high, low = completeness[last - 1], completeness[last]
    return float(middle[last - 1] + 0.5 * (high - 0.5) / (high - low))


if __name__ == "__main__":
    main()
