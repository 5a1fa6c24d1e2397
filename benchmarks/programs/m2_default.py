"""The globular cluster M2 by default settings and the default prior, in which galaxies may be.

No galaxy in this field is bright: one in the catalog takes the place of stars. Times include
compiling.
"""

import time
from typing import Any

import click
import numpy as np

from benchmarks.fields import m2_hst
from benchmarks.support.options import Options, shared_options
from probcat.sampler.compiled_block import use_all_cores

FAINT = 20.0
"""Magnitude down to which nearly all stars should be found."""
EDGES = np.array([15.0, FAINT])
"""The range of magnitudes of these stars."""


@click.command()
@shared_options("seed", "prior", "sampler", num_chains=4, num_warmup=200, num_samples=200)
def main(options: Options) -> None:
    """Sample M2 in r as a user would, with galaxies in the model; compare it with HST."""
    use_all_cores()
    from probcat import Prior, SamplerSettings, condense, diagnose, sample
    from probcat.metrics import Sources

    image = m2_hst.read_cutout("r", options.psf)
    start = time.process_time()
    samples = sample(
        image,
        Prior.from_image(image, **options.prior),
        rng_key=options.seed,
        num_chains=options.num_chains,
        num_warmup=options.num_warmup,
        num_samples=options.num_samples,
        settings=SamplerSettings(**options.sampler),
    )
    cpu = time.process_time() - start
    catalog = condense(samples)
    mag = m2_hst.magnitude(image, catalog["flux"])
    found = Sources(catalog["x"], catalog["y"], mag, catalog["prob_exist"])
    truth = m2_hst.match_frames(m2_hst.hst_stars(image), found)
    scores = m2_hst.score_stars(found, truth, image.shape)
    bright = m2_hst.score_stars(found, truth, image.shape, EDGES)
    f1, precision, recall = m2_hst.starnet_scores(found, truth, image.shape)
    click.echo(str(scores))
    exists = np.asarray(catalog["prob_exist"]) > 0.5
    extended = np.asarray(samples.sources["is_extended"]) & np.asarray(samples.sources["active"])
    verdict = diagnose(samples)
    results: dict[str, Any] = {
        "cpu_s": cpu,
        "num_sources": float(samples.num_sources.mean()),
        "num_extended": float(extended.sum(axis=-1).mean()),
        "num_objects": int(exists.sum()),
        "num_extended_objects": int((exists & (np.asarray(catalog["prob_star"]) < 0.5)).sum()),
        "chi2_per_pixel": float(np.mean(samples.scalars["chi2_per_pixel"])),
        "completeness_brighter_than_20": float(bright.completeness[0]),
        "magnitude_edges": m2_hst.EDGES,
        "completeness": np.round(scores.completeness, 3),
        "false_discovery_rate": np.round(scores.false_discovery_rate, 3),
        "starnet": {"f1": f1, "precision": precision, "recall": recall},
        "rhat": dict(zip(verdict.names, np.round(verdict.rhat, 3).tolist(), strict=True)),
        "growth_events": len(samples.attrs.get("grown", [])),
    }
    options.finish(results, options.settings())


if __name__ == "__main__":
    main()
