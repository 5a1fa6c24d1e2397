"""When a run ends, and which of its draws are kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

MAX_TIME = "10m"
"""Default time after which a run does not continue although its chains have not converged."""
CHECKS_PER_RUN = 4
"""Number of checks of convergence in as many further draws as a run keeps at least."""
KEPT_OF_THREE = 2
"""Number of every three draws after the warm-up, the last, that a run keeps if it continues."""


@dataclass(frozen=True)
class StoppingRule:
    """End of a run: after a number of draws, or when its chains have converged.

    A run that continues until it converges checks this after `num_samples` draws, and then after
    every quarter as many. If it has to continue, its first draws were not in equilibrium yet. They
    are further warm-up: of all draws after the warm-up the last two thirds are kept, and never
    fewer than `num_samples`.

    Parameters
    ----------
    num_warmup : int
        Number of draws of every chain that are discarded in any case.
    num_samples : int
        Number of draws of every chain that are kept, or the smallest number of them.
    block : int
        Number of draws that are made at a time.
    until_converged : bool
        Whether to continue until the chains have converged.
    max_time : float
        Time in seconds after which the run does not continue.
    """

    num_warmup: int
    num_samples: int
    block: int
    until_converged: bool = False
    max_time: float = math.inf

    @property
    def first_end(self) -> int:
        """Smallest number of draws of a run, warm-up included."""
        return self.num_warmup + self.num_samples

    @property
    def interval(self) -> int:
        """Number of draws, in whole blocks, from one check of convergence to the next."""
        return max(round(self.num_samples / CHECKS_PER_RUN / self.block), 1) * self.block

    def is_over(self, made: int, seconds: float, has_converged: Callable[[], bool]) -> bool:
        """Decide whether a run ends after a block.

        Parameters
        ----------
        made : int
            Number of draws made so far, warm-up included.
        seconds : float
            Time that the run has taken.
        has_converged : callable
            Judges the draws; called only if a check of convergence is due.
        """
        beyond = made - self.first_end
        if beyond < 0:
            return False
        if not self.until_converged or seconds >= self.max_time:
            return True
        return beyond % self.interval < self.block and has_converged()

    def end(self, made: int) -> int:
        """Return the number of draws at the next possible end, for a progress bar.

        Parameters
        ----------
        made : int
            Number of draws made so far, warm-up included.
        """
        beyond = max(made - self.first_end, 0)
        return self.first_end + -(-beyond // self.interval) * self.interval

    def num_kept(self, made: int) -> int:
        """Return how many of the last draws are kept.

        Parameters
        ----------
        made : int
            Number of draws made so far, warm-up included.
        """
        after = max(made - self.num_warmup, 0)
        kept = max(self.num_samples, -(-KEPT_OF_THREE * after // 3))
        return min(kept if self.until_converged else self.num_samples, after)
