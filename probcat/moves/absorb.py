r"""Let a galaxy absorb a source near it and give it back, keeping centroid and quadrupole.

With total flux F, a share ``phi`` of the absorbed source B and its displacement d from the
galaxy A that stays, the merged galaxy M lies at the centroid and has the shape matrix

.. math:: S_M = (1 - \phi) S_A + \phi S_B + \phi (1 - \phi)\, d d^T / c

where ``c`` turns shape matrices into second moments, and ``S_B`` is zero for a star.  M
keeps the Sersic index of A.  In (position, flux, S) the Jacobian of
(M, phi, d) -> (A, B) is ``F (1 - phi)^-3``; that of S in half-light radius r and
ellipticity g is ``64 r^5 (1 - |g|^2)^-2``.  The total flux is drawn anew both ways.
"""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.moves.base import (
    EMPTY_SHAPE,
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
)
from probcat.moves.companion import neighbour_weights
from probcat.moves.pairs import (
    log_share_density,
    log_step_density,
    pick_weights,
    sample_share,
    sample_step,
    split_weights,
    splittable,
)
from probcat.moves.proposals import (
    choose,
    empty_slot,
    flux_conditional,
    log_flux_density,
    log_probability,
    sample_flux,
)
from probcat.prior import log_flux_prior, log_shape_prior

MOMENT = 0.72
"""Second moment of a Gaussian of unit half-light radius; other profiles are near enough."""
REACH = 2.0
"""Partners are chosen within about this many FWHM."""


def to_matrix(shape: Array) -> Array:
    """Elements (xx, xy, yy) of the shape matrix of a shape, determinant radius**4."""
    norm = shape[1] ** 2 + shape[2] ** 2
    scale = shape[0] ** 2 / (1.0 - norm)
    parts = [1.0 + norm + 2.0 * shape[1], 2.0 * shape[2], 1.0 + norm - 2.0 * shape[1]]
    return scale * jnp.stack(parts)


def from_matrix(matrix: Array, sersic_n: Array) -> tuple[Array, Array]:
    """Shape of a shape matrix, and whether that is positive definite."""
    determinant = matrix[0] * matrix[2] - matrix[1] ** 2
    trace = matrix[0] + matrix[2]
    proper = (determinant > 1e-8) & (trace > 0.0)
    root = jnp.sqrt(jnp.where(proper, determinant, 1.0))
    divisor = jnp.where(proper, trace + 2.0 * root, 1.0)
    first = (matrix[0] - matrix[2]) / divisor
    second = 2.0 * matrix[1] / divisor
    return jnp.stack([jnp.sqrt(root), first, second, sersic_n]), proper


def log_matrix_jacobian(shape: Array) -> Array:
    """Log derivative of the shape matrix by radius and ellipticity, but for a constant."""
    return 5.0 * jnp.log(shape[0]) - 2.0 * jnp.log1p(-(shape[1] ** 2) - shape[2] ** 2)


def absorb(
    draws: Draws, model: Model, search: Search, window: Window, state: WindowState, kind: int
) -> tuple[WindowState, Outcome]:
    """Give a source of `kind` out of a galaxy (upward) or let the galaxy absorb it."""
    del search
    u = draws.uniform
    prior, galaxies, others = model.prior, state.extended, sources_of(state, kind)
    size = state.residual.shape[-1]
    upward = u[0] < 0.5

    slot, host_slot, has_room = _choose_slots(u[1:4], model, state, kind, upward)
    host, other = galaxies[host_slot], others[slot]
    flux_now = host[FLUX] + jnp.where(upward, 0.0, other[FLUX])
    share_now = other[FLUX] / jnp.maximum(flux_now, 1e-30)
    share = jnp.where(upward, sample_share(u[4:7], prior, flux_now), share_now)
    shape_now = jnp.where(host[FLUX + 1] > 0.0, host[FLUX + 1 :], EMPTY_SHAPE)
    own = jnp.zeros(3, jnp.float32)
    other_shape = other[FLUX + 1 :]
    if kind == EXTENDED:
        valid = ~upward & (other[FLUX] > 0.0)
        other_shape = jnp.where(valid, other_shape, draws.shapes[0])
        own = to_matrix(other_shape)

    drawn = sample_step(u[7:10], _scale(model, shape_now))
    step = jnp.where(upward, drawn, other[:FLUX] - host[:FLUX])
    spread = share * (1.0 - share) / MOMENT
    added = share * own + spread * jnp.stack([step[0] ** 2, step[0] * step[1], step[1] ** 2])
    matrix = to_matrix(shape_now)
    matrix = jnp.where(upward, (matrix - added) / (1.0 - share), (1.0 - share) * matrix + added)
    new_shape, proper = from_matrix(matrix, shape_now[3])
    shape_1 = jnp.where(upward, shape_now, new_shape)
    shape_a = jnp.where(upward, new_shape, shape_now)
    proper = proper & _allowed(model, new_shape)
    shape_1, shape_a = (jnp.where(proper, shape, shape_now) for shape in (shape_1, shape_a))

    centre = host[:FLUX] + jnp.where(upward, 0.0, share) * step
    position_a, position_b = centre - share * step, centre + (1.0 - share) * step
    places, shapes = [centre, position_a], [shape_1, shape_a]
    if kind == EXTENDED:
        places, shapes = [*places, position_b], [*shapes, other_shape]
    images = jax.vmap(lambda at, shape: extended_patch(model, at[X], at[Y], shape, size))(
        jnp.stack(places), jnp.stack(shapes)
    )
    image_b = images[2] if kind == EXTENDED else patch(model, POINT, position_b, size)
    image, both = images[0], (1.0 - share) * images[1] + share * image_b
    bare = state.residual + flux_now * jnp.where(upward, image, both)

    weighted = window.weight * bare
    one = flux_conditional(prior, total(weighted * image), total(window.weight * image**2))
    two = flux_conditional(prior, total(weighted * both), total(window.weight * both**2))
    mean, precision = (jnp.where(upward, b, a) for a, b in zip(one, two, strict=True))
    drawn = sample_flux(u[10:12], draws.flux[0], prior, mean, precision)
    flux_one = jnp.where(upward, flux_now, drawn)
    flux_two = jnp.where(upward, drawn, flux_now)

    merged = jnp.concatenate([centre, flux_one[None], shape_1])
    stays = jnp.concatenate([position_a, ((1.0 - share) * flux_two)[None], shape_a])
    given = jnp.concatenate([position_b, (share * flux_two)[None], other_shape])
    with_host = put(galaxies, host_slot, stays)
    upper = put(with_host if kind == EXTENDED else others, slot, given)
    lower = put(galaxies, host_slot, merged)
    lower = put(lower, slot, 0.0) if kind == EXTENDED else lower
    excluded = jnp.where(upward, -1, slot) if kind == EXTENDED else jnp.int32(-1)
    hosts = put(with_host, slot, 0.0) if kind == EXTENDED else with_host
    near = neighbour_weights(hosts, given[X], given[Y], REACH * model.fwhm, excluded)
    log_ratio = (
        jnp.log(window.density[kind])
        + log_flux_prior(prior, stays[FLUX])
        + log_flux_prior(prior, given[FLUX])
        - log_flux_prior(prior, flux_one)
        + log_shape_prior(prior, shape_a)
        - log_shape_prior(prior, shape_1)
        + log_probability(pick_weights(upper), slot)
        + log_probability(near, host_slot)
        + log_flux_density(prior, flux_one, *one)
        - log_probability(split_weights(prior, lower), host_slot)
        - log_share_density(prior, flux_one, share)
        - log_step_density(jnp.sum(step**2), _scale(model, shape_1))
        - log_flux_density(prior, flux_two, *two)
        + jnp.log(flux_two)
        - 3.0 * jnp.log1p(-share)
        + log_matrix_jacobian(shape_1)
        - log_matrix_jacobian(shape_a)
    )
    inside = contains(window, *position_a) & contains(window, *position_b)
    number = jnp.sum(active(galaxies), dtype=jnp.int32)
    has_pair = (number > 1) if kind == EXTENDED else (number > 0) & jnp.any(active(others))
    possible = jnp.where(upward, has_room & inside, has_pair & contains(window, *centre))
    able = splittable(prior, flux_one)
    proposal = Proposal(
        upward=upward,
        possible=possible & able & proper,
        log_ratio=log_ratio,
        residual=(bare - flux_one * image, bare - flux_two * both),
        sources=_proposed(state, kind, upward, (upper, with_host), lower, slot),
        signal=jnp.minimum(share, 1.0 - share) * flux_two * jnp.sqrt(one[1]),
    )
    full = upward & ~has_room & able & one_hot(kind, 2)
    return decide(u[12], window, state._replace(overflow=state.overflow | full), proposal)


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
    near = neighbour_weights(galaxies, place[X], place[Y], REACH * model.fwhm, excluded)
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
