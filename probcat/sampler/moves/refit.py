r"""Replacement of a galaxy by two sources and back, both proposed from fits to their light.

Two blended sources look like one galaxy, the more so the closer they are. At a high
signal-to-noise ratio each of the two explanations is a narrow mode of the posterior, and only a
fit finds one from the other. The pair is two stars, or a galaxy and a star.

The fits may depend on anything that the lower state x (one galaxy) and the upper state y (the
pair) have in common. That is the residual R without the light in question, the joined colours, and
the *anchor*: the centre of the cell, in a randomly placed grid, that contains the centroid of the
light. A proposal whose centroid lies in another cell is impossible. In either direction both the
galaxy and the pair are fitted, starting from the anchor, and the proposed one is drawn from around
its fit (`proposals.laplace_fit`, `proposals.pair_fits`), with a total flux F from its conditional
Gaussian. Upward, the galaxy is chosen by its flux, mostly a bright one; downward, a star is chosen
uniformly and the first source of the pair by its distance to the star.

The density of the galaxy's position and shape is :math:`q_\mathrm{one}`, and that of the pair's
positions, shape (if the first source is a galaxy) and fraction :math:`\varphi` of the flux is
:math:`q_\mathrm{two}`; both come from the fits. The Jacobian of
:math:`(F, \varphi) \to (f_1, f_2)` is F. With the intensity :math:`\lambda` of the kind of the
first source and :math:`n_P` stars in y,

.. math:: A = \frac{\lambda\, \lambda_P}{\lambda_E}\, \frac{p(f_1)\, p(f_2)\, p(s_1)}{p(F_x)\, p(s)}
          \cdot \frac{p(c_1)\, p(c_2)}{p(C)\, q(\delta)}
          \cdot \frac{P_\mathrm{near}(1 \mid 2, y) / n_P}{P_\mathrm{pick}(x)}
          \cdot \frac{q_\mathrm{one}}{q_\mathrm{two}}
          \cdot \frac{N(F_x \mid R)}{N(F_y \mid R)}\, F_y,

where :math:`p(s_1)` is left out if the first source is a star.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import from_shape, log_flux_prior, log_shape_prior, to_shape
from probcat.model.prior.prior import Prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.colours import (
    divide_colours,
    join_colours,
    log_division_ratio,
    sample_colour_difference,
)
from probcat.sampler.proposals.flux_redraw import Redrawn, redraw_flux
from probcat.sampler.proposals.galaxy_or_pair import (
    both_catalogs,
    choose_slots,
    has_pair,
    log_choice_ratio,
)
from probcat.sampler.proposals.laplace_fit import Fit, log_fit_density, sample_fit
from probcat.sampler.proposals.pair_fits import (
    ANCHOR_CELL,
    Pair,
    anchor_near,
    exchanged,
    fit_galaxy_and_pair,
    from_pair,
    image_of_pair,
    log_pair_density,
    to_pair,
    typical_shape,
)
from probcat.sampler.window.light import apply_colours, extended_unit_image
from probcat.sampler.window.slots import active, colours_of, contains, sources_of, star
from probcat.sampler.window.structures import (
    EXTENDED,
    FLUX,
    NUM_SHAPE,
    POINT,
    Model,
    RandomNumbers,
    Search,
    Window,
    WindowState,
    X,
    Y,
)


class _Current(NamedTuple):
    """Galaxy or pair that is chosen, in the current state.

    Attributes
    ----------
    upward : Array, bool
        Whether the current state has the galaxy.
    slots : Array, shape (2,), int32
        Slots of the pair, which are empty upward.
    galaxy_slot : Array, int32
        Slot of the galaxy, which is empty downward if the pair is two stars.
    has_room : Array, bool
        Whether there are enough empty slots.
    galaxy : Array, shape (6 + B,)
        The galaxy, if it exists.
    pair : Pair
        The pair, if it exists.
    flux : Array, shape ()
        Total flux.
    joined_colours, difference : Array, shape (B - 1,)
        Colours of all the light, and colours of the first source minus those of the second.
    """

    upward: Array
    slots: Array
    galaxy_slot: Array
    has_room: Array
    galaxy: Array
    pair: Pair
    flux: Array
    joined_colours: Array
    difference: Array


class _Explanations(NamedTuple):
    """The galaxy and the pair, of which one is current and the other one proposed.

    Attributes
    ----------
    free_galaxy : Array, shape (6,)
        Free coordinates of the galaxy.
    free_pair : Array, shape (5,) or (9,)
        Free coordinates of the pair.
    shape : Array, shape (4,)
        Shape of the galaxy.
    pair : Pair
        The pair.
    """

    free_galaxy: Array
    free_pair: Array
    shape: Array
    pair: Pair


def refit(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
    kind: int,
) -> tuple[WindowState, Outcome]:
    """Propose to replace a galaxy by a source of a kind and a star (upward) or back (downward).

    Arguments and results are those of a `Move`, except for the kind of the first source.
    """
    del search
    u = numbers.uniform
    u_direction, u_slots, u_fit = u[0], u[1:4], u[4:14]
    u_flux, u_accept, u_anchor, u_order = u[14:16], u[16], u[17:19], u[19]

    now = _current(u_direction, u_slots, numbers, model, state, kind)
    bare = state.residual + _light_now(model, window, now, kind)
    centre = jnp.where(now.upward, now.galaxy[:FLUX], now.pair.centroid)
    anchor = anchor_near(model, u_anchor, centre)
    fits = fit_galaxy_and_pair(model, window, bare, anchor, now.joined_colours, kind)
    either = _propose(u_fit, u_order, model, now, fits, kind)

    colours = divide_colours(either.pair.fraction, now.joined_colours, now.difference)
    x, y = either.free_galaxy[X], either.free_galaxy[Y]
    unit = extended_unit_image(model, window, x, y, either.shape)
    images = (
        apply_colours(model, unit, now.joined_colours),
        image_of_pair(model, window, either.pair, colours, kind),
    )
    flux = redraw_flux(u_flux, numbers, model, window, now.upward, now.flux, bare, images)
    sources = _sources(now, either, flux, colours, kind)
    slots = (now.slots, now.galaxy_slot)
    lower, upper = both_catalogs(state, kind, slots, sources)
    log_ratio = (
        log_choice_ratio(model, kind, slots, (lower, upper), sources[2])
        + _log_prior_ratio(model.prior, window, sources, kind)
        + _log_proposal_ratio(model.prior, fits, either, kind)
        + flux.log_ratio
        + jnp.log(flux.upper)
        + log_division_ratio(model.prior, now.joined_colours, now.difference, *colours)
    )

    new_centre = jnp.where(now.upward, either.pair.centroid, either.free_galaxy[:2])
    anchor_shift = jnp.abs(anchor_near(model, u_anchor, new_centre) - anchor)
    same_anchor = jnp.all(anchor_shift < 0.1 * ANCHOR_CELL * model.fwhm)
    existing = jnp.where(now.upward, jnp.any(active(state.extended)), has_pair(state, kind))
    possible = existing & now.has_room & same_anchor & _inside(window, now, either)
    fraction = either.pair.fraction
    proposal = Proposal(
        upward=now.upward,
        possible=possible & jnp.isfinite(log_ratio),
        log_ratio=log_ratio,
        residual=(bare - flux.lower * images[0], bare - flux.upper * images[1]),
        sources=jax.tree.map(lambda low, high: jnp.where(now.upward, high, low), lower, upper),
        signal=jnp.minimum(fraction, 1.0 - fraction) * flux.upper * jnp.sqrt(flux.information),
    )
    # Downward a galaxy beside the star keeps its slot, so that only two stars may lack room.
    lacking = jnp.stack([now.upward, ~now.upward & (kind == POINT)])
    overflow = state.overflow | (existing & ~now.has_room & lacking)
    return decide(u_accept, window, state._replace(overflow=overflow), proposal)


def _current(
    u_direction: Array,
    u_slots: Array,
    numbers: RandomNumbers,
    model: Model,
    state: WindowState,
    kind: int,
) -> _Current:
    """Choose the direction, and a galaxy or a pair."""
    upward = u_direction < 0.5
    slots, galaxy_slot, has_room = choose_slots(u_slots, model, state, kind, upward)
    first, second = sources_of(state, kind)[slots[0]], state.points[slots[1]]
    galaxy = state.extended[galaxy_slot]
    fraction = first[FLUX] / jnp.maximum(first[FLUX] + second[FLUX], 1e-30)
    shape = _shape_or_typical(model, first) if kind == EXTENDED else typical_shape(model)
    joined, difference = join_colours(fraction, colours_of(model, first), colours_of(model, second))
    new_difference = sample_colour_difference(numbers.normal, model.prior)
    return _Current(
        upward=upward,
        slots=slots,
        galaxy_slot=galaxy_slot,
        has_room=has_room,
        galaxy=galaxy,
        pair=Pair(jnp.stack([first[:FLUX], second[:FLUX]]), shape, fraction),
        flux=jnp.where(upward, galaxy[FLUX], first[FLUX] + second[FLUX]),
        joined_colours=jnp.where(upward, colours_of(model, galaxy), joined),
        difference=jnp.where(upward, new_difference, difference),
    )


def _light_now(model: Model, window: Window, now: _Current, kind: int) -> Array:
    """Return the light of the chosen galaxy or pair in the current state."""
    colours = divide_colours(now.pair.fraction, now.joined_colours, now.difference)
    image_of_two = image_of_pair(model, window, now.pair, colours, kind)
    shape = _shape_or_typical(model, now.galaxy)
    unit = extended_unit_image(model, window, now.galaxy[X], now.galaxy[Y], shape)
    image_of_one = apply_colours(model, unit, now.joined_colours)
    image = jnp.where(now.upward, image_of_one, image_of_two)
    return jnp.where(now.flux > 0.0, now.flux * image, 0.0)


def _propose(
    u_fit: Array, u_order: Array, model: Model, now: _Current, fits: tuple[Fit, Fit], kind: int
) -> _Explanations:
    """Draw the galaxy or the pair from around its fit; the other one is the current one."""
    prior, upward = model.prior, now.upward
    # Only one of the two is used, so that they may share random numbers.
    new_galaxy = sample_fit(u_fit[: 1 + fits[0].best.shape[0]], fits[0])
    new_pair = sample_fit(u_fit[: 1 + fits[1].best.shape[0]], fits[1])
    if kind == POINT:
        # Two stars come in either order.
        new_pair = jnp.where(u_order < 0.5, new_pair, exchanged(new_pair))
    free_shape = from_shape(prior, _shape_or_typical(model, now.galaxy))
    galaxy_now = jnp.concatenate([now.galaxy[:FLUX], free_shape])
    free_galaxy = jnp.where(upward, galaxy_now, new_galaxy)
    free_pair = jnp.where(upward, new_pair, from_pair(prior, now.pair, kind))
    pair = to_pair(prior, free_pair, kind)
    shape = jnp.where(upward, now.galaxy[-NUM_SHAPE:], to_shape(prior, free_galaxy[2:])[0])
    # Shapes of the current state are kept exactly, without the way through free coordinates.
    pair = pair._replace(shape=jnp.where(upward, pair.shape, now.pair.shape))
    return _Explanations(free_galaxy, free_pair, shape, pair)


def _sources(
    now: _Current,
    either: _Explanations,
    flux: Redrawn,
    colours: tuple[Array, Array],
    kind: int,
) -> tuple[Array, Array, Array]:
    """Return the galaxy and the first and second of the pair as rows of a catalog."""
    fraction, positions = either.pair.fraction, either.pair.positions
    position = either.free_galaxy[:2]
    galaxy = jnp.concatenate([position, flux.lower[None], now.joined_colours, either.shape])
    first = star(positions[0], fraction * flux.upper, colours[0])
    first = jnp.concatenate([first, either.pair.shape]) if kind == EXTENDED else first
    return galaxy, first, star(positions[1], (1.0 - fraction) * flux.upper, colours[1])


def _log_prior_ratio(
    prior: Prior, window: Window, sources: tuple[Array, Array, Array], kind: int
) -> Array:
    """Return the log prior of the pair minus that of the galaxy, without the colours."""
    galaxy, first, second = sources
    return (
        jnp.log(window.density[POINT])
        + jnp.log(window.density[kind])
        - jnp.log(window.density[EXTENDED])
        + log_flux_prior(prior, first[FLUX])
        + log_flux_prior(prior, second[FLUX])
        - log_flux_prior(prior, galaxy[FLUX])
        + (log_shape_prior(prior, first[-NUM_SHAPE:]) if kind == EXTENDED else 0.0)
        - log_shape_prior(prior, galaxy[-NUM_SHAPE:])
    )


def _log_proposal_ratio(
    prior: Prior, fits: tuple[Fit, Fit], either: _Explanations, kind: int
) -> Array:
    """Return the log density of proposing the galaxy minus that of the pair, without the flux."""
    log_jacobian = to_shape(prior, either.free_galaxy[2:])[1]
    log_galaxy = log_fit_density(fits[0], either.free_galaxy) - log_jacobian
    return log_galaxy - log_pair_density(prior, fits[1], either.free_pair, kind)


def _inside(window: Window, now: _Current, either: _Explanations) -> Array:
    """Return whether the proposed sources lie where sources of the window may be."""
    positions = either.pair.positions
    pair = contains(window, *positions[0]) & contains(window, *positions[1])
    return jnp.where(now.upward, pair, contains(window, *either.free_galaxy[:2]))


def _shape_or_typical(model: Model, source: Array) -> Array:
    """Return the shape of a source, or a finite one if its slot is empty."""
    return jnp.where(source[FLUX] > 0.0, source[-NUM_SHAPE:], typical_shape(model))
