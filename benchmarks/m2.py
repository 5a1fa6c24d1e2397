"""Stars of the globular cluster M2 from an empty catalog, with the prior of PCAT-lion.

Flux slope 2 above 250 ADU, background fixed at 179 ADU, ``exp(-1.5 N)``, centres within the
image, variance as given (Portillo et al. 2017, AJ 154, 132).  Times are without compilation.
"""

from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from benchmarks.common import (
    convergence,
    data_path,
    device_name,
    parse_settings,
    peak_memory,
    report,
    timed_draws,
)
from probcat.model.prior.parameters import UNCERTAIN_PSF
from probcat.sampler.compiled_block import use_all_cores
from probcat.sampler.updates.shared import true_weight

PRIOR = {
    "flux_min": 250.0,
    "flux_slope": 2.0,
    "background": 179.0,
    "parsimony": 1.5,
    "extended_fraction": 0.0,
}
RADIUS, MAG_GAP, BORDER = 0.75, 0.5, 2.5
EDGES = np.arange(15.0, 24.0)
BRIGHT = (15.0, 18.0)
"""Where chi-square is far above its noise if the PSF is wrong, magnitudes."""
FRAME_ORIGIN, PSF_RADIUS = (310, 630), 12
"""Pixel of the frame that is the cutout's first, and the half side of the cutout's own PSF."""


@click.command()
@click.option("--seconds", default=300.0, show_default=True, help="CPU-seconds to sample for.")
@click.option("--num-chains", default=4, show_default=True)
@click.option("--num-warmup", default=100, show_default=True, help="Draws of warm-up.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
@click.option("--psf-floor", is_flag=True, help="Sample error and width of the PSF too.")
@click.option(
    "--psf",
    type=click.Choice(["given", "frame", "stars"]),
    default="given",
    show_default=True,
    help="That of the cutout's file, that of the frame's psField, or one built from its stars.",
)
@click.option("--sky", is_flag=True, help="Sample the background, by the default prior.")
@click.option("--setting", multiple=True, help="NAME=VALUE of [sampler]; may be repeated.")
def main(
    seconds: float,
    num_chains: int,
    num_warmup: int,
    seed: int,
    file: Path | None,
    psf_floor: bool,
    psf: str,
    sky: bool,
    setting: tuple[str, ...],
) -> None:
    """Sample M2 in r for some CPU-seconds, and print speed, mixing and accuracy."""
    use_all_cores()
    from probcat import Image, Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    image = Image.read(data_path("m2/m2_r.fits"), band="r", **psf_options(psf))
    known = {name: value for name, value in PRIOR.items() if name != "background" or not sky}
    prior = Prior.from_image(image, **known, **(UNCERTAIN_PSF if psf_floor else {}))
    values = parse_settings(setting)
    settings = SamplerSettings(**{"border": 0.0, **values})
    counts = (num_chains, num_warmup, 1)
    run = Run(image, prior, settings, jax.random.key(seed), counts)

    trial = timed_draws(run, seconds=0.0)
    track = timed_draws(run, seconds)
    results: dict[str, Any] = {
        "device": device_name(),
        "settings": {
            "num_chains": num_chains,
            "num_warmup": num_warmup,
            "seed": seed,
            "psf_floor": psf_floor,
            "psf": psf,
            "sky": sky,
            **values,
        },
        "compile_s": trial["wall"][0] - track["wall"][0],
    }
    results |= _speed(track, run) | _accuracy(track, run)
    results["chi2_brightest_percent"] = brightest_chi2(track["state"], run)
    results["peak_rss_mib"] = peak_memory()
    report(results, file)


def psf_options(kind: str) -> dict[str, Any]:
    """Options of `probcat.Image.read` that say where the PSF comes from."""
    if kind == "stars":
        return {"estimate_psf": True}
    if kind == "given":
        return {}
    path = data_path("sdss_2583_2_136/psField-002583-2-0136.fit")
    return {"psf": path, "psf_origin": FRAME_ORIGIN, "psf_radius": PSF_RADIUS}


def brightest_chi2(state: Any, run: Any) -> float:
    """Chi-square per pixel of the brightest percent of the pixels, of the chains' last state."""
    weight = jax.vmap(lambda *chain: true_weight(run.scene, *chain, 0))(
        state.sample, state.residual, state.sky_subtracted
    )
    data = np.where(np.asarray(run.scene.weight[0]) > 0.0, run.scene.data[0], -np.inf)
    bright = data >= np.percentile(run.images[0].clean_data, 99.0)
    chi2 = np.asarray(weight) * np.asarray(state.residual[0]) ** 2
    return float(chi2[:, bright].mean())


def _joined(track: dict[str, Any], name: str) -> np.ndarray:
    """Join a scalar or a statistic of all blocks."""
    groups = [{**block.samples.scalars, **block.samples.stats} for block in track["blocks"]]
    return np.concatenate([group[name] for group in groups], axis=1)


def _speed(track: dict[str, Any], run: Any) -> dict[str, Any]:
    """Time to the plateau, effective samples and acceptances of the last half."""
    number, log_likelihood = (_joined(track, name) for name in ("num_sources", "log_likelihood"))
    half = number.shape[1] // 2
    late = log_likelihood[:, half:]
    level = late.mean() - 2.0 * late.std()
    block = run.settings.checkpoint_interval
    first = np.argmax(log_likelihood > level, axis=1).max() // block
    cpu = track["cpu"][-1] - track["cpu"][half // block]
    rhat_n, ess_n = convergence(number[:, half:])
    rhat_lnl, ess_lnl = convergence(late)
    results = {
        "draws": int(number.shape[1]),
        "cpu_s": track["cpu"][-1],
        "wall_s": track["wall"][-1],
        "plateau_cpu_s": track["cpu"][first],
        "plateau_wall_s": track["wall"][first],
        "n_mean": float(number[:, half:].mean()),
        "n_sd": float(number[:, half:].std()),
        "ess_n_per_cpu_s": ess_n / cpu,
        "ess_lnl_per_cpu_s": ess_lnl / cpu,
        "rhat_n": rhat_n,
        "rhat_lnl": rhat_lnl,
        "chi2_per_pixel": float(_joined(track, "chi2_per_pixel")[:, half:].mean()),
    }
    first, prefix = track["blocks"][0].samples, "tried_"
    for name in (name for name in first.stats if name.startswith(prefix)):
        tried = _joined(track, name)[:, half:].sum()
        accepted = _joined(track, name.replace("tried", "accepted"))[:, half:].sum()
        if tried:
            results["accepted_" + name.removeprefix(prefix)] = float(accepted / tried)
    for name in (name for name in first.scalars if name.startswith(("psf", "background"))):
        values = _joined(track, name)[:, half:]
        results[name] = float(values.mean())
        results[name + "_sd"] = float(values.std())
    results["accepted_hmc"] = float(_joined(track, "hmc_acceptance")[:, half:].mean())
    return results


def _accuracy(track: dict[str, Any], run: Any) -> dict[str, Any]:
    """Completeness and false-discovery rate of the condensed catalog against HST."""
    from astropy.table import Table

    from probcat import condense
    from probcat.metrics import Sources, measure_offset, score_detection
    from probcat.sampler.collect import to_samples

    image = run.images[0]
    half = len(track["blocks"]) // 2
    samples = to_samples(track["blocks"][half:], {})
    step = max(1, samples.num_chains * samples.num_draws // 400)
    catalog = condense(samples.select_draws(slice(None, None, step)))

    def magnitude(flux: np.ndarray) -> np.ndarray:
        return image.zero_point - 2.5 * np.log10(flux)

    table = Table.read(data_path("m2/m2_truth_hst.fits"))
    columns = [np.asarray(table[name], float) for name in ("x", "y", "flux")]
    truth = Sources(columns[0], columns[1], magnitude(columns[2]))
    magnitudes = magnitude(catalog["flux"])
    found = Sources(catalog["x"], catalog["y"], magnitudes, catalog["prob_exist"])
    offset = measure_offset(found, truth, radius=1.0, max_mag_difference=0.5, brighter_than=19.0)

    def score(edges: np.ndarray) -> Any:
        return score_detection(
            found,
            truth.shift(*offset),
            radius=RADIUS,
            max_mag_difference=MAG_GAP,
            edges=edges,
            shape=image.shape,
            border=BORDER,
        )

    scores, bright = score(EDGES), score(np.array(BRIGHT))
    click.echo(str(scores))
    return {
        "magnitude_edges": EDGES.tolist(),
        "completeness": np.round(scores.completeness, 3).tolist(),
        "false_discovery_rate": np.round(scores.false_discovery_rate, 3).tolist(),
        "bright_edges": list(BRIGHT),
        "bright_false_discovery_rate": round(float(bright.false_discovery_rate[0]), 3),
    }


if __name__ == "__main__":
    main()
