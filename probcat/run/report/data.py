"""Data of the page's scripts: arrays, and a description of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.plots.drawing import asinh_scale, owners_picture, visible
from probcat.run.report.packing import LEVELS, pack_stamps, quantise, shrink, shrink_factor
from probcat.run.report.sky import sky_polynomial
from probcat.samples.diagnostics import diagnose, label_free
from probcat.samples.samples import SHAPE_NAMES

if TYPE_CHECKING:
    from probcat.run.report.contents import ImageContents, RunContents

MAX_DRAWS = 200
"""Largest number of draws of an object."""
MIN_PROB = 0.2
"""Probability of existence below which the page hides objects at first."""
_MIN_DRAWS = 25
"""Number of draws of an object that are kept even in large catalogs."""
_DRAW_BYTES = 1_150_000
"""Bytes, before compression, that the draws of all objects should not exceed."""
_MAX_DRAW_BYTES = 12_000_000
"""Bytes, before compression, that the draws of all objects never exceed."""
_STAMP_VALUES = 12_000_000
"""Largest number of values of each kind of map, for all images together."""
_TRACE_POINTS = 500
"""Largest number of draws in a trace."""
_EXISTENCE_DRAWS = 256
"""Largest number of draws for which the page records the objects that they contain."""
_RESIDUAL_LIMIT = 50.0
"""Residuals are clipped at this many standard deviations."""
_COLUMN_LABELS = {"half_light_radius": "r half", "ellipticity_1": "g1", "ellipticity_2": "g2"}
"""Labels of properties with long names."""

Arrays = dict[str, np.ndarray]


def page_data(run: RunContents) -> tuple[dict[str, Any], Arrays]:
    """Collect the data of images, objects and chains that the page shows.

    Parameters
    ----------
    run : RunContents
        The run to show.

    Returns
    -------
    info : dict
        Description that JSON can hold.
    arrays : dict of str to ndarray
        Arrays by name: ``table/<column>``, ``image/<number>/<layer>``, ...
    """
    info: dict[str, Any] = {"levels": LEVELS, "residual_limit": _RESIDUAL_LIMIT}
    arrays: Arrays = {}
    for part in (_table, _draws, _existence, _traces):
        found, more = part(run)
        info.update(found)
        arrays.update(more)
    info["images"] = []
    for number, image in enumerate(run.images):
        described, more = _image(image, _STAMP_VALUES // len(run.images))
        info["images"].append(described)
        arrays.update({f"image/{number}/{name}": values for name, values in more.items()})
    return info, arrays


def _table(run: RunContents) -> tuple[dict[str, Any], Arrays]:
    """All columns of the catalog; those without numbers are lists of text."""
    arrays: Arrays = {}
    text: dict[str, list[str]] = {}
    units = {}
    for name in run.table.colnames:
        column = run.table[name]
        values = np.ma.filled(np.ma.asarray(column), np.nan if column.dtype.kind == "f" else 0)
        units[name] = str(column.unit or "")
        if values.ndim != 1:
            continue
        if values.dtype.kind in "iufb":
            # Celestial positions need double precision.
            wide = values.dtype.kind == "f" and name in ("ra", "dec")
            whole = values.dtype.kind in "iub" and np.abs(values).max(initial=0) < 2**31
            kept = np.float64 if wide else np.int32 if whole else np.float32
            arrays[f"table/{name}"] = values.astype(kept)
        else:
            text[name] = [_as_text(value) for value in values]
    info = {
        "text": text,
        "units": units,
        "num_objects": len(run.table),
        "flags": flag_names(run.table.meta),
        "alternatives": {str(group): each for group, each in run.alternatives.items()},
    }
    return info, arrays


def flag_names(header: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the bits of the column `flags`, by number, from the catalog's header."""
    found = ((re.fullmatch(r"FLAG(\d+)", key), value) for key, value in header.items())
    return {match[1]: str(value) for match, value in found if match}


def _as_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value).strip()


def draw_names(run: RunContents) -> list[str]:
    """Return the properties of draws that the page shows: shapes only if there are galaxies."""
    extended = bool(np.any(run.samples.sources["is_extended"]))
    shapes = SHAPE_NAMES if extended else ()
    return ["x", "y", "flux", *run.samples.band_fluxes, *shapes]


def _draws(run: RunContents) -> tuple[dict[str, Any], Arrays]:
    """Thinned draws of every object, with one byte per number between the extremes."""
    names = draw_names(run)
    members = np.asarray(run.catalog.members)
    chain, draw, source = np.nonzero(members >= 0)
    row = members[chain, draw, source]
    order = np.argsort(row, kind="stable")
    chain, draw, source, row = (part[order] for part in (chain, draw, source, row))
    count = np.bincount(row, minlength=len(run.catalog))
    kept = draws_to_keep(count, np.asarray(run.catalog["prob_exist"]), len(names))
    first = np.cumsum(count) - count
    chosen = [
        begin + np.linspace(0, total - 1, some).round().astype(np.int64)
        for begin, total, some in zip(first, count, kept, strict=True)
        if some
    ]
    pick = np.concatenate([np.zeros(0, np.int64), *chosen])
    sources = run.catalog.whole(run.samples).sources
    values = np.stack(
        [sources[name][chain[pick], draw[pick], source[pick]] for name in names], axis=1
    ).astype(np.float64)
    extended = np.asarray(run.samples.sources["is_extended"])[chain[pick], draw[pick], source[pick]]
    shapes = [name in SHAPE_NAMES for name in names]
    values[np.ix_(~extended.astype(bool), shapes)] = np.nan
    low, high = _ranges(values, row[pick], len(run.catalog))
    coded = quantise(values, low[row[pick]], high[row[pick]], np.uint8)
    labels = [_COLUMN_LABELS.get(name, name.replace("_", " ")) for name in names]
    of_image = [
        "flux" if image.alignment.band == 0 else f"flux_{image.image.band}" for image in run.images
    ]
    described = {
        "names": names,
        "labels": labels,
        "flux": of_image,
        "most": int(kept.max(initial=0)),
        "objects": int(np.count_nonzero(kept)),
    }
    arrays: Arrays = {
        "draws/values": coded.ravel(),
        "draws/start": (np.cumsum(kept) - kept).astype(np.uint32),
        "draws/count": kept.astype(np.uint32),
        "draws/low": low.ravel().astype(np.float32),
        "draws/high": high.ravel().astype(np.float32),
        "draws/extended": extended.astype(np.uint8),
    }
    return {"draws": described}, arrays


def draws_to_keep(count: np.ndarray, prob: np.ndarray, num_names: int) -> np.ndarray:
    """Choose the number of draws of every object that the page keeps, fewer in large catalogs.

    Parameters
    ----------
    count : ndarray of int, shape (n,)
        Number of draws that contain the object.
    prob : ndarray, shape (n,)
        Probability that the object exists. Improbable objects, which the page hides at first, keep
        at most the smallest number of draws.
    num_names : int
        Number of properties of a draw.

    Returns
    -------
    ndarray of int, shape (n,)
        0 for the faintest objects if even the smallest number of draws for all would be too many.
    """
    unlikely = prob < MIN_PROB
    spent = int(np.minimum(count[unlikely], _MIN_DRAWS).sum())
    affordable = (_DRAW_BYTES // num_names - spent) // max(int((~unlikely).sum()), 1)
    most = np.where(unlikely, _MIN_DRAWS, np.clip(affordable, _MIN_DRAWS, MAX_DRAWS))
    kept = np.minimum(count, most)
    kept[np.cumsum(kept) * num_names > _MAX_DRAW_BYTES] = 0
    return np.asarray(kept)


def _ranges(values: np.ndarray, row: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest values of every object, shape (objects, names); 0 without draws."""
    low = np.full((size, values.shape[1]), np.inf)
    high = -low
    np.minimum.at(low, row, np.where(np.isfinite(values), values, np.inf))
    np.maximum.at(high, row, np.where(np.isfinite(values), values, -np.inf))
    return np.where(low <= high, low, 0.0), np.where(low <= high, high, 0.0)


def _existence(run: RunContents) -> tuple[dict[str, Any], Arrays]:
    """Presence of every object in evenly spaced draws, one bit each, and fractions by chain."""
    samples = run.samples
    total = samples.num_chains * samples.num_draws
    chosen = np.unique(np.linspace(0, total - 1, min(total, _EXISTENCE_DRAWS)).round().astype(int))
    members = np.asarray(run.catalog.members).reshape(total, -1)[chosen]
    present = np.zeros((len(run.catalog), len(chosen)), dtype=bool)
    draw, source = np.nonzero(members >= 0)
    present[members[draw, source], draw] = True
    bits = np.packbits(present, axis=1, bitorder="little")
    members = np.asarray(run.catalog.members).reshape(samples.num_chains, -1)
    counts = [
        np.bincount(chain[chain >= 0], minlength=len(run.catalog)) / max(samples.num_draws, 1)
        for chain in members
    ]
    by_chain = np.stack(counts, axis=1).astype(np.float32)
    arrays: Arrays = {"existence": bits.ravel(), "existence/chains": by_chain.ravel()}
    return {"existence_draws": len(chosen)}, arrays


def _traces(run: RunContents) -> tuple[dict[str, Any], Arrays]:
    """Thinned traces of quantities that do not depend on the order of sources."""
    traces = {**label_free(run.samples), **diagnose(run.samples).light}
    moving = {name: v for name, v in traces.items() if np.ptp(v) > 0}
    count = run.samples.num_draws
    draws = np.unique(np.linspace(0, count - 1, min(count, _TRACE_POINTS)).round().astype(int))
    values = [np.asarray(v)[:, draws].astype(np.float64).ravel() for v in moving.values()]
    info = {"traces": {"names": list(moving), "chains": run.samples.num_chains}}
    joined = np.concatenate([np.zeros(0), *values])
    return info, {"traces/values": joined, "traces/draws": draws.astype(np.int32)}


def _image(one: ImageContents, most: int) -> tuple[dict[str, Any], Arrays]:
    """Layers, maps and outlines of one image."""
    image, model = one.image, one.model
    factor = shrink_factor(image.shape)
    low, high, linear = asinh_scale(image)

    def scaled(values: np.ndarray) -> np.ndarray:
        soft = linear * (high - low)
        return np.arcsinh((shrink(values, factor) - low) / soft) / np.arcsinh(1.0 / linear)

    data, fitted = scaled(visible(image)), scaled(model.mean)
    both = np.concatenate([data.ravel(), fitted.ravel()])
    ends = [float(np.nanmin(both)), float(np.nanmax(both))]
    owners = shrink(owners_picture(one.assignment, image), factor)
    stamps = pack_stamps(one.assignment, most)
    arrays: Arrays = {
        "data": quantise(data, *ends),
        "model": quantise(fitted, *ends),
        "residual": quantise(shrink(model.residual, factor), -_RESIDUAL_LIMIT, _RESIDUAL_LIMIT),
        "owners": np.rint(255.0 * owners).astype(np.uint8),
        "boxes": stamps.boxes,
        "start": stamps.start,
        **{f"map/{kind}": values for kind, values in stamps.values.items()},
        **{f"object/{name}": v.astype(np.float32) for name, v in one.columns.items()},
    }
    info = {
        "label": one.label,
        "name": image.name or "image",
        "band": image.band,
        "unit": image.unit or "counts",
        "shape": list(image.shape),
        "factor": factor,
        "scale": {"low": low, "high": high, "linear": linear, "ends": ends},
        "affine": one.alignment.affine.tolist(),
        "sky": sky_polynomial(image.wcs, image.shape),
        "kinds": list(stamps.values),
        "mapped": stamps.num_kept,
    }
    return info, {name: values.reshape(-1) for name, values in arrays.items()}
