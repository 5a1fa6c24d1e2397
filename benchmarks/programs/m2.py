"""Stars of the globular cluster M2 from an empty catalog, with the prior of PCAT-lion.

The flux distribution has slope 2 above 250 ADU, the background is fixed at 179 ADU, every star
costs a factor ``exp(-1.5)``, centres lie within the image, and the variance is that of the file
(Portillo et al. 2017, AJ 154, 132). Times do not include compiling.
"""

from typing import Any

import click
import jax
import numpy as np

from benchmarks.fields import m2_hst
from benchmarks.support.options import Options, shared_options
from benchmarks.support.run_images import summarize_nuisances
from benchmarks.support.timing import convergence, joined, peak_memory, timed_draws, traces
from probcat.model.prior.parameters import UNCERTAIN_PSF
from probcat.sampler.compiled_block import use_all_cores
from probcat.sampler.updates.shared import true_weight

BRIGHT = (15.0, 18.0)
"""Range of magnitudes in which chi-square is far above its noise if the PSF is wrong."""


@click.command()
@shared_options(
    "seed", "psf", "psf_floor", "sampler", "raw_file", seconds=300.0, num_chains=4, num_warmup=100
)
@click.option("--sky", is_flag=True, help="Sample the background, with the default prior.")
def main(options: Options, sky: bool) -> None:
    """Sample M2 in r for some CPU-seconds; measure speed, mixing and accuracy."""
    use_all_cores()
    from probcat import Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    image = m2_hst.read_cutout("r", options.psf)
    known = {name: value for name, value in m2_hst.PRIOR.items() if name != "background" or not sky}
    prior = Prior.from_image(image, **known, **(UNCERTAIN_PSF if options.psf_floor else {}))
    sampler = SamplerSettings(**{"border": 0.0, **options.sampler})
    counts = (options.num_chains, options.num_warmup, 1)
    run = Run(image, prior, sampler, jax.random.key(options.seed), counts)

    trial = timed_draws(run, seconds=0.0)
    track = timed_draws(run, options.seconds)
    results: dict[str, Any] = {"compile_s": trial["wall"][0] - track["wall"][0]}
    results |= _speed(track, run) | _posterior(track) | _accuracy(track, run)
    results["chi2_brightest_percent"] = _brightest_chi2(track["state"], run)
    results["peak_rss_mib"] = peak_memory()
    options.finish(results, options.settings(sky=sky), traces(track))


def _brightest_chi2(state: Any, run: Any) -> float:
    """Chi-square per pixel in the brightest percent of the pixels, of the chains' last state."""

    def weight_of(sample: Any, residual: Any, sky_subtracted: Any) -> Any:
        return true_weight(run.scene, sample, residual, sky_subtracted, 0)

    weight = jax.vmap(weight_of)(state.sample, state.residual, state.sky_subtracted)
    data = np.where(np.asarray(run.scene.weight[0]) > 0.0, run.scene.data[0], -np.inf)
    bright = data >= np.percentile(run.images[0].clean_data, 99.0)
    chi2 = np.asarray(weight) * np.asarray(state.residual[0]) ** 2
    return float(chi2[:, bright].mean())


def _speed(track: dict[str, Any], run: Any) -> dict[str, Any]:
    """Time until ln L is at its plateau, and effective samples of the last half."""
    number, log_likelihood = (joined(track, name) for name in ("num_sources", "log_likelihood"))
    half = number.shape[1] // 2
    late = log_likelihood[:, half:]
    level = late.mean() - 2.0 * late.std()
    interval = run.settings.checkpoint_interval
    first = np.argmax(log_likelihood > level, axis=1).max() // interval
    # The last half begins at a checkpoint, or in the middle of the block after it.
    cpu = track["cpu"][-1] - [0.0, *track["cpu"]][half // interval]
    (rhat_number, ess_number), (rhat_lnl, ess_lnl) = map(convergence, (number[:, half:], late))
    return {
        "draws": int(number.shape[1]),
        "cpu_s": track["cpu"][-1],
        "wall_s": track["wall"][-1],
        "plateau_cpu_s": track["cpu"][first],
        "plateau_wall_s": track["wall"][first],
        "ess_per_cpu_s": {"num_sources": ess_number / cpu, "log_likelihood": ess_lnl / cpu},
        "rhat": {"num_sources": rhat_number, "log_likelihood": rhat_lnl},
    }


def _posterior(track: dict[str, Any]) -> dict[str, Any]:
    """Number of stars, chi-square, acceptances and nuisance parameters of the last half."""
    half = joined(track, "num_sources").shape[1] // 2
    first = track["blocks"][0].samples
    scalars, stats = (
        {name: joined(track, name)[:, half:] for name in group}
        for group in (first.scalars, first.stats)
    )
    accepted = {}
    for name in (name for name in stats if name.startswith("tried_")):
        if tried := stats[name].sum():
            label = name.removeprefix("tried_")
            accepted[label] = float(stats[f"accepted_{label}"].sum() / tried)
    accepted["hmc"] = float(stats["hmc_acceptance"].mean())
    return {
        "num_sources_mean": float(scalars["num_sources"].mean()),
        "num_sources_sd": float(scalars["num_sources"].std()),
        "chi2_per_pixel": float(scalars["chi2_per_pixel"].mean()),
        "accepted": accepted,
        "nuisances": summarize_nuisances(scalars),
    }


def _accuracy(track: dict[str, Any], run: Any) -> dict[str, Any]:
    """Completeness and false-discovery rate of the condensed catalog against HST."""
    from probcat import condense
    from probcat.metrics import Sources
    from probcat.sampler.collect import to_samples

    image = run.images[0]
    samples = to_samples(track["blocks"][len(track["blocks"]) // 2 :], {})
    step = max(1, samples.num_chains * samples.num_draws // 400)
    catalog = condense(samples.select_draws(slice(None, None, step)))
    mag = m2_hst.magnitude(image, catalog["flux"])
    found = Sources(catalog["x"], catalog["y"], mag, catalog["prob_exist"])
    truth = m2_hst.match_frames(m2_hst.hst_stars(image), found)
    scores = m2_hst.score_stars(found, truth, image.shape)
    bright = m2_hst.score_stars(found, truth, image.shape, np.array(BRIGHT))
    click.echo(str(scores))
    return {
        "magnitude_edges": m2_hst.EDGES,
        "completeness": np.round(scores.completeness, 3),
        "false_discovery_rate": np.round(scores.false_discovery_rate, 3),
        "bright_edges": BRIGHT,
        "bright_false_discovery_rate": round(float(bright.false_discovery_rate[0]), 3),
    }


if __name__ == "__main__":
    main()
