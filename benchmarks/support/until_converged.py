"""Sampling until the chains have converged, with the CPU time of every block of draws."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

FORGOTTEN = 1.0 / 3.0
"""Fraction of the draws after warm-up, the oldest ones, that are left out at a check."""
NEIGHBOURS = 3
"""Number of blocks without compiling from which the cost of a block with compiling is taken."""


@dataclass(frozen=True, eq=False)
class ConvergedRun:
    """A run that ended when its chains had converged, or when its time was over.

    Attributes
    ----------
    samples : Samples
        Draws that convergence was judged by last; in warm-up those of the last block.
    converged : bool
        Whether the chains have converged.
    reasons : tuple of str
        Arguments against convergence at the last check.
    in_warmup : bool
        Whether the run ended in warm-up.
    draws : int
        Draws of every chain, warm-up included.
    cpu : ndarray
        CPU-seconds of every block, compiling included.
    compiled : ndarray of bool
        Whether a program was compiled in the block.
    sampling : ndarray
        CPU-seconds of sampling in every block, by `sampling_costs`.
    draw_cpu : float
        CPU-seconds of one draw of all chains, the median over blocks after warm-up (in warm-up
        over all blocks) without compiling.
    """

    samples: Any
    converged: bool
    reasons: tuple[str, ...]
    in_warmup: bool
    draws: int
    cpu: np.ndarray
    compiled: np.ndarray
    sampling: np.ndarray
    draw_cpu: float


def sampling_costs(cpu: Sequence[float], compiled: Sequence[bool]) -> np.ndarray:
    """Return the cost of every block without compiling.

    Parameters
    ----------
    cpu : sequence of float
        CPU-seconds of every block.
    compiled : sequence of bool
        Whether a program was compiled in the block.

    Returns
    -------
    ndarray
        Cost of every block. A block in which a program was compiled has the median cost of the
        next `NEIGHBOURS` other blocks, or, if none follows, of the last ones; zero if there are
        none at all.
    """
    costs, clean = np.array(cpu, dtype=float), np.flatnonzero(~np.array(compiled, dtype=bool))
    result = costs.copy()
    for block in np.flatnonzero(compiled):
        later = clean[clean > block][:NEIGHBOURS]
        near = later if later.size else clean[-NEIGHBOURS:]
        result[block] = np.median(costs[near]) if near.size else 0.0
    return result


class _Blocks:
    """Blocks of draws of a run that goes on, with their costs."""

    def __init__(self, run: Any, log: Callable[[str], object]) -> None:
        self.run, self.log = run, log
        self.size = run.settings.checkpoint_interval
        self.cpu: list[float] = []
        self.compiled: list[bool] = []
        self.kept: list[Any] = []
        self.last: Any = None
        self._programs: set[Any] = set()
        self.state = run.begin()
        jax.block_until_ready(self.state)

    @property
    def draws(self) -> int:
        """Draws of every chain so far."""
        return self.size * len(self.cpu)

    @property
    def sampling(self) -> np.ndarray:
        """Cost of every block without compiling."""
        return sampling_costs(self.cpu, self.compiled)

    def advance(self) -> None:
        """Make a block, measure its cost, and keep its draws after warm-up."""
        from probcat.sampler.collect import select_draws, to_block

        alone = self.draws < self.run.num_alone
        start = time.process_time()
        self.state, draws = self.run.advance(self.state, self.log)
        jax.block_until_ready((self.state, draws))
        self.cpu.append(time.process_time() - start)
        # Arrays that grow change the kernel, and a run on the first image alone has its own.
        program = (alone, self.run.kernel)
        self.compiled.append(program not in self._programs)
        self._programs.add(program)
        layout, pixels = self.run.layout, float(self.run.scene.num_pixels)
        kept = select_draws(draws, self.run.num_warmup - self.draws + self.size, self.size)
        self.last = to_block(draws if kept is None else kept, layout, pixels, self.run.labels)
        if kept is not None:
            self.kept.append(self.last)

    def samples(self) -> Any:
        """Draws after warm-up without the oldest ones; in warm-up those of the last block."""
        from probcat.sampler.collect import to_samples

        blocks = self.kept or [self.last]
        samples = to_samples(blocks, self.run.record(blocks, 0.0, self.sampling.sum()).to_attrs())
        first = int(FORGOTTEN * samples.num_draws) if self.kept else 0
        return samples.select_draws(slice(first, None))

    def draw_cpu(self) -> float:
        """Median CPU-seconds of a draw after warm-up, or of any draw if there is none."""
        clean = ~np.array(self.compiled)
        late = clean & (np.arange(len(self.cpu)) >= len(self.cpu) - len(self.kept))
        chosen = next((use for use in (late, clean) if use.any()), np.ones(len(clean), bool))
        return float(np.median(self.sampling[chosen])) / self.size


def sample_until_converged(
    run: Any, seconds: float, check_every: int, log: Callable[[str], object] = print
) -> ConvergedRun:
    """Sample block after block until the chains have converged or some CPU time is spent.

    At a check, the oldest third of the draws after warm-up is left out. Time for compiling and for
    checks does not count.

    Parameters
    ----------
    run : probcat.sampler.sample.Run
        The run, started from its beginning.
    seconds : float
        CPU-seconds of all chains, warm-up included, after which no further block begins.
    check_every : int
        Number of blocks after warm-up between two checks.
    log : callable
        Called with notes of the run and with a line at every check.

    Returns
    -------
    ConvergedRun
    """
    from probcat.samples.diagnostics import diagnose

    blocks = _Blocks(run, log)
    converged = False
    reasons: tuple[str, ...] = ("still in warm-up",)
    while True:
        blocks.advance()
        spent = float(blocks.sampling.sum())
        over = spent >= seconds
        if blocks.kept and (over or len(blocks.kept) % check_every == 0):
            found = diagnose(blocks.samples())
            converged, reasons = found.converged, tuple(found.reasons)
            first = "converged" if converged else f"{len(reasons)} reasons, first: {reasons[0]}"
            log(f"{blocks.draws} draws, {spent:.0f} CPU-s: {first}")
        if over or converged:
            break
    return ConvergedRun(
        samples=blocks.samples(),
        converged=converged,
        reasons=reasons,
        in_warmup=not blocks.kept,
        draws=blocks.draws,
        cpu=np.array(blocks.cpu),
        compiled=np.array(blocks.compiled),
        sampling=blocks.sampling,
        draw_cpu=blocks.draw_cpu(),
    )
