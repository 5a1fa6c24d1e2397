"""Time until chains converge on fields of galaxies, and mixing of single galaxies.

**Fields.** `demo` is the image of `probcat demo`, `hsc` and `hsc_grizy` are 58x48 px of HSC in one
and in five bands, `sim_blend` is a simulated blend in six bands, and `blends` are 24 real blends of
HSC in i.

**Time.** A run has the default settings. It ends when `probcat.diagnose` has no argument against
convergence, or after `--seconds` CPU-seconds of all chains. At each check the oldest third of the
draws after warm-up is left out, and all numbers are those of the draws that remain. Time for
compiling does not count: a block in which a program was compiled has the cost of the next blocks.

**Galaxies** are the true ones where these are known; in every draw, the nearest source within
1.5 px and a factor of three in flux stands for a galaxy. In the other fields they are the objects
of the condensed catalog that probably exist and are probably extended.

**Entries.** Every field has an entry in the file of `--raw`, under the commit or the `--label`. A
field that has one is not sampled again unless `--again` is given, so that a stopped program
resumes. `--compare A B` prints a table of the entries of two commits in that file.
"""

from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from benchmarks.fields.galaxies import KINDS, GalaxyField, field_names, read_field
from benchmarks.support.entries import Entries, compare_entries
from benchmarks.support.galaxy_mixing import slots_of_objects, slots_of_truth, summarize_galaxies
from benchmarks.support.galaxy_summary import MEASURES, describe_entry, summarize_entries
from benchmarks.support.options import Options, shared_options
from benchmarks.support.results import device_name
from benchmarks.support.timing import convergence
from benchmarks.support.until_converged import ConvergedRun, sample_until_converged
from probcat.sampler.compiled_block import use_all_cores

ENTRIES = Path(__file__).parents[1] / "results" / "raw" / "galaxies.json"
"""Default file of the entries."""
CATALOG_QUANTITIES = ("num_sources", "log_likelihood", "total_flux")
"""Quantities of whole catalogs whose mixing is measured."""
DETECTABLE = 10.0
"""Signal-to-noise ratio of an isolated source above which it should be found."""
MATCH_RADIUS = 1.0
"""Largest distance in pixels of an object from a true source that it matches."""
MAX_MAG_DIFFERENCE = 0.5
"""Largest difference in magnitude of a match."""
MOST_REASONS = 8
"""Largest number of arguments against convergence in an entry."""


@click.command()
@shared_options(
    "seed", "sampler", "prior", seconds=900.0, num_chains=4, num_warmup=200, raw_file=ENTRIES
)
@click.option(
    "--field",
    "kind",
    type=click.Choice([*KINDS, "all"]),
    default="demo",
    show_default=True,
    help="Fields to sample.",
)
@click.option("--blend", help="One blend: the last digits of its name are enough.")
@click.option(
    "--check-every", default=2, show_default=True, help="Blocks between checks of convergence."
)
@click.option("--label", help="Name of the entries in place of the commit.")
@click.option("--again", is_flag=True, help="Sample fields again that have an entry.")
@click.option("--compare", nargs=2, metavar="A B", help="Compare the entries of two labels.")
def main(
    options: Options,
    kind: str,
    blend: str | None,
    check_every: int,
    label: str | None,
    again: bool,
    compare: tuple[str, str] | None,
) -> None:
    """Sample fields of galaxies until their chains converge; measure time and mixing."""
    use_all_cores()
    assert options.raw_file is not None
    entries = Entries(options.raw_file)
    if compare:
        before, after = map(entries.fields, compare)
        click.echo(compare_entries(before, after, MEASURES))
        return
    label = label or options.provenance["commit"]
    if label.endswith("-dirty"):
        click.echo(f"modified code: entries of {label} may be of other modifications (--again)")
    settings = options.settings(check_every=check_every)
    entries.start(label, options.provenance, settings)
    names = field_names(kind, blend)
    for name in names:
        if again or name not in entries.fields(label):
            click.echo(f"{name}:")
            entry = measure_field(read_field(name), options, check_every)
            when = {"date": options.provenance["date"], "device": device_name()}
            entries.add(label, name, {**when, **entry})
            # Compiled programs of all fields would exceed the memory maps of a process.
            jax.clear_caches()
        click.echo(describe_entry(name, entries.fields(label)[name]))
    found = {name: entries.fields(label)[name] for name in names}
    options.finish(summarize_entries(found), {**settings, "field": kind, "blend": blend})


def measure_field(field: GalaxyField, options: Options, check_every: int) -> dict[str, Any]:
    """Sample a field until its chains converge.

    Parameters
    ----------
    field : GalaxyField
        The field.
    options : Options
        Limit of CPU-seconds, number of chains, draws of warm-up, seed, and values of ``[prior]``
        and ``[sampler]``.
    check_every : int
        Number of blocks after warm-up between two checks of convergence.

    Returns
    -------
    dict
        The entry of the field.
    """
    from probcat import Prior
    from probcat.sampler.sample import Run
    from probcat.sampler.settings import SamplerSettings

    prior = Prior.from_image(field.images, **options.prior)
    counts = (options.num_chains, options.num_warmup, 1)
    key = jax.random.key(options.seed)
    run = Run(field.images, prior, SamplerSettings(**options.sampler), key, counts)
    done = sample_until_converged(run, options.seconds, check_every, click.echo)
    return {
        **_cost(done),
        "grown": [f"{one.kind} {one.array} at {one.draw}" for one in run.grown],
        **_catalogs(done),
        **_objects(done, field),
    }


def _cost(done: ConvergedRun) -> dict[str, Any]:
    """Convergence and CPU times of a run."""
    return {
        "converged": done.converged,
        "converged_cpu_s": float(done.sampling.sum()) if done.converged else None,
        "cpu_s": float(done.sampling.sum()),
        "draw_cpu_s": done.draw_cpu,
        "draws": done.draws,
        "draws_judged": done.samples.num_draws,
        "in_warmup": done.in_warmup,
        "first_block_cpu_s": float(done.cpu[0]),
        "compiling_blocks": int(done.compiled.sum()),
        "compiling_cpu_s": float(np.sum((done.cpu - done.sampling)[done.compiled])),
        "reasons": list(done.reasons[:MOST_REASONS]),
    }


def _catalogs(done: ConvergedRun) -> dict[str, Any]:
    """Fit, numbers of sources, and mixing of quantities of whole catalogs."""
    scalars, cpu = done.samples.scalars, _cpu_of_samples(done)
    found = {name: convergence(scalars[name]) for name in CATALOG_QUANTITIES}
    return {
        "chi2_per_pixel": float(np.mean(scalars["chi2_per_pixel"])),
        "num_sources_mean": float(np.mean(scalars["num_sources"])),
        "num_extended_mean": float(np.mean(scalars["num_extended"])),
        "rhat": {name: rhat for name, (rhat, _) in found.items()},
        "ess_per_cpu_s": {name: ess / cpu for name, (_, ess) in found.items()},
    }


def _objects(done: ConvergedRun, field: GalaxyField) -> dict[str, Any]:
    """Mixing of single galaxies, and objects found in the demonstration."""
    from probcat import condense

    # Simulated galaxies are smooth: they have no substructure.
    catalog = condense(done.samples, substructure=field.simulation is None)
    results: dict[str, Any] = {"objects": int(np.sum(catalog["prob_exist"] > 0.5))}
    if field.simulation is not None:
        results |= _score_demonstration(catalog, field.simulation)
    if field.galaxies is None:
        samples, slots = catalog.whole(done.samples), slots_of_objects(catalog)
    else:
        samples, slots = done.samples, slots_of_truth(done.samples, field.galaxies)
    return results | {"galaxies": summarize_galaxies(samples, slots, _cpu_of_samples(done))}


def _cpu_of_samples(done: ConvergedRun) -> float:
    """CPU-seconds that the judged draws of all chains took; NaN if it is not known."""
    return done.draw_cpu * done.samples.num_draws or float("nan")


def _score_demonstration(catalog: Any, made: Any) -> dict[str, int]:
    """Count the detectable true sources that are found, and the objects that are none."""
    from probcat.metrics import Sources, match_sources

    def magnitudes(flux: Any) -> np.ndarray:
        return made.image.zero_point - 2.5 * np.log10(flux)

    sure = catalog["prob_exist"] > 0.5
    x, y, flux = (catalog[name][sure] for name in ("x", "y", "flux"))
    truth = Sources(made.sources["x"], made.sources["y"], magnitudes(made.sources["flux"]))
    one, other = match_sources(
        Sources(x, y, magnitudes(flux)), truth, MATCH_RADIUS, MAX_MAG_DIFFERENCE
    )
    signal = np.sqrt(np.sum(made.light.astype(float) ** 2 * made.image.weight, axis=(1, 2)))
    bright = np.flatnonzero(signal > DETECTABLE)
    return {
        "detectable": len(bright),
        "found": int(np.isin(bright, other).sum()),
        "false": int(sure.sum() - len(one)),
    }


if __name__ == "__main__":
    main()
