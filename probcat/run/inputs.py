"""Read the images that a configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probcat.run.config import REFINED, RunConfig
from probcat.run.refined_psfs import with_psfs

if TYPE_CHECKING:
    from probcat.image.image import Image


def read_input(config: RunConfig) -> list[Image]:
    """Read the images that a configuration names.

    Raises
    ------
    InputError
        If it names none, they do not go together, or one cannot be used.
    """
    from probcat.image.alignment import align_images
    from probcat.image.several import read_configured_images

    images = read_configured_images({k: v for k, v in config.image.items() if k not in REFINED})
    align_images(images)
    path = config.image.get("refined_psf")
    return images if path is None else with_psfs(path, images)
