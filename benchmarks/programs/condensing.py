"""Time and memory of condensing, on simulated draws of a crowded field.

The stars of a field as dense as the core of M2, drawn again and again: positions and fluxes
scatter with the noise, faint stars come and go, some blends are one source in some draws and
two in others, and every draw holds sources that are nothing.
"""

import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.support.results import device_name, peak_memory, report
from probcat.catalog.condense import METHODS, condense
from probcat.samples.samples import SHAPE_NAMES, Samples

DENSITY = 0.13
"""Stars a pixel."""
FAINTEST, SKY_ERROR = 250.0, 120.0
"""Flux, and standard deviation of the flux of a star alone on the sky."""
WIDTH = 1.4
"""Of the PSF, pixels: a star of signal-to-noise ratio s is placed to WIDTH / s."""
SWAPPING, CLUTTER = 0.15, 0.05
"""Share of the stars that are one source in some draws and two in others, and of clutter."""


def simulate_draws(
    num_draws: int, num_sources: int, num_bands: int, rng: np.random.Generator
) -> tuple[Samples, dict[str, np.ndarray]]:
    """Draw catalogs of about `num_sources` sources each, as four chains.

    Returns
    -------
    samples : Samples
    truth : dict of str to ndarray, shape (stars,)
        `x`, `y`, `flux`, and `share`, the probability that a draw holds the star.
    """
    size = int(1.12 * num_sources)
    side = np.sqrt(size / DENSITY)
    flux = FAINTEST / rng.uniform(1e-3, 1.0, size)
    place = rng.uniform(0.0, side, (size, 2))
    colour = rng.normal(0.3, 0.3, (size, num_bands - 1))
    share = np.clip(flux / (2.2 * FAINTEST), 0.15, 1.0)
    split = (rng.random(size) < SWAPPING) & (flux > 4.0 * FAINTEST)
    offset = rng.normal(0.0, 0.6, (size, 2))
    parts: list[np.ndarray] = []
    for number in range(num_draws):
        here = rng.random(size) < share
        # Chains stay with one explanation of a blend for tens of draws.
        cycle = np.sin(number / 40.0 + np.arange(size)) > 0.3
        double = here & split & cycle
        single = here & ~double
        groups = [(place[single], flux[single], colour[single])]
        for sign in (-0.5, 0.5):
            groups.append(
                (place[double] + sign * offset[double], 0.5 * flux[double], colour[double])
            )
        stray = rng.poisson(CLUTTER * num_sources)
        groups.append(
            (
                rng.uniform(0.0, side, (stray, 2)),
                FAINTEST / rng.uniform(0.3, 1.0, stray),
                rng.normal(0.3, 0.8, (stray, num_bands - 1)),
            )
        )
        where, light, colours = (np.concatenate(column) for column in zip(*groups, strict=True))
        error = np.minimum(SKY_ERROR / light, 0.4)[:, None]
        parts.append(
            np.concatenate(
                [
                    where + WIDTH * error * rng.normal(size=where.shape),
                    light[:, None] * np.exp(error * rng.normal(size=(len(light), 1))),
                    colours + error * rng.normal(size=colours.shape),
                ],
                axis=1,
            )
        )
    truth = {"x": place[:, 0], "y": place[:, 1], "flux": flux, "share": share * ~split}
    return _to_samples(parts), truth


def _to_samples(parts: list[np.ndarray]) -> Samples:
    """Pad draws to one length, as four chains."""
    count = np.array([len(part) for part in parts])
    active = np.arange(count.max()) < count[:, None]
    values = np.full((*active.shape, parts[0].shape[1]), np.nan, np.float32)
    values[active] = np.concatenate(parts)
    shape = (4, len(parts) // 4, count.max())
    sources = {name: values[..., column] for column, name in enumerate(("x", "y", "flux"))}
    for column in range(3, values.shape[-1]):
        sources[f"flux_b{column}"] = sources["flux"] * np.exp(values[..., column])
    sources |= {name: np.full(active.shape, np.nan, np.float32) for name in SHAPE_NAMES}
    sources |= {"active": active, "is_extended": np.zeros_like(active)}
    return Samples({name: column.reshape(shape) for name, column in sources.items()})


@click.command()
@click.option("--draws", default=1000, show_default=True, help="A multiple of 4.")
@click.option("--sources", default=1000, show_default=True, help="About as many in a draw.")
@click.option("--bands", default=1, show_default=True)
@click.option("--method", type=click.Choice(METHODS), default="mixture", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
def main(draws: int, sources: int, bands: int, method: str, seed: int, file: Path | None) -> None:
    """Condense simulated draws, and print time, memory, and how many stars are found."""
    samples, truth = simulate_draws(draws, sources, bands, np.random.default_rng(seed))
    before = peak_memory()
    wall, cpu = time.monotonic(), time.process_time()
    catalog = condense(samples, method=method)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    results: dict[str, Any] = {
        "device": device_name(),
        "settings": {"draws": draws, "sources": sources, "bands": bands, "method": method},
        "num_sources": int(samples.num_sources.sum()),
        "wall_s": wall,
        "cpu_s": cpu,
        "objects": len(catalog),
        "unassigned_a_draw": catalog.num_unassigned,
        "peak_rss_before_mib": before,
        "peak_rss_mib": peak_memory(),
        **score(catalog, truth),
    }
    report(results, file)


def score(catalog: Any, truth: dict[str, np.ndarray]) -> dict[str, float]:
    """Find how many sure stars are objects, and how far their probabilities are off."""
    from probcat.metrics import Sources, match_sources

    sure = truth["share"] > 0.5
    stars = Sources(truth["x"][sure], truth["y"][sure], -2.5 * np.log10(truth["flux"][sure]))
    magnitude = -2.5 * np.log10(catalog["flux"])
    found = Sources(catalog["x"], catalog["y"], magnitude, catalog["prob_exist"])
    one, other = match_sources(found, stars, radius=0.5, max_mag_difference=0.5)
    error = catalog["prob_exist"][one] - truth["share"][sure][other]
    return {
        "stars_found": len(one) / int(sure.sum()),
        "rms_of_prob_exist": float(np.sqrt(np.mean(error**2))),
    }


if __name__ == "__main__":
    main()
