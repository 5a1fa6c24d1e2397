"""Random numbers of the moves, their likelihood ratio, and the one accept step."""

import jax
import jax.numpy as jnp
from jax import Array

from probcat.model.pixel_noise import pixel_log_likelihood_change, score
from probcat.model.prior.densities import sample_colour_prior, sample_flux_prior, sample_shape
from probcat.model.prior.prior import Prior
from probcat.sampler.moves.types import Outcome, Proposal
from probcat.sampler.window.slots import all_fit, total
from probcat.sampler.window.structures import (
    EXTENDED,
    NUM_MORE,
    NUM_SHAPE,
    NUM_TRIES,
    NUM_UNIFORMS,
    POINT,
    SIGNAL_EDGES,
    RandomNumbers,
    Window,
    WindowState,
)


def log_likelihood_change(window: Window, residual_lower: Array, residual_upper: Array) -> Array:
    """Return the log likelihood of the upper state minus that of the lower state, tempered.

    It is written as a product of a difference and a sum, which stays exact in single precision
    for sources of any brightness.

    Parameters
    ----------
    window : Window
        Window, which has the weights or the noise of pixels.
    residual_lower, residual_upper : Array, shape (W, W)
        Residuals of the two states.
    """
    if window.noise is None:
        difference, both = residual_lower - residual_upper, residual_lower + residual_upper
        return 0.5 * total(window.weight * difference * both)
    change = jnp.where(
        window.weight > 0.0,
        pixel_log_likelihood_change(window.noise, residual_lower, residual_upper),
        0.0,
    )
    return window.beta * total(change)


def light_score(window: Window, residual: Array) -> Array:
    """Return the derivative of the log likelihood by the light in every pixel, (W, W)."""
    if window.noise is None:
        return window.weight * residual
    slope = jnp.where(window.weight > 0.0, score(window.noise, residual), 0.0)
    return window.beta * slope


def random_numbers(rng_key: Array, prior: Prior, number: int, with_shapes: bool) -> RandomNumbers:
    """Return the random numbers of several moves, with the axis of the moves first.

    They are drawn for all moves at once, since samplers of a prior can be slow to compile.

    Parameters
    ----------
    rng_key : Array
        Key of the random numbers.
    prior : Prior
        Prior of fluxes, colours and shapes.
    number : int
        Number of moves.
    with_shapes : bool
        Whether any of the moves needs shapes from the prior, and the last ``NUM_MORE`` uniform
        random numbers. Otherwise these are constants.
    """
    keys = jax.random.split(rng_key, 6)
    key_uniform, key_flux, key_shape, key_more, key_colour, key_normal = keys
    uniform = jax.random.uniform(key_uniform, (number, NUM_UNIFORMS))
    more = jnp.zeros((number, NUM_MORE), jnp.float32)
    shapes = jnp.zeros((number, NUM_TRIES, NUM_SHAPE), jnp.float32)
    if with_shapes:
        more = jax.random.uniform(key_more, more.shape)
        shapes = sample_shape(prior, key_shape, shapes.shape[:2])
    colours = normal = jnp.zeros((number, 0), jnp.float32)
    if prior.num_colours:
        colours = sample_colour_prior(prior, key_colour, (number,))
        normal = jax.random.normal(key_normal, colours.shape)
    return RandomNumbers(
        # From [0, 1) to (0, 1], so that logarithms are finite.
        1.0 - jnp.concatenate([uniform, more], axis=1),
        sample_flux_prior(prior, key_flux, (number, 2)),
        shapes,
        colours,
        normal,
    )


def decide(
    uniform: Array, window: Window, state: WindowState, proposal: Proposal
) -> tuple[WindowState, Outcome]:
    """Accept or reject a proposal: the Metropolis-Hastings-Green step, the only one of all moves.

    Parameters
    ----------
    uniform : Array, shape ()
        Uniform random number.
    window : Window
        Window, which has the likelihood.
    state : WindowState
        Current state.
    proposal : Proposal
        Proposed state and the ratio of probabilities.

    Returns
    -------
    state : WindowState
        State after the step.
    outcome : Outcome
        Whether the proposal was possible and whether it was accepted.
    """
    residual_lower, residual_upper = proposal.residual
    log_ratio = proposal.log_ratio + log_likelihood_change(window, residual_lower, residual_upper)
    log_ratio = jnp.where(proposal.upward, log_ratio, -log_ratio)
    fits = all_fit(window, proposal.sources[EXTENDED])
    # Rounding may put a drawn value where its density is zero: there is no way back from there.
    proper = jnp.isfinite(proposal.log_ratio)
    accepted = proposal.possible & fits & proper & (jnp.log(uniform) < log_ratio)
    residual = jnp.where(proposal.upward, residual_upper, residual_lower)
    state = state._replace(
        residual=jnp.where(accepted, residual, state.residual),
        points=jnp.where(accepted, proposal.sources[POINT], state.points),
        extended=jnp.where(accepted, proposal.sources[EXTENDED], state.extended),
    )
    direction = jnp.stack([proposal.upward, ~proposal.upward])
    tried = direction & proposal.possible
    above = proposal.signal > jnp.asarray(SIGNAL_EDGES)
    return state, Outcome(tried, tried & accepted, jnp.sum(above, dtype=jnp.int32))
