"""Turn the kernel's draws into `Samples`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from probcat.sampler.geometry.layout import Layout
from probcat.sampler.state import MOVE_NAMES, ChainSample
from probcat.samples.samples import SHAPE_NAMES, Samples

SCALARS = ("mu", "extended_fraction", "flux_slope", "log_likelihood")
STATISTICS = ("step_size", "hmc_acceptance")
PER_IMAGE_NAMES = ("psf_error_floor", "psf_width_change", "noise_scale", "offset", "flux_scale")


@dataclass(frozen=True)
class Labels:
    """Names that quantities of single bands and images end in.

    Parameters
    ----------
    bands, images : tuple of str
        Of one band, or one image, the name is not used.
    terms : tuple of int
        Coefficients of the background of every image; by default one.
    sampled : tuple of str
        Which of `PER_IMAGE_NAMES` are sampled.
    """

    bands: tuple[str, ...] = ("",)
    images: tuple[str, ...] = ("",)
    terms: tuple[int, ...] = ()
    sampled: tuple[str, ...] = ()

    @property
    def suffixes(self) -> list[str]:
        """What names of quantities of every image end in."""
        return [f"_{name}" for name in self.images] if len(self.images) > 1 else [""]


def to_arrays(
    draws: ChainSample, layout: Layout, num_pixels: float, labels: Labels | None = None
) -> dict[str, np.ndarray]:
    """Plain arrays of a block of draws, leading axes (chain, draw), trimmed.

    Parameters
    ----------
    draws : ChainSample
        Arrays with leading axes (chain, draw).
    layout : Layout
    num_pixels : float
        Pixels with weight, for the chi-square per pixel.
    labels : Labels, optional
    """
    labels = labels or Labels()
    draws = _as_numpy(draws)
    parts = []
    for kind, sources in enumerate((draws.points, draws.extended)):
        marks = sources.marks.astype(np.float64)
        values: dict[str, Any] = {
            "x": sources.pixel[..., 0] - layout.pad + marks[..., 0],
            "y": sources.pixel[..., 1] - layout.pad + marks[..., 1],
            "flux": marks[..., 2],
            "is_extended": np.full(marks.shape[:-1], kind == 1),
            "active": marks[..., 2] > 0.0,
        }
        for column, name in enumerate(labels.bands[1:]):
            values[f"flux_{name}"] = marks[..., 2] * np.exp(marks[..., 3 + column])
        for column, name in enumerate(SHAPE_NAMES):
            missing = np.full(marks.shape[:-1], np.nan)
            values[name] = marks[..., column - 4] if kind == 1 else missing
        parts.append(values)
    names = list(parts[0])
    joined: dict[str, Any] = {
        name: np.concatenate([part[name] for part in parts], -1) for name in names
    }
    order = np.argsort(~joined["active"], axis=-1, kind="stable")
    keep = max(1, int(joined["active"].sum(-1).max()))
    arrays: dict[str, Any] = {}
    for name, column_values in joined.items():
        sorted_values = np.take_along_axis(column_values, order, -1)[..., :keep]
        flag = sorted_values.dtype == bool
        arrays[f"source_{name}"] = sorted_values if flag else sorted_values.astype(np.float32)
    for name in SHAPE_NAMES:
        arrays[f"source_{name}"][~arrays["source_active"]] = np.nan
    arrays |= {f"scalar_{name}": getattr(draws, name) for name in SCALARS}
    arrays |= {f"scalar_{name}": values for name, values in _of_images(draws, labels)}
    active, extended = joined["active"], joined["active"] & joined["is_extended"]
    arrays["scalar_num_sources"] = active.sum(-1)
    arrays["scalar_num_extended"] = extended.sum(-1)
    arrays["scalar_total_flux"] = np.where(active, joined["flux"], 0.0).sum(-1)
    arrays["scalar_chi2_per_pixel"] = draws.chi2 / max(num_pixels, 1.0)
    arrays |= {f"stat_{name}": getattr(draws, name) for name in STATISTICS}
    for index, name in enumerate(MOVE_NAMES):
        for way, label in enumerate(("up", "down")):
            counts = draws.moves[..., index, :, way, :].sum(axis=-2)
            if name in used_moves(layout):
                arrays[f"stat_tried_{name}_{label}"] = counts[..., 0]
                arrays[f"stat_accepted_{name}_{label}"] = counts[..., 1]
    arrays["moves"] = draws.moves
    return arrays


def _of_images(draws: ChainSample, labels: Labels) -> Iterator[tuple[str, Any]]:
    """Names and values of what every image has of its own."""
    first = 0
    for index, suffix in enumerate(labels.suffixes):
        number = labels.terms[index] if labels.terms else 1
        terms = [draws.background[..., first + term] for term in range(number)]
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
            yield f"flux_scale{suffix}", draws.flux_scale[..., index]


def acceptance_by_signal(
    blocks: list[dict[str, np.ndarray]], layout: Layout
) -> dict[str, dict[str, list[float | None]]]:
    """Share of accepted moves in bins of signal-to-noise ratio, up and down, by move."""
    counts = sum(block["moves"].sum(axis=(0, 1), dtype=np.float64) for block in blocks)
    tried, accepted = np.moveaxis(np.asarray(counts), -1, 0)
    fraction = np.where(tried > 0, accepted / np.maximum(tried, 1.0), np.nan)
    return {
        name: {
            label: [None if np.isnan(v) else round(float(v), 5) for v in fraction[index, :, way]]
            for way, label in enumerate(("up", "down"))
        }
        for index, name in enumerate(MOVE_NAMES)
        if name in used_moves(layout)
    }


def used_moves(layout: Layout) -> set[str]:
    """Names of the moves that a run makes."""
    names = {name for plan in layout.plans for name in plan.schedule}
    return names | ({"exchange"} if len(layout.ladder) > 1 else set())


def to_samples(blocks: list[dict[str, np.ndarray]], attrs: dict[str, Any]) -> Samples:
    """Join blocks along the draws."""

    def group(block: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix(prefix): values
            for name, values in block.items()
            if name.startswith(prefix)
        }

    parts = [
        Samples(
            sources=group(block, "source_"),
            scalars=group(block, "scalar_"),
            stats=group(block, "stat_"),
            attrs=attrs,
        )
        for block in blocks
    ]
    return Samples.concatenate(parts)


def _as_numpy(draws: ChainSample) -> ChainSample:
    import jax

    return jax.tree.map(np.asarray, draws)
