"""Moves in a window: one file each, one table here.

A move takes ``(numbers, model, search, window, state)`` and returns the new state
and an `Outcome`.  A new move is a new file and a line in `MOVES`.
"""

from collections.abc import Callable
from functools import partial

from probcat.sampler.moves import (
    absorb,
    birth_death,
    companion,
    galaxy_to_stars,
    merge_and_split,
    refit,
    retype,
    split_merge,
)
from probcat.sampler.window.structures import EXTENDED, POINT

MOVES: dict[str, Callable] = {
    "birth_death_point": partial(birth_death.birth_death, kind=POINT),
    "birth_death_extended": partial(birth_death.birth_death, kind=EXTENDED),
    "split_merge": split_merge.split_merge,
    "merge_and_split": merge_and_split.merge_and_split,
    "companion_point": partial(companion.companion, kind=POINT, any_host=False),
    "companion_point_of_any": partial(companion.companion, kind=POINT, any_host=True),
    "companion_extended": partial(companion.companion, kind=EXTENDED, any_host=True),
    "absorb_point": partial(absorb.absorb, kind=POINT),
    "absorb_extended": partial(absorb.absorb, kind=EXTENDED),
    "retype": retype.retype,
    "galaxy_to_stars": galaxy_to_stars.galaxy_to_stars,
    "refit_two_stars": partial(refit.refit, kind=POINT),
    "refit_star_and_galaxy": partial(refit.refit, kind=EXTENDED),
}

POINT_MOVES = frozenset({"birth_death_point", "split_merge", "merge_and_split", "companion_point"})
EXTENDED_MOVES = frozenset({"birth_death_extended"})
"""Moves that need nothing but point sources, and nothing but extended sources."""
