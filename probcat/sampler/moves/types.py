"""What a move proposes and what came of it."""

from typing import NamedTuple

from jax import Array


class Outcome(NamedTuple):
    """Bookkeeping of one move: what was tried and what was accepted, up and down.

    Attributes
    ----------
    tried, accepted : Array, shape (2,), bool
    signal_bin : Array, int32
        Bin of `SIGNAL_EDGES` of the source that appears, vanishes or moves.
    """

    tried: Array
    accepted: Array
    signal_bin: Array


class Proposal(NamedTuple):
    """A pair of states that differ by a move, and how to get from one to the other.

    `lower` is the state of lower dimension (before a birth, after a death).

    Attributes
    ----------
    upward : Array, bool
        Whether the current state is the lower one.
    possible : Array, bool
        Whether the proposal exists at all.
    log_ratio : Array
        Of prior, proposal densities and Jacobian, upper over lower state,
        without the likelihood.
    residual : tuple of Array
        Residuals of the lower and of the upper state.
    sources : tuple of (Array, Array)
        (points, extended) of the proposed state.
    signal : Array
        Signal-to-noise ratio of the (fainter) source that the move is about.
    """

    upward: Array
    possible: Array
    log_ratio: Array
    residual: tuple[Array, Array]
    sources: tuple[Array, Array]
    signal: Array
