"""What a run shows while it works: its phase, a bar, and how well its chains agree so far."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from probcat.samples.chains import import_arviz

if TYPE_CHECKING:
    from probcat.samples.diagnostics import Diagnostics

MAX_COST = 0.02
"""Largest fraction of the time of a run that is spent on R-hat for the progress bar."""


@contextmanager
def show_phase(text: str, show: bool = True) -> Iterator[None]:
    """Show what the program does in a line of the terminal, which is cleared at the end.

    Parameters
    ----------
    text : str
        Name of the phase.
    show : bool
        Whether to show it; a file or a pipe in place of the terminal gets nothing.
    """
    hidden = not show or not sys.stderr.isatty()
    with tqdm(total=0, bar_format="{desc}", desc=text, leave=False, disable=hidden) as line:
        line.refresh()
        yield


class Progress:
    """Progress bar of a run, with its phase before it and its state behind it.

    Parameters
    ----------
    end : callable
        Returns the number of draws at the next possible end of the run, from that made so far.
    done : int
        Number of draws made before.
    show : bool
        Whether to show the bar.
    """

    def __init__(self, end: Callable[[int], int], done: int, show: bool) -> None:
        self._end = end
        self._bar = tqdm(total=end(done), initial=done, disable=not show, unit="draw")
        self._agreement, self._judged_at, self._cost = "", -float("inf"), 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def enter(self, phase: str) -> None:
        """Show the name of a phase at once."""
        self._bar.set_description_str(phase)

    def note(self, text: str) -> None:
        """Write a note of an enlarged array above the bar; the program is then compiled again."""
        self._bar.write(text)
        self.enter("compiling")

    def judge(self, diagnose: Callable[[], Diagnostics]) -> None:
        """Renew the worst R-hat, if that takes little time compared with the run.

        Parameters
        ----------
        diagnose : callable
            Judges the draws so far.
        """
        if self._bar.disable:
            return
        import_arviz()  # once, and no part of the cost
        start = time.monotonic()
        if start - self._judged_at < self._cost / MAX_COST:
            return
        name, rhat = diagnose().worst_rhat
        self._agreement = f"R-hat={rhat:.2f} ({name}) "
        self._judged_at = time.monotonic()
        self._cost = self._judged_at - start

    def move(self, done: int, state: str) -> None:
        """Move the bar to the number of draws made so far, and show the state of the chains."""
        self._bar.total = self._end(done)
        self._bar.set_postfix_str(self._agreement + state, refresh=False)
        self._bar.update(done - self._bar.n)
