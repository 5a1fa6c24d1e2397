"""Turn the kernel's draws into `Samples`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpyro.distributions as dist

from probcat.image.alignment import band_names, image_labels
from probcat.model.background import num_terms
from probcat.model.image_map import flux_ratio
from probcat.model.prior.prior import Prior
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.geometry.tiling import Sources
from probcat.sampler.state import MOVE_NAMES, ChainSample
from probcat.sampler.window.structures import FLUX, NUM_SHAPE
from probcat.samples.samples import SHAPE_NAMES, Samples

if TYPE_CHECKING:
    from probcat.image.image import Image

SCALARS = ("mu", "extended_fraction", "flux_slope", "log_likelihood")
"""Fields of a draw that become scalars of samples."""
STATISTICS = ("step_size", "hmc_acceptance")
"""Fields of a draw that become statistics of samples."""
PER_IMAGE_NAMES = ("psf_error_floor", "psf_width_change", "noise_scale", "offset", "flux_scale")
"""Fields of a draw and of the prior that every image has."""
DIRECTIONS = ("up", "down")
"""Directions of a move: to more sources and back."""
GROUPS = ("sources", "scalars", "stats")
"""Groups of arrays of samples, which in a file precede the names of their arrays."""


class Block(NamedTuple):
    """A block of draws.

    Attributes
    ----------
    samples : Samples
        The draws, without attributes.
    moves : ndarray, shape (chain, draw, move, bin, 2, 2)
        Numbers of proposals that were tried and accepted, as in `ChainSample`.
    """

    samples: Samples
    moves: np.ndarray


@dataclass(frozen=True)
class Labels:
    """Suffixes of the names of quantities of single bands and images.

    Parameters
    ----------
    bands, images : tuple of str
        Names of all bands and images; a single one is not used.
    terms : tuple of int
        Number of coefficients of the background of every image; one each by default.
    sampled : tuple of str
        Names among `PER_IMAGE_NAMES` that are sampled.
    """

    bands: tuple[str, ...] = ("",)
    images: tuple[str, ...] = ("",)
    terms: tuple[int, ...] = ()
    sampled: tuple[str, ...] = ()

    @property
    def suffixes(self) -> list[str]:
        """Suffix of the names of the quantities of every image."""
        return [f"_{name}" for name in self.images] if len(self.images) > 1 else [""]


def make_labels(images: "Sequence[Image]", prior: Prior) -> Labels:
    """Names of all sampled quantities of bands and images."""
    terms = tuple(
        num_terms(prior.background_model_of(number), image.shape, prior.background_mesh)
        for number, image in enumerate(images)
    )
    sampled = tuple(
        name for name in PER_IMAGE_NAMES if isinstance(getattr(prior, name), dist.Distribution)
    )
    return Labels(tuple(band_names(images)), tuple(image_labels(images)), terms, sampled)


def to_block(
    draws: ChainSample, layout: Layout, num_pixels: float, labels: Labels | None = None
) -> Block:
    """Convert draws to samples whose sources are packed.

    Parameters
    ----------
    draws : ChainSample
        Draws, with leading axes (chain, draw).
    layout : Layout
        Sizes of the run.
    num_pixels : float
        Number of pixels with positive weight, for the chi-square per pixel.
    labels : Labels, optional
        Names of bands and images; needed if there are several.

    Returns
    -------
    Block
    """
    labels = labels or Labels()
    draws = as_numpy(draws)
    parts = [
        _source_columns(sources, layout, labels, is_extended=kind == 1)
        for kind, sources in enumerate((draws.points, draws.extended))
    ]
    sources = {name: np.concatenate([part[name] for part in parts], -1) for name in parts[0]}
    active = sources["active"]
    scalars = {name: getattr(draws, name) for name in SCALARS} | dict(_per_image(draws, labels))
    scalars["num_sources"] = active.sum(-1)
    scalars["num_extended"] = (active & sources["is_extended"]).sum(-1)
    scalars["total_flux"] = np.where(active, sources["flux"], 0.0).sum(-1)
    scalars["chi2_per_pixel"] = draws.chi2 / max(num_pixels, 1.0)
    stats = {name: getattr(draws, name) for name in STATISTICS}
    for index, name in enumerate(MOVE_NAMES):
        if name not in used_moves(layout):
            continue
        for number, direction in enumerate(DIRECTIONS):
            counts = draws.moves[..., index, :, number, :].sum(axis=-2)
            stats[f"tried_{name}_{direction}"] = counts[..., 0]
            stats[f"accepted_{name}_{direction}"] = counts[..., 1]
    return Block(Samples(sources, scalars, stats).compact(), np.asarray(draws.moves))


def _source_columns(
    sources: Sources, layout: Layout, labels: Labels, is_extended: bool
) -> dict[str, np.ndarray]:
    """Properties of all slots of one kind, in pixels of the first image."""
    marks = sources.marks.astype(np.float64)
    flux = marks[..., FLUX]
    values: dict[str, Any] = {
        "x": sources.pixel[..., 0] - layout.pad + marks[..., 0],
        "y": sources.pixel[..., 1] - layout.pad + marks[..., 1],
        "flux": flux,
        "is_extended": np.full(flux.shape, is_extended),
        "active": flux > 0.0,
    }
    for band, name in enumerate(labels.bands[1:], start=1):
        values[f"flux_{name}"] = flux * flux_ratio(marks[..., FLUX + band])
    shapes = marks[..., -NUM_SHAPE:] if is_extended else np.full((*flux.shape, NUM_SHAPE), np.nan)
    return values | {name: shapes[..., column] for column, name in enumerate(SHAPE_NAMES)}


def _per_image(draws: ChainSample, labels: Labels) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of the quantities that every image has."""
    background: Any = draws.background
    first = 0
    for index, suffix in enumerate(labels.suffixes):
        number = labels.terms[index] if labels.terms else 1
        terms = [background[..., first + term] for term in range(number)]
        first += number
        yield f"background{suffix}", terms[0]
        for term, values in enumerate(terms[1:], start=1):
            yield f"background_term{term}{suffix}", values
        for name in ("psf_error_floor", "noise_scale"):
            if name in labels.sampled:
                yield f"{name}{suffix}", getattr(draws, name)[..., index]
        for name, first_image in (("psf_width_change", 0), ("offset", 1)):
            if index >= first_image and name in labels.sampled:
                for axis, letter in enumerate("xy"):
                    yield f"{name}_{letter}{suffix}", getattr(draws, name)[..., index, axis]
        if index > 0 and "flux_scale" in labels.sampled:
            yield f"flux_scale{suffix}", np.asarray(draws.flux_scale)[..., index]


def acceptance_by_signal(
    blocks: Sequence[Block], layout: Layout
) -> dict[str, dict[str, list[float | None]]]:
    """Fraction of accepted proposals in bins of signal-to-noise ratio, by move and direction."""
    counts = sum(block.moves.sum(axis=(0, 1), dtype=np.float64) for block in blocks)
    tried, accepted = np.moveaxis(np.asarray(counts), -1, 0)
    fraction = np.where(tried > 0, accepted / np.maximum(tried, 1.0), np.nan)
    return {
        name: {
            direction: [
                None if np.isnan(value) else round(float(value), 5)
                for value in fraction[index, :, number]
            ]
            for number, direction in enumerate(DIRECTIONS)
        }
        for index, name in enumerate(MOVE_NAMES)
        if name in used_moves(layout)
    }


def used_moves(layout: Layout) -> set[str]:
    """Names of the moves that a run makes."""
    names = {name for plan in layout.plans for name in plan.schedule}
    return names | ({"exchange"} if len(layout.ladder) > 1 else set())


def to_samples(blocks: Sequence[Block], attrs: Mapping[str, Any]) -> Samples:
    """Join blocks along the draws, and attach attributes."""
    return replace(Samples.concatenate([block.samples for block in blocks]), attrs=attrs)


def to_arrays(block: Block) -> dict[str, np.ndarray]:
    """Arrays of a block under the names that they have in a file, such as ``scalars/mu``."""
    arrays = {
        f"{group}/{name}": np.asarray(values)
        for group in GROUPS
        for name, values in getattr(block.samples, group).items()
    }
    return {**arrays, "moves": block.moves}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Block:
    """Block of the arrays that `to_arrays` returned."""
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in GROUPS}
    for key, values in arrays.items():
        group, _, name = key.partition("/")
        if name:
            groups[group][name] = values
    return Block(Samples(**groups), arrays["moves"])


def select_draws(draws: ChainSample, first: int, last: int) -> ChainSample | None:
    """Draws from `first` (0 if negative) up to `last` as arrays of numpy; None if none are left."""
    import jax

    first = max(first, 0)
    kept: ChainSample = jax.tree.map(lambda values: values[:, first:last], as_numpy(draws))
    return kept if kept.mu.shape[1] else None


def as_numpy(draws: ChainSample) -> Any:
    """Draws as arrays of numpy."""
    import jax

    return jax.tree.map(np.asarray, draws)


def last_draws(blocks: Sequence[Block], count: int) -> list[Block]:
    """Blocks of the last `count` draws; the first of them may be cut."""
    kept: list[Block] = []
    for block in reversed(blocks):
        if count <= 0:
            break
        draws = slice(max(block.samples.num_draws - count, 0), None)
        kept.insert(0, Block(block.samples.select_draws(draws), block.moves[:, draws]))
        count -= block.samples.num_draws
    return kept


def describe_progress(draws: ChainSample, num_pixels: float) -> str:
    """One line on the last draw of every chain, for the progress bar."""
    last = select_draws(draws, draws.mu.shape[1] - 1, draws.mu.shape[1])
    assert last is not None
    number = sum(np.sum(sources.active) for sources in (last.points, last.extended))
    tried, accepted = np.sum(np.asarray(last.moves), axis=tuple(range(last.moves.ndim - 1)))
    return (
        f"N={float(number) / last.mu.size:.0f} lnL={np.mean(last.log_likelihood):.0f} "
        f"chi2/px={np.mean(last.chi2) / max(num_pixels, 1.0):.2f} "
        f"accepted={accepted / max(tried, 1.0):.1%} hmc={np.mean(last.hmc_acceptance):.0%}"
    )
