"""Scenes of one or several images, drawn from the same prior and model that are sampled.

Orientations, pixel scales and PSFs are drawn once for a number of images, because array shapes
depend on them. Shifts within a pixel and zero points are different in every scene.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from benchmarks.fields.cameras import (
    BANDS,
    SHAPE,
    Camera,
    blank_images,
    make_cameras,
    make_prior,
)
from probcat import Image, Prior
from probcat.image.alignment import align_images, image_labels
from probcat.model.prior.densities import sample_colour_prior
from probcat.model.prior.prior import SHAPE_NAMES
from probcat.model.simulate import draw_sources
from probcat.sampler.geometry.frames import frame_origin
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.geometry.plan import build_layout
from probcat.sampler.geometry.tiling import Sources
from probcat.sampler.sample import Run
from probcat.sampler.scene.render import render
from probcat.sampler.settings import SamplerSettings

SETTINGS = SamplerSettings(
    window_interior=8,
    window_interior_extended=24,
    border=0.0,
    extended_radius=8,
    passes=1,
    extended_passes=1,
    birth_death=2,
    split_merge=4,
    merge_and_split=4,
    companion=2,
    extended_moves=5,
    leapfrog_steps=4,
    start_beta=1e-2,
    checkpoint_interval=10,
)
"""Settings of the sampler in all scenes."""
NUM_HMC = 1
"""Hamiltonian trajectories at the end of a visit of a window for all kinds of sources."""
POINT_SLOTS = 16
"""Slots for point sources in a window."""
EXTENDED_SLOTS = 10
"""Slots for extended sources in a window."""
CAPACITIES: dict[str, Any] = {"point_capacity": 32, "extended_capacity": 16}
"""Largest numbers of sources in a catalog of the sampler."""
MOST_SOURCES = 32
"""Largest number of sources of a scene; the prior probability of more is 2e-10."""


@dataclass(frozen=True, eq=False)
class Setup:
    """Cameras, prior and layout that all scenes share.

    Attributes
    ----------
    cameras : tuple of Camera
        Cameras of the images.
    prior : Prior
        Prior that scenes are drawn from and sampled with.
    layout : Layout
        Array sizes. They do not depend on the pixels, so all runs share one program.
    """

    cameras: tuple[Camera, ...]
    prior: Prior
    layout: Layout


@dataclass(frozen=True, eq=False)
class Scene:
    """Images and their true parameters.

    Attributes
    ----------
    images : list of Image
        Images with noise.
    sources, scalars : dict of str to ndarray
        True sources and common parameters, with the axes of `probcat.Samples`.
    """

    images: list[Image]
    sources: dict[str, np.ndarray]
    scalars: dict[str, np.ndarray]


def make_setup(num_images: int, num_chains: int, seed: int, stars_only: bool = False) -> Setup:
    """Return cameras, prior and layout for a number of images.

    Parameters
    ----------
    num_images : int
        Number of images of a scene.
    num_chains : int
        Number of chains of a run.
    seed : int
        Seed of the cameras and the prior.
    stars_only : bool
        Whether there are no galaxies.

    Returns
    -------
    Setup
    """
    cameras = make_cameras(num_images, seed)
    prior = make_prior(cameras, seed, stars_only)
    images = blank_images(cameras, np.random.default_rng(seed))
    links = align_images(images)
    layout = build_layout(images, prior, SETTINGS, num_chains, links)
    plans = tuple(
        replace(
            plan,
            num_hmc=NUM_HMC,
            point_slots=POINT_SLOTS,
            extended_slots=EXTENDED_SLOTS if plan.extended_slots else 0,
        )
        for plan in layout.plans
    )
    return Setup(cameras, prior, replace(layout, plans=plans, **CAPACITIES))


def draw_scene(setup: Setup, rng_key: jax.Array, rng: np.random.Generator) -> Scene:
    """Draw all parameters from the prior, and pixels from the model of the sampler.

    Parameters
    ----------
    setup : Setup
        Cameras, prior and layout.
    rng_key : Array
        Key of parameters and noise.
    rng : numpy.random.Generator
        Generator of shifts and zero points.

    Returns
    -------
    Scene
    """
    prior, layout = setup.prior, setup.layout
    keys = jax.random.split(rng_key, 5)
    images = blank_images(setup.cameras, rng)
    labels = image_labels(images)
    names = [f"background_{label}" for label in labels] if len(images) > 1 else ["background"]
    priors = {
        "mu": prior.expected_sources,
        "extended_fraction": prior.extended_fraction,
        "flux_slope": prior.flux_slope,
        **dict(zip(names, prior.backgrounds, strict=True)),
    }
    truth: dict[str, Any] = {
        name: float(value.sample(key)) if isinstance(value, dist.Distribution) else value
        for (name, value), key in zip(
            priors.items(), jax.random.split(keys[0], len(priors)), strict=True
        )
    }
    catalog = _draw_catalog(prior, truth, keys[1:4])

    run = Run(images, prior, SETTINGS, rng_key, (1, 0, 1))
    run.prepare(layout)
    points, extended = (_padded(catalog, kind, layout, prior) for kind in (False, True))
    light = _render(run.scene, layout, points, extended, run.radii[0][1])
    chi2, noisy = 0.0, []
    for number, image in enumerate(images):
        own, weight = (
            _on_image(np.asarray(plane), run, number, image.shape)
            for plane in (light[number], run.scene.weight[number])
        )
        noise = np.asarray(jax.random.normal(jax.random.fold_in(keys[4], number), image.shape))
        # Pixels outside the first image have zero weight.
        chi2 += float(np.sum(noise[weight > 0] ** 2))
        data = own + truth[names[number]] + setup.cameras[number].noise * noise
        noisy.append(replace(image, data=data.astype(np.float32)))
    truth["log_likelihood"] = float(run.scene.log_norm) - 0.5 * chi2
    return Scene(
        noisy,
        {name: values[None, None] for name, values in catalog.items()},
        {name: np.full((1, 1), value, np.float32) for name, value in truth.items()},
    )


def _draw_catalog(
    prior: Prior, truth: Mapping[str, float], keys: jax.Array
) -> dict[str, np.ndarray]:
    """Sources for given common parameters, with the columns of `probcat.Samples`."""
    slope: Any = np.float32(truth["flux_slope"])
    given = prior.with_slope(slope)
    given = given.replace(flux_slope=None, extended_fraction=truth["extended_fraction"])
    number = int(jax.random.poisson(keys[0], truth["mu"]))
    # Their number is always the same and the surplus is dropped, so that this compiles once.
    catalog = draw_sources(given, keys[1], SHAPE, MOST_SOURCES)
    catalog = {name: values[:number] for name, values in catalog.items()}
    if prior.num_colours:
        colours = np.asarray(sample_colour_prior(prior, keys[2], (MOST_SOURCES,)))[:number]
        for column in range(prior.num_colours):
            catalog[f"flux_{BANDS[column + 1]}"] = catalog["flux"] * np.exp(colours[:, column])
    catalog["active"] = np.ones(number, bool)
    return catalog


def _padded(
    catalog: Mapping[str, np.ndarray], extended: bool, layout: Layout, prior: Prior
) -> Sources:
    """Sources of one kind in the form of the state of the sampler."""
    chosen = catalog["is_extended"] == extended
    capacity = layout.extended_capacity if extended else layout.point_capacity
    position = np.stack([catalog["x"][chosen], catalog["y"][chosen]], axis=1)
    nearest = np.round(position)
    flux = catalog["flux"][chosen]
    columns = [flux]
    for band in BANDS[1 : prior.num_colours + 1]:
        columns.append(np.log(catalog[f"flux_{band}"][chosen] / flux))
    if extended:
        columns += [catalog[name][chosen] for name in SHAPE_NAMES]
    marks = np.concatenate([position - nearest, np.stack(columns, axis=1)], axis=1)
    empty = ((0, capacity - len(marks)), (0, 0))
    return Sources(
        jnp.asarray(np.pad(nearest, empty) + layout.pad, jnp.int32),
        jnp.asarray(np.pad(marks, empty), jnp.float32),
    )


@partial(jax.jit, static_argnums=(1, 4))
def _render(
    scene: Any, layout: Layout, points: Sources, extended: Sources, radius: int
) -> list[jax.Array]:
    return render(scene, layout, points, extended, radius)


def _on_image(plane: np.ndarray, run: Run, number: int, shape: tuple[int, int]) -> np.ndarray:
    """Pixels of an image, cut out of its padded plane."""
    layout = run.layout
    x, y = -layout.pad, -layout.pad
    if number > 0:
        x, y = frame_origin(run.links[number], layout)
    return plane[-y : shape[0] - y, -x : shape[1] - x]
