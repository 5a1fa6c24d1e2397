"""Simulation-based calibration of the whole sampler (Talts et al. 2018, arXiv:1804.06788).

Scenes are drawn from the very prior and model that are sampled: then the rank of a true
value among independent draws of its posterior is uniform, whatever the quantity.  Sources
carry no identity, so quantities are of the whole catalog or of its k-th brightest source;
where that does not exist its value lies below all others.  Ties are broken at random.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy import stats
from tqdm.auto import tqdm

from benchmarks.common import convergence, device_name, peak_memory, report
from probcat import PSF, Image, Prior
from probcat.blocks import num_compilations, use_all_cores
from probcat.defaults import log_normal_within
from probcat.layout import Layout
from probcat.planning import SamplerSettings, build_layout
from probcat.prior import power_law
from probcat.sampling import Run
from probcat.scene import render_extended, render_points
from probcat.simulate import SHAPE_NAMES, draw_sources
from probcat.windows import Sources

SHAPE = (14, 25)
"""Rows and columns; one window covers them."""
NOISE = 1.0
SETTINGS = SamplerSettings(
    interior=8,
    extended_interior=24,
    border=0.0,
    extended_radius=8,
    passes=1,
    extended_passes=1,
    birth_death=2,
    split_merge=4,
    resplit=4,
    companion=2,
    extended_moves=5,
    leapfrog_steps=4,
    first_temperature=1e-2,
    block=10,
)
NUM_HMC = 1
"""Trajectories at the end of a visit of windows for all sources."""
SLOTS = {"point_slots": 16, "extended_slots": 10}
CAPACITIES = {"point_capacity": 32, "extended_capacity": 16}
FLUX_LIMITS = (8.0, 100.0)
"""In units of the error of an isolated point source."""
BRIGHTEST = (1, 2, 3)
LEVELS = (0.5, 0.68, 0.9)
NUM_BINS = 10
LARGEST_RHAT = 1.1


@dataclass
class Record:
    """What is kept of the scenes done.

    Attributes
    ----------
    settings : dict
        Runs of other settings are not gone on with.
    ranks : dict of str to list of int
        By quantity, one a scene.
    exists : dict of str to list of bool
        Whether the truth or any draw has a k-th brightest source, by k.
    diagnostics : dict of str to list of float
        Of every scene: R-hat and effective sample sizes.
    grown : int
        Scenes in which arrays were full and grew.
    seconds, cpu_seconds : float
        Without imports, compilation included.
    """

    settings: dict[str, Any]
    ranks: dict[str, list[int]] = field(default_factory=dict)
    exists: dict[str, list[bool]] = field(default_factory=dict)
    diagnostics: dict[str, list[float]] = field(default_factory=dict)
    grown: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def num_scenes(self) -> int:
        """Scenes done."""
        return len(next(iter(self.ranks.values()), []))

    @property
    def num_draws(self) -> int:
        """Draws that a true value is ranked among."""
        return self.settings["num_chains"] * (self.settings["num_samples"] // self.settings["thin"])

    def add(self, group: str, values: Mapping[str, Any]) -> None:
        """Append the values of one scene."""
        for name, value in values.items():
            getattr(self, group).setdefault(name, []).append(value)

    def positions(self, name: str) -> np.ndarray:
        """Ranks as numbers uniform on (0, 1), spread at random within a rank."""
        ranks = np.asarray(self.ranks[name])
        jitter = np.random.default_rng(len(name)).random(len(ranks))
        return (ranks + jitter) / (self.num_draws + 1)


@click.command()
@click.option("--scenes", default=320, show_default=True, help="Number of scenes.")
@click.option("--num-chains", default=4, show_default=True)
@click.option("--num-warmup", default=80, show_default=True, help="Draws of warm-up.")
@click.option("--num-samples", default=320, show_default=True, help="Draws kept of a chain.")
@click.option("--thin", default=8, show_default=True, help="Every how many are ranked among.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
@click.option("--figure", type=click.Path(path_type=Path), help="Draw the rank histograms there.")
def main(
    scenes: int,
    num_chains: int,
    num_warmup: int,
    num_samples: int,
    thin: int,
    seed: int,
    file: Path | None,
    figure: Path | None,
) -> None:
    """Rank true values among draws of their posteriors; a file found there is gone on with."""
    use_all_cores()
    prior, image = make_prior(), make_image(np.zeros(SHAPE))
    layout = make_layout(image, prior, num_chains)
    counts = (num_chains, num_warmup, num_samples)
    settings = {"num_chains": num_chains, "num_warmup": num_warmup, "num_samples": num_samples}
    settings |= {"thin": thin, "seed": seed, "shape": list(SHAPE), "num_hmc": NUM_HMC}
    settings |= {"flux_limits": list(FLUX_LIMITS), **SLOTS, **CAPACITIES, **asdict(SETTINGS)}
    record = _read(file, settings)
    with tqdm(total=scenes, initial=record.num_scenes, unit="scene") as bar:
        while record.num_scenes < scenes:
            start, cpu = time.monotonic(), time.process_time()
            calibrate(record, record.num_scenes, prior, layout, counts)
            record.seconds += time.monotonic() - start
            record.cpu_seconds += time.process_time() - cpu
            bar.set_postfix_str(f"compiled {num_compilations()}, grown {record.grown}", False)
            bar.update()
            _write(file, {**asdict(record), "scenes": record.num_scenes})
    results = summarize(record)
    report({name: value for name, value in results.items() if name not in asdict(record)}, None)
    _write(file, {**results, **asdict(record)})
    if figure is not None:
        plot(record, results["p_values"], figure)


def make_prior() -> Prior:
    """Prior of the scenes, in units of the error of an isolated point source."""
    sigma = NOISE * np.sqrt(make_psf().effective_area)
    low, high = np.asarray(FLUX_LIMITS, np.float32) * np.float32(sigma)
    return Prior(
        flux=power_law(np.float32(1.8), low, high),
        half_light_radius=log_normal_within(1.2, 0.4, 0.5, 3.0),
        ellipticity=dist.Beta(2.0, 4.0),
        sersic_n=dist.Uniform(0.5, 4.0),
        num_sources=dist.Gamma(8.0, 2.0),
        extended_fraction=dist.Beta(2.0, 2.0),
        background=dist.Normal(10.0, 1.0),
        flux_slope=dist.Normal(1.8, 0.3),
    ).validate()


def make_psf() -> PSF:
    """PSF of the scenes."""
    return PSF.moffat(2.5, 3.5, size=9)


def make_image(data: np.ndarray) -> Image:
    """Image of a scene from its pixels."""
    variance = np.full(SHAPE, NOISE**2, np.float32)
    return Image.from_arrays(data.astype(np.float32), variance, psf=make_psf())


def make_layout(image: Image, prior: Prior, num_chains: int) -> Layout:
    """Layout of all runs: nothing in it depends on the pixels, so that it compiles once."""
    layout = build_layout(image, prior, SETTINGS, num_chains)
    (plan,) = layout.plans
    return replace(layout, plans=(replace(plan, num_hmc=NUM_HMC, **SLOTS),), **CAPACITIES)


def calibrate(
    record: Record, number: int, prior: Prior, layout: Layout, counts: tuple[int, int, int]
) -> None:
    """Draw one scene, sample it, and add the ranks of its true values."""
    seed = record.settings["seed"]
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), 2)
    image, true_sources, true_scalars = simulate(keys[0], prior, layout)
    run = Run(image, prior, SETTINGS, keys[1], counts)
    run.prepare(layout)
    samples = run.execute(None, progress=False)
    record.grown += bool(run.grown)

    truth = quantities(true_sources, true_scalars)
    draws = quantities(samples.sources, samples.scalars)
    thin = record.settings["thin"]
    rng = np.random.default_rng([seed, number])
    ranks = {
        name: rank(values.item(), draws[name][:, thin - 1 :: thin], rng)
        for name, values in truth.items()
    }
    most = max(truth["num_sources"].max(), draws["num_sources"][:, thin - 1 :: thin].max())
    record.add("ranks", ranks)
    record.add("exists", {str(k): bool(most >= k) for k in BRIGHTEST})
    diagnostics = {"true_num_sources": float(truth["num_sources"].item())}
    for name in ("num_sources", "num_extended", "total_flux", "log_likelihood"):
        # Of a constant quantity neither is defined.
        values = draws[name]
        constant = np.ptp(values) == 0.0
        rhat, ess = (1.0, float(values.size)) if constant else convergence(values)
        diagnostics |= {f"rhat_{name}": rhat, f"ess_{name}": ess}
    record.add("diagnostics", diagnostics)


def simulate(
    rng_key: jax.Array, prior: Prior, layout: Layout
) -> tuple[Image, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draw all parameters from the prior, and pixels from the sampler's own model.

    Returns
    -------
    image : Image
    sources, scalars : dict of str to ndarray
        The truth, with the axes that `probcat.Samples` has.
    """
    keys = jax.random.split(rng_key, 7)
    names = ("mu", "extended_fraction", "flux_slope", "background")
    priors = (prior.num_sources, prior.extended_fraction, prior.flux_slope, prior.background)
    scalars = {
        name: float(distribution.sample(key))
        for name, distribution, key in zip(names, priors, keys[:4], strict=True)
    }
    given = prior.with_slope(np.float32(scalars["flux_slope"]))
    given = given.replace(flux_slope=None, extended_fraction=scalars["extended_fraction"])
    number = int(jax.random.poisson(keys[4], scalars["mu"]))
    catalog = draw_sources(given, keys[5], SHAPE, number)

    run = Run(make_image(np.zeros(SHAPE)), prior, SETTINGS, rng_key, (1, 0, 1))
    run.prepare(layout)
    points, extended = (_padded(catalog, kind, layout) for kind in (False, True))
    light = _render(run.scene.model, points, extended, layout.padded_shape, run.large_radius)
    inner = slice(layout.pad, -layout.pad)
    noise = NOISE * np.asarray(jax.random.normal(keys[6], SHAPE))
    image = make_image(np.asarray(light)[inner, inner] + scalars["background"] + noise)

    catalog["active"] = np.ones(number, bool)
    chi2 = float(np.sum((noise / NOISE) ** 2))
    scalars["log_likelihood"] = float(run.scene.log_norm) - 0.5 * chi2
    return (
        image,
        {name: values[None, None] for name, values in catalog.items()},
        {name: np.full((1, 1), value, np.float32) for name, value in scalars.items()},
    )


@partial(jax.jit, static_argnums=(3, 4))
def _render(
    model: Any, points: Sources, extended: Sources, shape: tuple[int, int], radius: int
) -> jax.Array:
    light = render_points(model.point_tables, points, shape)
    return light + render_extended(model, radius, extended, shape)


def _padded(catalog: Mapping[str, np.ndarray], extended: bool, layout: Layout) -> Sources:
    """Give the sources of one kind as the sampler's state has them."""
    chosen = catalog["extended"] == extended
    capacity = layout.extended_capacity if extended else layout.point_capacity
    names = ("flux", *SHAPE_NAMES) if extended else ("flux",)
    position = np.stack([catalog["x"][chosen], catalog["y"][chosen]], axis=1)
    nearest = np.round(position)
    rest = np.stack([catalog[name][chosen] for name in names], axis=1)
    marks = np.concatenate([position - nearest, rest], axis=1)
    empty = ((0, capacity - len(marks)), (0, 0))
    return Sources(
        jnp.asarray(np.pad(nearest, empty) + layout.pad, jnp.int32),
        jnp.asarray(np.pad(marks, empty), jnp.float32),
    )


def quantities(
    sources: Mapping[str, np.ndarray], scalars: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Quantities that do not depend on labels, shape (chain, draw)."""
    room = ((0, 0), (0, 0), (0, max(BRIGHTEST)))
    sources = {name: np.pad(values, room) for name, values in sources.items()}
    active = sources["active"]
    flux = np.where(active, sources["flux"], -np.inf)
    extended = active & sources["extended"]
    result = {
        "num_sources": active.sum(-1),
        "num_extended": extended.sum(-1),
        "total_flux": np.where(active, flux, 0.0).sum(-1, dtype=np.float64),
    }
    for name in ("background", "mu", "extended_fraction", "flux_slope", "log_likelihood"):
        result[name] = np.asarray(scalars[name])
    order = np.argsort(-flux, axis=-1, kind="stable")
    for k in BRIGHTEST:
        for name in ("flux", "x", "y", "extended"):
            values = np.where(active, sources[name], -np.inf)
            values = np.take_along_axis(values, order, axis=-1)
            result[f"{name}_{k}"] = values[..., k - 1]
    galaxy = np.argmax(np.where(extended, flux, -np.inf), axis=-1, keepdims=True)
    ellipticity = np.hypot(sources["ellipticity_1"], sources["ellipticity_2"])
    shapes = {"half_light_radius": sources["half_light_radius"], "ellipticity": ellipticity}
    for name, values in (shapes | {"sersic_n": sources["sersic_n"]}).items():
        values = np.where(extended, values, 0.0)
        result[f"{name}_galaxy"] = np.take_along_axis(values, galaxy, axis=-1)[..., 0]
    return result


def rank(truth: float, draws: np.ndarray, rng: np.random.Generator) -> int:
    """Rank of the truth among draws, its place among equal ones at random."""
    return int(np.sum(draws < truth) + rng.integers(0, np.sum(draws == truth), endpoint=True))


def summarize(record: Record) -> dict[str, Any]:
    """P values of uniform ranks, coverages, and how well the chains mixed."""
    p_values, coverage = {}, {}
    for name in record.ranks:
        number = np.histogram(record.positions(name), NUM_BINS, (0.0, 1.0))[0]
        p_values[name] = float(stats.chisquare(number).pvalue)
    for k in BRIGHTEST:
        counted = np.asarray(record.exists[str(k)])
        for name in ("flux", "x", "y"):
            distance = np.abs(record.positions(f"{name}_{k}") - 0.5)[counted]
            row = {f"{level:.2f}": float(np.mean(distance < 0.5 * level)) for level in LEVELS}
            coverage[f"{name}_{k}"] = {"scenes": int(counted.sum()), **row}
    diagnostics = {name: np.asarray(values) for name, values in record.diagnostics.items()}
    mixing = {}
    for name in (name for name in diagnostics if name.startswith("rhat")):
        rhat, ess = diagnostics[name], diagnostics[name.replace("rhat", "ess")]
        mixing[name.removeprefix("rhat_")] = {
            "share_rhat_above_1.1": float(np.mean(rhat > LARGEST_RHAT)),
            "rhat_median": float(np.median(rhat)),
            "rhat_max": float(rhat.max()),
            "ess_10_percent": float(np.percentile(ess, 10.0)),
            "ess_median": float(np.median(ess)),
        }
    return {
        "device": device_name(),
        "scenes": record.num_scenes,
        "num_draws": record.num_draws,
        "seconds_per_scene": record.seconds / record.num_scenes,
        "peak_rss_mib": peak_memory(),
        "smallest_p": min(p_values.values()),
        "p_values": p_values,
        "coverage_note": "from ranks; scenes counted: the truth or a draw has that many sources",
        "coverage": coverage,
        "mixing": mixing,
    }


def plot(record: Record, p_values: Mapping[str, float], file: Path) -> None:
    """Draw a histogram of ranks for every quantity, with the 99 % band of uniform ones."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = 5
    rows = -(-len(record.ranks) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.4 * columns, 1.7 * rows), sharex=True, layout="constrained"
    )
    band = stats.binom.ppf([0.005, 0.995], record.num_scenes, 1.0 / NUM_BINS)
    for axis, name in zip(axes.flat, record.ranks, strict=False):
        axis.axhspan(*band, color="0.85", linewidth=0)
        axis.axhline(record.num_scenes / NUM_BINS, color="0.6", linewidth=0.8)
        axis.hist(record.positions(name), NUM_BINS, range=(0.0, 1.0), histtype="step", color="C0")
        axis.set_title(f"{name}  p = {p_values[name]:.2g}", fontsize=8)
        axis.set_ylim(0.0, None)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(record.ranks) :]:
        axis.axis("off")
    figure.supxlabel("rank of the true value / number of draws", fontsize=9)
    figure.supylabel("scenes", fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _read(file: Path | None, settings: dict[str, Any]) -> Record:
    """Read the scenes done before, if any, of the same settings."""
    if file is None or not file.exists():
        return Record(settings)
    stored = json.loads(file.read_text(encoding="utf-8"))
    if stored["settings"] != settings:
        raise click.ClickException(f"{file} holds a run of other settings; move it away")
    return Record(**{name: stored[name] for name in asdict(Record(settings))})


def _write(file: Path | None, results: Mapping[str, Any]) -> None:
    """Write results, whole or not at all."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial_file = file.with_name(f".{file.name}.tmp")
    partial_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    os.replace(partial_file, file)


if __name__ == "__main__":
    main()
