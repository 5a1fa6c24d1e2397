r"""Absorption of a source by a galaxy near it and its release, keeping centroid and quadrupole.

Upward, a galaxy m is chosen to be split, mostly a bright one, and releases a source b: a fraction
:math:`\varphi` of its flux and a displacement d from the remaining galaxy h to b are drawn, and a
shape from the prior if b is a galaxy. Downward, a source b is picked, mostly a bright one, and is
absorbed by a galaxy h near it. The merged galaxy m has the Sersic index of h, lies at the centroid
of h and b and has the shape matrix S of both together (`proposals.absorption`). In either
direction the total flux F is drawn again from its conditional Gaussian. The Jacobian of
:math:`(m, \varphi, d) \to (h, b)` in positions, fluxes and S is :math:`F (1 - \varphi)^{-3}`; that
of S by half-light radius r and ellipticity g is :math:`j = 16\, r^5 (1 - |g|^2)^{-2}`. With the
intensity :math:`\lambda` of sources of the kind of b,

.. math:: A = \lambda\, \frac{p(f_h)\, p(f_b)\, p(s_h)}{p(F_x)\, p(s_m)}
          \cdot \frac{p(c_h)\, p(c_b)}{p(C)\, q(\delta)}
          \cdot \frac{P_\mathrm{pick}(b \mid y)\, P_\mathrm{near}(h \mid b, y)}
          {P_\mathrm{split}(m \mid x)\, q(\varphi \mid F_x)\, q(d \mid s_m)}
          \cdot \frac{N(F_x \mid R)}{N(F_y \mid R)}
          \cdot \frac{F_y}{(1 - \varphi)^3}\, \frac{j_m}{j_h}.
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_flux_prior, log_shape_prior
from probcat.numerics.shape_matrices import log_matrix_jacobian
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.absorption import Geometry, geometry_of, separation_scale
from probcat.sampler.proposals.choices import (
    choose_weighted,
    empty_slot,
    log_probability,
    neighbour_weights,
    pick_weights,
    split_weights,
    splittable,
)
from probcat.sampler.proposals.colours import log_division_ratio
from probcat.sampler.proposals.displacements import log_separation_density
from probcat.sampler.proposals.flux_redraw import redraw_flux
from probcat.sampler.proposals.pairs import log_flux_fraction_density, sample_flux_fraction
from probcat.sampler.window.light import apply_colours, extended_unit_image, unit_image
from probcat.sampler.window.slots import (
    active,
    contains,
    one_hot,
    put,
    sources_of,
    star,
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

ABSORPTION_REACH = 2.0
"""Scale of the distance from which a galaxy absorbs, in FWHM of the PSF.

The half-light radius of the galaxy is added to it.
"""


def absorb(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    kind: int,
) -> tuple[WindowState, Outcome]:
    """Propose that a galaxy releases a source of a kind (upward) or absorbs one (downward).

    Arguments and results are those of a `Move`, except for the kind of the absorbed source.
    """
    del search
    u = numbers.uniform
    u_direction, u_slots, u_fraction, u_separation = u[0], u[1:4], u[4:7], u[7:10]
    u_flux, u_accept = u[10:12], u[12]

    galaxies, others = state.extended, sources_of(state, kind)
    upward = u_direction < 0.5
    slot, host_slot, has_room = _choose_slots(u_slots, model, state, kind, upward)
    galaxy, other = galaxies[host_slot], others[slot]
    flux_now = galaxy[FLUX] + jnp.where(upward, 0.0, other[FLUX])
    new_fraction = sample_flux_fraction(u_fraction, model.prior, flux_now)
    fraction_now = other[FLUX] / jnp.maximum(flux_now, 1e-30)
    fraction = jnp.where(upward, new_fraction, fraction_now)
    geometry = geometry_of(u_separation, numbers, model, (galaxy, other), kind, upward, fraction)
    images = _images(model, window, geometry, kind)
    bare = state.residual + flux_now * jnp.where(upward, *images)
    flux = redraw_flux(u_flux, numbers, model, window, upward, flux_now, bare, images)

    fluxes = jnp.stack([flux.lower, (1.0 - fraction) * flux.upper, fraction * flux.upper])
    parts = [geometry.positions, fluxes[:, None], geometry.colours, geometry.shapes]
    sources = jnp.concatenate(parts, axis=1)
    merged, host, absorbed = sources[0], sources[1], sources[2, : others.shape[1]]
    lower, upper = _catalogs(state, kind, (slot, host_slot), merged, host, absorbed)
    # The absorbed source is not its own host.
    excluded = slot if kind == EXTENDED else jnp.int32(-1)
    reach = _reach(model, upper[EXTENDED])
    near = neighbour_weights(upper[EXTENDED], absorbed[X], absorbed[Y], reach, excluded)
    log_ratio = (
        jnp.log(window.density[kind])
        + log_probability(pick_weights(upper[kind]), slot)
        + log_probability(near, host_slot)
        - log_probability(split_weights(model.prior, lower[EXTENDED]), host_slot)
        + _log_pair_ratio(model, geometry, fluxes)
        + flux.log_ratio
    )

    positions = geometry.positions
    pair_inside = contains(window, *positions[1]) & contains(window, *positions[2])
    num_galaxies = jnp.sum(active(galaxies), dtype=jnp.int32)
    has_pair = (num_galaxies > 0) & jnp.any(active(others))
    has_pair = num_galaxies > 1 if kind == EXTENDED else has_pair
    can_absorb = has_pair & contains(window, *positions[0])
    bright_enough = splittable(model.prior, flux.lower)
    proposal = Proposal(
        upward=upward,
        possible=jnp.where(upward, has_room & pair_inside, can_absorb)
        & bright_enough
        & geometry.allowed,
        log_ratio=log_ratio,
        residual=(bare - flux.lower * images[0], bare - flux.upper * images[1]),
        sources=jax.tree.map(lambda low, high: jnp.where(upward, high, low), lower, upper),
        signal=jnp.minimum(fraction, 1.0 - fraction) * flux.upper * jnp.sqrt(flux.information),
    )
    full = upward & ~has_room & bright_enough & one_hot(kind, 2)
    return decide(u_accept, window, state._replace(overflow=state.overflow | full), proposal)


def _choose_slots(
    uniform: Array, model: Model, state: WindowState, kind: int, upward: Array
) -> tuple[Array, Array, Array]:
    """Return the slots of the absorbed source and of the galaxy, and whether there is room."""
    u_absorbed, u_host, u_merged = uniform[0], uniform[1], uniform[2]
    galaxies, others = state.extended, sources_of(state, kind)
    free, has_room = empty_slot(active(others))
    picked = choose_weighted(u_absorbed, pick_weights(others))
    excluded = picked if kind == EXTENDED else jnp.int32(-1)
    x, y = others[picked, X], others[picked, Y]
    near = neighbour_weights(galaxies, x, y, _reach(model, galaxies), excluded)
    host = choose_weighted(u_host, near)
    merged = choose_weighted(u_merged, split_weights(model.prior, galaxies))
    return jnp.where(upward, free, picked), jnp.where(upward, merged, host), has_room


def _images(model: Model, window: Window, geometry: Geometry, kind: int) -> tuple[Array, Array]:
    """Return the unit-flux images of the merged galaxy, and of host and absorbed source."""

    def image_of_galaxy(position: Array, shape: Array, colours: Array) -> Array:
        unit = extended_unit_image(model, window, position[X], position[Y], shape)
        return apply_colours(model, unit, colours)

    number = 3 if kind == EXTENDED else 2
    parts = (geometry.positions, geometry.shapes, geometry.colours)
    images = jax.vmap(image_of_galaxy)(*(part[:number] for part in parts))
    if kind == EXTENDED:
        absorbed = images[2]
    else:
        unit_star = star(geometry.positions[2], jnp.float32(1.0), geometry.colours[2])
        absorbed = unit_image(model, window, POINT, unit_star)
    return images[0], (1.0 - geometry.fraction) * images[1] + geometry.fraction * absorbed


def _catalogs(
    state: WindowState,
    kind: int,
    slots: tuple[Array, Array],
    merged: Array,
    host: Array,
    absorbed: Array,
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return points and extended sources of the lower and of the upper state."""
    slot, host_slot = slots
    with_merged = put(state.extended, host_slot, merged)
    with_host = put(state.extended, host_slot, host)
    if kind == EXTENDED:
        lower, upper = put(with_merged, slot, 0.0), put(with_host, slot, absorbed)
        return (state.points, lower), (state.points, upper)
    without, with_absorbed = put(state.points, slot, 0.0), put(state.points, slot, absorbed)
    return (without, with_merged), (with_absorbed, with_host)


def _log_pair_ratio(model: Model, geometry: Geometry, fluxes: Array) -> Array:
    """Return the terms of ln A that depend on the division of the merged galaxy."""
    prior, fraction = model.prior, geometry.fraction
    merged, host = geometry.shapes[0], geometry.shapes[1]
    return (
        log_flux_prior(prior, fluxes[1])
        + log_flux_prior(prior, fluxes[2])
        - log_flux_prior(prior, fluxes[0])
        + log_shape_prior(prior, host)
        - log_shape_prior(prior, merged)
        - log_flux_fraction_density(prior, fluxes[0], fraction)
        - log_separation_density(jnp.sum(geometry.separation**2), separation_scale(model, merged))
        + jnp.log(fluxes[1] + fluxes[2])
        - 3.0 * jnp.log1p(-fraction)
        + log_matrix_jacobian(merged)
        - log_matrix_jacobian(host)
        + log_division_ratio(
            prior,
            geometry.colours[0],
            geometry.difference,
            geometry.colours[1],
            geometry.colours[2],
        )
    )


def _reach(model: Model, galaxies: Array) -> Array:
    """Return the scale (S,) of the distances from which galaxies absorb other sources."""
    return ABSORPTION_REACH * model.fwhm + galaxies[:, RADIUS]
