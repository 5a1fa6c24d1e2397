r"""New division of the light of two stars that keeps their centroid.

To merge a pair and split it again in one step moves along the directions in which blends are least
certain. A star is picked, mostly a bright one, with a partner close to it. They have the flux F,
of which the first has the fraction :math:`\varphi`, and the separation d. A new fraction
:math:`\varphi'` is drawn, and then, with probability 1/2 each,

- a new separation d' is drawn as for a split, or
- d is stretched to :math:`d' = \pm s\, d` with
  :math:`s^2 = \varphi (1 - \varphi) / (\varphi' (1 - \varphi'))`, which keeps
  :math:`\varphi (1 - \varphi)\, d^2`, the quadrupole of the pair. The sign decides on which side
  the first star is; both are equally probable.

Then a new total flux F' is drawn from its conditional Gaussian. The joined colours and the
difference of the colours stay. The reverse move draws :math:`\varphi`, F and, in the same manner,
d. Where the proposed state has a prime,

.. math:: A = \frac{p(f_1')\, p(f_2')\, p(c_1')\, p(c_2')}{p(f_1)\, p(f_2)\, p(c_1)\, p(c_2)}
          \cdot \frac{P_\mathrm{pick}'\, P_\mathrm{partner}'}{P_\mathrm{pick}\, P_\mathrm{partner}}
          \cdot \frac{q(\varphi \mid F')\, N(F)}{q(\varphi' \mid F)\, N(F')}
          \cdot \frac{F'}{F} \cdot
          \begin{cases} q(d \mid \varphi, F') / q(d' \mid \varphi', F) & \text{drawn}\\
          s^2 & \text{stretched.} \end{cases}

F'/F and :math:`s^2` are the Jacobians of the fluxes and of the separation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.prior.densities import log_colour_prior, log_flux_prior
from probcat.sampler.moves.accept import decide
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.proposals.choices import choose_weighted, log_probability, pick_weights
from probcat.sampler.proposals.colours import divide_colours, join_colours
from probcat.sampler.proposals.displacements import log_separation_density, sample_separation
from probcat.sampler.proposals.fluxes import flux_conditional, log_flux_density, sample_flux
from probcat.sampler.proposals.pairs import (
    Division,
    Joined,
    StarPair,
    choose_partner,
    log_flux_fraction_density,
    log_partner,
    pair_scale,
    sample_flux_fraction,
)
from probcat.sampler.window.light import unit_image
from probcat.sampler.window.slots import active, colours_of, contains, put, star, total, with_flux
from probcat.sampler.window.structures import (
    FLUX,
    POINT,
    Model,
    RandomNumbers,
    Search,
    Window,
    WindowState,
)


class _Pair(NamedTuple):
    """Two stars, as they are or as they are proposed.

    Attributes
    ----------
    division : Division
        How the two stars divide their light.
    flux : Array, shape ()
        Total flux.
    conditional : tuple of Array
        Mean and precision of the total flux.
    first, second : Array, shape (2 + B,)
        The two stars.
    """

    division: Division
    flux: Array
    conditional: tuple[Array, Array]
    first: Array
    second: Array


def merge_and_split(
    numbers: RandomNumbers,
    model: Model,
    search: tuple[Search, ...],
    window: Window,
    state: WindowState,
) -> tuple[WindowState, Outcome]:
    """Propose a new division of the light of two stars; the proposed state counts as the upper one.

    Arguments and results are those of a `Move`.
    """
    del search
    u = numbers.uniform
    u_pick, u_partner, u_fraction, u_how = u[0], u[1], u[2:5], u[5]
    # Only one of these two is used, so that they may share a number.
    u_separation, u_sign = u[6:9], u[6]
    u_flux, u_accept = u[9:11], u[11]

    prior, sources = model.prior, state.points
    slot = choose_weighted(u_pick, pick_weights(sources))
    first_slot = choose_partner(u_partner, model, window, sources, slot)
    first, second = sources[first_slot], sources[slot]
    joined = _join(model, first, second)
    fraction, separation = joined.fraction, first[:FLUX] - second[:FLUX]
    division = Division(joined, fraction, separation)
    unit_merged = star(joined.centre, jnp.float32(1.0), joined.colours)
    information = total(window.weight * unit_image(model, window, POINT, unit_merged) ** 2)
    pixel_weight = information / model.point_norm

    new_fraction = sample_flux_fraction(u_fraction, prior, joined.flux)
    drawn = u_how < 0.5
    stretch = jnp.sqrt(fraction * (1.0 - fraction) / (new_fraction * (1.0 - new_fraction)))
    scale = pair_scale(model, pixel_weight, new_fraction, joined.flux)
    signed_stretch = jnp.where(u_sign < 0.5, stretch, -stretch)
    new_separation = jnp.where(
        drawn, sample_separation(u_separation, scale), signed_stretch * separation
    )
    new_division = Division(joined, new_fraction, new_separation)

    unit, new_unit = (_unit_pair(model, window, one) for one in (division, new_division))
    bare = state.residual + joined.flux * unit.image
    conditional, new_conditional = (
        flux_conditional(prior, total(window.weight * bare * one), total(window.weight * one**2))
        for one in (unit.image, new_unit.image)
    )
    new_flux = sample_flux(u_flux, numbers.flux[0], prior, *new_conditional)
    new_first, new_second = (
        with_flux(one, one[FLUX] * new_flux) for one in (new_unit.first, new_unit.second)
    )
    now = _Pair(division, joined.flux, conditional, first, second)
    new = _Pair(new_division, new_flux, new_conditional, new_first, new_second)

    proposed = put(put(sources, first_slot, new_first), slot, new_second)
    slots, catalogs = (first_slot, slot), (sources, proposed)
    has_pair = jnp.sum(active(sources), dtype=jnp.int32) > 1
    inside = contains(window, *new_first[:FLUX]) & contains(window, *new_second[:FLUX])
    proposal = Proposal(
        upward=jnp.bool_(True),
        possible=inside & has_pair,
        log_ratio=_log_ratio(
            model, window, (now, new), slots, catalogs, pixel_weight, drawn, stretch
        ),
        residual=(state.residual, bare - new_flux * new_unit.image),
        sources=(proposed, state.extended),
        signal=jnp.minimum(fraction, 1.0 - fraction) * joined.flux * jnp.sqrt(information),
    )
    return decide(u_accept, window, state, proposal)


def _join(model: Model, first: Array, second: Array) -> Joined:
    """Return the two stars seen as one."""
    flux = first[FLUX] + second[FLUX]
    fraction = first[FLUX] / jnp.maximum(flux, 1e-30)
    centre = second[:FLUX] + fraction * (first[:FLUX] - second[:FLUX])
    colours = join_colours(fraction, colours_of(model, first), colours_of(model, second))
    return Joined(flux, fraction, centre, *colours)


def _unit_pair(model: Model, window: Window, division: Division) -> StarPair:
    """Return what `pairs.divide_in_stars` does, both stars rendered at once to compile faster."""
    joined, fraction, separation = division
    colours = jnp.stack(divide_colours(fraction, joined.colours, joined.difference))
    fractions = jnp.stack([fraction, 1.0 - fraction])
    shifts = jnp.stack([1.0 - fraction, -fraction])[:, None] * separation[None]
    positions = joined.centre[None] + shifts
    stars = jnp.concatenate([positions, fractions[:, None], colours], axis=1)
    images = jax.vmap(lambda one: unit_image(model, window, POINT, one))(stars)
    return StarPair(fractions[0] * images[0] + fractions[1] * images[1], stars[0], stars[1])


def _log_ratio(
    model: Model,
    window: Window,
    pairs: tuple[_Pair, _Pair],
    slots: tuple[Array, Array],
    catalogs: tuple[Array, Array],
    pixel_weight: Array,
    drawn: Array,
    stretch: Array,
) -> Array:
    """Return ln A of the module's docstring."""
    prior, (now, new), (sources, proposed) = model.prior, pairs, catalogs
    first_slot, slot = slots

    def log_division_density(pair: _Pair, flux: Array) -> Array:
        # Of the fraction and, if it is drawn, of the separation.
        _, fraction, separation = pair.division
        scale = pair_scale(model, pixel_weight, fraction, flux)
        log_density = log_separation_density(jnp.sum(separation**2), scale)
        log_fraction = log_flux_fraction_density(prior, flux, fraction)
        return log_fraction + jnp.where(drawn, log_density, 0.0)

    return (
        log_flux_prior(prior, new.first[FLUX])
        + log_flux_prior(prior, new.second[FLUX])
        - log_flux_prior(prior, now.first[FLUX])
        - log_flux_prior(prior, now.second[FLUX])
        + log_probability(pick_weights(proposed), slot)
        - log_probability(pick_weights(sources), slot)
        + log_partner(model, window, proposed, new.second, slot, first_slot)
        - log_partner(model, window, sources, now.second, slot, first_slot)
        + log_division_density(now, new.flux)
        - log_division_density(new, now.flux)
        + log_flux_density(prior, now.flux, *now.conditional)
        - log_flux_density(prior, new.flux, *new.conditional)
        + jnp.log(new.flux)
        - jnp.log(now.flux)
        + jnp.where(drawn, 0.0, 2.0 * jnp.log(stretch))
        + log_colour_prior(prior, colours_of(model, new.first))
        + log_colour_prior(prior, colours_of(model, new.second))
        - log_colour_prior(prior, colours_of(model, now.first))
        - log_colour_prior(prior, colours_of(model, now.second))
    )
