"""Attach a companion to a source or take it away, both fluxes drawn anew.

The primary stays where it is.  Attaching draws a displacement, then both fluxes
from their joint conditional Gaussian given the Gram matrix of the two images;
detaching draws the primary's flux from its conditional Gaussian without the
companion.  The primary may be of any kind, which makes star + galaxy <-> galaxy and
galaxy + galaxy <-> galaxy the same move.
"""

import jax.numpy as jnp
from jax import Array

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
    X,
    Y,
    active,
    contains,
    decide,
    extended_patch,
    one_hot,
    patch,
    put,
    sources_of,
    total,
    with_flux,
    with_position,
    with_shape,
)
from probcat.moves.birth_death import log_death_weight
from probcat.moves.proposals import (
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
from probcat.moves.shapes import choose_shape, tries
from probcat.prior import log_flux_prior


def neighbour_weights(sources: Array, x: Array, y: Array, scale: Array, excluded: Array) -> Array:
    """Log weights (S,) for choosing the primary of a companion at (x, y)."""
    square = (sources[:, X] - x) ** 2 + (sources[:, Y] - y) ** 2
    weight = log_displacement(square, scale)
    index = jnp.arange(sources.shape[0], dtype=jnp.int32)
    return jnp.where(active(sources) & (index != excluded), weight, -jnp.inf)


def companion(
    draws: Draws,
    model: Model,
    search: Search,
    window: Window,
    state: WindowState,
    kind: int,
    any_host: bool,
) -> tuple[WindowState, Outcome]:
    """Attach or detach one companion of `kind` to a source, of any kind or a point."""
    del search
    if kind == EXTENDED and not any_host:
        raise ValueError("an extended companion takes hosts of any kind")
    u = draws.uniform
    prior = model.prior
    size = state.residual.shape[-1]
    others = sources_of(state, kind)
    # Hosts are listed points first, so a companion's own place among them is known.
    columns = others.shape[1] if not any_host else state.extended.shape[1]
    hosts = _widened(state.points, columns)
    if any_host:
        hosts = jnp.concatenate([hosts, state.extended])
    first_own = 0 if kind == POINT else state.points.shape[0]
    upward = u[0] < 0.5

    log_weight = log_death_weight(model, others[:, FLUX])
    leaving = choose(u[1], log_weight)
    free, has_room = empty_slot(active(others))
    slot = jnp.where(upward, free, leaving)
    excluded = jnp.where(upward, -1, first_own + slot)
    current = others[slot]
    flux_now = jnp.where(upward, 0.0, current[FLUX])

    nearby = neighbour_weights(hosts, current[X], current[Y], model.fwhm, excluded)
    host_down = choose(u[2], nearby)
    host_up = choose_uniformly(u[3], active(hosts))
    host_slot = jnp.where(upward, host_up, host_down)
    host = hosts[host_slot]
    step = sample_displacement(u[4:7], model.fwhm)
    source = with_position(current, jnp.where(upward, host[:FLUX] + step, current[:FLUX]))

    host_image = patch(model, POINT, host, size)
    if any_host:
        as_extended = extended_patch(model, host[X], host[Y], host[FLUX + 1 :], size)
        is_point = host_slot < state.points.shape[0]
        host_image = jnp.where(is_point, host_image, as_extended)
    base = state.residual + host[FLUX] * host_image
    if kind == EXTENDED:
        # Shapes are compared on the residual without either source, which is the
        # same in both directions.
        shapes, images = tries(draws, model, window, source, upward)
        bare = base + flux_now * images[0]
        shape, image, log_shape_ratio = choose_shape(
            u[7], model, window, bare, shapes, images, upward
        )
        source = with_shape(source, shape)
    else:
        image = patch(model, POINT, source, size)
        bare = base + flux_now * image
        log_shape_ratio = jnp.float32(0.0)

    weighted = window.weight * bare
    host_score, score = total(weighted * host_image), total(weighted * image)
    host_information = total(window.weight * host_image**2)
    overlap = total(window.weight * host_image * image)
    information = total(window.weight * image**2)
    gram = jnp.stack([jnp.stack([host_information, overlap]), jnp.stack([overlap, information])])

    alone = flux_conditional(prior, host_score, host_information)
    mean, precision, regression = pair_conditional(prior, jnp.stack([host_score, score]), gram)
    drawn = sample_flux(u[8:10], draws.flux[0], prior, mean, precision)
    flux = jnp.where(upward, drawn, current[FLUX])
    beside_mean = regression[0] - regression[1] * flux
    host_mean = jnp.where(upward, beside_mean, alone[0])
    drawn = sample_flux(u[10:12], draws.flux[1], prior, host_mean, alone[1])
    flux_alone = jnp.where(upward, host[FLUX], drawn)
    flux_beside = jnp.where(upward, drawn, host[FLUX])
    source = with_flux(source, flux)

    updated_hosts = put(
        hosts, host_slot, with_flux(host, jnp.where(upward, flux_beside, flux_alone))
    )
    points = updated_hosts[: state.points.shape[0], : FLUX + 1]
    extended = updated_hosts[state.points.shape[0] :] if any_host else state.extended
    updated = points if kind == POINT else extended
    with_source = log_death_weight(model, updated[:, FLUX])
    with_source = jnp.where(upward, with_source, log_weight)
    with_source = put(with_source, slot, log_death_weight(model, flux))
    updated = put(updated, slot, jnp.where(upward, source, 0.0))

    distance = jnp.sum((source[:FLUX] - host[:FLUX]) ** 2)
    beside = neighbour_weights(hosts, source[X], source[Y], model.fwhm, excluded)
    count = jnp.sum(active(hosts)) - jnp.where(upward, 0, 1)
    log_ratio = (
        jnp.log(window.density[kind])
        + log_flux_prior(prior, flux)
        + log_flux_prior(prior, flux_beside)
        - log_flux_prior(prior, flux_alone)
        - log_shape_ratio
        + log_probability(with_source, slot)
        + log_probability(beside, host_slot)
        + log_flux_density(prior, flux_alone, *alone)
        + jnp.log(count.astype(jnp.float32))
        - log_displacement(distance, model.fwhm)
        - log_flux_density(prior, flux, mean, precision)
        - log_flux_density(prior, flux_beside, beside_mean, alone[1])
    )
    possible = (count > 0) & jnp.where(
        upward,
        has_room & contains(window, source[X], source[Y]),
        jnp.any(active(others)),
    )
    proposal = Proposal(
        upward=upward,
        possible=possible,
        log_ratio=log_ratio,
        residual=(
            bare - flux_alone * host_image,
            bare - flux_beside * host_image - flux * image,
        ),
        sources=(updated, extended) if kind == POINT else (points, updated),
        signal=flux * jnp.sqrt(information),
    )
    full = upward & ~has_room & (count > 0)
    overflow = state.overflow | (full & one_hot(kind, 2))
    return decide(u[12], window, state._replace(overflow=overflow), proposal)


def _widened(points: Array, columns: int) -> Array:
    return jnp.pad(points, ((0, 0), (0, columns - points.shape[1])))
