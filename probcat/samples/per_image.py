"""Samples of several images as each of them sees its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from probcat.image.alignment import Alignment, align_images, image_labels
from probcat.model.background_names import LEVEL
from probcat.numerics.shape_matrices import transformed
from probcat.samples.samples import SHAPE_NAMES, Samples

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
    for axis, name in enumerate("xy"):
        place = affine[axis, 0] * x + affine[axis, 1] * y + affine[axis, 2]
        if f"offset_{name}" in scalars:
            place = place + scalars[f"offset_{name}"][..., None]
        sources[name] = place.astype(np.float32)
    flux = sources["flux"] if link.band == 0 else sources[f"flux_{image.band}"]
    scale = np.asarray(scalars.get("flux_scale", 1.0))
    sources["flux"] = (np.asarray(flux) * link.flux_factor * scale[..., None]).astype(np.float32)
    if number > 0:
        sources |= _shapes_after(sources, affine[:, :2])
    attrs = dict(samples.attrs)
    small, large = attrs["radii"][number]
    attrs |= {"band": image.band, "unit": str(image.unit), "psf_fwhm": float(image.psf.fwhm)}
    attrs |= {"extended_radius": small, "large_radius": large}
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


def _shapes_after(sources: Mapping[str, np.ndarray], linear: np.ndarray) -> dict[str, np.ndarray]:
    """Shape properties of sources after a linear map (2, 2) of the plane."""
    shapes = np.stack([np.asarray(sources[name], np.float64) for name in SHAPE_NAMES])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = transformed(shapes, linear)
    return {name: v.astype(np.float32) for name, v in zip(SHAPE_NAMES, found, strict=True)}
