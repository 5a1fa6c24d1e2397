r"""Change of the kind of a source, from point to extended and back, in place.

Upward, a star becomes a galaxy; downward, a galaxy becomes a star. Either is chosen uniformly
among its kind. Position and colours stay. The shape comes from several tries, and the flux F is
drawn from its conditional Gaussian given the new image. With :math:`n_P` stars in x and
:math:`n_E` galaxies in y, and a Jacobian of one,

.. math:: A = \frac{\lambda_E\, p(F_y)}{\lambda_P\, p(F_x)}
          \cdot \frac{N(F_x \mid R, \mathrm{star})}{N(F_y \mid R, \mathrm{galaxy})\, w / \bar w}
          \cdot \frac{n_P}{n_E}.
"""

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.choices import choose_uniformly, empty_slot
from probcat.sampler.proposals.flux_redraw import Redrawn, redraw_flux
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
    """Propose that a star becomes a galaxy (upward) or a galaxy becomes a star (downward).

    Arguments and results are those of a `Move`.
    """
    del search
    u = numbers.uniform
    u_direction, u_star, u_galaxy, u_shape = u[0], u[1], u[2], u[3]
    u_flux, u_accept = u[4:6], u[6]

    upward = u_direction < 0.5
    free_point, point_room = empty_slot(active(state.points))
    free_extended, extended_room = empty_slot(active(state.extended))
    chosen_point = choose_uniformly(u_star, active(state.points))
    chosen_extended = choose_uniformly(u_galaxy, active(state.extended))
    point_slot = jnp.where(upward, chosen_point, free_point)
    extended_slot = jnp.where(upward, free_extended, chosen_extended)

    galaxy, star = state.extended[extended_slot], state.points[point_slot]
    columns = star.shape[0]
    flux_now = jnp.where(upward, star[FLUX], galaxy[FLUX])
    without_shape = jnp.where(upward, star, galaxy[:columns])
    source = jnp.concatenate([without_shape, galaxy[columns:]])
    colours = colours_of(model, source)
    image_of_star = unit_image(model, window, POINT, source)
    shapes, candidates = propose_shapes(numbers, model, window, source, upward)
    image_of_galaxy_now = apply_colours(model, candidates[0], colours)
    bare = state.residual + flux_now * jnp.where(upward, image_of_star, image_of_galaxy_now)
    shape, chosen, log_shape_ratio = select_shape(
        u_shape, model, window, bare, shapes, candidates, upward, colours
    )
    images = (image_of_star, apply_colours(model, chosen, colours))
    flux = redraw_flux(u_flux, numbers, model, window, upward, flux_now, bare, images)

    as_star = with_flux(without_shape, flux.lower)
    as_galaxy = with_shape(with_flux(source, flux.upper), shape)
    points = put(state.points, point_slot, jnp.where(upward, 0.0, as_star))
    extended = put(state.extended, extended_slot, jnp.where(upward, as_galaxy, 0.0))
    has_star, has_galaxy = jnp.any(active(state.points)), jnp.any(active(state.extended))
    proposal = Proposal(
        upward=upward,
        possible=jnp.where(upward, has_star & extended_room, has_galaxy & point_room),
        log_ratio=_log_ratio(model, window, state, upward, flux, log_shape_ratio),
        residual=(bare - flux.lower * images[0], bare - flux.upper * images[1]),
        sources=(points, extended),
        signal=flux.lower * jnp.sqrt(flux.information),
    )
    full = jnp.stack(
        [~upward & ~point_room & has_galaxy, upward & ~extended_room & has_star],
    )
    overflow = state.overflow | full
    return decide(u_accept, window, state._replace(overflow=overflow), proposal)


def _log_ratio(
    model: Model,
    window: Window,
    state: WindowState,
    upward: Array,
    flux: Redrawn,
    log_shape_ratio: Array,
) -> Array:
    """Return ln A of the module's docstring."""
    num_points = jnp.sum(active(state.points)) + jnp.where(upward, 0, 1)
    num_extended = jnp.sum(active(state.extended)) + jnp.where(upward, 1, 0)
    return (
        jnp.log(window.density[EXTENDED])
        - jnp.log(window.density[POINT])
        + log_flux_prior(model.prior, flux.upper)
        - log_flux_prior(model.prior, flux.lower)
        + flux.log_ratio
        - log_shape_ratio
        + jnp.log(num_points.astype(jnp.float32))
        - jnp.log(num_extended.astype(jnp.float32))
    )
