"""One bright star seen through a PSF that the model has a little too narrow.

A sampler that must believe its PSF explains the misfit with further stars.  Counted are the
trials in which the most frequent number of sources is one, as it should be.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np
from tqdm.auto import tqdm

from benchmarks.support.results import convergence, device_name, report
from probcat.model.prior.parameters import UNCERTAIN_PSF
from probcat.sampler.compiled_block import num_compilations, use_all_cores

SHAPE = (32, 32)
FWHM, BETA, SIZE = 3.5, 3.0, 21
NOISE, BACKGROUND = 1.0, 100.0
NEAR, FAINTEST = 3.0, 0.03
"""Companions count within so many pixels of the star, and above this share of its flux."""


class NumberOrSampled(click.ParamType):
    """A number, or the word ``sampled``."""

    name = "number|sampled"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Give a float, or None for ``sampled``."""
        if value == "sampled":
            return None
        return click.FLOAT.convert(value, param, ctx)


@click.command()
@click.option("--trials", default=100, show_default=True, help="Scenes of one star.")
@click.option("--widen", default=1.02, show_default=True, help="True FWHM over the model's.")
@click.option("--snr", default=300.0, show_default=True, help="Of the brightest pixel.")
@click.option(
    "--psf-error",
    type=NumberOrSampled(),
    default="0",
    show_default=True,
    help="Fixed relative error of the PSF, or 'sampled' for its error and width.",
)
@click.option("--num-chains", default=4, show_default=True)
@click.option("--num-warmup", default=60, show_default=True, help="Draws of warm-up.")
@click.option("--num-samples", default=60, show_default=True, help="Draws kept of a chain.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
def main(
    trials: int,
    widen: float,
    snr: float,
    psf_error_floor: float | None,
    num_chains: int,
    num_warmup: int,
    num_samples: int,
    seed: int,
    file: Path | None,
) -> None:
    """Count the sources found where there is one."""
    use_all_cores()
    settings = {
        "trials": trials,
        "widen": widen,
        "snr": snr,
        "psf_error_floor": psf_error_floor,
        "seed": seed,
    }
    settings |= {"num_chains": num_chains, "num_warmup": num_warmup, "num_samples": num_samples}
    options = _prior_options(psf_error_floor)
    counts = (num_chains, num_warmup, num_samples)
    rows: list[dict[str, float]] = []
    layout = None
    for number in tqdm(range(trials), unit="trial"):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number))
        image, star = _observe(keys[0], np.random.default_rng([seed, number]), widen, snr)
        samples, layout = _sample(image, options, keys[1], counts, layout)
        rows.append(_measure(samples, star))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    error = columns["flux_error"]
    results: dict[str, Any] = {
        "device": device_name(),
        "settings": settings,
        "trials_of_one_source": int(np.sum(columns["mode"] == 1)),
        "trials_of_one_near": int(np.sum(columns["mode_near"] == 1)),
        "num_sources_mean": float(columns["mean"].mean()),
        "share_of_draws_with_one": float(columns["share_one"].mean()),
        "chi2_per_pixel": float(columns["chi2_per_pixel"].mean()),
        "flux_bias_percent": float(100.0 * error.mean()),
        "flux_scatter_percent": float(100.0 * error.std()),
        "flux_sigma_percent": float(100.0 * columns["flux_sigma"].mean()),
        "rhat_above_1.1": int(np.sum(columns["rhat"] > 1.1)),
        "cpu_s_per_trial": float(np.median(columns["cpu_s"])),
        "compilations": num_compilations(),
    }
    if "psf_error_floor" in columns:
        results["psf_error_mean"] = float(columns["psf_error_floor"].mean())
    report(results, None)
    if file is not None:
        report(results | {"modes": columns["mode"].tolist()}, file)


def _prior_options(psf_error_floor: float | None) -> dict[str, Any]:
    """Choose settings of the prior: a fixed error of the PSF, or error and width sampled."""
    return dict(UNCERTAIN_PSF) if psf_error_floor is None else {"psf_error_floor": psf_error_floor}


def _observe(
    rng_key: jax.Array, rng: np.random.Generator, widen: float, snr: float
) -> tuple[Any, dict[str, float]]:
    """Image of one star, with the model's PSF in place of the true one."""
    from probcat import PSF, simulate_image

    truth = PSF.moffat(widen * FWHM, BETA, size=SIZE)
    middle = 0.5 * (np.array(SHAPE) - 1.0)
    y, x = middle + rng.uniform(-2.0, 2.0, 2)
    star = {"x": float(x), "y": float(y), "flux": snr * NOISE / truth.peak}
    source = {name: np.array([value]) for name, value in star.items()}
    made = simulate_image(source, truth, SHAPE, rng_key, noise=NOISE, background=BACKGROUND)
    return replace(made.image, psf=PSF.moffat(FWHM, BETA, size=SIZE)), star


def _sample(
    image: Any, options: dict[str, Any], rng_key: jax.Array, counts: Any, layout: Any
) -> tuple[Any, Any]:
    """Sample one trial in the layout of the first, so that all share one program."""
    from probcat import Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    prior = Prior.from_image(image, extended_fraction=0.0, **options)
    # The record of the parameters is part of what a program is compiled for.
    prior = prior.replace(parameters=())
    run = Run(image, prior, SamplerSettings(start_beta=1e-2), rng_key, counts)
    run.prepare(layout or run.layout)
    return run.execute(None, progress_bar=False), run.layout


def _measure(samples: Any, star: dict[str, float]) -> dict[str, float]:
    """Numbers of sources in one trial, and the flux near the star."""
    number = samples.num_sources
    sources = samples.sources
    far = np.hypot(sources["x"] - star["x"], sources["y"] - star["y"])
    close = sources["active"] & (far < NEAR)
    near = np.sum(close & (sources["flux"] > FAINTEST * star["flux"]), axis=-1)
    flux = np.where(close, sources["flux"], 0.0).sum(axis=-1, dtype=np.float64) / star["flux"]
    constant = np.ptp(number) == 0
    found = {
        "mode": float(np.bincount(number.ravel()).argmax()),
        "mode_near": float(np.bincount(near.ravel()).argmax()),
        "mean": float(number.mean()),
        "share_one": float(np.mean(number == 1)),
        "chi2_per_pixel": float(samples.scalars["chi2_per_pixel"].mean()),
        "flux_error": float(flux.mean() - 1.0),
        "flux_sigma": float(flux.std()),
        "rhat": 1.0 if constant else convergence(number)[0],
        "cpu_s": float(samples.attrs["cpu_seconds"]),
    }
    if "psf_error_floor" in samples.scalars:
        found["psf_error_floor"] = float(samples.scalars["psf_error_floor"].mean())
    return found


if __name__ == "__main__":
    main()
