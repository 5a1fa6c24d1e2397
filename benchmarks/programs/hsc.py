"""Five bands of an HSC field on COSMOS (58x48 px), from empty catalogs.

No positions are given.  Pixels that the mask takes as bad count nowhere.
"""

from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.support.results import data_path, device_name, parse_settings, peak_memory, report
from benchmarks.support.run_images import describe, fit, residuals
from probcat.sampler.compiled_block import use_all_cores

BANDS = "igrzy"
"""The deepest comes first."""


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="CPU-seconds to sample for.")
@click.option("--bands", default=BANDS, show_default=True)
@click.option("--stars-only", is_flag=True, help="No galaxies in the model.")
@click.option("--num-chains", default=4, show_default=True)
@click.option("--num-warmup", default=100, show_default=True, help="Draws of warm-up.")
@click.option("--seed", default=0, show_default=True)
@click.option("--setting", multiple=True, help="NAME=VALUE of [sampler]; may be repeated.")
@click.option("--prior", multiple=True, help="NAME=VALUE of [prior]; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Draw residuals of every band there.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
def main(
    seconds: float,
    bands: str,
    stars_only: bool,
    num_chains: int,
    num_warmup: int,
    seed: int,
    setting: tuple[str, ...],
    prior: tuple[str, ...],
    out: Path | None,
    file: Path | None,
) -> None:
    """Sample the field, and print fit, convergence and cost."""
    use_all_cores()
    from probcat import Image, condense

    path = data_path("hsc_cosmos/hsc_cosmos_35.fits")
    images = [Image.read(path, band=band) for band in bands]
    options: dict[str, Any] = {"extended_fraction": 0.0} if stars_only else {}
    found = fit(
        images,
        seconds,
        prior=options | parse_settings(prior),
        settings=parse_settings(setting),
        num_chains=num_chains,
        num_warmup=num_warmup,
        seed=seed,
    )
    catalog = condense(found.samples)
    results: dict[str, Any] = {
        "device": device_name(),
        "settings": {"seconds": seconds, "bands": bands, "stars_only": stars_only, "seed": seed}
        | {"num_chains": num_chains, "num_warmup": num_warmup}
        | {"setting": list(setting), "prior": list(prior)},
        **describe(found),
        "objects": int(np.sum(catalog["prob_exist"] > 0.5)),
        "chi2_per_pixel": residuals(found, out, "hsc_"),
        "peak_rss_mib": peak_memory(),
    }
    report(results, file)


if __name__ == "__main__":
    main()
