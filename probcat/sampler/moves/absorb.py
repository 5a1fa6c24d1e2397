r"""Let a galaxy absorb a source near it and give it back, keeping centroid and quadrupole.

With total flux F, a share ``phi`` of the absorbed source B and its displacement d from the
galaxy A that stays, the merged galaxy M lies at the centroid and has the shape matrix

.. math:: S_M = (1 - \phi) S_A + \phi S_B + \phi (1 - \phi)\, d d^T / c

where ``c`` turns shape matrices into second moments, and ``S_B`` is zero for a star.  M
keeps the Sersic index of A.  In (position, flux, S) the Jacobian of
(M, phi, d) -> (A, B) is ``F (1 - phi)^-3``; that of S in half-light radius r and
ellipticity g is ``64 r^5 (1 - |g|^2)^-2``.  The total flux is drawn anew both ways.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_flux_prior, log_shape_prior
from probcat.numerics.shape_matrices import from_matrix, log_matrix_jacobian, to_matrix
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.companion import neighbour_weights
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.colours import divide, log_division, merge, sample_difference
from probcat.sampler.proposals.flux_redraw import redraw_flux
from probcat.sampler.proposals.fluxes import choose, empty_slot, log_probability
from probcat.sampler.proposals.pairs import (
    log_flux_fraction_density,
    log_step_density,
    pick_weights,
    sample_flux_fraction,
    sample_step,
    split_weights,
    splittable,
)
from probcat.sampler.window.light import apply_colours, extended_unit_image, unit_image
from probcat.sampler.window.slots import (
    active,
    colours_of,
    contains,
    one_hot,
    put,
    sources_of,
    star,
)
from probcat.sampler.window.structures import (
    EMPTY_SHAPE,
    EXTENDED,
    FLUX,
    NUM_SHAPE,
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

MOMENT = 0.72
"""Second moment of a Gaussian of unit half-light radius; other profiles are near enough."""
REACH = 2.0
"""Partners are chosen within about this many FWHM, and the galaxy's half-light radius."""


class Geometry(NamedTuple):
    """Where the light is before and after: merged in one galaxy, or given to two sources.

    Attributes
    ----------
    fraction : Array
        Of the flux, that the absorbed source has.
    step : Array, shape (2,)
        From the galaxy that stays to the absorbed source.
    places : Array, shape (3, 2)
        Of the merged galaxy, the one that stays and the absorbed source.
    shapes : Array, shape (3, 4)
        Of the same.
    colours : Array, shape (3, B - 1)
        Of the same.
    difference : Array, shape (B - 1,)
        Of the colours of the galaxy that stays and the absorbed source.
    proper : Array, bool
        Whether all shapes are allowed.
    """

    fraction: Array
    step: Array
    places: Array
    shapes: Array
    colours: Array
    difference: Array
    proper: Array


def absorb(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    kind: int,
) -> tuple[WindowState, Outcome]:
    """Give a source of `kind` out of a galaxy (upward) or let the galaxy absorb it."""
    del search
    u = numbers.uniform
    galaxies, others = state.extended, sources_of(state, kind)
    upward = u[0] < 0.5

    slot, host_slot, has_room = _choose_slots(u[1:4], model, state, kind, upward)
    host, other = galaxies[host_slot], others[slot]
    flux_now = host[FLUX] + jnp.where(upward, 0.0, other[FLUX])
    fractions = (sample_flux_fraction(u[4:7], model.prior, flux_now), other[FLUX])
    fraction = jnp.where(upward, fractions[0], fractions[1] / jnp.maximum(flux_now, 1e-30))
    geometry = _geometry(u[7:10], numbers, model, (host, other), kind, upward, fraction)
    image, both = _images(model, window, geometry, kind)
    bare = state.residual + flux_now * jnp.where(upward, image, both)
    flux = redraw_flux(u[10:12], numbers, model, window, upward, flux_now, bare, (image, both))

    fluxes = jnp.stack([flux.lower, (1.0 - fraction) * flux.upper, fraction * flux.upper])
    parts = [geometry.places, fluxes[:, None], geometry.colours, geometry.shapes]
    sources = jnp.concatenate(parts, axis=1)
    merged, stays, given = sources[0], sources[1], sources[2, : others.shape[1]]
    with_host = put(galaxies, host_slot, stays)
    upper = put(with_host if kind == EXTENDED else others, slot, given)
    lower = put(galaxies, host_slot, merged)
    lower = put(lower, slot, 0.0) if kind == EXTENDED else lower
    excluded = jnp.where(upward, -1, slot) if kind == EXTENDED else jnp.int32(-1)
    hosts = put(with_host, slot, 0.0) if kind == EXTENDED else with_host
    near = neighbour_weights(hosts, given[X], given[Y], _reach(model, hosts), excluded)
    log_ratio = (
        jnp.log(window.density[kind])
        + log_probability(pick_weights(upper), slot)
        + log_probability(near, host_slot)
        - log_probability(split_weights(model.prior, lower), host_slot)
        + _log_pair_ratio(model, geometry, fluxes)
        + flux.log_ratio
    )
    places = geometry.places
    inside = contains(window, *places[1]) & contains(window, *places[2])
    number = jnp.sum(active(galaxies), dtype=jnp.int32)
    has_pair = (number > 1) if kind == EXTENDED else (number > 0) & jnp.any(active(others))
    possible = jnp.where(upward, has_room & inside, has_pair & contains(window, *places[0]))
    able = splittable(model.prior, flux.lower)
    proposal = Proposal(
        upward=upward,
        possible=possible & able & geometry.proper,
        log_ratio=log_ratio,
        residual=(bare - flux.lower * image, bare - flux.upper * both),
        sources=_proposed(state, kind, upward, (upper, with_host), lower, slot),
        signal=jnp.minimum(fraction, 1.0 - fraction) * flux.upper * jnp.sqrt(flux.information),
    )
    full = upward & ~has_room & able & one_hot(kind, 2)
    return decide(u[12], window, state._replace(overflow=state.overflow | full), proposal)


def _geometry(
    uniform: Array,
    numbers: RandomNumbers,
    model: Model,
    pair: tuple[Array, Array],
    kind: int,
    upward: Array,
    fraction: Array,
) -> Geometry:
    """Places and shapes of both states from the current galaxy and absorbed source."""
    host, other = pair
    shape_now = jnp.where(host[RADIUS] > 0.0, host[-NUM_SHAPE:], EMPTY_SHAPE)
    own, other_shape = jnp.zeros(3, jnp.float32), shape_now
    if kind == EXTENDED:
        exists = ~upward & (other[FLUX] > 0.0)
        other_shape = jnp.where(exists, other[-NUM_SHAPE:], numbers.shapes[0])
        own = to_matrix(other_shape)

    drawn = sample_step(uniform, _scale(model, shape_now))
    step = jnp.where(upward, drawn, other[:FLUX] - host[:FLUX])
    spread = fraction * (1.0 - fraction) / MOMENT
    added = fraction * own + spread * jnp.stack([step[0] ** 2, step[0] * step[1], step[1] ** 2])
    matrix = to_matrix(shape_now)
    matrix = jnp.where(
        upward, (matrix - added) / (1.0 - fraction), (1.0 - fraction) * matrix + added
    )
    new_shape, proper = from_matrix(matrix, shape_now[3])
    proper = proper & _allowed(model, new_shape)
    new_shape = jnp.where(proper, new_shape, shape_now)
    merged = jnp.where(upward, shape_now, new_shape)
    stays = jnp.where(upward, new_shape, shape_now)

    centre = host[:FLUX] + jnp.where(upward, 0.0, fraction) * step
    places = jnp.stack([centre, centre - fraction * step, centre + (1.0 - fraction) * step])
    shapes = jnp.stack([merged, stays, other_shape])
    # Shares here are those of the absorbed source.
    now = colours_of(model, host)
    joined, difference = merge(1.0 - fraction, now, colours_of(model, other))
    joined = jnp.where(upward, now, joined)
    difference = jnp.where(upward, sample_difference(numbers.normal, model.prior), difference)
    colours = jnp.stack([joined, *divide(1.0 - fraction, joined, difference)])
    return Geometry(fraction, step, places, shapes, colours, difference, proper)


def _images(model: Model, window: Window, geometry: Geometry, kind: int) -> tuple[Array, Array]:
    """Unit-flux images of the merged galaxy and of the two sources together."""

    def galaxy(at: Array, shape: Array, colours: Array) -> Array:
        return apply_colours(
            model, extended_unit_image(model, window, at[X], at[Y], shape), colours
        )

    number = 3 if kind == EXTENDED else 2
    parts = (geometry.places, geometry.shapes, geometry.colours)
    images = jax.vmap(galaxy)(*(part[:number] for part in parts))
    if kind == EXTENDED:
        absorbed = images[2]
    else:
        unit = star(geometry.places[2], jnp.float32(1.0), geometry.colours[2])
        absorbed = unit_image(model, window, POINT, unit)
    return images[0], (1.0 - geometry.fraction) * images[1] + geometry.fraction * absorbed


def _log_pair_ratio(model: Model, geometry: Geometry, fluxes: Array) -> Array:
    """Prior of two sources over that of one, over the density of the division, Jacobian."""
    prior, fraction = model.prior, geometry.fraction
    merged, stays = geometry.shapes[0], geometry.shapes[1]
    return (
        log_flux_prior(prior, fluxes[1])
        + log_flux_prior(prior, fluxes[2])
        - log_flux_prior(prior, fluxes[0])
        + log_shape_prior(prior, stays)
        - log_shape_prior(prior, merged)
        - log_flux_fraction_density(prior, fluxes[0], fraction)
        - log_step_density(jnp.sum(geometry.step**2), _scale(model, merged))
        + jnp.log(fluxes[1] + fluxes[2])
        - 3.0 * jnp.log1p(-fraction)
        + log_matrix_jacobian(merged)
        - log_matrix_jacobian(stays)
        + log_division(
            prior,
            geometry.colours[0],
            geometry.difference,
            geometry.colours[1],
            geometry.colours[2],
        )
    )


def _reach(model: Model, galaxies: Array) -> Array:
    """Scale (S,) of the distances that galaxies absorb other sources from."""
    return REACH * model.fwhm + galaxies[:, RADIUS]


def _scale(model: Model, shape: Array) -> Array:
    """Scale of displacements: the standard deviation of the galaxy's image."""
    return jnp.sqrt((model.fwhm / 2.355) ** 2 + MOMENT * shape[0] ** 2)


def _allowed(model: Model, shape: Array) -> Array:
    """Whether the prior allows a shape; the densities of others may not be finite."""
    support = model.prior.half_light_radius.support
    low = getattr(support, "lower_bound", 0.0)
    high = getattr(support, "upper_bound", jnp.inf)
    round_enough = shape[1] ** 2 + shape[2] ** 2 < 0.998
    return (shape[0] > low) & (shape[0] < high) & round_enough


def _choose_slots(
    uniform: Array, model: Model, state: WindowState, kind: int, upward: Array
) -> tuple[Array, Array, Array]:
    """Slots of the absorbed source and of the galaxy, and whether there is room."""
    galaxies, others = state.extended, sources_of(state, kind)
    free, has_room = empty_slot(active(others))
    leaving = choose(uniform[0], pick_weights(others))
    excluded = leaving if kind == EXTENDED else jnp.int32(-1)
    place = others[leaving]
    near = neighbour_weights(galaxies, place[X], place[Y], _reach(model, galaxies), excluded)
    host_down = choose(uniform[1], near)
    host_up = choose(uniform[2], split_weights(model.prior, galaxies))
    slot = jnp.where(upward, free, leaving)
    return slot, jnp.where(upward, host_up, host_down), has_room


def _proposed(
    state: WindowState,
    kind: int,
    upward: Array,
    upper: tuple[Array, Array],
    lower: Array,
    slot: Array,
) -> tuple[Array, Array]:
    """Points and extended sources of the proposed state."""
    with_both, with_host = upper
    if kind == EXTENDED:
        return state.points, jnp.where(upward, with_both, lower)
    points = jnp.where(upward, with_both, put(state.points, slot, 0.0))
    return points, jnp.where(upward, with_host, lower)
