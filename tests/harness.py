"""One harness for all moves: exact draws of the joint must stay exact draws.

Catalogs are drawn from the prior and the residual is set to pure noise, which makes
(catalog, data) an exact draw of the joint distribution.  Any move that leaves the
posterior invariant leaves this joint unchanged, so that after any number of steps the
catalogs still follow the prior and the residuals are still noise (Geweke 2004, JASA
99, 799).  Chains are independent, which makes every test below exact.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy import stats

from probcat.common import update_common
from probcat.defaults import log_normal_within
from probcat.kernel import CatalogKernel
from probcat.layout import Layout, PassPlan
from probcat.prior import Prior, sample_flux_prior, sample_shape
from probcat.psf import PSF
from probcat.scene import build_scene
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


def make_scene(layout, prior, weight):
    psf = PSF.moffat(2.6, 3.0, size=13)
    weights = np.full(SHAPE, weight)
    if weight > 0:
        weights[3:6, 4] = 0.0
        weights *= np.linspace(0.7, 1.3, SHAPE[1])
    return build_scene(
        np.zeros(SHAPE), weights, psf, prior, layout, extended_radius=EXTENDED_RADIUS
    )


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
        if extended:
            parts.append(sample_shape(prior, keys[3], (chains, capacity)))
        marks = jnp.concatenate(parts, axis=-1)
        held = jnp.arange(capacity)[None] < count[:, None]
        marks = jnp.where(held[..., None], marks, 0.0).astype(jnp.float32)
        return Sources(jnp.round(position).astype(jnp.int32), marks)

    weight = scene.weight[None]
    noise = jax.random.normal(keys[5], (chains, *scene.weight.shape))
    residual = jnp.where(weight > 0, noise / jnp.sqrt(jnp.where(weight > 0, weight, 1.0)), 0.0)
    background = prior.background
    if isinstance(background, dist.Distribution):
        background = background.sample(keys[6], (chains,))
    draw = state.draw._replace(
        points=sources(keys[3], mu * (1.0 - fraction), layout.point_capacity, False),
        extended=sources(keys[4], mu * fraction, layout.extended_capacity, True),
        mu=mu,
        extended_fraction=fraction,
        flux_slope=slope,
        background=jnp.broadcast_to(jnp.asarray(background, jnp.float32), (chains,)),
    )
    return state._replace(draw=draw, residual=residual)


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
        if name == "extended":
            for values, store in ((marks, columns), (others, reference)):
                store["half_light_radius"] = values[:, 3]
                store["ellipticity"] = np.hypot(values[:, 4], values[:, 5])
                store["direction"] = np.arctan2(values[:, 5], values[:, 4])
                store["sersic_n"] = values[:, 6]
        for label, values in columns.items():
            results[f"{name}_{label}"] = stats.ks_2samp(values, reference[label]).pvalue
    results["flux_slope"] = stats.kstest(
        (draw.flux_slope - prior.flux_slope.loc) / prior.flux_slope.scale, "norm"
    ).pvalue
    results["mu"] = stats.ks_2samp(draw.mu, np.asarray(fresh.draw.mu)).pvalue
    if isinstance(prior.background, dist.Distribution):
        results["background"] = stats.kstest(
            (draw.background - prior.background.loc) / prior.background.scale, "norm"
        ).pvalue
    weight = np.asarray(scene.weight)
    if weight.max() > 0:
        chi2 = (weight * np.asarray(state.residual) ** 2).sum((1, 2))
        results["chi2"] = stats.kstest(chi2, stats.chi2(np.sum(weight > 0)).cdf).pvalue
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
