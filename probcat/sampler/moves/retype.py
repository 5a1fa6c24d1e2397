"""Turn a point source into an extended one and back, in place, flux collapsed."""

import jax.numpy as jnp

from probcat.model.prior.densities import log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.flux_redraw import redraw_flux
from probcat.sampler.proposals.fluxes import choose_uniformly, empty_slot
from probcat.sampler.proposals.shapes import propose_shapes, select_shape
from probcat.sampler.window.light import apply_colours, unit_image
from probcat.sampler.window.slots import active, colours_of, put, with_flux, with_shape
from probcat.sampler.window.structures import (
    EXTENDED,
    FLUX,
    POINT,
    Model,
    RandomNumbers,
    Search,
    Window,
    WindowState,
)


def retype(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
) -> tuple[WindowState, Outcome]:
    """Change the type of one source; upward is point to extended."""
    del search
    u = numbers.uniform
    prior = model.prior
    upward = u[0] < 0.5

    free_point, point_room = empty_slot(active(state.points))
    free_extended, extended_room = empty_slot(active(state.extended))
    chosen_point = choose_uniformly(u[1], active(state.points))
    chosen_extended = choose_uniformly(u[2], active(state.extended))
    point_slot = jnp.where(upward, chosen_point, free_point)
    extended_slot = jnp.where(upward, free_extended, chosen_extended)

    current, star = state.extended[extended_slot], state.points[point_slot]
    columns = star.shape[0]
    flux_now = jnp.where(upward, star[FLUX], current[FLUX])
    kept = jnp.where(upward, star, current[:columns])
    source = jnp.concatenate([kept, current[columns:]])
    colours = colours_of(model, source)
    point_image = unit_image(model, window, POINT, source)
    shapes, images = propose_shapes(numbers, model, window, source, upward)
    own = apply_colours(model, images[0], colours)
    bare = state.residual + flux_now * jnp.where(upward, point_image, own)
    shape, plain, log_shape_ratio = select_shape(
        u[3], model, window, bare, shapes, images, upward, colours
    )
    image = apply_colours(model, plain, colours)

    flux = redraw_flux(u[4:6], numbers, model, window, upward, flux_now, bare, (point_image, image))

    num_points = jnp.sum(active(state.points)) + jnp.where(upward, 0, 1)
    num_extended = jnp.sum(active(state.extended)) + jnp.where(upward, 1, 0)
    log_ratio = (
        jnp.log(window.density[EXTENDED])
        - jnp.log(window.density[POINT])
        + log_flux_prior(prior, flux.upper)
        - log_flux_prior(prior, flux.lower)
        + flux.log_ratio
        - log_shape_ratio
        + jnp.log(num_points.astype(jnp.float32))
        - jnp.log(num_extended.astype(jnp.float32))
    )
    as_star = with_flux(kept, flux.lower)
    as_galaxy = with_shape(with_flux(source, flux.upper), shape)
    points = put(state.points, point_slot, jnp.where(upward, 0.0, as_star))
    extended = put(state.extended, extended_slot, jnp.where(upward, as_galaxy, 0.0))
    proposal = Proposal(
        upward=upward,
        possible=jnp.where(
            upward,
            jnp.any(active(state.points)) & extended_room,
            jnp.any(active(state.extended)) & point_room,
        ),
        log_ratio=log_ratio,
        residual=(bare - flux.lower * point_image, bare - flux.upper * image),
        sources=(points, extended),
        signal=flux.lower * jnp.sqrt(flux.information),
    )
    full = jnp.stack(
        [
            ~upward & ~point_room & jnp.any(active(state.extended)),
            upward & ~extended_room & jnp.any(active(state.points)),
        ]
    )
    state = state._replace(overflow=state.overflow | full)
    return decide(u[6], window, state, proposal)
