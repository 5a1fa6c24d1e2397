"""The images of a run, read as its configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probcat.run.config import RunConfig
from probcat.run.refined_psfs import with_psfs

if TYPE_CHECKING:
    from probcat.image.image import Image


def read_input(config: RunConfig) -> list[Image]:
    """Read the images that a configuration names, with their refined PSFs if there are any.

    Parameters
    ----------
    config : RunConfig
        Its section ``[image]`` is used.

    Returns
    -------
    list of Image
        In the order of the files, and of the bands within a file.

    Raises
    ------
    InputError
        If no image is named, one cannot be used, or the images cannot be aligned.
    """
    from probcat.image.alignment import align_images
    from probcat.image.several import read_configured_images

    images = read_configured_images(config.image_options())
    align_images(images)
    path = config.image.get("refined_psf")
    return images if path is None else with_psfs(path, images)
