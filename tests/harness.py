"""One harness for all moves: exact draws of the joint must stay exact draws.

Catalogs are drawn from the prior and the residual is set to pure noise, which makes
(catalog, data) an exact draw of the joint distribution.  Any move that leaves the
posterior invariant leaves this joint unchanged, so that after any number of steps the
catalogs still follow the prior and the residuals are still noise (Geweke 2004, JASA
99, 799).  Chains are independent, which makes every test below exact.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy import stats

from probcat.common import update_common
from probcat.defaults import log_normal_within
from probcat.frames import Link, build_frames, frame_origin, least_margin
from probcat.kernel import CatalogKernel
from probcat.layout import Layout, PassPlan
from probcat.prior import Prior, sample_colour_prior, sample_flux_prior, sample_shape
from probcat.psf import PSF
from probcat.psf_varying import VaryingPSF
from probcat.scene import Plane, build_scene
from probcat.state import chain_keys, initial_state
from probcat.windows import Sources

EXTENDED_RADIUS = 8
SHAPE = (18, 20)


def make_prior(**changes):
    prior = Prior(
        flux=dist.DoublyTruncatedPowerLaw(-1.8, 60.0, 3000.0),
        half_light_radius=log_normal_within(1.5, 0.4, 0.5, 4.0),
        ellipticity=dist.Beta(2.0, 4.0),
        sersic_n=dist.Uniform(0.5, 4.0),
        num_sources=dist.Gamma(12.0, 3.0),
        extended_fraction=dist.Beta(3.0, 4.0),
        background=dist.Normal(5.0, 2.0),
        flux_slope=dist.Normal(1.8, 0.4),
    )
    return prior.replace(**changes).validate()


def make_layout(schedule, num_hmc, num_chains, passes=1, extended_slots=16):
    plan = PassPlan(12, EXTENDED_RADIUS, 32, extended_slots, tuple(schedule), num_hmc, passes)
    return Layout(SHAPE, 24, 1.3, 64, 32, (plan,), 5, num_chains)


def make_varying_psf(shape=SHAPE):
    """PSF that changes its width by half and its ellipticity over an image."""
    axis = np.arange(-12, 13) / 2.0
    x, y = np.meshgrid(axis, axis)

    def moffat(fwhm, stretch):
        square = (x * stretch) ** 2 + (y / stretch) ** 2
        return (1.0 + square * (2.0 ** (1.0 / 3.0) - 1.0) / (0.5 * fwhm) ** 2) ** -3.0

    psfs = [[moffat(2.2, 1.0), moffat(2.6, 1.2)], [moffat(3.3, 0.9), moffat(2.6, 0.8)]]
    nodes = (np.array([0.0, n - 1.0]) for n in shape[::-1])
    return VaryingPSF.from_grid(*nodes, psfs, 2).seen_from((0, 0), shape)


def make_scene(layout, prior, weight, psf=None):
    psf = PSF.moffat(2.6, 3.0, size=13) if psf is None else psf
    weights = np.full(SHAPE, weight)
    if weight > 0:
        weights[3:6, 4] = 0.0
        weights *= np.linspace(0.7, 1.3, SHAPE[1])
    plane = Plane(np.zeros(SHAPE), weights, psf, extended_radius=EXTENDED_RADIUS)
    return build_scene([plane], prior, layout)


def make_joint(schedule, num_hmc, num_chains, weight, prior, psfs=None, extended_slots=16):
    """Scene of three images: a dither in the first band, and a finer, turned one in another."""
    angle, zoom = 0.4, 1.25
    turned = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    links = (
        Link(np.eye(2, 3)),
        Link(np.column_stack([turned, [6.3, -4.1]]), 1, 1.0),
        Link(np.array([[1.0, 0.01, 0.37], [-0.02, 0.99, -0.61]]), 0, 1.6),
    )
    psfs = psfs or [PSF.moffat(fwhm, 3.0, size=13) for fwhm in (2.6, 2.4, 2.1)]
    radii = [EXTENDED_RADIUS, 10, EXTENDED_RADIUS]
    margin = least_margin(links, radii)
    plan = PassPlan(12, margin, 32, extended_slots, tuple(schedule), num_hmc, 1)
    layout = Layout(SHAPE, 14 + margin, 1.3, 64, 32, (plan,), 5, num_chains)
    layout = replace(layout, frames=build_frames(links, layout, [radii], radii))
    planes = []
    for number, (link, psf, radius) in enumerate(zip(links, psfs, radii, strict=True)):
        shape = SHAPE if number == 0 else (26, 27)
        weights = np.full(shape, weight * (1.0, 0.8, 0.3)[number])
        weights[3:6, 4] = 0.0
        origin = (0, 0) if number == 0 else frame_origin(link, layout)
        planes.append(
            Plane(np.zeros(shape), weights, psf, radius, radius, link.affine, origin, link.gain)
        )
    return layout, build_scene(planes, prior, layout)


def exact_state(rng_key, scene, layout):
    """Independent exact draws of catalog and data, one a chain."""
    keys = jax.random.split(rng_key, 8)
    prior, chains = scene.model.prior, layout.num_chains
    state = initial_state(keys[0], scene, layout)
    mu = prior.num_sources.sample(keys[1], (chains,))
    fraction = prior.extended_fraction
    if isinstance(fraction, dist.Distribution):
        fraction = fraction.sample(keys[2], (chains,))
    fraction = jnp.broadcast_to(jnp.asarray(fraction, jnp.float32), (chains,))
    slope = prior.flux_slope.sample(keys[7], (chains,))

    def sources(key, mean, capacity, extended):
        keys = jax.random.split(key, 4)
        count = jax.random.poisson(keys[0], mean)
        assert int(count.max()) <= capacity
        bounds = jnp.asarray([layout.region_bounds(axis) for axis in (0, 1)], jnp.float32)
        unit = jax.random.uniform(keys[1], (chains, capacity, 2))
        position = bounds[None, None, :, 0] + unit * (bounds[:, 1] - bounds[:, 0])[None, None]
        flux_keys = jax.random.split(keys[2], chains)
        flux = jax.vmap(
            lambda slope, key: sample_flux_prior(prior.with_slope(slope), key, (capacity,))
        )(slope, flux_keys)
        parts = [position - jnp.round(position), flux[..., None]]
        parts.append(sample_colour_prior(prior, keys[3], (chains, capacity)))
        if extended:
            parts.append(sample_shape(prior, keys[3], (chains, capacity)))
        marks = jnp.concatenate(parts, axis=-1)
        held = jnp.arange(capacity)[None] < count[:, None]
        marks = jnp.where(held[..., None], marks, 0.0).astype(jnp.float32)
        return Sources(jnp.round(position).astype(jnp.int32), marks)

    residual = []
    for key, weight in zip(jax.random.split(keys[5], len(scene.weight)), scene.weight, strict=True):
        noise = jax.random.normal(key, (chains, *weight.shape))
        sigma = jnp.where(weight > 0, 1.0, 0.0) / jnp.sqrt(jnp.where(weight > 0, weight, 1.0))
        residual.append(noise * sigma[None])
    levels = [
        level.sample(key, (chains,)) if isinstance(level, dist.Distribution) else level
        for key, level in zip(
            jax.random.split(keys[6], len(prior.backgrounds)), prior.backgrounds, strict=True
        )
    ]
    levels = [jnp.broadcast_to(jnp.asarray(level, jnp.float32), (chains,)) for level in levels]
    draw = state.draw._replace(
        points=sources(keys[3], mu * (1.0 - fraction), layout.point_capacity, False),
        extended=sources(keys[4], mu * fraction, layout.extended_capacity, True),
        mu=mu,
        extended_fraction=fraction,
        flux_slope=slope,
        background=jnp.stack(levels, axis=1),
    )
    return state._replace(draw=draw, residual=tuple(residual))


def advance(rng_key, state, scene, layout, passes, step_size=0.25, with_globals=False):
    """Apply passes of the plan's moves (and the global steps) without re-rendering."""
    log_step = jnp.full((layout.num_chains, 1), jnp.log(jnp.float32(step_size)))
    state = state._replace(log_step=log_step, log_step_mean=log_step)
    return _run(layout, with_globals, state, jax.random.split(rng_key, passes), scene)


@partial(jax.jit, static_argnums=(0, 1))
def _run(layout, with_globals, state, keys, scene):
    kernel = CatalogKernel(layout, EXTENDED_RADIUS)

    def body(state, key):
        key_pass, key_globals = jax.random.split(key)
        state = kernel._pass(
            state, key_pass, scene=scene, plan=layout.plans[0], number=0, warming=False
        )
        if with_globals:
            update = jax.vmap(partial(update_common, scene=scene))
            keys = chain_keys(key_globals, state)
            draw, residual = update(state.draw, state.residual, keys)
            state = state._replace(draw=draw, residual=residual)
        return state, None

    return jax.lax.scan(body, state, keys)[0]


def compare_with_prior(state, scene, layout):
    """P values of everything that must still follow the joint, by name."""
    prior, draw = scene.model.prior, jax.tree.map(np.asarray, state.draw)
    fresh = exact_state(jax.random.key(987), scene, layout)
    results = {}
    for name, sources in (("point", draw.points), ("extended", draw.extended)):
        other = getattr(fresh.draw, "points" if name == "point" else name)
        active = sources.marks[..., 2] > 0
        other_active = np.asarray(other.active)
        if not other_active.any():
            assert not active.any()
            continue
        results[f"num_{name}"] = two_sample_counts(active.sum(1), other_active.sum(1))
        marks, others = sources.marks[active], np.asarray(other.marks)[other_active]
        for axis, label in ((0, "x"), (1, "y")):
            mine = (sources.pixel[..., axis] + sources.marks[..., axis])[active]
            low, high = layout.region_bounds(axis)
            results[f"{name}_{label}"] = stats.kstest((mine - low) / (high - low), "uniform").pvalue
        columns = {"flux": marks[:, 2]}
        reference = {"flux": others[:, 2]}
        for number in range(prior.num_colours):
            columns[f"colour_{number}"] = marks[:, 3 + number]
            reference[f"colour_{number}"] = others[:, 3 + number]
        if name == "extended":
            for values, store in ((marks, columns), (others, reference)):
                store["half_light_radius"] = values[:, -4]
                store["ellipticity"] = np.hypot(values[:, -3], values[:, -2])
                store["direction"] = np.arctan2(values[:, -2], values[:, -3])
                store["sersic_n"] = values[:, -1]
        for label, values in columns.items():
            results[f"{name}_{label}"] = stats.ks_2samp(values, reference[label]).pvalue
    results["flux_slope"] = stats.kstest(
        (draw.flux_slope - prior.flux_slope.loc) / prior.flux_slope.scale, "norm"
    ).pvalue
    results["mu"] = stats.ks_2samp(draw.mu, np.asarray(fresh.draw.mu)).pvalue
    for number, level in enumerate(prior.backgrounds):
        if isinstance(level, dist.Distribution):
            pull = (draw.background[:, number] - level.loc) / level.scale
            results[f"background_{number}"] = stats.kstest(pull, "norm").pvalue
    for number, (weight, residual) in enumerate(zip(scene.weight, state.residual, strict=True)):
        weight = np.asarray(weight)
        if weight.max() > 0:
            chi2 = (weight * np.asarray(residual) ** 2).sum((1, 2))
            results[f"chi2_{number}"] = stats.kstest(
                chi2, stats.chi2(np.sum(weight > 0)).cdf
            ).pvalue
    return results


def two_sample_counts(first, second):
    """P value of a chi-square test that two samples of counts are alike."""
    top = int(max(first.max(), second.max())) + 1
    table = np.stack([np.bincount(first, minlength=top), np.bincount(second, minlength=top)])
    pooled, kept = [], np.zeros(2)
    for column in table.T:
        kept = kept + column
        if kept.sum() >= 40:
            pooled.append(kept)
            kept = np.zeros(2)
    if pooled:
        pooled[-1] = pooled[-1] + kept
    return stats.chi2_contingency(np.array(pooled).T).pvalue
