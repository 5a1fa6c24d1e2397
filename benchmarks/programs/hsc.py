"""Five bands of a field of HSC on COSMOS (58x48 px), from empty catalogs.

No positions are given. Pixels that the mask marks as bad count nowhere.
"""

from typing import Any

import click
import numpy as np

from benchmarks.support.data import data_path
from benchmarks.support.options import Options, shared_options
from benchmarks.support.run_images import residual_chi2, run_images, summarize_run
from benchmarks.support.timing import peak_memory
from probcat.sampler.compiled_block import use_all_cores

BANDS = "igrzy"
"""Bands of HSC, the deepest first."""


@click.command()
@shared_options(
    "seed",
    "stars_only",
    "sampler",
    "prior",
    "residuals",
    "raw_file",
    seconds=600.0,
    num_chains=4,
    num_warmup=100,
)
@click.option("--bands", default=BANDS, show_default=True, help="Bands to sample together.")
def main(options: Options, bands: str) -> None:
    """Sample the field; measure fit, convergence and cost."""
    use_all_cores()
    from probcat import Image, condense

    path = data_path("hsc_cosmos/hsc_cosmos_35.fits")
    run = run_images([Image.read(path, band=band) for band in bands], options)
    catalog = condense(run.samples)
    results: dict[str, Any] = {
        **summarize_run(run),
        "objects": int(np.sum(catalog["prob_exist"] > 0.5)),
        "chi2_per_pixel": residual_chi2(run, options.residuals, "hsc_"),
        "peak_rss_mib": peak_memory(),
    }
    options.finish(results, options.settings(bands=bands), run.samples.scalars)


if __name__ == "__main__":
    main()
