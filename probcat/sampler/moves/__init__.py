r"""Moves in a window, one module each, and the table of them.

Every move but `hmc` is a step of reversible-jump MCMC (Green 1995, Biometrika 82, 711). It leads
between a *lower* state x and an *upper* state y in which the same light is explained by other
sources; y has more parameters, except in `merge_and_split`. Each direction, upward and downward,
has probability 1/2, and a step downward is the reverse of one upward. In either direction a move
computes

.. math:: A = \frac{\pi(y)\, q(x \mid y)}{\pi(x)\, q(y \mid x)}\, |J|,

where :math:`\pi` is the prior, q the density of proposing one state in the other (choices of
sources included) and J the Jacobian of the map from x and the random numbers to y. `accept.decide`
multiplies A by the likelihood ratio, takes the inverse downward, and accepts.

Symbols in the docstrings of the moves:

===================================== ============================================================
:math:`\lambda_P, \lambda_E`          prior intensity of point and extended sources per square pixel
:math:`p(f), p(c), p(s)`              priors of flux, colours and shape of a source
R, in the code ``bare``               residual without the sources that a move replaces; it is the
                                      same in x and y, so that proposals may depend on it
:math:`N(F \mid \ldots)`              conditional density of a flux given R and the image that the
                                      flux multiplies (`proposals.fluxes`)
:math:`P_{\ldots}`                    probability of choosing a source (`proposals.choices`)
F, :math:`\varphi`, d                 total flux of two sources; fraction of it that one of them
                                      has; displacement between the two
:math:`C, \delta`                     joined colours of two sources, and the difference of their
                                      colours (`proposals.colours`)
w, :math:`\bar w`                     weight of the shape that is chosen among several tries, and
                                      mean weight of all tries (`proposals.shapes`)
===================================== ============================================================

An index x or y marks the state that a quantity belongs to. A new move is a new module with a
function of the signature `types.Move`, and a line in `MOVES`;
``tests/sampler/exactness/README.md`` says how to test it. Moves import `proposals`, `window` and
`probcat.model`.
"""

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
from probcat.sampler.moves.types import Move
from probcat.sampler.window.structures import EXTENDED, POINT

MOVES: dict[str, Move] = {
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
"""All moves by name."""

POINT_MOVES = frozenset({"birth_death_point", "split_merge", "merge_and_split", "companion_point"})
"""Names of the moves that involve point sources only."""
EXTENDED_MOVES = frozenset({"birth_death_extended"})
"""Names of the moves that involve extended sources only."""
