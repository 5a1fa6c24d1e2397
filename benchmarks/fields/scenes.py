"""Scenes drawn from the very prior and model that are sampled, of one image or several.

What sets array shapes (orientations, pixel scales, PSFs) is drawn once for a number of images;
sub-pixel shifts and gains are drawn anew for every scene.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from probcat import PSF, Image, Prior
from probcat.image.alignment import align_images, image_labels
from probcat.model.prior.defaults import log_normal_within
from probcat.model.prior.densities import sample_colour_prior
from probcat.model.prior.prior import SHAPE_NAMES, power_law
from probcat.model.simulate import draw_sources
from probcat.sampler.geometry.frames import frame_origin
from probcat.sampler.geometry.layout import Layout
from probcat.sampler.geometry.plan import build_layout
from probcat.sampler.geometry.tiling import Sources
from probcat.sampler.sample import Run
from probcat.sampler.scene.render import render
from probcat.sampler.settings import SamplerSettings

SHAPE = (14, 25)
"""Rows and columns of the first image; one window for all kinds of sources covers them."""
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
NUM_HMC = 1
"""Trajectories at the end of a visit of windows for all sources."""
POINT_SLOTS, EXTENDED_SLOTS = 16, 10
CAPACITIES = {"point_capacity": 32, "extended_capacity": 16}
MOST_SOURCES = 32
"""In a scene; more would come with a chance of 2e-10."""
FLUX_LIMITS = (8.0, 100.0)
"""In units of the error of an isolated point source in the first image."""
BANDS = "rgizyu"
MOST_IMAGES = 6
PIXEL_SCALE = 0.2
"""Arcseconds of the first image."""
ZERO_POINT = 27.0


@dataclass(frozen=True, eq=False)
class Camera:
    """What stays the same of an image in all scenes.

    Attributes
    ----------
    linear : ndarray, shape (2, 2)
        From pixels of the first image to pixels of this one, but for the shift.
    shape : tuple of int
        Rows and columns; they hold the whole first image.
    band : str
    psf : PSF
    noise : float
        Standard deviation of a pixel.
    level : float
        Prior mean of the background; its scatter is the noise.
    own_gain : bool
        Whether the zero point differs from scene to scene.
    """

    linear: np.ndarray
    shape: tuple[int, int]
    band: str
    psf: PSF
    noise: float
    level: float
    own_gain: bool = False


@dataclass(frozen=True, eq=False)
class Setup:
    """All that scenes have in common.

    Attributes
    ----------
    cameras : tuple of Camera
    prior : Prior
    layout : Layout
        Nothing in it depends on the pixels, so that all runs share one program.
    """

    cameras: tuple[Camera, ...]
    prior: Prior
    layout: Layout


@dataclass(frozen=True, eq=False)
class Scene:
    """Images and what they were made of.

    Attributes
    ----------
    images : list of Image
    sources, scalars : dict of str to ndarray
        The truth, with the axes that `probcat.Samples` has.
    """

    images: list[Image]
    sources: dict[str, np.ndarray]
    scalars: dict[str, np.ndarray]


def make_setup(num_images: int, num_chains: int, seed: int, stars_only: bool = False) -> Setup:
    """Cameras, prior and layout for a number of images."""
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


def make_cameras(num_images: int, seed: int) -> tuple[Camera, ...]:
    """One image a band; of three and more the last is a second exposure of the first band."""
    first = Camera(np.eye(2), SHAPE, BANDS[0], PSF.moffat(2.5, 3.5, size=9), 1.0, 10.0)
    cameras = [first]
    rng = np.random.default_rng([seed, num_images])
    for number in range(1, num_images):
        repeat = number == num_images - 1 and num_images >= 3
        angle, scale = rng.uniform(-np.pi, np.pi), rng.uniform(0.7, 1.4)
        cos, sin = np.cos(angle), np.sin(angle)
        linear = scale * np.array([[cos, -sin], [sin, cos]])
        # Room for the first image and any shift within a pixel.
        sides = np.ceil(np.abs(linear) @ np.array(SHAPE[::-1])).astype(int) + 2
        cameras.append(
            Camera(
                linear,
                (int(sides[1]), int(sides[0])),
                BANDS[0] if repeat else BANDS[number],
                PSF.moffat(rng.uniform(2.0, 3.0), 3.5, size=9),
                rng.uniform(0.7, 1.5),
                rng.uniform(5.0, 20.0),
                own_gain=repeat,
            )
        )
    return tuple(cameras)


def make_prior(cameras: tuple[Camera, ...], seed: int, stars_only: bool = False) -> Prior:
    """Prior of the scenes, in units of the error of an isolated point source."""
    first = cameras[0]
    sigma = first.noise * np.sqrt(first.psf.effective_area)
    low, high = np.asarray(FLUX_LIMITS, np.float32) * np.float32(sigma)
    levels = tuple(dist.Normal(np.float32(c.level), np.float32(c.noise)) for c in cameras)
    number = len({camera.band for camera in cameras}) - 1
    mean = np.random.default_rng([seed, number]).uniform(-0.4, 0.4, number).astype(np.float32)
    return Prior(
        flux=power_law(np.float32(1.8), low, high),
        half_light_radius=log_normal_within(1.2, 0.4, 0.5, 3.0),
        ellipticity=dist.Beta(2.0, 4.0),
        sersic_n=dist.Uniform(0.5, 4.0),
        expected_sources=dist.Gamma(8.0, 2.0),
        extended_fraction=0.0 if stars_only else dist.Beta(2.0, 2.0),
        background=levels if len(levels) > 1 else levels[0],
        flux_slope=dist.Normal(1.8, 0.3),
        colours=dist.Normal(mean, np.full(number, 0.4, np.float32)) if number else None,
    ).validate()


def blank_images(cameras: tuple[Camera, ...], rng: np.random.Generator) -> list[Image]:
    """Images without light, with shifts and gains drawn at random."""
    middle = 0.5 * (np.array(SHAPE[::-1]) - 1.0)
    images = []
    for number, camera in enumerate(cameras):
        shift = rng.uniform(-0.5, 0.5, 2) if number else np.zeros(2)
        gain = rng.uniform(0.6, 1.6) if camera.own_gain else 1.0
        centre = 0.5 * (np.array(camera.shape[::-1]) - 1.0) + shift
        images.append(
            Image.from_arrays(
                np.zeros(camera.shape, np.float32),
                np.full(camera.shape, camera.noise**2, np.float32),
                psf=camera.psf,
                wcs=_wcs(camera.linear, centre - camera.linear @ middle),
                band=camera.band,
                zero_point=ZERO_POINT + 2.5 * np.log10(gain),
                name=f"image {number + 1}",
            )
        )
    return images


def _wcs(linear: np.ndarray, shift: np.ndarray) -> Any:
    """Coordinates of an image whose pixels are ``linear @ p + shift`` for p of the first one.

    All share one tangent point, so that the map between any two is affine.
    """
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = shift + 1.0
    wcs.wcs.cd = PIXEL_SCALE / 3600.0 * np.diag([-1.0, 1.0]) @ np.linalg.inv(linear)
    return wcs


def draw_scene(setup: Setup, rng_key: jax.Array, rng: np.random.Generator) -> Scene:
    """Draw all parameters from the prior, and pixels from the sampler's own model."""
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
    truth = {
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
        # Only pixels on the first image count.
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
    """Draw sources given the common parameters, as `probcat.Samples` has them."""
    given = prior.with_slope(np.float32(truth["flux_slope"]))
    given = given.replace(flux_slope=None, extended_fraction=truth["extended_fraction"])
    number = int(jax.random.poisson(keys[0], truth["mu"]))
    # Always as many, of which some are kept, so that samplers compile once.
    catalog = draw_sources(given, keys[1], SHAPE, MOST_SOURCES)
    catalog = {name: values[:number] for name, values in catalog.items()}
    if prior.num_colours:
        colours = np.asarray(sample_colour_prior(prior, keys[2], (MOST_SOURCES,)))[:number]
        for column in range(prior.num_colours):
            # Bands are numbered as they come.
            catalog[f"flux_{BANDS[column + 1]}"] = catalog["flux"] * np.exp(colours[:, column])
    catalog["active"] = np.ones(number, bool)
    return catalog


def _padded(
    catalog: Mapping[str, np.ndarray], extended: bool, layout: Layout, prior: Prior
) -> Sources:
    """Give the sources of one kind as the sampler's state has them."""
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
    """Cut an image's own pixels out of its padded plane."""
    layout = run.layout
    x, y = -layout.pad, -layout.pad
    if number > 0:
        x, y = frame_origin(run.links[number], layout)
    return plane[-y : shape[0] - y, -x : shape[1] - x]
