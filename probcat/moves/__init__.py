"""Moves in a window: one file each, one table here.

A move takes ``(rng_key, model, search, window, state)`` and returns the new state
and an `Outcome`.  A new move is a new file and a line in `MOVES`.
"""

from collections.abc import Callable
from functools import partial

from probcat.moves.base import EXTENDED, POINT
from probcat.moves.birth_death import birth_death
from probcat.moves.companion import companion
from probcat.moves.retype import retype
from probcat.moves.split_merge import split_merge

MOVES: dict[str, Callable] = {
    "birth_death_point": partial(birth_death, kind=POINT),
    "birth_death_extended": partial(birth_death, kind=EXTENDED),
    "split_merge": split_merge,
    "companion_point": partial(companion, primary_kind=POINT, kind=POINT),
    "companion_point_of_extended": partial(companion, primary_kind=EXTENDED, kind=POINT),
    "companion_extended_of_point": partial(companion, primary_kind=POINT, kind=EXTENDED),
    "companion_extended": partial(companion, primary_kind=EXTENDED, kind=EXTENDED),
    "retype": retype,
}

POINT_MOVES = frozenset({"birth_death_point", "split_merge", "companion_point"})
EXTENDED_MOVES = frozenset({"birth_death_extended", "companion_extended"})
"""Moves that need nothing but point sources, and nothing but extended sources."""
