"""Moves in a window: one file each, one table here.

A move takes ``(draws, model, search, window, state)`` and returns the new state
and an `Outcome`.  A new move is a new file and a line in `MOVES`.
"""

from collections.abc import Callable
from functools import partial

from probcat.moves.absorb import absorb
from probcat.moves.base import EXTENDED, POINT
from probcat.moves.birth_death import birth_death
from probcat.moves.blend import blend
from probcat.moves.companion import companion
from probcat.moves.refit import refit
from probcat.moves.resplit import resplit
from probcat.moves.retype import retype
from probcat.moves.split_merge import split_merge

MOVES: dict[str, Callable] = {
    "birth_death_point": partial(birth_death, kind=POINT),
    "birth_death_extended": partial(birth_death, kind=EXTENDED),
    "split_merge": split_merge,
    "resplit": resplit,
    "companion_point": partial(companion, kind=POINT, any_host=False),
    "companion_point_of_any": partial(companion, kind=POINT, any_host=True),
    "companion_extended": partial(companion, kind=EXTENDED, any_host=True),
    "absorb_point": partial(absorb, kind=POINT),
    "absorb_extended": partial(absorb, kind=EXTENDED),
    "retype": retype,
    "blend": blend,
    "refit_stars": partial(refit, kind=POINT),
    "refit_star": partial(refit, kind=EXTENDED),
}

POINT_MOVES = frozenset({"birth_death_point", "split_merge", "resplit", "companion_point"})
EXTENDED_MOVES = frozenset({"birth_death_extended"})
"""Moves that need nothing but point sources, and nothing but extended sources."""
