"""Sample the catalogs of an image in blocks of draws, saved as they come.

The kernel runs under `numpyro.infer.MCMC` as any other. Here blocks of draws are scanned
directly, because without its bar that driver compiles anew at every call of ``run``.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from tqdm.auto import tqdm

from probcat.errors import InputError
from probcat.image.alignment import align_images, band_names, covered, image_labels
from probcat.model.background import num_terms
from probcat.model.prior.prior import Prior
from probcat.sampler.checkpoint import Checkpoint, restore_state
from probcat.sampler.collect import (
    PER_IMAGE_NAMES,
    Labels,
    acceptance_by_signal,
    to_arrays,
    to_samples,
)
from probcat.sampler.compiled_block import run_block
from probcat.sampler.geometry.frames import frame_origin
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.geometry.plan import build_layout
from probcat.sampler.geometry.stamp_sizes import stamp_radii
from probcat.sampler.kernel import CatalogKernel
from probcat.sampler.scene.plane import Plane
from probcat.sampler.scene.scene import Scene, build_scene
from probcat.sampler.settings import SamplerSettings
from probcat.sampler.state import CatalogState, ChainSample, initial_state
from probcat.sampler.warmup.first_image import FirstImage, draws_alone
from probcat.sampler.warmup.tempering import DENSITY_PENALTY, default_start_beta, fraction_of_warmup
from probcat.sampler.window.structures import SIGNAL_EDGES

if TYPE_CHECKING:
    from probcat.image.image import Image
    from probcat.samples.samples import Samples

__all__ = ["SamplerSettings", "sample"]

NUM_WARMUP = 200
NUM_SAMPLES = 200
MOST_SOURCES = 1 << 22
GRACE = 0.8
"""Share of the warm-up in which full arrays do not grow."""


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
    directory: Path | str | None = None,
    progress_bar: bool = True,
) -> "Samples":
    """Draw catalogs from the posterior of an image, starting from empty ones.

    Parameters
    ----------
    image : Image or sequence of Image
        Several images share one catalog. Positions are in pixels of the first, fluxes in its
        unit and, in any other band, in that of the band's first image.
    prior : Prior, optional
        By default `Prior.from_image`.
    rng_key : Array or int
        Key or seed; the same one gives the same draws on the same machine.
    num_chains, num_warmup, num_samples : int
        Chains that advance together; draws of each that are dropped and kept.
    settings : SamplerSettings, optional
    prior_only : bool
        Ignore the data.
    directory : path_like, optional
        Where blocks of draws are kept as they come; a run found there goes on.
    progress_bar : bool
        Show a progress bar.

    Returns
    -------
    Samples

    Raises
    ------
    InputError
        If the image has no usable pixel, or `directory` holds another run.
    """
    settings = settings or SamplerSettings()
    prior = Prior.from_image(image) if prior is None else prior.validate()
    if num_chains < 1 or num_samples < 1 or num_warmup < 0:
        raise InputError("num_chains and num_samples must be 1 or more, num_warmup 0 or more")
    for one in [image] if not isinstance(image, Sequence) else image:
        if not np.any(one.weight > 0):
            raise InputError(f"{one.name or 'image'}: no pixel has weight; all are masked or bad")
    key = jax.random.key(rng_key) if isinstance(rng_key, int) else rng_key
    run = Run(image, prior, settings, key, (num_chains, num_warmup, num_samples), prior_only)
    return run.execute(directory, progress_bar)


class Run:
    """One run: its scene, its growing layout, its blocks.

    Parameters
    ----------
    image : Image or sequence of Image
    prior : Prior
    settings : SamplerSettings
    rng_key : Array
    counts : tuple of int
        Numbers of chains, of warm-up draws and of draws kept.
    prior_only : bool
        Ignore the data.
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
        self.radii, self.large_size = stamp_radii(self.images, self.links, prior, settings)
        self.notes: list[str] = []
        self.grown: list[list] = []
        self.num_alone = draws_alone(settings, prior, len(self.images), self.num_warmup)
        self.prepare(build_layout(self.images, prior, settings, self.num_chains, self.links))

    def prepare(self, layout: Layout) -> None:
        """Build what depends on the layout."""
        self.layout = layout
        planes = self._planes(layout)
        self.scene: Scene = build_scene(
            planes,
            # What is only for the record would make every image compile anew.
            self.prior.replace(parameters=()),
            layout,
            tolerance=self.settings.psf_tolerance,
            large_size=self.large_size,
            start_beta=self.settings.start_beta
            or default_start_beta(self.images, self.prior.has_extended),
        )
        self.kernel = CatalogKernel(
            layout,
            self.radii[0][1],
            num_warmup=self.num_warmup,
            density_penalty=DENSITY_PENALTY if self.prior.has_extended else 0.0,
            tempering_fraction=fraction_of_warmup(
                self.settings.tempering_fraction, self.prior.has_extended
            ),
            fresh_at=self.num_alone,
        )
        self.first_image = None
        if self.num_alone:
            tolerance = self.settings.psf_tolerance
            self.first_image = FirstImage.of(planes[0], self.kernel, self.scene, tolerance)

    def _planes(self, layout: Layout) -> list[Plane]:
        """Images as the scene takes them."""
        planes: list[Plane] = []
        for image, link, radii in zip(self.images, self.links, self.radii, strict=True):
            weight = np.zeros_like(image.weight) if self.prior_only else image.weight
            origin = (0, 0)
            if planes:
                # Beyond the first image there is light of sources outside the model.
                weight = np.where(covered(link, image, self.images[0]), weight, 0.0)
                origin = frame_origin(link, layout)
            data, psf = image.clean_data, image.psf
            given = (*radii, link.affine, origin, link.flux_factor, image.photon_variance)
            planes.append(Plane(data, weight, psf, *given))
        return planes

    def execute(self, directory: Path | str | None, progress_bar: bool) -> "Samples":
        """Run to the end, or go on from where a directory's run stopped."""
        start, cpu = time.monotonic(), time.process_time()
        store = Checkpoint(None if directory is None else Path(directory), self._identity())
        state, done, blocks = self._begin(store)
        total = self.num_warmup + self.num_samples
        with tqdm(total=total, initial=done, disable=not progress_bar, unit="draw") as bar:
            while done < total:
                state, draws = self.advance(state, bar.write)
                block = to_arrays(draws, self.layout, float(self.scene.num_pixels), self.labels)
                size = self.settings.checkpoint_interval
                kept = _kept(block, self.num_warmup - done, total - done)
                done = min(done + size, total)
                if kept is not None:
                    blocks.append(kept)
                store.save(state, kept, len(blocks), self._progress(done, len(blocks)))
                bar.set_postfix_str(_describe(draws, block, done <= self.num_warmup), False)
                bar.update(done - bar.n)
        attrs = {
            "num_warmup": self.num_warmup,
            "psf_fwhm": float(self.images[0].psf.fwhm),
            "band": self.images[0].band,
            "bands": band_names(self.images),
            "background_model": list(self.prior.background_model),
            "background_mesh": self.prior.background_mesh,
            "psf_error_floor": fixed_number(self.prior.psf_error_floor),
            "unit": str(self.images[0].unit),
            "radii": self.radii,
            "extended_radius": self.radii[0][0],
            "large_radius": self.radii[0][1],
            "large_size": self.large_size if np.isfinite(self.large_size) else None,
            "prior_only": self.prior_only,
            "area": float(self.layout.area),
            "signal_edges": list(SIGNAL_EDGES),
            "acceptance_by_signal": acceptance_by_signal(blocks, self.layout),
            "prior": self.prior.to_config(),
            "settings": asdict(self.settings),
            "seconds": time.monotonic() - start,
            "cpu_seconds": time.process_time() - cpu,
            "notes": self.notes,
        }
        return to_samples(blocks, attrs)

    def _begin(self, store: Checkpoint) -> tuple[CatalogState, int, list[dict[str, np.ndarray]]]:
        """State to start from: empty catalogs, or a stored run's last state."""
        manifest = store.read()
        if manifest is None:
            return self.begin(), 0, []
        self.grown = manifest["grown"]
        for kind, windows in self.grown:
            self.prepare(self.layout.grown(kind, windows))
        self.notes = manifest["notes"]
        state = restore_state(self.begin(), store.load_state(manifest))
        blocks = [store.load_block(number + 1) for number in range(manifest["blocks"])]
        return state, manifest["done"], blocks

    def begin(self) -> CatalogState:
        """State before the first draw: empty catalogs."""
        return initial_state(self.rng_key, self.scene, self.layout)

    def advance(
        self, state: CatalogState, log: Callable[[str], object] = print
    ) -> tuple[CatalogState, ChainSample]:
        """One block of draws; a block that found an array full is done again, grown."""
        if self.first_image is not None and int(state.i) < self.num_alone:
            return self.first_image.advance(self.settings.checkpoint_interval, state)
        while True:
            # A block gives up its buffers.
            kept = jax.tree.map(jnp.copy, state)
            last, draws = run_block(
                self.kernel, self.settings.checkpoint_interval, state, self.scene
            )
            full = np.asarray(draws.overflow).any(axis=(0, 1))
            # A young chain overshoots; what finds no room then is merely not born.
            young = int(last.i) <= GRACE * self.num_warmup
            if young or not full.any():
                return last, draws
            for index in np.flatnonzero(full):
                kept = self._grow(kept, int(index % 2), bool(index >= 2), log)
            state = kept

    def _grow(
        self, state: CatalogState, kind: int, windows: bool, log: Callable[[str], object]
    ) -> CatalogState:
        """Double what was full, and say so."""
        self.grown.append([kind, windows])
        layout = self.layout.grown(kind, windows)
        capacity = (layout.point_capacity, layout.extended_capacity)[kind]
        if capacity > MOST_SOURCES:
            raise InputError(f"more than {MOST_SOURCES} sources; raise flux_min in [prior]")
        name = ("point", "extended")[kind]
        what = "slots of a window" if windows else "catalog"
        note = f"{what} for {name} sources full after {int(state.i)} draws: enlarged, compiling"
        self.notes.append(note)
        log(note)
        self.prepare(layout)
        if windows:
            return state
        sources = state.sample.points if kind == 0 else state.sample.extended
        extra = capacity - sources.marks.shape[1]
        grown = sources._replace(
            pixel=jnp.pad(sources.pixel, ((0, 0), (0, extra), (0, 0)), constant_values=layout.pad),
            marks=jnp.pad(sources.marks, ((0, 0), (0, extra), (0, 0))),
        )
        sample = state.sample
        sample = sample._replace(points=grown) if kind == 0 else sample._replace(extended=grown)
        return state._replace(sample=sample)

    def _progress(self, done: int, blocks: int) -> dict[str, Any]:
        return {"done": done, "blocks": blocks, "grown": self.grown, "notes": self.notes}

    def _identity(self) -> dict[str, Any]:
        """Collect what must agree for a stored run to be gone on with."""
        digest = hashlib.sha256()
        inputs = [
            (image.clean_data, image.weight, image.psf.pixels, getattr(image.psf, "components", ()))
            for image in self.images
        ]
        for leaf in jax.tree.leaves((inputs, self.prior)):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return {
            "data, PSF and prior": digest.hexdigest(),
            "settings": asdict(self.settings),
            "seed": np.asarray(jax.random.key_data(self.rng_key)).tolist(),
            "num_chains": self.num_chains,
            "num_warmup": self.num_warmup,
            "num_samples": self.num_samples,
            "prior_only": self.prior_only,
        }


def make_labels(images: Sequence["Image"], prior: Prior) -> Labels:
    """Names of what is sampled for every band and image."""
    terms = tuple(
        num_terms(prior.background_model_of(number), image.shape, prior.background_mesh)
        for number, image in enumerate(images)
    )
    sampled = tuple(
        name for name in PER_IMAGE_NAMES if isinstance(getattr(prior, name), dist.Distribution)
    )
    return Labels(tuple(band_names(images)), tuple(image_labels(images)), terms, sampled)


def fixed_number(value: Any) -> float | None:
    """Value of a parameter that is fixed; None of one that is sampled or not there."""
    return None if value is None or isinstance(value, dist.Distribution) else float(value)


def _kept(block: dict[str, np.ndarray], first: int, last: int) -> dict[str, np.ndarray] | None:
    """Draws of a block after warm-up and before the end, if any."""
    first = max(first, 0)
    kept = {name: values[:, first:last] for name, values in block.items()}
    return kept if kept["scalar_mu"].shape[1] else None


def _describe(draws: ChainSample, block: dict[str, np.ndarray], warming: bool) -> str:
    """One line on the state of the chains, for the progress bar."""
    moves = np.asarray(draws.moves)[:, -1].sum(axis=(0, 1, 2, 3))
    count = block["scalar_num_sources"][:, -1]
    chi2 = block["scalar_chi2_per_pixel"][:, -1].mean()
    log_likelihood = block["scalar_log_likelihood"][:, -1].mean()
    accepted = moves[1] / max(moves[0], 1.0)
    phase = "warm-up, " if warming else ""
    return (
        f"{phase}N={count.mean():.0f} lnL={log_likelihood:.0f} chi2/px={chi2:.2f} "
        f"accepted={accepted:.1%} hmc={float(np.mean(draws.hmc_acceptance[:, -1])):.0%}"
    )
