"""Sample the catalogs of images in blocks of draws, which are saved as they come.

The kernel also runs under `numpyro.infer.MCMC`. Here blocks of draws are scanned directly, because
that driver, without its progress bar, compiles again at every call of ``run``.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from probcat.errors import InputError
from probcat.image.alignment import align_images, band_names
from probcat.model.prior.prior import Prior
from probcat.numerics.durations import parse_duration
from probcat.sampler.checkpoint import Checkpoint, digest, restore_state
from probcat.sampler.collect import (
    Block,
    acceptance_by_signal,
    describe_progress,
    from_arrays,
    make_labels,
    to_arrays,
    to_block,
    to_samples,
)
from probcat.sampler.compiled_block import run_block
from probcat.sampler.geometry.layout import SOURCE_ARRAYS, Layout, SourceArray
from probcat.sampler.geometry.plan import build_layout
from probcat.sampler.geometry.stamp_sizes import stamp_radii
from probcat.sampler.history import History
from probcat.sampler.kernel import CatalogKernel
from probcat.sampler.progress import Progress, show_phase
from probcat.sampler.scene.plane import make_planes
from probcat.sampler.scene.scene import Scene, build_scene
from probcat.sampler.settings import SamplerSettings
from probcat.sampler.state import CatalogState, ChainSample, grown_sources, initial_state
from probcat.sampler.stopping import MAX_TIME, StoppingRule
from probcat.sampler.warmup.first_image import FirstImage, draws_alone
from probcat.sampler.warmup.tempering import plan_warmup
from probcat.sampler.window.structures import SIGNAL_EDGES
from probcat.samples.chains import MIN_DRAWS
from probcat.samples.diagnostics import diagnose
from probcat.samples.record import Growth, SamplingRecord

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.samples.samples import Samples

__all__ = ["SamplerSettings", "sample"]

NUM_WARMUP = 200
"""Default number of warm-up draws of a chain."""
NUM_SAMPLES = 200
"""Default number of draws of a chain that are kept."""
MOST_SOURCES = 1 << 22
"""Largest number of sources of a kind that a catalog may hold."""
GRACE = 0.8
"""Fraction of the warm-up in which full arrays are not enlarged, as a young chain overshoots."""


def sample(
    image: "Image | Sequence[Image]",
    prior: Prior | None = None,
    *,
    rng_key: Any = 0,
    num_chains: int = 4,
    num_warmup: int = NUM_WARMUP,
    num_samples: int = NUM_SAMPLES,
    settings: SamplerSettings | None = None,
    prior_only: bool = False,
    until_converged: bool = False,
    max_time: float | str = MAX_TIME,
    directory: Path | str | None = None,
    progress_bar: bool = True,
) -> "Samples":
    """Sample catalogs from the posterior of an image, starting from empty ones.

    Parameters
    ----------
    image : Image or sequence of Image
        Image to catalog. Several images share one catalog: positions are in pixels of the first,
        fluxes in its unit and, in any other band, in that of the band's first image.
    prior : Prior, optional
        Prior of the catalog; `Prior.from_image` by default.
    rng_key : Array or int
        Random key or seed; the same one gives the same draws on the same machine.
    num_chains : int
        Number of chains, which advance together.
    num_warmup : int
        Number of draws of every chain that are discarded first.
    num_samples : int
        Number of draws of every chain that are kept; with `until_converged`, the smallest number.
    settings : SamplerSettings, optional
        Settings of the sampler.
    prior_only : bool
        Whether to ignore the data and sample the prior.
    until_converged : bool
        Whether to make further draws until the chains have converged (`probcat.diagnose`). Of all
        draws after the first `num_warmup`, the last two thirds are kept then.
    max_time : float or str
        Time after which no further draws are made in this way: seconds, or a text such as ``"90s"``
        or ``"10m"``. The warm-up and `num_samples` draws are always completed.
    directory : path_like, optional
        Directory to keep blocks of draws in as they come; a run found there is resumed.
    progress_bar : bool
        Whether to show a progress bar.

    Returns
    -------
    Samples
        Draws of all chains, with the attributes of `probcat.samples.record.SamplingRecord`.

    Raises
    ------
    InputError
        If an image has no usable pixel, a number is refused, or `directory` holds another run.
    """
    settings = settings or SamplerSettings()
    prior = Prior.from_image(image) if prior is None else prior.validate()
    if num_chains < 1 or num_samples < 1 or num_warmup < 0:
        raise InputError("num_chains and num_samples must be 1 or more, num_warmup 0 or more")
    for one in [image] if not isinstance(image, Sequence) else image:
        if not np.any(one.weight > 0):
            raise InputError(f"{one.name or 'image'}: no pixel has weight; all are masked or bad")
    key = jax.random.key(rng_key) if isinstance(rng_key, int) else rng_key
    size, seconds = settings.checkpoint_interval, parse_duration(max_time)
    rule = StoppingRule(num_warmup, num_samples, size, until_converged, seconds)
    with show_phase("preparing", progress_bar):
        run = Run(image, prior, settings, key, (num_chains, num_warmup, num_samples), prior_only)
    return run.execute(directory, progress_bar, rule)


class Run:
    """One run: its scene, its layout, which grows, and its blocks of draws.

    Parameters
    ----------
    image : Image or sequence of Image
        Images to catalog.
    prior : Prior
        Prior of the catalog.
    settings : SamplerSettings
        Settings of the sampler.
    rng_key : Array
        Random key.
    counts : tuple of int
        Numbers of chains, of warm-up draws and of draws that are kept.
    prior_only : bool
        Whether to ignore the data.
    """

    def __init__(
        self,
        image: "Image | Sequence[Image]",
        prior: Prior,
        settings: SamplerSettings,
        rng_key: jax.Array,
        counts: tuple[int, int, int],
        prior_only: bool = False,
    ) -> None:
        self.images = [image] if not isinstance(image, Sequence) else list(image)
        self.prior, self.settings = prior, settings
        self.num_chains, self.num_warmup, self.num_samples = counts
        self.prior_only, self.rng_key = prior_only, rng_key
        self.labels = make_labels(self.images, prior)
        self.links = align_images(self.images)
        sizes = stamp_radii(self.images, self.links, prior, settings)
        self.radii, self.large_size = sizes
        self.grown: list[Growth] = []
        self.num_alone = draws_alone(settings, prior, len(self.images), self.num_warmup)
        self.prepare(build_layout(self.images, prior, settings, self.num_chains, self.links, sizes))

    def prepare(self, layout: Layout) -> None:
        """Build everything that depends on the layout."""
        self.layout = layout
        planes = make_planes(self.images, self.links, self.radii, layout, self.prior_only)
        tolerance = self.settings.psf_tolerance
        warmup = plan_warmup(self.images, self.prior, self.settings)
        self.scene: Scene = build_scene(
            planes,
            # The record of parameters would make every image compile again.
            self.prior.replace(parameters=()),
            layout,
            tolerance=tolerance,
            large_size=self.large_size,
            start_beta=warmup.start_beta,
        )
        self.kernel = CatalogKernel(
            layout,
            self.radii[0][1],
            num_warmup=self.num_warmup,
            density_penalty=warmup.density_penalty,
            tempering_fraction=warmup.fraction,
            fresh_at=self.num_alone,
            points_alone=warmup.points_alone,
        )
        self.first_image = None
        if self.num_alone:
            self.first_image = FirstImage.of(planes[0], self.kernel, self.scene, tolerance)

    def execute(
        self, directory: Path | str | None, progress_bar: bool, rule: StoppingRule | None = None
    ) -> "Samples":
        """Run to the end, from the start or from where the run in a directory stopped."""
        counts = self.num_warmup, self.num_samples, self.settings.checkpoint_interval
        rule = rule or StoppingRule(*counts)
        store = Checkpoint(None if directory is None else Path(directory), self._identity())
        seconds = float((store.read() or {}).get("seconds", 0.0))
        state, done, blocks = self._begin_or_resume(store)
        history = History(rule, done, blocks, seconds)
        num_pixels = float(self.scene.num_pixels)
        compiled: Any = None
        with Progress(rule.end, done, progress_bar) as bar:
            while not history.is_over(lambda: diagnose(self._kept(history)).converged):
                program = self.kernel, int(state.i) < self.num_alone
                bar.enter(history.phase if program == compiled else "compiling")
                state, draws = self.advance(state, bar.note)
                compiled = self.kernel, program[1]
                kept = history.advance(draws)
                if kept is not None:
                    blocks.append(to_block(kept, self.layout, num_pixels, self.labels))
                arrays = None if kept is None else to_arrays(blocks[-1])
                store.save(state, arrays, len(blocks), history.progress(self.grown))
                if history.num_kept >= MIN_DRAWS:
                    bar.judge(lambda: diagnose(self._kept(history)))
                bar.move(history.done, describe_progress(draws, num_pixels))
        return self._kept(history)

    def _kept(self, history: History) -> "Samples":
        """Draws that are kept so far; the others count as warm-up."""
        blocks, num_warmup = history.kept(), history.done - history.num_kept
        return to_samples(blocks, self.record(blocks, *history.cost, num_warmup).to_attrs())

    def record(
        self,
        blocks: Sequence[Block],
        seconds: float,
        cpu_seconds: float,
        num_warmup: int | None = None,
    ) -> SamplingRecord:
        """Record of the run for its samples; by default with the warm-up that was asked for."""
        first, error = self.images[0], self.prior.psf_error_floor
        if error is not None:
            error = None if isinstance(error, dist.Distribution) else float(error)
        return SamplingRecord(
            num_warmup=self.num_warmup if num_warmup is None else num_warmup,
            bands=band_names(self.images),
            image_shapes=[image.shape for image in self.images],
            unit=str(first.unit),
            psf_fwhm=float(first.psf.fwhm),
            radii=self.radii,
            large_size=float(self.large_size),
            background_model=self.prior.background_model,
            background_mesh=self.prior.background_mesh,
            psf_error_floor=error,
            prior_only=self.prior_only,
            area=float(self.layout.area),
            signal_edges=SIGNAL_EDGES,
            acceptance_by_signal=acceptance_by_signal(blocks, self.layout),
            prior=self.prior.to_config(),
            settings=asdict(self.settings),
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            grown=tuple(self.grown),
        )

    def _begin_or_resume(self, store: Checkpoint) -> tuple[CatalogState, int, list[Block]]:
        """State to start from, number of draws made before, and their blocks."""
        manifest = store.read()
        if manifest is None:
            return self.begin(), 0, []
        self.grown = [Growth(**event) for event in manifest["grown"]]
        for event in self.grown:
            self.prepare(self.layout.grown(SourceArray(event.kind, event.array)))
        state = restore_state(self.begin(), store.load_state(manifest))
        numbers = range(1, manifest["blocks"] + 1)
        return state, manifest["done"], [from_arrays(store.load_block(n)) for n in numbers]

    def begin(self) -> CatalogState:
        """State before the first draw: empty catalogs."""
        return initial_state(self.rng_key, self.scene, self.layout)

    def advance(
        self, state: CatalogState, log: Callable[[str], object] = print
    ) -> tuple[CatalogState, ChainSample]:
        """Make one block of draws; if an array is full, it is enlarged and the block repeated.

        Parameters
        ----------
        state : CatalogState
            State before the block, whose buffers are given up.
        log : callable
            Called with a note when an array is enlarged.

        Returns
        -------
        state : CatalogState
            State after the block.
        draws : ChainSample
            Draws, with leading axes (chain, draw).
        """
        if self.first_image is not None and int(state.i) < self.num_alone:
            return self.first_image.advance(self.settings.checkpoint_interval, state)
        while True:
            kept = jax.tree.map(jnp.copy, state)
            last, draws = run_block(
                self.kernel, self.settings.checkpoint_interval, state, self.scene
            )
            full: np.ndarray = np.any(np.asarray(draws.overflow), axis=(0, 1))
            young = int(last.i) <= GRACE * self.num_warmup
            if young or not full.any():
                return last, draws
            state = kept
            for one, is_full in zip(SOURCE_ARRAYS, full, strict=True):
                if is_full:
                    state = self._grow(state, one, log)

    def _grow(
        self, state: CatalogState, full: SourceArray, log: Callable[[str], object]
    ) -> CatalogState:
        """Enlarge a full array, and log a note."""
        layout = self.layout.grown(full)
        if layout.capacity(full.kind) > MOST_SOURCES:
            raise InputError(f"more than {MOST_SOURCES} sources; raise flux_min in [prior]")
        self.grown.append(Growth(full.kind, full.array, int(state.i)))
        log(self.grown[-1].note)
        self.prepare(layout)
        return state if full.array == "window" else grown_sources(state, layout, full.kind)

    def _identity(self) -> dict[str, Any]:
        """Everything that must match before a stored run may be resumed."""
        inputs = [
            (image.clean_data, image.weight, image.psf.pixels, getattr(image.psf, "components", ()))
            for image in self.images
        ]
        return {
            "data, PSF and prior": digest((inputs, self.prior)),
            "settings": asdict(self.settings),
            "seed": np.asarray(jax.random.key_data(self.rng_key)).tolist(),
            "num_chains": self.num_chains,
            "num_warmup": self.num_warmup,
            "num_samples": self.num_samples,
            "prior_only": self.prior_only,
        }
