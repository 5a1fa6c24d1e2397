r"""Attachment of a companion to a source and its removal, with new fluxes of both.

Upward, a host is chosen uniformly, and a companion is attached to it at a displacement d, with a
shape, if any, from several tries. The flux f and the colours c of the companion are drawn with the
flux of the host integrated out, then a new flux h of the host from its conditional Gaussian given
the companion. Downward, a source vanishes that is chosen by its flux, mostly a faint one, with a
host near to it, and the host gets a new flux without the companion. The host keeps its position,
colours and shape. With n possible hosts in x, the intensity :math:`\lambda` of sources of the
companion's kind, and a Jacobian of one,

.. math:: A = \lambda\, p(f)\, p(c)\, \frac{p(h_y)}{p(h_x)}
          \cdot \frac{P_\mathrm{death}(\mathrm{companion} \mid y)\,
          P_\mathrm{near}(\mathrm{host} \mid \mathrm{companion}, y)\, n}
          {q(d)\, N(f \mid R)\, q(c \mid f, R)\, w / \bar w}
          \cdot \frac{N(h_x \mid R)}{N(h_y \mid f, c, R)}.

The host may be of either kind: a companion star, for instance, may appear beside a star or a
galaxy.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_colour_prior, log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.choices import (
    choose_uniformly,
    choose_weighted,
    death_weights,
    empty_slot,
    log_probability,
    neighbour_weights,
)
from probcat.sampler.proposals.colours import mean_colours
from probcat.sampler.proposals.displacements import log_displacement_density, sample_displacement
from probcat.sampler.proposals.flux_redraw import RedrawnPair, redraw_host_and_companion
from probcat.sampler.proposals.shapes import propose_shapes, select_shape
from probcat.sampler.window.light import apply_colours, unit_image_per_band
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


class _Slots(NamedTuple):
    """Slots of the companion, which comes or goes, and of its host.

    Attributes
    ----------
    companion, host : Array, int32
        Slot of the companion among the sources of its kind, and of the host among the hosts.
    excluded : Array, int32
        Slot of the companion among the hosts, -1 if it is not one of them.
    has_room : Array, bool
        Whether there is an empty slot for a new companion.
    """

    companion: Array
    host: Array
    excluded: Array
    has_room: Array


def companion(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    kind: int,
    any_host: bool,
) -> tuple[WindowState, Outcome]:
    """Propose to attach a companion of a kind to a source (upward) or to remove one (downward).

    Arguments and results are those of a `Move`, except for the kind of the companion and whether
    sources of any kind are hosts, or stars only.
    """
    del search
    if kind == EXTENDED and not any_host:
        raise ValueError("an extended companion takes hosts of any kind")
    u = numbers.uniform
    u_direction, u_slots, u_displacement, u_shape = u[0], u[1:4], u[4:7], u[7]
    u_fluxes, u_accept = u[8:13], u[14]

    others, hosts = sources_of(state, kind), _hosts(state, any_host)
    upward = u_direction < 0.5
    slots = _choose_slots(u_slots, model, state, kind, hosts, upward)
    current, host = others[slots.companion], hosts[slots.host]
    new_position = host[:FLUX] + sample_displacement(u_displacement, model.fwhm)
    source = with_position(current, jnp.where(upward, new_position, current[:FLUX]))
    host_unit = _host_image(model, window, state, slots, host, any_host)
    host_image = apply_colours(model, host_unit, colours_of(model, host))
    without_host = state.residual + host[FLUX] * host_image
    source, unit, bare, log_shape_ratio = _with_image(
        u_shape, numbers, model, window, (current, source), without_host, upward, kind
    )
    flux = redraw_host_and_companion(
        u_fluxes, numbers, model, window, upward, (host, current), bare, (host_unit, unit)
    )
    source = with_colours(with_flux(source, flux.companion), flux.colours)
    image = apply_colours(model, unit, flux.colours)

    new_host = with_flux(host, jnp.where(upward, flux.host_upper, flux.host_lower))
    updated = _with_hosts(state, any_host, put(hosts, slots.host, new_host))
    others_upper = jnp.where(upward, updated[kind], others)
    changed = put(updated[kind], slots.companion, jnp.where(upward, source, 0.0))
    proposed = (changed, updated[EXTENDED]) if kind == POINT else (updated[POINT], changed)
    num_hosts = jnp.sum(active(hosts)) - jnp.where(upward, 0, 1)
    can_attach = slots.has_room & contains(window, source[X], source[Y])
    proposal = Proposal(
        upward=upward,
        possible=(num_hosts > 0) & jnp.where(upward, can_attach, jnp.any(active(others))),
        log_ratio=_log_ratio(
            model,
            window,
            kind,
            source,
            hosts,
            others_upper,
            slots,
            num_hosts,
            flux,
            log_shape_ratio,
        ),
        residual=(
            bare - flux.host_lower * host_image,
            bare - flux.host_upper * host_image - flux.companion * image,
        ),
        sources=proposed,
        signal=flux.companion * jnp.sqrt(total(window.weight * image**2)),
    )
    full = upward & ~slots.has_room & (num_hosts > 0) & one_hot(kind, 2)
    return decide(u_accept, window, state._replace(overflow=state.overflow | full), proposal)


def _hosts(state: WindowState, any_host: bool) -> Array:
    """Return the possible hosts, points first, so that the companion's slot is known."""
    if not any_host:
        return state.points
    columns = state.extended.shape[1] - state.points.shape[1]
    return jnp.concatenate([jnp.pad(state.points, ((0, 0), (0, columns))), state.extended])


def _choose_slots(
    uniform: Array, model: Model, state: WindowState, kind: int, hosts: Array, upward: Array
) -> _Slots:
    """Choose the companion that vanishes or an empty slot, and the host."""
    u_vanishing, u_host_down, u_host_up = uniform[0], uniform[1], uniform[2]
    others = sources_of(state, kind)
    first_of_kind = 0 if kind == POINT else state.points.shape[0]
    vanishing = choose_weighted(u_vanishing, death_weights(model, others[:, FLUX]))
    free, has_room = empty_slot(active(others))
    slot = jnp.where(upward, free, vanishing)
    excluded = jnp.where(upward, -1, first_of_kind + slot)
    source = others[slot]
    near = neighbour_weights(hosts, source[X], source[Y], model.fwhm, excluded)
    host_down = choose_weighted(u_host_down, near)
    host_up = choose_uniformly(u_host_up, active(hosts))
    return _Slots(slot, jnp.where(upward, host_up, host_down), excluded, has_room)


def _host_image(
    model: Model, window: Window, state: WindowState, slots: _Slots, host: Array, any_host: bool
) -> Array:
    """Return the image of the host, whichever kind it is, of unit flux in every band."""
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
    without_host: Array,
    upward: Array,
    kind: int,
) -> tuple[Array, Array, Array, Array]:
    """Return the companion with its shape, its unit image, `bare`, and ``ln(w / mean(w))``."""
    current, source = sources
    flux_now, colours_now = jnp.where(upward, 0.0, current[FLUX]), colours_of(model, current)
    if kind == POINT:
        image = unit_image_per_band(model, window, POINT, source)
        bare = without_host + flux_now * apply_colours(model, image, colours_now)
        return source, image, bare, jnp.float32(0.0)
    # Shapes are compared on the residual without host and companion, which is the same in both
    # directions.
    shapes, images = propose_shapes(numbers, model, window, source, upward)
    bare = without_host + flux_now * apply_colours(model, images[0], colours_now)
    shape, image, log_ratio = select_shape(
        uniform, model, window, bare, shapes, images, upward, mean_colours(model)
    )
    return with_shape(source, shape), image, bare, log_ratio


def _with_hosts(state: WindowState, any_host: bool, hosts: Array) -> tuple[Array, Array]:
    """Return points and extended sources after a change of the hosts: the inverse of `_hosts`."""
    points = hosts[: state.points.shape[0], : state.points.shape[1]]
    return points, hosts[state.points.shape[0] :] if any_host else state.extended


def _log_ratio(
    model: Model,
    window: Window,
    kind: int,
    source: Array,
    hosts: Array,
    others_upper: Array,
    slots: _Slots,
    num_hosts: Array,
    flux: RedrawnPair,
    log_shape_ratio: Array,
) -> Array:
    """Return ln A of the module's docstring."""
    prior = model.prior
    square = jnp.sum((source[:FLUX] - hosts[slots.host, :FLUX]) ** 2)
    near = neighbour_weights(hosts, source[X], source[Y], model.fwhm, slots.excluded)
    # Upward, the companion is not yet among the others.
    weights = death_weights(model, others_upper[:, FLUX])
    weights = put(weights, slots.companion, death_weights(model, flux.companion))
    return (
        jnp.log(window.density[kind])
        + log_flux_prior(prior, flux.companion)
        + log_colour_prior(prior, flux.colours)
        + log_flux_prior(prior, flux.host_upper)
        - log_flux_prior(prior, flux.host_lower)
        + flux.log_ratio
        - log_shape_ratio
        + log_probability(weights, slots.companion)
        + log_probability(near, slots.host)
        + jnp.log(num_hosts.astype(jnp.float32))
        - log_displacement_density(square, model.fwhm)
    )
