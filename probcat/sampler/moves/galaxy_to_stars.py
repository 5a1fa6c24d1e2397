r"""Replacement of a galaxy by two stars and back, keeping the centroid.

Upward, a galaxy of half-light radius r is chosen uniformly and divides into two stars like a star
in `split_merge`, except that the scale of their separation d is r. Downward, a star is chosen
uniformly, with a partner near to it, and both become one galaxy at their centroid, whose shape
comes from several tries. In either direction the total flux F is drawn again from its conditional
Gaussian given the image that it multiplies. With :math:`n_E` galaxies in x and :math:`n_P` stars
in y, and the Jacobian F of a split,

.. math:: A = \frac{\lambda_P^2}{\lambda_E}\, \frac{p(f_1)\, p(f_2)}{p(F_x)}
          \cdot \frac{p(c_1)\, p(c_2)}{p(C)\, q(\delta)}
          \cdot \frac{n_E\, P_\mathrm{near}(1 \mid 2, y)\, w / \bar w}
          {n_P\, q(\varphi \mid F_x)\, q(d \mid r)}
          \cdot \frac{N(F_x \mid R)}{N(F_y \mid R)}\, F_y.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.choices import (
    PARTNER_REACH,
    choose_uniformly,
    choose_weighted,
    empty_slot,
    log_probability,
    neighbour_weights,
    splittable,
)
from probcat.sampler.proposals.colours import log_division_ratio
from probcat.sampler.proposals.displacements import log_separation_density, sample_separation
from probcat.sampler.proposals.flux_redraw import Redrawn, redraw_flux
from probcat.sampler.proposals.pairs import (
    Division,
    divide_in_stars,
    join_sources,
    log_flux_fraction_density,
    sample_flux_fraction,
)
from probcat.sampler.proposals.shapes import propose_shapes, select_shape
from probcat.sampler.window.light import apply_colours
from probcat.sampler.window.slots import (
    active,
    colours_of,
    contains,
    one_hot,
    put,
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


class _Choices(NamedTuple):
    """Numbers and probabilities of the sources that the move chooses.

    Attributes
    ----------
    num_points : Array, int32
        Number of stars in the upper state.
    log_first : Array, shape ()
        Log probability of choosing the first star there as the partner of the second.
    num_extended : Array, int32
        Number of galaxies in the lower state.
    """

    num_points: Array
    log_first: Array
    num_extended: Array


def galaxy_to_stars(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
) -> tuple[WindowState, Outcome]:
    """Propose to replace a galaxy by two stars (upward) or two stars by a galaxy (downward).

    Arguments and results are those of a `Move`.
    """
    del search
    u = numbers.uniform
    u_direction, u_slots, u_fraction, u_separation = u[0], u[1:4], u[4:7], u[7:10]
    u_shape, u_flux, u_accept = u[10], u[11:13], u[13]

    prior, points, extended = model.prior, state.points, state.extended
    upward = u_direction < 0.5
    slots, galaxy_slot, has_room = _choose_slots(u_slots, model, state, upward)
    first, second, galaxy = points[slots[0]], points[slots[1]], extended[galaxy_slot]
    joined = join_sources(numbers, model, upward, galaxy, first, second)
    new_fraction = sample_flux_fraction(u_fraction, prior, joined.flux)
    fraction = jnp.where(upward, new_fraction, joined.fraction)
    new_separation = sample_separation(u_separation, galaxy[RADIUS])
    separation = jnp.where(upward, new_separation, first[:FLUX] - second[:FLUX])
    division = Division(joined, fraction, separation)
    pair = divide_in_stars(model, window, division)

    galaxy = with_colours(with_position(galaxy, joined.centre), joined.colours)
    shapes, candidates = propose_shapes(numbers, model, window, galaxy, ~upward)
    image_of_galaxy_now = apply_colours(model, candidates[0], joined.colours)
    bare = state.residual + joined.flux * jnp.where(upward, image_of_galaxy_now, pair.image)
    shape, chosen, log_shape_ratio = select_shape(
        u_shape, model, window, bare, shapes, candidates, ~upward, joined.colours
    )
    images = (apply_colours(model, chosen, joined.colours), pair.image)
    flux = redraw_flux(u_flux, numbers, model, window, upward, joined.flux, bare, images)

    stars = [with_flux(one, one[FLUX] * flux.upper) for one in (pair.first, pair.second)]
    as_galaxy = with_shape(with_flux(galaxy, flux.lower), shape)
    with_pair = put(put(points, slots[0], stars[0]), slots[1], stars[1])
    without_pair = put(put(points, slots[0], 0.0), slots[1], 0.0)
    num_extended = jnp.sum(active(extended), dtype=jnp.int32) + jnp.where(upward, 0, 1)
    first_weights = _first_weights(model, with_pair, stars[1], slots[1])
    choices = _Choices(
        num_points=jnp.sum(active(with_pair), dtype=jnp.int32),
        log_first=log_probability(first_weights, slots[0]),
        num_extended=num_extended,
    )
    existing = jnp.where(upward, jnp.any(active(extended)), jnp.sum(active(points)) > 1)
    stars_inside = contains(window, *stars[0][:FLUX]) & contains(window, *stars[1][:FLUX])
    inside = jnp.where(upward, stars_inside, contains(window, *joined.centre))
    proposal = Proposal(
        upward=upward,
        possible=existing & has_room & inside & splittable(prior, flux.lower),
        log_ratio=_log_ratio(
            model, window, division, flux, (stars[0], stars[1]), shape, log_shape_ratio, choices
        ),
        residual=(bare - flux.lower * images[0], bare - flux.upper * images[1]),
        sources=(
            jnp.where(upward, with_pair, without_pair),
            put(extended, galaxy_slot, jnp.where(upward, 0.0, as_galaxy)),
        ),
        signal=jnp.minimum(fraction, 1.0 - fraction) * flux.upper * jnp.sqrt(flux.information),
    )
    full = existing & ~has_room & jnp.stack([upward, ~upward])
    return decide(u_accept, window, state._replace(overflow=state.overflow | full), proposal)


def _choose_slots(
    uniform: Array, model: Model, state: WindowState, upward: Array
) -> tuple[Array, Array, Array]:
    """Return the slots of the stars and of the galaxy, and whether there is room for new ones."""
    u_second, u_first, u_galaxy = uniform[0], uniform[1], uniform[2]
    points, extended = state.points, state.extended
    free_1, room_1 = empty_slot(active(points))
    free_2, room_2 = empty_slot(active(points) | one_hot(free_1, points.shape[0]))
    second = choose_uniformly(u_second, active(points))
    first = choose_weighted(u_first, _first_weights(model, points, points[second], second))
    free, room = empty_slot(active(extended))
    galaxy = choose_uniformly(u_galaxy, active(extended))
    slots = jnp.where(upward, jnp.stack([free_1, free_2]), jnp.stack([first, second]))
    galaxy_slot = jnp.where(upward, galaxy, free)
    return slots, galaxy_slot, jnp.where(upward, room_1 & room_2, room)


def _first_weights(model: Model, points: Array, second: Array, slot: Array) -> Array:
    """Return the log weights (S,) of stars to be the partner of the second one in a slot."""
    return neighbour_weights(points, second[X], second[Y], PARTNER_REACH * model.fwhm, slot)


def _log_ratio(
    model: Model,
    window: Window,
    division: Division,
    flux: Redrawn,
    stars: tuple[Array, Array],
    shape: Array,
    log_shape_ratio: Array,
    choices: _Choices,
) -> Array:
    """Return ln A of the module's docstring."""
    prior, (joined, fraction, separation) = model.prior, division
    first, second = stars
    return (
        2.0 * jnp.log(window.density[POINT])
        - jnp.log(window.density[EXTENDED])
        + log_flux_prior(prior, first[FLUX])
        + log_flux_prior(prior, second[FLUX])
        - log_flux_prior(prior, flux.lower)
        + log_shape_ratio
        - jnp.log(choices.num_points.astype(jnp.float32))
        + choices.log_first
        + flux.log_ratio
        + jnp.log(choices.num_extended.astype(jnp.float32))
        - log_flux_fraction_density(prior, flux.lower, fraction)
        - log_separation_density(jnp.sum(separation**2), shape[0])
        + jnp.log(flux.upper)
        + log_division_ratio(
            prior,
            joined.colours,
            joined.difference,
            colours_of(model, first),
            colours_of(model, second),
        )
    )
