"""Condensing of samples of unordered catalogs to one catalog of objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from probcat.catalog.alternatives import Presence, group_columns
from probcat.catalog.catalog import CondensedCatalog
from probcat.catalog.link import link, link_greedily
from probcat.catalog.mixture import Points, Scales
from probcat.catalog.multiplicity import blend_columns, multiplicities
from probcat.catalog.statistics import (
    covariances,
    moments,
    precision_of_objects,
    rhat_of_objects,
)
from probcat.catalog.substructure import find_substructure, fold_substructure
from probcat.errors import InputError
from probcat.samples.per_image import image_record
from probcat.samples.samples import FLOAT_NAMES, SHAPE_NAMES, Samples

__all__ = ["METHODS", "CondensedCatalog", "condense"]

METHODS = ("mixture", "greedy")
"""Ways to find objects; see `probcat.catalog.link`."""
_DEFAULT_RADIUS = 0.75
"""Linking radius in pixels if the width of the PSF is not known."""
_RADIUS_PER_FWHM = 0.3
"""Linking radius in units of the PSF's full width at half maximum.

The positions of faint sources and of blended ones scatter in proportion to the width of the PSF.
"""
_ALTERNATIVE_RADII = 2.5
"""Linking radii, three quarters of the PSF's width, within which objects may be alternatives."""


def condense(
    samples: Samples,
    *,
    method: str = "mixture",
    radius: float | None = None,
    min_prob: float = 0.05,
    substructure: bool = True,
) -> CondensedCatalog:
    """Condense samples of unordered catalogs to objects.

    Nothing in it is random: the same samples always give the same catalog.

    Parameters
    ----------
    samples : Samples
        At least one draw.
    method : {"mixture", "greedy"}
        "mixture" fits a mixture of objects and matches every draw to it one to one, in several
        bands also by colour; "greedy" is the scheme of PCAT, for comparison. See
        `probcat.catalog.link`.
    radius : float, optional
        Initial linking radius in pixels: sources of different draws closer than this are candidates
        for one object. With "mixture", members may be twice as far from their object if its
        scatter allows. By default 0.3 of the PSF's full width at half maximum if the samples'
        attributes have `psf_fwhm`, else 0.75.
    min_prob : float
        Objects that exist with a smaller probability are dropped; their sources count as
        unassigned.
    substructure : bool
        Whether a source may be part of a galaxy, see `probcat.catalog.substructure`. Its light
        then belongs to the galaxy, and it is not an object. Catalogs of points have no parts.

    Returns
    -------
    CondensedCatalog

    Raises
    ------
    InputError
        If the method is unknown, the radius is not positive, `min_prob` is not in [0, 1], or
        `substructure` is neither true nor false.
    """
    if radius is None:
        fwhm = samples.attrs.get("psf_fwhm")
        radius = _DEFAULT_RADIUS if fwhm is None else _RADIUS_PER_FWHM * float(fwhm)
    if not (radius > 0 and np.isfinite(radius)):
        raise InputError(f"the linking radius must be positive, got {radius}")
    if not 0 <= min_prob <= 1:
        raise InputError(f"min_prob must be in [0, 1], got {min_prob}")
    if not isinstance(substructure, bool):
        raise InputError(f"substructure must be true or false, got {substructure!r}")
    part_of = find_substructure(samples) if substructure else None
    samples = samples if part_of is None else fold_substructure(samples, part_of)
    num_samples = samples.num_chains * samples.num_draws
    flat = samples.flatten()
    log_flux = _log(flat["flux"])
    others = [_log(flat[name]) - log_flux for name in samples.band_fluxes]
    position = [flat[name].astype(np.float64) for name in ("x", "y")]
    features = np.stack([*position, log_flux, *others], axis=1)
    points = Points(features, flat["sample"], flat["is_extended"].astype(bool), num_samples)
    if method == "mixture":
        label = link(points, Scales(radius, num_colours=len(others)), min_prob)
    elif method == "greedy":
        label = link_greedily(points, radius, min_prob)
    else:
        raise InputError(f'unknown method {method!r}: use "mixture" or "greedy"')
    about = {"method": method, "radius": radius, "min_prob": min_prob, "substructure": substructure}
    about["images"] = image_record(samples.attrs)
    catalog = _collect(samples, flat, label, about)
    return catalog if part_of is None else _with_substructure(catalog, part_of)


def _with_substructure(catalog: CondensedCatalog, part_of: np.ndarray) -> CondensedCatalog:
    """Record the galaxies of parts, and the mean number of parts where an object exists."""
    catalog = replace(catalog, part_of=part_of)
    owner = catalog.owners[part_of >= 0]
    count = np.bincount(owner[owner >= 0], minlength=len(catalog))
    return catalog.with_columns({"num_components": count / np.maximum(catalog["num_members"], 1)})


def _collect(
    samples: Samples, flat: dict[str, np.ndarray], label: np.ndarray, attrs: dict[str, Any]
) -> CondensedCatalog:
    """Sort objects by flux, and compute their properties from their members."""
    num_samples = samples.num_chains * samples.num_draws
    size = int(label.max(initial=-1)) + 1
    member = label >= 0
    total = np.bincount(label[member], flat["flux"][member], minlength=size)
    count = np.bincount(label[member], minlength=size)
    rank = np.empty(size, dtype=np.int64)
    rank[np.argsort(-total / np.maximum(count, 1), kind="stable")] = np.arange(size)
    label = np.where(member, rank[label] if size else label, -1)
    index, extended = label[member], flat["is_extended"][member].astype(bool)
    count = np.bincount(index, minlength=size)
    columns = {
        "object_id": np.arange(1, size + 1),
        "num_members": count,
        "prob_exist": count / max(num_samples, 1),
        "prob_star": 1.0 - np.bincount(index, extended, minlength=size) / np.maximum(count, 1),
    }
    values = {name: flat[name][member].astype(np.float64) for name in flat if name != "sample"}
    for name in (*FLOAT_NAMES, *samples.band_fluxes):
        use = extended if name in SHAPE_NAMES else np.ones(len(index), dtype=bool)
        columns.update(moments(name, index[use], values[name][use], size))
    joint = ("x", "y", "flux", *samples.band_fluxes)
    columns |= covariances({name: values[name] for name in joint}, index, size)
    chain, draw = np.divmod(flat["sample"][member], max(samples.num_draws, 1))
    sizes = (size, samples.num_chains, samples.num_draws)
    columns["rhat"] = rhat_of_objects(index, chain, draw, values["flux"], sizes)
    columns |= precision_of_objects(index, chain, draw, values["flux"], sizes)
    members = np.full(samples.sources["active"].shape, -1, dtype=np.int32)
    members[np.asarray(samples.sources["active"], dtype=bool)] = label
    position = np.stack([columns["x"], columns["y"]], axis=1)
    if fwhm := float(samples.attrs.get("psf_fwhm") or 0.0):
        columns |= blend_columns(multiplicities(position, flat, label, fwhm))
    # An object has a size if it is more often extended than a point.
    radii = np.where(columns["prob_star"] < 0.5, columns["half_light_radius"], 0.0)
    presence = Presence.from_members(
        index, flat["sample"][member], values["flux"], num_samples, (position, radii)
    )
    columns |= group_columns(presence, _ALTERNATIVE_RADII * attrs["radius"])
    unassigned = float((~member).sum() / max(num_samples, 1))
    return CondensedCatalog(columns, members, unassigned, {**attrs, "num_samples": num_samples})


def _log(flux: np.ndarray) -> np.ndarray:
    """Natural logarithm in double precision, finite for a flux that vanishes in single."""
    return np.log(np.maximum(flux.astype(np.float64), np.finfo(np.float32).tiny))
