"""Time and memory of condensing, on simulated draws of a crowded field.

The field is as dense as the core of M2. In every draw, positions and fluxes of its stars scatter
with the noise, faint stars come and go, some blends are one source or two, and some sources are
spurious.
"""

import time
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from benchmarks.support.options import Options, shared_options
from benchmarks.support.timing import peak_memory
from probcat.catalog.condense import METHODS, condense
from probcat.samples.samples import SHAPE_NAMES, Samples

DENSITY = 0.13
"""Stars per square pixel."""
FAINTEST = 250.0
"""Flux of the faintest star."""
SKY_ERROR = 120.0
"""Standard deviation of the flux of an isolated star, from the noise of the sky alone."""
WIDTH = 1.4
"""Width of the PSF in pixels: positions scatter by this, divided by the signal-to-noise ratio."""
DOUBLE_FRACTION = 0.15
"""Fraction of the stars that are one source in some draws and two in others."""
SPURIOUS_FRACTION = 0.05
"""Mean number of spurious sources of a draw, as a fraction of the number of sources."""
NUM_CHAINS = 4
"""Number of chains that the draws are divided into."""


@dataclass(frozen=True, eq=False)
class Stars:
    """The stars of a field.

    Attributes
    ----------
    side : float
        Side of the field in pixels.
    position : ndarray, shape (n, 2)
        Positions (x, y) in pixels.
    flux : ndarray, shape (n,)
        Fluxes in the first band.
    colour : ndarray, shape (n, bands - 1)
        Logarithm of the flux ratio of each further band to the first.
    prob : ndarray, shape (n,)
        Probability that a draw contains the star.
    double : ndarray of bool, shape (n,)
        Whether the star is two sources in some draws.
    separation : ndarray, shape (n, 2)
        Vector in pixels between these two.
    """

    side: float
    position: np.ndarray
    flux: np.ndarray
    colour: np.ndarray
    prob: np.ndarray
    double: np.ndarray
    separation: np.ndarray


def simulate_stars(num_sources: int, num_bands: int, rng: np.random.Generator) -> Stars:
    """Return the stars of a field that has about `num_sources` sources in a draw."""
    size = int(1.12 * num_sources)
    side = float(np.sqrt(size / DENSITY))
    flux = FAINTEST / rng.uniform(1e-3, 1.0, size)
    position = rng.uniform(0.0, side, (size, 2))
    colour = rng.normal(0.3, 0.3, (size, num_bands - 1))
    prob = np.clip(flux / (2.2 * FAINTEST), 0.15, 1.0)
    double = (rng.random(size) < DOUBLE_FRACTION) & (flux > 4.0 * FAINTEST)
    return Stars(side, position, flux, colour, prob, double, rng.normal(0.0, 0.6, (size, 2)))


def simulate_draw(
    stars: Stars, number: int, num_sources: int, rng: np.random.Generator
) -> np.ndarray:
    """Return one draw: a row of x, y, flux and colours of every source."""
    here = rng.random(len(stars.flux)) < stars.prob
    # A chain stays with one explanation of a blend for tens of draws.
    phase = np.sin(number / 40.0 + np.arange(len(stars.flux))) > 0.3
    two = here & stars.double & phase
    one = here & ~two
    groups = [(stars.position[one], stars.flux[one], stars.colour[one])]
    for sign in (-0.5, 0.5):
        position = stars.position[two] + sign * stars.separation[two]
        groups.append((position, 0.5 * stars.flux[two], stars.colour[two]))
    spurious = rng.poisson(SPURIOUS_FRACTION * num_sources)
    groups.append(
        (
            rng.uniform(0.0, stars.side, (spurious, 2)),
            FAINTEST / rng.uniform(0.3, 1.0, spurious),
            rng.normal(0.3, 0.8, (spurious, stars.colour.shape[1])),
        )
    )
    position, flux, colour = (np.concatenate(column) for column in zip(*groups, strict=True))
    error = np.minimum(SKY_ERROR / flux, 0.4)[:, None]
    return np.concatenate(
        [
            position + WIDTH * error * rng.normal(size=position.shape),
            flux[:, None] * np.exp(error * rng.normal(size=(len(flux), 1))),
            colour + error * rng.normal(size=colour.shape),
        ],
        axis=1,
    )


def to_samples(draws: list[np.ndarray]) -> Samples:
    """Return draws as samples of `NUM_CHAINS` chains, padded to one length."""
    count = np.array([len(draw) for draw in draws])
    active = np.arange(count.max()) < count[:, None]
    values = np.full((*active.shape, draws[0].shape[1]), np.nan, np.float32)
    values[active] = np.concatenate(draws)
    shape = (NUM_CHAINS, len(draws) // NUM_CHAINS, count.max())
    sources = {name: values[..., column] for column, name in enumerate(("x", "y", "flux"))}
    for column in range(3, values.shape[-1]):
        sources[f"flux_b{column}"] = sources["flux"] * np.exp(values[..., column])
    sources |= {name: np.full(active.shape, np.nan, np.float32) for name in SHAPE_NAMES}
    sources |= {"active": active, "is_extended": np.zeros_like(active)}
    return Samples({name: column.reshape(shape) for name, column in sources.items()})


@click.command()
@shared_options("seed")
@click.option("--draws", default=1000, show_default=True, help="Number of draws, a multiple of 4.")
@click.option(
    "--sources", default=1000, show_default=True, help="Approximate number of sources of a draw."
)
@click.option("--bands", default=1, show_default=True, help="Number of bands.")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="mixture",
    show_default=True,
    help="Method of condensing.",
)
def main(options: Options, draws: int, sources: int, bands: int, method: str) -> None:
    """Condense simulated draws; measure time, memory, and how many stars are found."""
    rng = np.random.default_rng(options.seed)
    stars = simulate_stars(sources, bands, rng)
    samples = to_samples([simulate_draw(stars, number, sources, rng) for number in range(draws)])
    before = peak_memory()
    wall, cpu = time.monotonic(), time.process_time()
    catalog = condense(samples, method=method)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    results: dict[str, Any] = {
        "num_sources": int(samples.num_sources.sum()),
        "wall_s": wall,
        "cpu_s": cpu,
        "objects": len(catalog),
        "unassigned_per_draw": catalog.num_unassigned,
        "peak_rss_before_mib": before,
        "peak_rss_mib": peak_memory(),
        **score_objects(catalog, stars),
    }
    settings = options.settings(draws=draws, sources=sources, bands=bands, method=method)
    options.finish(results, settings)


def score_objects(catalog: Any, stars: Stars) -> dict[str, float]:
    """Return the fraction of the probable stars that are found, and the error of `prob_exist`."""
    from probcat.metrics import Sources, match_sources

    prob = stars.prob * ~stars.double
    sure = prob > 0.5
    x, y = stars.position[sure].T
    truth = Sources(x, y, -2.5 * np.log10(stars.flux[sure]))
    mag = -2.5 * np.log10(catalog["flux"])
    found = Sources(catalog["x"], catalog["y"], mag, catalog["prob_exist"])
    one, other = match_sources(found, truth, radius=0.5, max_mag_difference=0.5)
    error = catalog["prob_exist"][one] - prob[sure][other]
    return {
        "stars_found": len(one) / int(sure.sum()),
        "rms_of_prob_exist": float(np.sqrt(np.mean(error**2))),
    }


if __name__ == "__main__":
    main()
