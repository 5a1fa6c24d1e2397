"""Attach a companion to a source or take it away, both fluxes drawn anew.

The primary stays where it is.  Attaching draws a displacement, then both fluxes
from their joint conditional Gaussian given the Gram matrix of the two images;
detaching draws the primary's flux from its conditional Gaussian without the
companion.  Primary and companion may be of any kind, which makes star + galaxy
<-> galaxy and galaxy + galaxy <-> galaxy the same move.
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.moves.base import (
    EXTENDED,
    FLUX,
    POINT,
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
    patch,
    sources_of,
    total,
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
from probcat.moves.shapes import try_shapes
from probcat.prior import log_flux_prior


def neighbour_weights(
    sources: Array, x: Array, y: Array, scale: Array, excluded: Array
) -> Array:
    """Log weights (S,) for choosing the primary of a companion at (x, y)."""
    square = (sources[:, X] - x) ** 2 + (sources[:, Y] - y) ** 2
    weight = log_displacement(square, scale)
    index = jnp.arange(sources.shape[0], dtype=jnp.int32)
    return jnp.where(active(sources) & (index != excluded), weight, -jnp.inf)


def companion(
    rng_key: Array,
    model: Model,
    search: Search,
    window: Window,
    state: WindowState,
    primary_kind: int,
    kind: int,
) -> tuple[WindowState, Outcome]:
    """Attach or detach one companion of `kind` to a source of `primary_kind`."""
    del search
    keys = jax.random.split(rng_key, 9)
    same = primary_kind == kind
    size = state.residual.shape[-1]
    hosts, others = sources_of(state, primary_kind), sources_of(state, kind)
    upward = jax.random.bernoulli(keys[0])

    log_weight = log_death_weight(model, others[:, FLUX])
    leaving, _ = choose(keys[1], log_weight)
    free, has_room = empty_slot(active(others))
    slot = jnp.where(upward, free, leaving)
    excluded = jnp.where(upward, -1, slot) if same else jnp.int32(-1)
    current = others[slot]

    nearby = neighbour_weights(hosts, current[X], current[Y], model.fwhm, excluded)
    host_down = jax.random.categorical(keys[2], nearby)
    host_up = choose_uniformly(keys[3], active(hosts))
    host_slot = jnp.where(upward, host_up, host_down)
    host = hosts[host_slot]
    step = sample_displacement(keys[4], model.fwhm)
    source = current.at[:FLUX].set(jnp.where(upward, host[:FLUX] + step, current[:FLUX]))

    host_image = patch(model, primary_kind, host, size)
    log_shape_ratio = jnp.float32(0.0)
    if kind == EXTENDED:
        # Shapes are compared on the residual without either source, which is the
        # same in both directions.
        base = state.residual + host[FLUX] * host_image
        own = patch(model, kind, current, size) * jnp.where(upward, 0.0, current[FLUX])
        bare = base + own
        shape, image, log_shape_ratio = try_shapes(keys[5], model, window, bare, source, upward)
        source = source.at[FLUX + 1 :].set(shape)
        bare = base + jnp.where(upward, 0.0, current[FLUX]) * image
    else:
        image = patch(model, POINT, source, size)
        bare = state.residual + host[FLUX] * host_image
        bare = bare + jnp.where(upward, 0.0, current[FLUX]) * image

    weighted = window.weight * bare
    host_score, score = total(weighted * host_image), total(weighted * image)
    host_information = total(window.weight * host_image**2)
    overlap = total(window.weight * host_image * image)
    information = total(window.weight * image**2)
    gram = jnp.stack([jnp.stack([host_information, overlap]), jnp.stack([overlap, information])])

    prior = model.prior
    alone = flux_conditional(prior, host_score, host_information)
    mean, precision, regression = pair_conditional(prior, jnp.stack([host_score, score]), gram)
    flux = jnp.where(upward, sample_flux(keys[6], prior, mean, precision), current[FLUX])
    host_mean = regression[0] - regression[1] * flux
    drawn_up = sample_flux(keys[7], prior, host_mean, alone[1])
    drawn_down = sample_flux(keys[7], prior, *alone)
    flux_alone = jnp.where(upward, host[FLUX], drawn_down)
    flux_beside = jnp.where(upward, drawn_up, host[FLUX])
    source = source.at[FLUX].set(flux)

    distance = jnp.sum((source[:FLUX] - host[:FLUX]) ** 2)
    with_source = log_weight.at[slot].set(log_death_weight(model, flux))
    if same:
        with_source = with_source.at[host_slot].set(log_death_weight(model, flux_beside))
    beside = neighbour_weights(hosts, source[X], source[Y], model.fwhm, excluded)
    count = jnp.sum(active(hosts)) - (jnp.where(upward, 0, 1) if same else 0)
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
        - log_flux_density(prior, flux_beside, host_mean, alone[1])
    )

    changed = others.at[slot].set(jnp.where(upward, source, jnp.zeros_like(source)))
    host_flux = jnp.where(upward, flux_beside, flux_alone)
    if same:
        changed = changed.at[host_slot, FLUX].set(host_flux)
        sources = (changed, state.extended) if kind == POINT else (state.points, changed)
    else:
        new_hosts = hosts.at[host_slot, FLUX].set(host_flux)
        sources = (changed, new_hosts) if kind == POINT else (new_hosts, changed)

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
        sources=sources,
    )
    overflow = state.overflow.at[kind].set(
        state.overflow[kind] | (upward & ~has_room & (count > 0))
    )
    return decide(keys[8], window, state._replace(overflow=overflow), proposal)
