"""Samples of several images as each of them sees its sources."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from probcat.image.alignment import Alignment, align_images, image_labels
from probcat.model.background_names import LEVEL
from probcat.model.image_map import to_image
from probcat.samples.record import radius_attrs
from probcat.samples.samples import Samples

if TYPE_CHECKING:
    from probcat.image.image import Image


def samples_per_image(samples: Samples, images: Sequence[Image]) -> list[Samples]:
    """Give the samples in the pixels and the unit of every image.

    What needs one image, as `probcat.assign_pixels` and `probcat.pixels.model_image.posterior_model` do,
    takes it with its own view of the samples. Members of a catalog stay the same.

    Parameters
    ----------
    samples : Samples
        Positions in pixels of the first image.
    images : sequence of Image
        Those that were sampled, in the same order.

    Returns
    -------
    list of Samples
    """
    if len(images) == 1:
        return [samples]
    links, labels = align_images(images), image_labels(images)
    several = zip(images, links, labels, strict=True)
    return [
        _view(samples, image, link, label, number)
        for number, (image, link, label) in enumerate(several)
    ]


def _view(samples: Samples, image: Image, link: Alignment, label: str, number: int) -> Samples:
    sources = dict(samples.sources)
    scalars = _own_scalars(samples.scalars, label)
    x, y = (np.asarray(sources[name], np.float64) for name in ("x", "y"))
    affine = link.affine
    for name, position in zip("xy", to_image(affine, affine[:, 2], x, y), strict=True):
        if f"offset_{name}" in scalars:
            position = position + scalars[f"offset_{name}"][..., None]
        sources[name] = position.astype(np.float32)
    flux = sources["flux"] if link.band == 0 else sources[f"flux_{image.band}"]
    scale = np.asarray(scalars.get("flux_scale", 1.0))
    sources["flux"] = (np.asarray(flux) * link.flux_factor * scale[..., None]).astype(np.float32)
    if number > 0:
        sources |= _seen_shapes(sources, affine[:, :2])
    attrs = dict(samples.attrs)
    attrs |= {"band": image.band, "unit": str(image.unit), "psf_fwhm": float(image.psf.fwhm)}
    attrs |= radius_attrs(attrs["radii"][number])
    models = attrs.get("background_model", [LEVEL])
    attrs["background_model"] = [models[number] if len(models) > 1 else models[0]]
    if attrs.get("large_size") is not None:
        attrs["large_size"] = attrs["large_size"] * link.scale
    return replace(samples, sources=sources, scalars=scalars, attrs=attrs)


def _own_scalars(scalars: Mapping[str, np.ndarray], label: str) -> dict[str, np.ndarray]:
    """Scalars, those of an image by their names without its label too."""
    end = f"_{label}"
    own = {name.removesuffix(end): v for name, v in scalars.items() if name.endswith(end)}
    return {**scalars, **own}


def _seen_shapes(sources: dict[str, np.ndarray], linear: np.ndarray) -> dict[str, np.ndarray]:
    """Half-light radii and ellipticities after a linear map: S becomes A S A^T."""
    g1, g2 = (np.asarray(sources[f"ellipticity_{i}"], np.float64) for i in (1, 2))
    norm = g1**2 + g2**2
    with np.errstate(invalid="ignore", divide="ignore"):
        xx, xy, yy = (
            part / (1.0 - norm) for part in (1 + norm + 2 * g1, 2 * g2, 1 + norm - 2 * g1)
        )
        (a, b), (c, d) = linear
        new_xx = a * a * xx + 2 * a * b * xy + b * b * yy
        new_xy = a * c * xx + (a * d + b * c) * xy + b * d * yy
        new_yy = c * c * xx + 2 * c * d * xy + d * d * yy
        root = abs(a * d - b * c)
        divisor = new_xx + new_yy + 2.0 * root
        radius = np.asarray(sources["half_light_radius"], np.float64) * math.sqrt(root)
        found = {
            "half_light_radius": radius,
            "ellipticity_1": (new_xx - new_yy) / divisor,
            "ellipticity_2": 2.0 * new_xy / divisor,
        }
    return {name: values.astype(np.float32) for name, values in found.items()}
