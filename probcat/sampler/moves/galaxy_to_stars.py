"""Turn a galaxy into two stars and two stars into a galaxy, keeping the centroid.

The stars' shares and displacement are drawn as for a split, but on the scale of the
galaxy's half-light radius; its shape is chosen by multiple tries; all fluxes are drawn
from their conditional Gaussians.  With total flux F the Jacobian is F, as for a split.
"""

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.companion import neighbour_weights
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.colours import divide, log_division, merge, sample_difference
from probcat.sampler.proposals.flux_redraw import redraw_flux
from probcat.sampler.proposals.fluxes import choose, choose_uniformly, empty_slot, log_probability
from probcat.sampler.proposals.pairs import (
    log_flux_fraction_density,
    log_step_density,
    sample_flux_fraction,
    sample_step,
    splittable,
)
from probcat.sampler.proposals.shapes import propose_shapes, select_shape
from probcat.sampler.window.light import apply_colours, unit_image
from probcat.sampler.window.slots import (
    active,
    colours_of,
    contains,
    one_hot,
    put,
    star,
    with_colours,
    with_flux,
    with_position,
    with_shape,
)
from probcat.sampler.window.structures import (
    EXTENDED,
    FLUX,
    POINT,
    RADIUS,
    Model,
    RandomNumbers,
    Search,
    Window,
    WindowState,
    X,
    Y,
)

REACH = 1.5
"""Partners are chosen within about this many FWHM."""


def galaxy_to_stars(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
) -> tuple[WindowState, Outcome]:
    """One galaxy to two stars (upward) or back."""
    del search
    u = numbers.uniform
    prior, points, extended = model.prior, state.points, state.extended
    upward = u[0] < 0.5

    slots, galaxy_slot, has_room = _choose_slots(u[1:4], model, state, upward)
    first, second, galaxy = points[slots[0]], points[slots[1]], extended[galaxy_slot]
    flux_now = jnp.where(upward, galaxy[FLUX], first[FLUX] + second[FLUX])
    share_now = first[FLUX] / jnp.maximum(first[FLUX] + second[FLUX], 1e-30)
    middle = share_now * first[:FLUX] + (1.0 - share_now) * second[:FLUX]
    centre = jnp.where(upward, galaxy[:FLUX], middle)
    fraction = jnp.where(upward, sample_flux_fraction(u[4:7], prior, flux_now), share_now)
    drawn = sample_step(u[7:10], galaxy[RADIUS])
    step = jnp.where(upward, drawn, first[:FLUX] - second[:FLUX])
    position_1, position_2 = centre + (1.0 - fraction) * step, centre - fraction * step
    joined, difference = merge(share_now, colours_of(model, first), colours_of(model, second))
    joined = jnp.where(upward, colours_of(model, galaxy), joined)
    difference = jnp.where(upward, sample_difference(numbers.normal, prior), difference)
    colours_1, colours_2 = divide(fraction, joined, difference)
    unit = (star(position_1, fraction, colours_1), star(position_2, 1.0 - fraction, colours_2))
    images = [one[FLUX] * unit_image(model, window, POINT, one) for one in unit]
    pair = images[0] + images[1]

    galaxy = with_colours(with_position(galaxy, centre), joined)
    shapes, candidates = propose_shapes(numbers, model, window, galaxy, ~upward)
    bare = state.residual + flux_now * jnp.where(
        upward, apply_colours(model, candidates[0], joined), pair
    )
    shape, plain, log_shape_ratio = select_shape(
        u[10], model, window, bare, shapes, candidates, ~upward, joined
    )
    image = apply_colours(model, plain, joined)
    flux = redraw_flux(u[11:13], numbers, model, window, upward, flux_now, bare, (image, pair))
    star_1, star_2 = (with_flux(one, one[FLUX] * flux.upper) for one in unit)
    as_galaxy = with_shape(with_flux(galaxy, flux.lower), shape)
    with_pair = put(put(points, slots[0], star_1), slots[1], star_2)
    near = neighbour_weights(with_pair, star_2[X], star_2[Y], REACH * model.fwhm, slots[1])
    num_points = jnp.sum(active(with_pair), dtype=jnp.int32)
    num_extended = jnp.sum(active(extended), dtype=jnp.int32) + jnp.where(upward, 0, 1)
    log_ratio = (
        2.0 * jnp.log(window.density[POINT])
        - jnp.log(window.density[EXTENDED])
        + log_flux_prior(prior, star_1[FLUX])
        + log_flux_prior(prior, star_2[FLUX])
        - log_flux_prior(prior, flux.lower)
        + log_shape_ratio
        - jnp.log(num_points.astype(jnp.float32))
        + log_probability(near, slots[0])
        + flux.log_ratio
        + jnp.log(num_extended.astype(jnp.float32))
        - log_flux_fraction_density(prior, flux.lower, fraction)
        - log_step_density(jnp.sum(step**2), shape[0])
        + jnp.log(flux.upper)
        + log_division(prior, joined, difference, colours_1, colours_2)
    )
    stars_inside = contains(window, *position_1) & contains(window, *position_2)
    existing = jnp.where(upward, jnp.any(active(extended)), jnp.sum(active(points)) > 1)
    fits = jnp.where(upward, stars_inside, contains(window, *centre))
    without_pair = put(put(points, slots[0], 0.0), slots[1], 0.0)
    proposal = Proposal(
        upward=upward,
        possible=existing & has_room & fits & splittable(prior, flux.lower),
        log_ratio=log_ratio,
        residual=(bare - flux.lower * image, bare - flux.upper * pair),
        sources=(
            jnp.where(upward, with_pair, without_pair),
            put(extended, galaxy_slot, jnp.where(upward, 0.0, as_galaxy)),
        ),
        signal=jnp.minimum(fraction, 1.0 - fraction) * flux.upper * jnp.sqrt(flux.information),
    )
    full = existing & ~has_room & jnp.stack([upward, ~upward])
    return decide(u[13], window, state._replace(overflow=state.overflow | full), proposal)


def _choose_slots(
    uniform: Array, model: Model, state: WindowState, upward: Array
) -> tuple[Array, Array, Array]:
    """Slots of the two stars and of the galaxy, and whether there is room for the new ones."""
    points, extended = state.points, state.extended
    free_1, room_1 = empty_slot(active(points))
    free_2, room_2 = empty_slot(active(points) | one_hot(free_1, points.shape[0]))
    second = choose_uniformly(uniform[0], active(points))
    reach = REACH * model.fwhm
    near = neighbour_weights(points, points[second, X], points[second, Y], reach, second)
    stars = jnp.stack([choose(uniform[1], near), second])
    free, room = empty_slot(active(extended))
    galaxy = choose_uniformly(uniform[2], active(extended))
    slots = jnp.where(upward, jnp.stack([free_1, free_2]), stars)
    return slots, jnp.where(upward, galaxy, free), jnp.where(upward, room_1 & room_2, room)
