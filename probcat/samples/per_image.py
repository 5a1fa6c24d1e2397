"""Samples in the pixels and the unit of each image, and the images that samples are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from probcat.errors import InputError
from probcat.image.alignment import Alignment, align_images, band_names, image_labels
from probcat.model.background_names import LEVEL
from probcat.model.image_map import to_image
from probcat.numerics.shape_matrices import transformed
from probcat.samples.record import radius_attrs
from probcat.samples.samples import SHAPE_NAMES, Samples

if TYPE_CHECKING:
    from probcat.image.image import Image


def samples_per_image(samples: Samples, images: Sequence[Image]) -> list[Samples]:
    """Return the samples in the pixels and the unit of each image.

    Functions that take samples and images, such as `probcat.assign_pixels`, call this one
    themselves; each result can also be passed to them with its own image alone. The members of a
    condensed catalog stay the same.

    Parameters
    ----------
    samples : Samples
        Draws, with positions in pixels of the first image.
    images : sequence of Image
        All images that were sampled, in the same order.

    Returns
    -------
    list of Samples
        Draws for each image, with its fluxes and scalars under the names that samples of one
        image use.

    Raises
    ------
    InputError
        If these are not the images that were sampled.
    """
    check_images(image_record(samples.attrs), images)
    if len(images) == 1:
        return [samples]
    alignments, labels = align_images(images), image_labels(images)
    several = zip(images, alignments, labels, strict=True)
    return [
        _in_image(samples, image, alignment, label, number)
        for number, (image, alignment, label) in enumerate(several)
    ]


def of_one_image(samples: Samples, image: Image) -> tuple[Samples, Image]:
    """Return samples and their only image, or refuse an image that is not theirs.

    Parameters
    ----------
    samples : Samples
        Draws for one image.
    image : Image
        The image that was sampled.

    Returns
    -------
    samples : Samples
        The samples that were given.
    image : Image
        The image that was given.

    Raises
    ------
    InputError
        If several images were sampled, or another one.
    """
    check_images(image_record(samples.attrs), image)
    return samples, image


def image_record(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the attributes of samples tell about the images that were sampled.

    Parameters
    ----------
    attrs : mapping
        Attributes of samples.

    Returns
    -------
    dict
        As far as it is known: `number` of images, their `bands` in the order of their first
        images, and their `shapes`, lists of (ny, nx).
    """
    found: dict[str, Any] = {}
    if attrs.get("bands"):
        found["bands"] = [str(band) for band in attrs["bands"]]
    if attrs.get("image_shapes"):
        found["shapes"] = [[int(n) for n in shape] for shape in attrs["image_shapes"]]
    known = found.get("shapes") or attrs.get("radii")
    return found | ({"number": len(known)} if known else {})


def check_images(record: Mapping[str, Any], images: Image | Sequence[Image]) -> None:
    """Refuse images that are not those that were sampled.

    Parameters
    ----------
    record : mapping
        The result of `image_record`; what it does not hold is not checked.
    images : Image or sequence of Image
        Images to compare with it.

    Raises
    ------
    InputError
        If the number of images, their bands or their shapes differ.
    """
    images = list(images) if isinstance(images, Sequence) else [images]
    number = record.get("number", len(images))
    if len(images) != number:
        raise InputError(
            f"got {_count(len(images))}, but {_count(number)} were sampled; pass all images that "
            "were sampled, in the same order"
        )
    bands = band_names(images)
    if bands != record.get("bands", bands):
        raise InputError(
            f"the images are of band {_quoted(bands)}, but band {_quoted(record['bands'])} was "
            "sampled; pass the images that were sampled, in the same order"
        )
    shapes = record.get("shapes", [image.shape for image in images])
    for image, shape in zip(images, shapes, strict=True):
        if tuple(image.shape) != tuple(shape):
            raise InputError(
                f"{getattr(image, 'name', '') or 'image'}: has shape {tuple(image.shape)}, but the "
                f"image that was sampled has {tuple(shape)}; pass the images that were sampled"
            )


def _count(number: int) -> str:
    return f"{number} image" if number == 1 else f"{number} images"


def _quoted(bands: Sequence[str]) -> str:
    return ", ".join(map(repr, bands))


def _in_image(
    samples: Samples, image: Image, alignment: Alignment, label: str, number: int
) -> Samples:
    """Samples in the pixels and the unit of one of several images."""
    sources = dict(samples.sources)
    scalars = _own_scalars(samples.scalars, label)
    x, y = (np.asarray(sources[name], np.float64) for name in ("x", "y"))
    affine = alignment.affine
    for name, position in zip("xy", to_image(affine, affine[:, 2], x, y), strict=True):
        if f"offset_{name}" in scalars:
            position = position + scalars[f"offset_{name}"][..., None]
        sources[name] = position.astype(np.float32)
    flux = sources["flux"] if alignment.band == 0 else sources[f"flux_{image.band}"]
    scale = np.asarray(scalars.get("flux_scale", 1.0))[..., None]
    sources["flux"] = (np.asarray(flux) * alignment.flux_factor * scale).astype(np.float32)
    if number > 0:
        sources |= _shapes_after(sources, affine[:, :2])
    attrs = dict(samples.attrs)
    attrs |= {"band": image.band, "unit": str(image.unit), "psf_fwhm": float(image.psf.fwhm)}
    attrs |= radius_attrs(attrs["radii"][number])
    # These samples are of one image.
    attrs |= {"bands": [image.band], "radii": [attrs["radii"][number]]}
    attrs["image_shapes"] = [list(image.shape)]
    models = attrs.get("background_model", [LEVEL])
    attrs["background_model"] = [models[number] if len(models) > 1 else models[0]]
    if attrs.get("large_size") is not None:
        attrs["large_size"] = attrs["large_size"] * alignment.scale
    return replace(samples, sources=sources, scalars=scalars, attrs=attrs)


def _own_scalars(scalars: Mapping[str, np.ndarray], label: str) -> dict[str, np.ndarray]:
    """All scalars, and those of one image also under their names without its label."""
    end = f"_{label}"
    own = {name.removesuffix(end): v for name, v in scalars.items() if name.endswith(end)}
    return {**scalars, **own}


def _shapes_after(sources: Mapping[str, np.ndarray], linear: np.ndarray) -> dict[str, np.ndarray]:
    """Shape properties of sources after a linear map (2, 2) of the plane."""
    shapes = np.stack([np.asarray(sources[name], np.float64) for name in SHAPE_NAMES])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = transformed(shapes, linear)
    return {name: v.astype(np.float32) for name, v in zip(SHAPE_NAMES, found, strict=True)}
