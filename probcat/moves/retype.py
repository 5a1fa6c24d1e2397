"""Turn a point source into an extended one and back, in place, flux collapsed."""

import jax.numpy as jnp

from probcat.moves.base import (
    EXTENDED,
    FLUX,
    POINT,
    Draws,
    Model,
    Outcome,
    Proposal,
    Search,
    Window,
    WindowState,
    active,
    decide,
    patch,
    put,
    with_position,
)
from probcat.moves.proposals import (
    choose_uniformly,
    empty_slot,
)
from probcat.moves.redraw import redraw
from probcat.moves.shapes import choose_shape, tries
from probcat.prior import log_flux_prior


def retype(
    draws: Draws, model: Model, search: Search, window: Window, state: WindowState
) -> tuple[WindowState, Outcome]:
    """Change the type of one source; upward is point to extended."""
    del search
    u = draws.uniform
    prior = model.prior
    size = state.residual.shape[-1]
    upward = u[0] < 0.5

    free_point, point_room = empty_slot(active(state.points))
    free_extended, extended_room = empty_slot(active(state.extended))
    chosen_point = choose_uniformly(u[1], active(state.points))
    chosen_extended = choose_uniformly(u[2], active(state.extended))
    point_slot = jnp.where(upward, chosen_point, free_point)
    extended_slot = jnp.where(upward, free_extended, chosen_extended)

    current = state.extended[extended_slot]
    flux_now = jnp.where(upward, state.points[point_slot, FLUX], current[FLUX])
    position = jnp.where(upward, state.points[point_slot, :FLUX], current[:FLUX])
    source = with_position(current, position)
    point_image = patch(model, POINT, source, size)
    shapes, images = tries(draws, model, window, source, upward)
    bare = state.residual + flux_now * jnp.where(upward, point_image, images[0])
    shape, image, log_shape_ratio = choose_shape(u[3], model, window, bare, shapes, images, upward)

    flux = redraw(u[4:6], draws, model, window, upward, flux_now, bare, (point_image, image))

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
    as_star = jnp.append(position, flux.lower)
    as_galaxy = jnp.concatenate([position, flux.upper[None], shape])
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
