"""One bright star, seen through a PSF that is a little wider than the model's.

A sampler that has to believe its PSF explains the misfit with additional stars. The program counts
the trials in which the most frequent number of sources is one, as it should be.
"""

from dataclasses import replace
from typing import Any

import click
import jax
import numpy as np
from tqdm.auto import tqdm

from benchmarks.support.options import Options, shared_options
from benchmarks.support.timing import convergence
from probcat.model.prior.parameters import UNCERTAIN_PSF
from probcat.sampler.compiled_block import num_compilations, use_all_cores

SHAPE = (32, 32)
"""Rows and columns of an image."""
FWHM = 3.5
"""FWHM of the PSF of the model in pixels."""
BETA = 3.0
"""Index of the Moffat profile of the PSF."""
SIZE = 21
"""Side of the PSF stamp in pixels."""
NOISE = 1.0
"""Standard deviation of the noise of a pixel."""
BACKGROUND = 100.0
"""Background level of a pixel."""
NEAR = 3.0
"""Distance from the star in pixels within which a source counts as a companion."""
FAINTEST = 0.03
"""Flux, as a fraction of the flux of the star, from which on a source counts as a companion."""


class NumberOrSampled(click.ParamType):
    """A number, or the word ``sampled``."""

    name = "number|sampled"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a float, or None for ``sampled``."""
        return None if value == "sampled" else click.FLOAT.convert(value, param, ctx)


@click.command()
@shared_options("seed", "raw_file", num_chains=4, num_warmup=60, num_samples=60)
@click.option("--trials", default=100, show_default=True, help="Number of images of one star.")
@click.option(
    "--widen", default=1.02, show_default=True, help="True FWHM in units of the model's FWHM."
)
@click.option(
    "--snr", default=300.0, show_default=True, help="Signal-to-noise ratio of the brightest pixel."
)
@click.option(
    "--psf-error",
    "psf_error_floor",
    type=NumberOrSampled(),
    default="0",
    show_default=True,
    help="Fixed relative error of the PSF, or 'sampled' to sample its error and width.",
)
def main(
    options: Options, trials: int, widen: float, snr: float, psf_error_floor: float | None
) -> None:
    """Count the sources that are found where there is one star."""
    use_all_cores()
    given = {"psf_error_floor": psf_error_floor}
    prior = dict(UNCERTAIN_PSF) if psf_error_floor is None else given
    counts = (options.num_chains, options.num_warmup, options.num_samples)
    rows: list[dict[str, float]] = []
    layout = None
    for number in tqdm(range(trials), unit="trial"):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(options.seed), number))
        image, star = _observe(keys[0], np.random.default_rng([options.seed, number]), widen, snr)
        samples, layout = _sample(image, prior, keys[1], counts, layout)
        rows.append(_measure(samples, star))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    settings = options.settings(
        trials=trials,
        widen=widen,
        snr=snr,
        psf_error_floor="sampled" if psf_error_floor is None else psf_error_floor,
    )
    options.finish(_summarize_trials(columns), settings, columns)


def _summarize_trials(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Numbers of sources, and bias and scatter of the flux, over all trials."""
    error = columns["flux_error"]
    results: dict[str, Any] = {
        "trials_of_one_source": int(np.sum(columns["mode"] == 1)),
        "trials_of_one_near": int(np.sum(columns["mode_near"] == 1)),
        "num_sources_mean": float(columns["mean"].mean()),
        "fraction_of_draws_with_one": float(columns["fraction_one"].mean()),
        "chi2_per_pixel": float(columns["chi2_per_pixel"].mean()),
        "flux_bias_percent": float(100.0 * error.mean()),
        "flux_scatter_percent": float(100.0 * error.std()),
        "flux_sigma_percent": float(100.0 * columns["flux_sigma"].mean()),
        "trials_rhat_above_1.1": int(np.sum(columns["rhat"] > 1.1)),
        "cpu_s_per_trial": float(np.median(columns["cpu_s"])),
        "compilations": num_compilations(),
    }
    if "psf_error_floor" in columns:
        results["psf_error_floor_mean"] = float(columns["psf_error_floor"].mean())
    return results


def _observe(
    rng_key: jax.Array, rng: np.random.Generator, widen: float, snr: float
) -> tuple[Any, dict[str, float]]:
    """Image of one star, with the PSF of the model in place of the true one, and the star."""
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
    """Samples of one trial, in the layout of the first one so that all share one program."""
    from probcat import Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    prior = Prior.from_image(image, extended_fraction=0.0, **options)
    # Programs are compiled for a prior with its parameters, which are only a record.
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
    found = {
        "mode": float(np.bincount(number.ravel()).argmax()),
        "mode_near": float(np.bincount(near.ravel()).argmax()),
        "mean": float(number.mean()),
        "fraction_one": float(np.mean(number == 1)),
        "chi2_per_pixel": float(samples.scalars["chi2_per_pixel"].mean()),
        "flux_error": float(flux.mean() - 1.0),
        "flux_sigma": float(flux.std()),
        "rhat": convergence(number)[0],
        "cpu_s": float(samples.attrs["cpu_seconds"]),
    }
    if "psf_error_floor" in samples.scalars:
        found["psf_error_floor"] = float(samples.scalars["psf_error_floor"].mean())
    return found


if __name__ == "__main__":
    main()
