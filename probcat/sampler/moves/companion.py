"""Attach a companion to a source or take it away, both fluxes drawn anew.

The primary stays where it is.  Attaching draws a displacement, then both fluxes
from their joint conditional Gaussian given the Gram matrix of the two images;
detaching draws the primary's flux from its conditional Gaussian without the
companion.  The primary may be of any kind, which makes star + galaxy <-> galaxy and
galaxy + galaxy <-> galaxy the same move.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_colour_prior, log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.birth_death import log_death_weight
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.colours import log_colours_density, mean_colours, sample_colours
from probcat.sampler.proposals.fluxes import (
    choose,
    choose_uniformly,
    empty_slot,
    flux_conditional,
    log_displacement,
    log_flux_density,
    log_probability,
    pair_conditional,
    sample_displacement,
    sample_flux,
)
from probcat.sampler.proposals.shapes import propose_shapes, select_shape
from probcat.sampler.window.light import (
    apply_colours,
    band_factors,
    band_totals,
    unit_image_per_band,
)
from probcat.sampler.window.slots import (
    active,
    colours_of,
    contains,
    one_hot,
    put,
    sources_of,
    total,
    with_colours,
    with_flux,
    with_position,
    with_shape,
)
from probcat.sampler.window.structures import (
    EXTENDED,
    FLUX,
    POINT,
    Model,
    RandomNumbers,
    Search,
    Window,
    WindowState,
    X,
    Y,
)


def neighbour_weights(sources: Array, x: Array, y: Array, scale: Array, excluded: Array) -> Array:
    """Log weights (S,) for choosing the primary of a companion at (x, y).

    The scale of distances is one for all sources, or one for each, (S,).
    """
    square = (sources[:, X] - x) ** 2 + (sources[:, Y] - y) ** 2
    weight = log_displacement(square, scale)
    index = jnp.arange(sources.shape[0], dtype=jnp.int32)
    return jnp.where(active(sources) & (index != excluded), weight, -jnp.inf)


class Slots(NamedTuple):
    """Which source comes or goes, and beside which host.

    Attributes
    ----------
    own, host : Array, int32
        Slots of the companion among its kind and of the host among the hosts.
    excluded : Array, int32
        Slot of the companion among the hosts, -1 where it is not one of them.
    log_weight : Array, shape (S,)
        Of the sources to be picked for leaving.
    has_room : Array, bool
    """

    own: Array
    host: Array
    excluded: Array
    log_weight: Array
    has_room: Array


class Fluxes(NamedTuple):
    """Fluxes in both states and the density of drawing them.

    Attributes
    ----------
    own, beside, alone : Array
        Of the companion, and of the host with and without it.
    colours : Array, shape (B - 1,)
        Of the companion.
    log_ratio : Array
        Log density of the host's flux alone minus that of both fluxes and the colours.
    """

    own: Array
    beside: Array
    alone: Array
    colours: Array
    log_ratio: Array


def companion(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    kind: int,
    any_host: bool,
) -> tuple[WindowState, Outcome]:
    """Attach or detach one companion of `kind` to a source, of any kind or a point."""
    del search
    if kind == EXTENDED and not any_host:
        raise ValueError("an extended companion takes hosts of any kind")
    u = numbers.uniform
    others, hosts = sources_of(state, kind), _hosts(state, any_host)
    upward = u[0] < 0.5

    slots = _choose_slots(u[1:4], model, state, kind, hosts, upward)
    current, host = others[slots.own], hosts[slots.host]
    step = sample_displacement(u[4:7], model.fwhm)
    source = with_position(current, jnp.where(upward, host[:FLUX] + step, current[:FLUX]))
    host_plain = _host_image(model, window, state, slots, host, any_host)
    base = state.residual + host[FLUX] * apply_colours(model, host_plain, colours_of(model, host))
    source, plain, bare, log_shape_ratio = _with_image(
        u[7], numbers, model, window, (current, source), base, upward, kind
    )
    flux = _redraw_both(
        u[8:14], numbers, model, window, upward, (host, current), bare, (host_plain, plain)
    )
    source = with_colours(with_flux(source, flux.own), flux.colours)
    host_image = apply_colours(model, host_plain, colours_of(model, host))
    image = apply_colours(model, plain, flux.colours)

    new_host = with_flux(host, jnp.where(upward, flux.beside, flux.alone))
    updated_hosts = put(hosts, slots.host, new_host)
    points = updated_hosts[: state.points.shape[0], : state.points.shape[1]]
    extended = updated_hosts[state.points.shape[0] :] if any_host else state.extended
    updated = points if kind == POINT else extended
    with_source = log_death_weight(model, updated[:, FLUX])
    with_source = jnp.where(upward, with_source, slots.log_weight)
    with_source = put(with_source, slots.own, log_death_weight(model, flux.own))
    updated = put(updated, slots.own, jnp.where(upward, source, 0.0))

    distance = jnp.sum((source[:FLUX] - host[:FLUX]) ** 2)
    beside = neighbour_weights(hosts, source[X], source[Y], model.fwhm, slots.excluded)
    count = jnp.sum(active(hosts)) - jnp.where(upward, 0, 1)
    log_ratio = (
        jnp.log(window.density[kind])
        + log_flux_prior(model.prior, flux.own)
        + log_colour_prior(model.prior, flux.colours)
        + log_flux_prior(model.prior, flux.beside)
        - log_flux_prior(model.prior, flux.alone)
        + flux.log_ratio
        - log_shape_ratio
        + log_probability(with_source, slots.own)
        + log_probability(beside, slots.host)
        + jnp.log(count.astype(jnp.float32))
        - log_displacement(distance, model.fwhm)
    )
    fits = slots.has_room & contains(window, source[X], source[Y])
    proposal = Proposal(
        upward=upward,
        possible=(count > 0) & jnp.where(upward, fits, jnp.any(active(others))),
        log_ratio=log_ratio,
        residual=(
            bare - flux.alone * host_image,
            bare - flux.beside * host_image - flux.own * image,
        ),
        sources=(updated, extended) if kind == POINT else (points, updated),
        signal=flux.own * jnp.sqrt(total(window.weight * image**2)),
    )
    full = upward & ~slots.has_room & (count > 0) & one_hot(kind, 2)
    return decide(u[14], window, state._replace(overflow=state.overflow | full), proposal)


def _hosts(state: WindowState, any_host: bool) -> Array:
    """Possible hosts; points come first, so that a companion's own place is known."""
    if not any_host:
        return state.points
    columns = state.extended.shape[1] - state.points.shape[1]
    return jnp.concatenate([jnp.pad(state.points, ((0, 0), (0, columns))), state.extended])


def _choose_slots(
    uniform: Array, model: Model, state: WindowState, kind: int, hosts: Array, upward: Array
) -> Slots:
    """Choose the companion that leaves or an empty slot, and the host."""
    others = sources_of(state, kind)
    first_own = 0 if kind == POINT else state.points.shape[0]
    log_weight = log_death_weight(model, others[:, FLUX])
    leaving = choose(uniform[0], log_weight)
    free, has_room = empty_slot(active(others))
    own = jnp.where(upward, free, leaving)
    excluded = jnp.where(upward, -1, first_own + own)
    place = others[own]
    nearby = neighbour_weights(hosts, place[X], place[Y], model.fwhm, excluded)
    host_down = choose(uniform[1], nearby)
    host_up = choose_uniformly(uniform[2], active(hosts))
    host = jnp.where(upward, host_up, host_down)
    return Slots(own, host, excluded, log_weight, has_room)


def _host_image(
    model: Model, window: Window, state: WindowState, slots: Slots, host: Array, any_host: bool
) -> Array:
    """Image of the host, of whichever kind, of unit flux in every band."""
    as_point = unit_image_per_band(model, window, POINT, host)
    if not any_host:
        return as_point
    as_extended = unit_image_per_band(model, window, EXTENDED, host)
    return jnp.where(slots.host < state.points.shape[0], as_point, as_extended)


def _with_image(
    uniform: Array,
    numbers: RandomNumbers,
    model: Model,
    window: Window,
    sources: tuple[Array, Array],
    base: Array,
    upward: Array,
    kind: int,
) -> tuple[Array, Array, Array, Array]:
    """Companion with its shape, its image, the residual without it, log ratio of shapes."""
    current, source = sources
    flux_now, now = jnp.where(upward, 0.0, current[FLUX]), colours_of(model, current)
    if kind == POINT:
        plain = unit_image_per_band(model, window, POINT, source)
        return source, plain, base + flux_now * apply_colours(model, plain, now), jnp.float32(0.0)
    # Shapes are compared on the residual without host and companion, which is the same
    # in both directions.
    shapes, images = propose_shapes(numbers, model, window, source, upward)
    bare = base + flux_now * apply_colours(model, images[0], now)
    shape, plain, log_ratio = select_shape(
        uniform, model, window, bare, shapes, images, upward, mean_colours(model)
    )
    return with_shape(source, shape), plain, bare, log_ratio


def _redraw_both(
    uniform: Array,
    numbers: RandomNumbers,
    model: Model,
    window: Window,
    upward: Array,
    now: tuple[Array, Array],
    bare: Array,
    images: tuple[Array, Array],
) -> Fluxes:
    """Draw fluxes of host and companion and the companion's colours, or the host's flux alone.

    The companion's flux in a band is drawn with that of the host in the band left free; the
    host, whose colours stay, follows.
    """
    prior, weighted = model.prior, window.weight * bare
    host_colours = colours_of(model, now[0])
    scores = jnp.stack([band_totals(model, weighted * image) for image in images])
    host_norm, own_norm = (band_totals(model, window.weight * image**2) for image in images)
    overlap = band_totals(model, window.weight * images[0] * images[1])
    gram = jnp.stack([jnp.stack([host_norm, overlap]), jnp.stack([overlap, own_norm])])
    means, precisions = jax.vmap(lambda score, matrix: pair_conditional(prior, score, matrix))(
        scores.T, jnp.moveaxis(gram, 2, 0)
    )

    drawn = sample_flux(uniform[:2], numbers.flux[0], prior, means[0], precisions[0])
    own = jnp.where(upward, drawn, now[1][FLUX])
    given = (own, means[1:], precisions[1:])
    drawn = sample_colours(uniform[4], numbers.colours, numbers.normal, prior, *given)
    colours = jnp.where(upward, drawn, colours_of(model, now[1]))

    host_factor, factor = band_factors(model, host_colours), band_factors(model, colours)
    host_information = jnp.sum(host_factor**2 * host_norm)
    alone = flux_conditional(prior, jnp.sum(host_factor * scores[0]), host_information)
    left = scores[0] - own * factor * overlap
    beside = flux_conditional(prior, jnp.sum(host_factor * left), host_information)
    host_mean = jnp.where(upward, beside[0], alone[0])
    drawn = sample_flux(uniform[2:4], numbers.flux[1], prior, host_mean, alone[1])
    here = now[0][FLUX]
    flux_alone, flux_beside = jnp.where(upward, here, drawn), jnp.where(upward, drawn, here)
    log_ratio = (
        log_flux_density(prior, flux_alone, *alone)
        - log_flux_density(prior, own, means[0], precisions[0])
        - log_colours_density(prior, colours, *given)
        - log_flux_density(prior, flux_beside, *beside)
    )
    return Fluxes(own, flux_beside, flux_alone, colours, log_ratio)
