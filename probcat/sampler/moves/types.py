"""Signature of a move, what it proposes, and what came of the proposal."""

from typing import NamedTuple, Protocol

from jax import Array

from probcat.sampler.window.structures import Model, RandomNumbers, Search, Window, WindowState


class Outcome(NamedTuple):
    """Bookkeeping of one move.

    Attributes
    ----------
    tried, accepted : Array, shape (2,), bool
        Whether a proposal was possible and whether it was accepted, upward and downward.
    signal_bin : Array, int32
        Bin of `SIGNAL_EDGES` of the signal-to-noise ratio of the source that the move is about.
    """

    tried: Array
    accepted: Array
    signal_bin: Array


class Proposal(NamedTuple):
    """A lower and an upper state, of which one is current and the other one proposed.

    The lower state has the smaller dimension: it is the state before a birth or after a death.

    Attributes
    ----------
    upward : Array, bool
        Whether the current state is the lower one.
    possible : Array, bool
        Whether the proposed state exists: there are sources to choose, there is room for new
        ones, and all of them lie where they may.
    log_ratio : Array, shape ()
        Logarithm of prior, proposal densities and Jacobian, upper over lower state, without
        the likelihood: the ln A of `probcat.sampler.moves`.
    residual : tuple of Array, shape (W, W)
        Residuals of the lower and of the upper state.
    sources : tuple of (Array, Array)
        Point sources and extended sources of the proposed state.
    signal : Array, shape ()
        Signal-to-noise ratio of the source that appears, vanishes or changes, of the fainter one
        if there are two.
    """

    upward: Array
    possible: Array
    log_ratio: Array
    residual: tuple[Array, Array]
    sources: tuple[Array, Array]
    signal: Array


class Move(Protocol):
    """Function that makes one move in one window.

    Parameters
    ----------
    numbers : RandomNumbers
        Random numbers of the move. Every move gives names to the elements of ``uniform`` at its
        top, so that none is used for two purposes.
    model : Model
        What is fixed during a run: images and prior.
    search : tuple of Search
        PSF factors for matched filters, which births need.
    window : Window
        What is fixed during the visit of the window.
    state : WindowState
        Residual and sources of the window.

    Returns
    -------
    state : WindowState
        The proposed state or, if it is rejected, the one before.
    outcome : Outcome
        What was tried and accepted.
    """

    def __call__(
        self,
        numbers: RandomNumbers,
        model: Model,
        search: tuple[Search, ...],
        window: Window,
        state: WindowState,
    ) -> tuple[WindowState, Outcome]:
        """Make the move."""
        ...
