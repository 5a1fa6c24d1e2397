"""One sweep: place windows, load the sources into them, visit them, and store the sources."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.pixel_noise import Noise
from probcat.sampler.geometry.layout import Layout, PassPlan
from probcat.sampler.geometry.membership import WindowMembers, load_members, store_members
from probcat.sampler.geometry.tiling import Tiling, add, cut, draw_tiling, paste, with_frames
from probcat.sampler.scene.calibration import window_calibration
from probcat.sampler.scene.scene import Scene
from probcat.sampler.state import CatalogState, ChainSample, chain_keys
from probcat.sampler.visit import Visit, VisitResult, visit_windows
from probcat.sampler.window.batching import group_images
from probcat.sampler.window.light import stack, unstack
from probcat.sampler.window.structures import Model, Window, WindowState


def make_pass(
    state: CatalogState,
    rng_key: Array,
    scene: Scene,
    layout: Layout,
    number: int,
    step_size: Array,
    order: Array | None = None,
) -> tuple[CatalogState, Array]:
    """Visit all windows of one placement, in every chain.

    Parameters
    ----------
    state : CatalogState
        State of all chains.
    rng_key : Array
        Random key of the sweep.
    scene : Scene
        Images and prior.
    layout : Layout
        Sizes of the run.
    number : int
        Number of the plan in the layout.
    step_size : Array, shape (C,)
        Step size of the Hamiltonian moves.
    order : Array, shape (any,), int32, optional
        Moves of a visit, as in `probcat.sampler.visit.visit_windows`.

    Returns
    -------
    state : CatalogState
        State after the sweep.
    acceptance : Array, shape (C,)
        Mean acceptance of the Hamiltonian moves; NaN if there was nothing to move.
    """
    key_tiling, key_visit = jax.random.split(rng_key)
    placement = Placement.draw(key_tiling, scene, layout, number)
    keys = chain_keys(key_visit, state)
    visits, members = jax.vmap(placement.load)(
        state.sample, state.residual, state.sky_subtracted, step_size, keys
    )
    # One flat axis of windows: nested ones take much longer to trace.
    shape = (state.chain.shape[0], placement.weight.shape[0])
    flat = jax.tree.map(lambda a: a.reshape(shape[0] * shape[1], *a.shape[2:]), visits)
    small = _without_large(scene.model, placement.plan)
    model, search = group_images(small, placement.sizes, scene.searches[number])
    results = visit_windows(flat, model, search, placement.plan, layout.num_leapfrog, order)
    results = jax.tree.map(lambda a: a.reshape(*shape, *a.shape[1:]), results)
    sample, residual, acceptance = jax.vmap(placement.store)(
        state.sample, state.residual, members, results
    )
    return state._replace(sample=sample, residual=residual), acceptance


def _without_large(model: Model, plan: PassPlan) -> Model:
    """Model without the grids of sources that are too large for the windows."""
    if not math.isfinite(plan.largest):
        return model
    images = (image._replace(extended_tables=image.extended_tables[:1]) for image in model.images)
    return replace(model, images=tuple(images))


@dataclass(frozen=True, eq=False)
class Placement:
    """Windows of one sweep, which all chains share.

    Parameters
    ----------
    scene : Scene
        Images and prior.
    plan : PassPlan
        Plan of the windows.
    tiling : Tiling
        Placement of the windows in all images.
    sizes : tuple of int
        Side of a window in pixels of every image.
    weight : Array, shape (num_windows, W, W)
        Inverse variances in the windows.
    precision : Array, shape (num_windows, B, 2 * interior, 2 * interior)
        ``sum w P^2`` of every band on the half-pixel grid of the interiors.
    variance : Array or None, shape (num_windows, W, W)
        Variances without sources, if variances depend on the model.
    """

    scene: Scene
    plan: PassPlan
    tiling: Tiling
    sizes: tuple[int, ...]
    weight: Array
    precision: Array
    variance: Array | None

    @classmethod
    def draw(cls, rng_key: Array, scene: Scene, layout: Layout, number: int) -> "Placement":
        """Place the windows of a plan at random."""
        plan, sizes = layout.plans[number], layout.window_sizes(number)
        tiling = with_frames(draw_tiling(rng_key, layout, plan), scene.maps, sizes)
        weight = _cut_all(scene.weight, tiling, sizes)
        precision = _cut_precision(scene.search_precision, tiling, plan)
        variance = _cut_all(scene.variance, tiling, sizes) if scene.variance else None
        return cls(scene, plan, tiling, sizes, weight, precision, variance)

    def load(
        self,
        sample: ChainSample,
        residual: tuple[Array, ...],
        sky_subtracted: tuple[Array, ...],
        step_size: Array,
        rng_key: Array,
    ) -> tuple[Visit, list[WindowMembers]]:
        """Load the windows of one chain.

        Parameters
        ----------
        sample : ChainSample
            Draw of the chain.
        residual, sky_subtracted : tuple of Array, shape (Hp, Wp)
            Images of the chain, as in `CatalogState`.
        step_size : Array, shape ()
            Step size of the Hamiltonian moves.
        rng_key : Array
            Random key of the chain.

        Returns
        -------
        visits : Visit
            Windows, stacked along a first axis.
        members : list of WindowMembers
            Point and extended sources in the windows.
        """
        plan, tiling = self.plan, self.tiling
        shift, flux_factor = window_calibration(self.scene, sample, tiling.shift)
        number = self.weight.shape[0]
        points = load_members(sample.points, tiling, plan.size, plan.point_slots)
        extended = load_members(
            sample.extended, tiling, plan.size, plan.extended_slots, plan.largest
        )

        def in_all(value: Array) -> Array:
            return jnp.broadcast_to(value, (number, *value.shape))

        fraction = jnp.stack([1.0 - sample.extended_fraction, sample.extended_fraction])
        window = Window(
            weight=self.weight * sample.beta,
            lower_bound=tiling.lower_bound,
            upper_bound=tiling.upper_bound,
            density=in_all((sample.mu / self.scene.area) * fraction),
            search_precision=self.precision,
            beta=in_all(sample.beta),
            largest=in_all(jnp.float32(plan.largest)),
            step_size=in_all(step_size),
            shift=shift,
            flux_factor=in_all(flux_factor),
            corner=jnp.stack(tiling.corners, axis=1).astype(jnp.float32),
            noise=self._noise(sample, sky_subtracted),
        )
        state = WindowState(
            residual=_cut_all(residual, tiling, self.sizes),
            points=points.marks,
            extended=extended.marks,
            overflow=jnp.zeros((number, 2), bool),
        )
        keys = jax.random.split(rng_key, number)
        sampled = self.scene.model.prior.psf_width_change is not None
        width = in_all(sample.psf_width_change) if sampled else None
        return Visit(keys, in_all(sample.flux_slope), width, window, state), [points, extended]

    def _noise(self, sample: ChainSample, sky_subtracted: tuple[Array, ...]) -> Noise | None:
        """Noise in the windows of one chain; None if variances do not depend on the model."""
        if self.variance is None:
            return None
        variance = self.variance

        def by_row(value: Array) -> Array:
            parts = [jnp.broadcast_to(value[i], (size,)) for i, size in enumerate(self.sizes)]
            column = jnp.concatenate(parts)[:, None]
            return jnp.broadcast_to(column, (variance.shape[0], *column.shape))

        square = sample.noise_scale**2
        return Noise(
            sky_subtracted=_cut_all(sky_subtracted, self.tiling, self.sizes),
            # Windows of several images are filled up with zeros to one width.
            base=jnp.where(variance > 0.0, variance * by_row(square), 1.0),
            photon=by_row(square * self.scene.photon),
            floor=by_row(sample.psf_error_floor**2),
        )

    def store(
        self,
        sample: ChainSample,
        residual: tuple[Array, ...],
        members: Sequence[WindowMembers],
        results: VisitResult,
    ) -> tuple[ChainSample, tuple[Array, ...], Array]:
        """Store the windows of one chain.

        Parameters
        ----------
        sample : ChainSample
            Draw of the chain before the visit.
        residual : tuple of Array, shape (Hp, Wp)
            Residuals of the chain before the visit.
        members : sequence of WindowMembers
            Point and extended sources that were loaded.
        results : VisitResult
            Windows after the visit, stacked along a first axis.

        Returns
        -------
        sample : ChainSample
            Draw after the visit.
        residual : tuple of Array, shape (Hp, Wp)
            Residuals after the visit.
        acceptance : Array, shape ()
            Mean acceptance of the Hamiltonian moves.
        """
        windows, moves, acceptance, occupied = results
        tiling, kinds = self.tiling, (sample.points, sample.extended)
        points, full_points = store_members(kinds[0], tiling, members[0], windows.points)
        extended, full_extended = store_members(kinds[1], tiling, members[1], windows.extended)
        full = jnp.stack([full_points, full_extended], axis=1)
        full = jnp.stack([full[0], full[1] | jnp.any(windows.overflow, axis=0)])
        number = jnp.sum(occupied.astype(jnp.float32))
        mean = jnp.sum(jnp.where(occupied, acceptance, 0.0)) / number
        sample = sample._replace(
            points=points,
            extended=extended,
            overflow=sample.overflow | full.reshape(-1),
            moves=sample.moves + jnp.sum(moves, axis=0),
            hmc_acceptance=jnp.where(number > 0, mean, sample.hmc_acceptance),
        )
        parts = unstack(windows.residual, self.sizes)
        updated = [paste(residual[0], parts[0], tiling.corners[0])]
        for plane, part, corners in zip(residual[1:], parts[1:], tiling.corners[1:], strict=True):
            # Windows of other images may overlap, although stamps do not.
            updated.append(add(plane, part - cut(plane, corners, part.shape[-1]), corners))
        return sample, tuple(updated), mean


def _cut_all(planes: tuple[Array, ...], tiling: Tiling, sizes: tuple[int, ...]) -> Array:
    """Windows of all images, those of one placement below each other."""
    parts = zip(planes, tiling.corners, sizes, strict=True)
    return stack([cut(*part) for part in parts])


def _cut_precision(precision: Array, tiling: Tiling, plan: PassPlan) -> Array:
    """Interiors of all windows on the half-pixel grid."""
    side = 2 * plan.interior
    return jax.vmap(
        lambda corner: jax.lax.dynamic_slice(
            precision,
            (0, 2 * (corner[1] + plan.margin), 2 * (corner[0] + plan.margin)),
            (precision.shape[0], side, side),
        )
    )(tiling.origin)
