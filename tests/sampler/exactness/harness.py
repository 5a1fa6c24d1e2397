"""One harness for all moves: exact draws of the joint must stay exact draws.

Catalogs are drawn from the prior and the residual is set to pure noise, which makes
(catalog, data) an exact draw of the joint distribution.  Any move that leaves the
posterior invariant leaves this joint unchanged, so that after any number of steps the
catalogs still follow the prior and the residuals are still noise (Geweke 2004, JASA
99, 799).  Chains are independent, which makes every test below exact.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy import stats

from probcat.image.alignment import Alignment
from probcat.model.pixel_noise import variance
from probcat.model.prior.defaults import log_normal_within
from probcat.model.prior.densities import sample_colour_prior, sample_flux_prior, sample_shape
from probcat.model.prior.prior import Prior
from probcat.psf.psf import PSF
from probcat.psf.varying import VaryingPSF
from probcat.sampler.geometry.frames import build_frames, frame_origin, least_margin
from probcat.sampler.geometry.layout import Layout, PassPlan
from probcat.sampler.geometry.tiling import Sources
from probcat.sampler.kernel import CatalogKernel
from probcat.sampler.moves import MOVES
from probcat.sampler.residual import fresh_residual
from probcat.sampler.scene.calibration import background_priors, calibrated, plane_noise
from probcat.sampler.scene.plane import Plane
from probcat.sampler.scene.render import render
from probcat.sampler.scene.scene import build_scene
from probcat.sampler.state import initial_state
from probcat.sampler.updates.shared import evaluate_fit, update_shared

ALL_MOVES = tuple(MOVES)
COMMON_MOVES = ALL_MOVES[:-2]
"""All but the two refits, which come last and take longest to compile and to run."""
assert not any(name.startswith("refit") for name in COMMON_MOVES)
EXTENDED_RADIUS = 8
SHAPE = (18, 20)
WIDE_SHAPE = (18, 60)
"""Shape of an image that `WIDE_INTERIOR` divides into two windows."""
WIDE_INTERIOR = 10
ONE_WAY = {"merge_and_split"}
"""Moves that keep the number of sources: they count as upward only."""
ENOUGH_FLOW = 30
"""Sum of squared net flows from which on their mean over their error is nearly normal."""


def make_prior(**changes):
    prior = Prior(
        flux=dist.DoublyTruncatedPowerLaw(-1.8, 60.0, 3000.0),
        half_light_radius=log_normal_within(1.5, 0.4, 0.5, 4.0),
        ellipticity=dist.Beta(2.0, 4.0),
        sersic_n=dist.Uniform(0.5, 4.0),
        expected_sources=dist.Gamma(12.0, 3.0),
        extended_fraction=dist.Beta(3.0, 4.0),
        background=dist.Normal(5.0, 2.0),
        flux_slope=dist.Normal(1.8, 0.4),
    )
    return prior.replace(**changes).validate()


def make_layout(
    schedule, num_hmc, num_chains, passes=1, extended_slots=16, shape=SHAPE, interior=12
):
    plan = PassPlan(interior, EXTENDED_RADIUS, 32, extended_slots, tuple(schedule), num_hmc, passes)
    return Layout(shape, 24, 1.3, 64, 32, (plan,), 5, num_chains)


class Work(NamedTuple):
    """What `advance_by` does, as data: one compiled program serves all of it.

    Attributes
    ----------
    order : Array, shape (len(ALL_MOVES),), int32
        Moves of a visit, as positions in `ALL_MOVES`.
    passes : Array, int32
        Number of passes.
    with_moves, with_hmc, with_shared : Array, bool
        Whether a pass has the moves, a Hamiltonian trajectory, and the updates of
        parameters that all sources share.
    """

    order: jax.Array
    passes: jax.Array
    with_moves: jax.Array
    with_hmc: jax.Array
    with_shared: jax.Array


def make_work(schedule, passes, *, with_hmc=False, with_shared=False):
    """Repeat a schedule until it has the length that every schedule has here."""
    order = np.resize([ALL_MOVES.index(name) for name in schedule or ALL_MOVES], len(ALL_MOVES))
    flags = (bool(schedule), with_hmc, with_shared)
    return Work(jnp.asarray(order, jnp.int32), jnp.int32(passes), *map(jnp.asarray, flags))


def with_trajectories_apart(layout, moves=ALL_MOVES):
    """Layout whose first plan has the moves, and whose second has a trajectory."""
    (plan,) = layout.plans
    moves = replace(plan, schedule=moves, num_hmc=0)
    frames = tuple(replace(frame, sizes=frame.sizes * 2) for frame in layout.frames)
    plans = (moves, replace(plan, schedule=(), num_hmc=1))
    return replace(layout, plans=plans, frames=frames)


def make_shared_layout(num_chains):
    """Layout of the program that tests of single moves share."""
    return with_trajectories_apart(make_layout((), 1, num_chains))


def make_varying_psf(shape=SHAPE):
    """PSF that changes its width by half and its ellipticity over an image."""
    axis = np.arange(-12, 13) / 2.0
    x, y = np.meshgrid(axis, axis)

    def moffat(fwhm, stretch):
        square = (x * stretch) ** 2 + (y / stretch) ** 2
        return (1.0 + square * (2.0 ** (1.0 / 3.0) - 1.0) / (0.5 * fwhm) ** 2) ** -3.0

    psfs = [[moffat(2.2, 1.0), moffat(2.6, 1.2)], [moffat(3.3, 0.9), moffat(2.6, 0.8)]]
    nodes = (np.array([0.0, n - 1.0]) for n in shape[::-1])
    return VaryingPSF.from_grid(*nodes, psfs, 2).in_frame((0, 0), shape)


def make_scene(layout, prior, weight, photon=0.0, psf=None):
    psf = PSF.moffat(2.6, 3.0, size=13) if psf is None else psf
    shape = layout.image_shape
    weights = np.full(shape, weight)
    if weight > 0:
        weights[3:6, 4] = 0.0
        weights *= np.linspace(0.7, 1.3, shape[1])
    plane = Plane(np.zeros(shape), weights, psf, EXTENDED_RADIUS, photon=photon)
    return build_scene([plane], prior, layout)


def make_joint(
    schedule,
    num_hmc,
    num_chains,
    weight,
    prior,
    photon=0.0,
    psfs=None,
    extended_slots=16,
    shared=None,
    shape=SHAPE,
    interior=12,
):
    """Scene of three images: a dither in the first band, and a finer, rotated one in another.

    With moves as `shared` the layout is like that of `make_shared_layout`, for `advance_by`.
    """
    angle, zoom = 0.4, 1.25
    turned = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    links = (
        Alignment(np.eye(2, 3)),
        Alignment(np.column_stack([turned, [6.3, -4.1]]), 1, 1.0),
        Alignment(np.array([[1.0, 0.01, 0.37], [-0.02, 0.99, -0.61]]), 0, 1.6),
    )
    psfs = psfs or [PSF.moffat(fwhm, 3.0, size=13) for fwhm in (2.6, 2.4, 2.1)]
    radii = [EXTENDED_RADIUS, 10, EXTENDED_RADIUS]
    margin = least_margin(links, radii)
    plan = PassPlan(interior, margin, 32, extended_slots, tuple(schedule), num_hmc, 1)
    layout = Layout(shape, 14 + margin, 1.3, 64, 32, (plan,), 5, num_chains)
    layout = replace(layout, frames=build_frames(links, layout, [radii], radii))
    layout = with_trajectories_apart(layout, shared) if shared else layout
    planes = []
    for number, (link, psf, radius) in enumerate(zip(links, psfs, radii, strict=True)):
        # The other images cover most of the first one.
        sides = shape if number == 0 else (26, shape[1] + 7)
        weights = np.full(sides, weight * (1.0, 0.8, 0.3)[number])
        weights[3:6, 4] = 0.0
        origin = (0, 0) if number == 0 else frame_origin(link, layout)
        given = (radius, radius, link.affine, origin, link.flux_factor, photon)
        planes.append(Plane(np.zeros(sides), weights, psf, *given))
    return layout, build_scene(planes, prior, layout)


def exact_state(rng_key, scene, layout, beta=1.0):
    """Independent exact draws of catalog and data, one a chain.

    With an inverse temperature `beta` below one the noise has the variance that the tempered
    likelihood gives it, so that the tempered joint is exact too. Variances must be given.
    """
    assert beta == 1.0 or not scene.variance
    keys = jax.random.split(rng_key, 8)
    prior, chains = scene.model.prior, layout.num_chains
    state = initial_state(keys[0], scene, layout)
    mu = prior.expected_sources.sample(keys[1], (chains,))
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

    draw = state.sample._replace(
        points=sources(keys[3], mu * (1.0 - fraction), layout.point_capacity, False),
        extended=sources(keys[4], mu * fraction, layout.extended_capacity, True),
        mu=mu,
        extended_fraction=fraction,
        flux_slope=slope,
        beta=jnp.full_like(mu, beta),
    )
    draw = draw._replace(**exact_nuisances(keys[6], scene, draw))
    residual, light = exact_planes(keys[5], scene, layout, draw, beta)
    return state._replace(sample=draw, residual=residual, sky_subtracted=light)


def exact_nuisances(rng_key, scene, draw):
    """Draws from the priors of all that images have of their own."""
    keys = jax.random.split(rng_key, 5)
    prior, shape = scene.model.prior, draw.psf_error_floor.shape
    found = {}
    for key, name in zip(keys, ("psf_error_floor", "noise_scale", "flux_scale"), strict=False):
        if isinstance(getattr(prior, name), dist.Distribution):
            found[name] = getattr(prior, name).sample(key, shape)
    if prior.flux_scale is not None:
        bands = scene.model.bands
        sampled = np.array([band in bands[:index] for index, band in enumerate(bands)])
        found["flux_scale"] = jnp.where(sampled[None], found["flux_scale"], 1.0)
    if prior.psf_width_change is not None:
        found["psf_width_change"] = prior.psf_width_change.sample(
            jax.random.fold_in(rng_key, 1), (*shape, 2)
        )
    if prior.offset is not None:
        offset = prior.offset.sample(keys[3], (*shape, 2))
        found["offset"] = offset.at[:, 0].set(0.0)
    columns = []
    for key, (mean, scale) in zip(
        jax.random.split(keys[4], shape[1]), background_priors(scene), strict=True
    ):
        normal = jax.random.normal(key, (shape[0], mean.shape[0]))
        scatter = jnp.zeros_like(mean) if scale is None else scale
        columns.append(mean[None] + scatter[None] * normal)
    return found | {"background": jnp.concatenate(columns, axis=1)}


def exact_planes(rng_key, scene, layout, draw, beta=1.0):
    """Noise of the right variance as residuals, and data minus background, of every chain."""
    models = [None] * len(scene.weight)
    if scene.keeps_sky_subtracted:
        models = jax.jit(jax.vmap(partial(render_chain, scene, layout)))(draw)
    residuals, lights = [], []
    keys = jax.random.split(rng_key, len(models))
    for index, (key, weight, model) in enumerate(zip(keys, scene.weight, models, strict=True)):
        noise = jax.random.normal(key, (layout.num_chains, *weight.shape))
        spread = jnp.broadcast_to(1.0 / jnp.where(weight > 0, beta * weight, 1.0), noise.shape)
        if scene.variance:
            spread = jax.vmap(
                lambda d, m, i=index: variance(plane_noise(scene, d, m, i), jnp.zeros_like(m))
            )(draw, model)
        residuals.append(jnp.where(weight > 0, noise * jnp.sqrt(spread), 0.0))
        if scene.keeps_sky_subtracted:
            lights.append(model + residuals[-1])
    return tuple(residuals), tuple(lights)


def render_chain(scene, layout, draw):
    return render(calibrated(scene, draw), layout, draw.points, draw.extended, EXTENDED_RADIUS)


def advance(rng_key, state, scene, layout, passes, step_size=0.25, with_globals=False):
    """Apply passes of the plan's moves (and the global steps) without re-rendering."""
    state = with_step_size(state, layout, step_size)
    return _run(layout, with_globals, state, jax.random.split(rng_key, passes), scene)


def with_step_size(state, layout, step_size):
    log_step = jnp.full((layout.num_chains, len(layout.plans)), jnp.log(jnp.float32(step_size)))
    return state._replace(log_step=log_step, log_step_mean=log_step)


def advance_by(work, rng_key, state, scene, layout, step_size=0.25):
    """Do some work without re-rendering; compiled once for all kinds of it."""
    return _run_work(layout, with_step_size(state, layout, step_size), rng_key, scene, work)


@partial(jax.jit, static_argnums=0)
def _run_work(layout, state, rng_key, scene, work):
    kernel = CatalogKernel(layout, EXTENDED_RADIUS)

    def sweep(state, key, number, order):
        plan = layout.plans[number]
        return kernel.sweep(
            state, key, scene=scene, plan=plan, number=number, warming=False, order=order
        )

    def body(number, state):
        keys = jax.random.split(jax.random.fold_in(rng_key, number), 3)
        steps = (
            (work.with_moves, lambda state: sweep(state, keys[0], 0, work.order)),
            (work.with_hmc, lambda state: sweep(state, keys[1], 1, None)),
            (
                work.with_shared,
                lambda state: update_shared(keys[2], state, scene, layout, EXTENDED_RADIUS),
            ),
        )
        for wanted, step in steps:
            state = jax.lax.cond(wanted, step, lambda state: state, state)
        return state

    return jax.lax.fori_loop(0, work.passes, body, state)


@partial(jax.jit, static_argnums=0)
def _fresh_residuals(layout, sample, scene):
    return jax.vmap(lambda draw: fresh_residual(draw, scene, layout, EXTENDED_RADIUS))(sample)


def check_running_residuals(start, end, scene, layout, tolerance, num_chains=32):
    """The noise that a residual is of stays what it was, in standard deviations."""
    samples = [jax.tree.map(lambda a: a[:num_chains], state.sample) for state in (start, end)]
    before, after = (_fresh_residuals(layout, sample, scene) for sample in samples)
    for number, weight in enumerate(scene.weight):
        noise = [
            state.residual[number][:num_chains] - fresh[number]
            for state, fresh in ((start, before), (end, after))
        ]
        error = np.abs(np.asarray(noise[1] - noise[0])) * np.sqrt(np.asarray(weight))
        assert error.max() < tolerance


@partial(jax.jit, static_argnums=(0, 1))
def _run(layout, with_globals, state, keys, scene):
    kernel = CatalogKernel(layout, EXTENDED_RADIUS)

    def body(state, key):
        key_pass, key_globals = jax.random.split(key)
        state = kernel.sweep(
            state, key_pass, scene=scene, plan=layout.plans[0], number=0, warming=False
        )
        if with_globals:
            state = update_shared(key_globals, state, scene, layout, EXTENDED_RADIUS)
        return state, None

    return jax.lax.scan(body, state, keys)[0]


def compare_with_prior(state, scene, layout):
    """P values of everything that must still follow the joint, by name."""
    prior, draw = scene.model.prior, jax.tree.map(np.asarray, state.sample)
    beta = draw.beta
    fresh = exact_state(jax.random.key(987), scene, layout, float(beta[0]))
    results = {}
    for name, sources in (("point", draw.points), ("extended", draw.extended)):
        other = getattr(fresh.sample, "points" if name == "point" else name)
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
    results["mu"] = stats.ks_2samp(draw.mu, np.asarray(fresh.sample.mu)).pvalue
    results |= compare_nuisances(scene, draw, fresh.sample)
    measured = jax.vmap(partial(evaluate_fit, scene))(
        state.sample, state.residual, state.sky_subtracted
    )
    pixels = sum(int(np.sum(np.asarray(weight) > 0)) for weight in scene.weight)
    if pixels:
        chi2 = beta * np.asarray(measured[0])
        results["chi2"] = stats.kstest(chi2, stats.chi2(pixels).cdf).pvalue
    return results


def compare_nuisances(scene, draw, fresh):
    """P values of what images have of their own, by name."""
    results, first = {}, 0
    for number, (mean, scale) in enumerate(background_priors(scene)):
        for term in range(mean.shape[0]):
            if scale is not None:
                pull = (draw.background[:, first + term] - mean[term]) / scale[term]
                results[f"background_{number}_{term}"] = stats.kstest(pull, "norm").pvalue
        first += mean.shape[0]
    for name in ("psf_error_floor", "noise_scale", "flux_scale", "offset", "psf_width_change"):
        values = np.asarray(getattr(draw, name)).reshape(draw.mu.shape[0], -1)
        others = np.asarray(getattr(fresh, name)).reshape(values.shape)
        for column in range(values.shape[1]):
            if np.ptp(others[:, column]) > 0.0:
                p_value = stats.ks_2samp(values[:, column], others[:, column]).pvalue
                results[f"{name}_{column}"] = p_value
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


def net_flows(moves):
    """Moves accepted upward minus downward, shape (chain, move, 1 + bins): all, and by signal.

    `moves` has the axes (chain, move, signal, direction, tried and accepted).
    """
    accepted = np.asarray(moves)[:, : len(MOVES), ..., 1]
    net = accepted[..., 0] - accepted[..., 1]
    return np.concatenate([net.sum(axis=2, keepdims=True), net], axis=2)


def balance_of_flows(moves):
    """P values that a move is accepted upward as often as downward, overall and by signal.

    From an exact draw of the joint a reversible move leads from any set of states A to any set B
    as often as from B to A. If its ratio is wrong by a factor c, acceptances upward and downward
    are in the ratio c : 1, whatever else the move does.
    """
    net = net_flows(moves)
    total, square = net.sum(axis=0), (net**2).sum(axis=0)
    results = {}
    for row, name in enumerate(MOVES):
        for column in range(net.shape[2]):
            if name not in ONE_WAY and square[row, column] >= ENOUGH_FLOW:
                pull = abs(total[row, column]) / np.sqrt(square[row, column])
                label = f"flow_{name}" + (f"_bin_{column - 1}" if column else "")
                results[label] = 2.0 * stats.norm.sf(pull)
    return results


def with_twice_the_galaxies(state):
    """State of chains that are told of twice the density of galaxies that they were drawn with."""
    mu, fraction = state.sample.mu, state.sample.extended_fraction
    wrong = {"mu": mu * (1.0 + fraction), "extended_fraction": 2.0 * fraction / (1.0 + fraction)}
    return state._replace(sample=state.sample._replace(**wrong))
