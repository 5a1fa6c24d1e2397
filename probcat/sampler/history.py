"""Draws that a run has made so far."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from probcat.sampler.collect import Block, last_draws, select_draws
from probcat.sampler.state import ChainSample
from probcat.sampler.stopping import StoppingRule
from probcat.samples.record import Growth


class History:
    """Draws of a run so far, the time that they took, and which of them are kept.

    Parameters
    ----------
    rule : StoppingRule
        Rule by which the run ends.
    done : int
        Number of draws made before, warm-up included.
    blocks : list of Block
        Draws made before after the warm-up.
    seconds : float
        Time that these took.
    """

    def __init__(
        self, rule: StoppingRule, done: int, blocks: list[Block], seconds: float = 0.0
    ) -> None:
        self.rule, self.done, self.blocks = rule, done, blocks
        self.start, self.cpu_start, self.before = time.monotonic(), time.process_time(), seconds

    @property
    def num_kept(self) -> int:
        """Number of the last draws that are kept."""
        return self.rule.num_kept(self.done)

    @property
    def phase(self) -> str:
        """Name of what the run does next."""
        return "warm-up" if self.done < self.rule.num_warmup else "sampling"

    @property
    def cost(self) -> tuple[float, float]:
        """Elapsed time and processor time in seconds, without earlier parts of the run."""
        return time.monotonic() - self.start, time.process_time() - self.cpu_start

    def is_over(self, has_converged: Callable[[], bool]) -> bool:
        """Whether the run ends here."""
        return self.rule.is_over(self.done, self.before + self.cost[0], has_converged)

    def advance(self, draws: ChainSample) -> ChainSample | None:
        """Count a block of draws, and return those that are not warm-up; None if all are."""
        # Only a run of fixed length ends within a block.
        size = self.rule.block
        last = size if self.rule.until_converged else self.rule.first_end - self.done
        kept = select_draws(draws, self.rule.num_warmup - self.done, last)
        self.done += min(size, last)
        return kept

    def kept(self) -> list[Block]:
        """Blocks of the draws that are kept."""
        return last_draws(self.blocks, self.num_kept)

    def progress(self, grown: Sequence[Growth]) -> dict[str, Any]:
        """Entries of the manifest of a checkpoint."""
        return {
            "done": self.done,
            "blocks": len(self.blocks),
            "grown": [asdict(event) for event in grown],
            "seconds": self.before + self.cost[0],
        }
