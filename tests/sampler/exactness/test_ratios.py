"""A pair of moves' log ratios are antisymmetric: what leads back undoes the ratio too.

From a state A every move proposes a state B, and from B the same move is made to propose
A again.  Both ways the ratio is written for the same pair of states, so that the two
values agree, however different the code is that they come from.  Ratios that are wrong
both ways alike are not seen here but in `test_exactness.py`.
"""

import sys
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from probcat.model.prior.densities import from_shape
from probcat.sampler import kernel
from probcat.sampler import sweep as passes
from probcat.sampler.moves import MOVES, galaxy_to_stars, split_merge
from probcat.sampler.moves.accept import random_numbers
from probcat.sampler.proposals import matched_filter, pair_fits
from probcat.sampler.proposals.choices import choose_uniformly
from probcat.sampler.state import initial_state
from probcat.sampler.window.batching import group_images
from probcat.sampler.window.structures import EXTENDED, FLUX, POINT
from tests.sampler.exactness.harness import EXTENDED_RADIUS, make_layout, make_prior, make_scene

NUM_WINDOWS = 5
NUM_TRIALS = 1024
ENOUGH_FOR_BOTH_ORDERS = 8
"""Landings of which, in all but one case of 128, not all are of one order of two."""
WEIGHT = 0.07
SIGMA = WEIGHT**-0.5


class Wanted(NamedTuple):
    """What the way back must draw: fluxes, a position, a displacement, a share, what is fitted."""

    flux: np.ndarray
    position: np.ndarray
    step: np.ndarray
    share: np.ndarray
    fitted: np.ndarray


def wanted(flux=(0.0, 0.0), position=(0.0, 0.0), step=(0.0, 0.0), share=0.5, fitted=(0.0,) * 9):
    values = (flux, position, step, share, fitted)
    return Wanted(*(np.asarray(value, np.float32) for value in values))


def changed(before, after):
    """Slots of one kind that a proposal empties, fills and alters."""
    held, holds = before[:, FLUX] > 0.0, after[:, FLUX] > 0.0
    altered = held & holds & np.any(before != after, axis=1)
    return [np.flatnonzero(which) for which in (held & ~holds, ~held & holds, altered)]


def pair_of(first, second):
    flux = first[FLUX] + second[FLUX]
    return wanted((flux, flux), step=first[:FLUX] - second[:FLUX], share=first[FLUX] / flux)


def undo_birth_death(before, after, kind):
    emptied, _, _ = changed(before[kind], after[kind])
    if emptied.size == 0:
        return [wanted()]
    (source,) = before[kind][emptied]
    return [wanted((source[FLUX], 0.0), source[:FLUX])]


def undo_split_merge(before, after):
    emptied, _, altered = changed(before[POINT], after[POINT])
    (first,) = before[POINT][altered]
    if emptied.size == 0:
        return [wanted((first[FLUX], 0.0))]
    return [pair_of(first, *before[POINT][emptied])]


def undo_resplit(before, after):
    # Which of the two is drawn first is not seen in the states: the wrong order misses.
    _, _, altered = changed(before[POINT], after[POINT])
    one, other = before[POINT][altered]
    return [pair_of(one, other), pair_of(other, one)]


def undo_companion(before, after, kind):
    emptied, _, _ = changed(before[kind], after[kind])
    (host,) = [
        host[: FLUX + 1]
        for old, new in zip(before, after, strict=True)
        for host in old[changed(old, new)[2]]
    ]
    if emptied.size == 0:
        return [wanted((0.0, host[FLUX]))]
    (source,) = before[kind][emptied]
    return [wanted((source[FLUX], host[FLUX]), step=source[:FLUX] - host[:FLUX])]


def undo_absorb(before, after, kind):
    emptied, _, _ = changed(before[kind], after[kind])
    (host,) = before[EXTENDED][changed(before[EXTENDED], after[EXTENDED])[2]]
    if emptied.size == 0:
        return [wanted((host[FLUX], 0.0))]
    (source,) = before[kind][emptied]
    return [pair_of(source, host)]


def undo_retype(before, after):
    (flux,) = [
        source[FLUX]
        for old, new in zip(before, after, strict=True)
        for source in old[changed(old, new)[0]]
    ]
    return [wanted((flux, 0.0))]


def undo_blend(before, after):
    # Which of the two stars comes first is not seen in the states.
    emptied, _, _ = changed(before[POINT], after[POINT])
    if emptied.size == 0:
        (slot,), _, _ = changed(before[EXTENDED], after[EXTENDED])
        return [wanted((before[EXTENDED][slot, FLUX], 0.0))]
    one, other = before[POINT][emptied]
    return [pair_of(one, other), pair_of(other, one)]


def undo_refit(before, after, kind):
    (galaxies, new), (stars, more) = (
        (before[EXTENDED], after[EXTENDED]),
        (before[POINT], after[POINT]),
    )
    gone, came, altered = changed(galaxies, new)
    (slot,) = altered if kind == EXTENDED else np.concatenate([gone, came])
    emptied, _, _ = changed(stars, more)
    if emptied.size == 0:
        own = galaxies[slot]
        free = np.concatenate([own[:FLUX], from_shape(make_prior(), own[-4:])])
        return [wanted((own[FLUX], 0.0), fitted=np.pad(free, (0, 3)))]
    pairs = [stars[emptied], stars[emptied][::-1]] if kind == POINT else []
    if kind == EXTENDED:
        pairs = [(galaxies[slot], stars[emptied][0])]
    return [fitted_pair(*pair) for pair in pairs]


def fitted_pair(first, second):
    shape = from_shape(make_prior(), first[-4:]) if len(first) > len(second) else []
    logit = np.log(first[FLUX] / second[FLUX])
    free = np.concatenate([first[:FLUX], second[:FLUX], shape, [logit]])
    return wanted((first[FLUX] + second[FLUX], 0.0), fitted=np.pad(free, (0, 9 - len(free))))


# How every move is undone.  A move that keeps the number of sources goes back on the same
# choices, and its ratio changes sign; the others go back by choices that are searched for.
UNDO = {
    "birth_death_point": partial(undo_birth_death, kind=POINT),
    "birth_death_extended": partial(undo_birth_death, kind=EXTENDED),
    "split_merge": undo_split_merge,
    "merge_and_split": undo_resplit,
    "companion_point": partial(undo_companion, kind=POINT),
    "companion_point_of_any": partial(undo_companion, kind=POINT),
    "companion_extended": partial(undo_companion, kind=EXTENDED),
    "absorb_point": partial(undo_absorb, kind=POINT),
    "absorb_extended": partial(undo_absorb, kind=EXTENDED),
    "retype": undo_retype,
    "galaxy_to_stars": undo_blend,
    "refit_two_stars": partial(undo_refit, kind=POINT),
    "refit_star_and_galaxy": partial(undo_refit, kind=EXTENDED),
}
# Two stars are proposed in one order of two, each with a ratio of its own.
EITHER_ORDER = {"galaxy_to_stars", "refit_two_stars"}
# Fits take long, find nothing to propose in some windows, and end where rounding lets them.
FEWER = {"refit_two_stars": 4, "refit_star_and_galaxy": 4}
LEAST_CASES = 10
BRIGHT = ("companion_point", "companion_extended", "refit_two_stars", "refit_star_and_galaxy")
"""Moves that are undone among bright sources too."""
LEAST_BRIGHT_CASES = 4
BRIGHT_ERROR = (0.03, 3e-4)
"""Absolute and relative error of log ratios, which are large where a fit misses a state."""
FIT_ERROR = 2e-2
KEEPS_NUMBER = {"merge_and_split"}
COARSE = 3.0
"""Cells of the grid that fits start on, in widths of the PSF, so that few trials find it again."""
SHIPPED_SEARCH_CELL = matched_filter.SEARCH_CELL
MOVE_MODULES = [
    module
    for name, module in sorted(sys.modules.items())
    if name.startswith(("probcat.sampler.moves.", "probcat.sampler.proposals."))
]


def replaced(patch, name, function):
    """Put a function in the place of one in every module of moves that uses it."""
    owners = [module for module in MOVE_MODULES if hasattr(module, name)]
    assert owners, f"no move uses {name}"
    for module in owners:
        patch.setattr(module, name, function)


@contextmanager
def easy_choices(forced, force):
    """Make choices uniform, fits start on one coarse grid, and continuous draws forced.

    All choices that are possible are equally probable here, which changes no ratio and
    lets the way back be found in few trials.
    """

    def either(name, value):
        owners = [module for module in MOVE_MODULES if hasattr(module, name)]
        original = getattr(owners[0], name)

        def function(*arguments):
            drawn = original(*arguments)
            return jnp.where(force, value(drawn, *arguments), drawn)

        return function

    kinds = {
        "sample_flux": lambda drawn, uniform, from_prior, *_: from_prior,
        "sample_position": lambda *_: forced.position,
        "sample_displacement": lambda *_: forced.step,
        "sample_separation": lambda *_: forced.step,
        "sample_flux_fraction": lambda *_: forced.share,
        "sample_fit": lambda drawn, *_: forced.fitted[: drawn.shape[0]],
    }
    functions = {name: either(name, value) for name, value in kinds.items()}
    with pytest.MonkeyPatch.context() as patch:
        replaced(patch, "decide", lambda *arguments: arguments[-1])
        replaced(patch, "choose_weighted", lambda u, weight: choose_uniformly(u, weight > -jnp.inf))
        replaced(patch, "sample_offset", lambda uniform, cell: jnp.zeros(2, jnp.float32))
        replaced(patch, "ANCHOR_CELL", COARSE)
        for name, function in functions.items():
            replaced(patch, name, function)
        yield


def propose(name, model, search, numbers, window, state, forced, force):
    """Proposal of a move, undecided; with `force`, its continuous draws are `forced`."""
    numbers = numbers._replace(flux=jnp.where(force, forced.flux, numbers.flux))
    with easy_choices(forced, force):
        return MOVES[name](numbers, model, search, window, state)


def compiled_proposals(name, model, search):
    """One program for all proposals of a move: many trials, in one window and state."""
    every = jax.vmap(partial(propose, name, model, search), (0, None, None, 0, None))
    program = jax.jit(every)

    def proposals(numbers, window, state, forced=None):
        count = len(numbers.uniform)
        if forced is None:
            values = jax.tree.map(lambda value: np.stack([value] * count), wanted())
            return jax.tree.map(np.asarray, program(numbers, window, state, values, False))
        return jax.tree.map(np.asarray, program(numbers, window, state, forced, True))

    return proposals


def test_births_are_proposed_on_the_shipped_grid():
    with easy_choices(wanted(), True):
        assert matched_filter.SEARCH_CELL == SHIPPED_SEARCH_CELL == 0.5
        assert pair_fits.ANCHOR_CELL == COARSE


@pytest.fixture(scope="module")
def visits():
    """Model, search, and windows with sources in them, half of the windows without data."""
    return make_visits(make_prior(), (WEIGHT, 0.0), (140.0, 600.0))


@pytest.fixture(scope="module")
def bright_visits():
    """As `visits`, with sources of signal-to-noise ratios of 700 to 3000."""
    prior = make_prior(flux=dist.DoublyTruncatedPowerLaw(-1.8, 60.0, 1e5))
    return make_visits(prior, (WEIGHT,), (1e4, 4e4))


def make_visits(prior, weights, fluxes):
    layout = make_layout([], 0, num_chains=1)
    generator = np.random.default_rng(5)
    found = []
    for weight in weights:
        scene = make_scene(layout, prior, weight)
        found += [
            (window, filled(generator, window, state, fluxes))
            for window, state in visited(scene, layout)
        ]
    windows, states = (
        jax.tree.map(lambda *all: jnp.stack(all), *part) for part in zip(*found, strict=True)
    )
    model, search = group_images(scene.model, layout.window_sizes(0), scene.searches[0])
    return model, search, windows, states


def visited(scene, layout):
    """Windows and their empty states as the kernel makes them, caught on the way to no moves."""
    caught = []
    visit = passes.visit_windows

    def catch(stacked, *arguments):
        for number in range(stacked.state.residual.shape[0]):
            one = jax.tree.map(lambda values, at=number: values[at], stacked)
            jax.debug.callback(lambda *both: caught.append(both), one.window, one.state)
        return visit(stacked, *arguments)

    sampler = kernel.CatalogKernel(layout, EXTENDED_RADIUS)
    start = initial_state(jax.random.key(1), scene, layout)
    pass_over = partial(sampler.sweep, scene=scene, plan=layout.plans[0], number=0, warming=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "visit_windows", catch)
        run = jax.jit(lambda key: pass_over(start, key))
        jax.block_until_ready([run(jax.random.key(seed)) for seed in range(20)])
    jax.effects_barrier()
    roomy = [both for both in caught if min(both[0].upper_bound - both[0].lower_bound) > 6.0]
    return roomy[:NUM_WINDOWS]


def filled(generator, window, state, fluxes):
    """State with a few sources, in the first slots as the kernel has them, and noise."""

    def sources(empty, number):
        place = generator.uniform(window.lower_bound, window.upper_bound, (number, 2))
        flux = np.exp(generator.uniform(*np.log(fluxes), (number, 1)))
        low, high = [0.6, -0.4, -0.4, 0.6], [3.0, 0.4, 0.4, 3.5]
        shapes = generator.uniform(low, high, (number, 4))
        columns = np.concatenate([place, flux, shapes], axis=1)[:, : empty.shape[1]]
        return np.concatenate([columns, empty[number:]]).astype(np.float32)

    return state._replace(
        residual=generator.normal(0.0, SIGMA, state.residual.shape).astype(np.float32),
        points=sources(state.points, generator.integers(3, 7)),
        extended=sources(state.extended, generator.integers(2, 5)),
    )


def take(tree, *index):
    return jax.tree.map(lambda values: np.asarray(values)[index], tree)


def forward(name, visits, proposals):
    """Proposals to be undone: window, state, numbers and proposal, up and down in every window."""
    model, _, windows, states = visits
    trials = random_numbers(jax.random.key(7), model.prior, number_of_trials(name), True)
    trials = jax.tree.map(np.asarray, trials)
    ways = (True, True, True) if name in KEEPS_NUMBER else (True, False)
    count = 0
    for number in range(len(windows.weight)):
        window, state = take(windows, number), take(states, number)
        found = proposals(trials, window, state)
        useful = found.possible & np.isfinite(found.log_ratio)
        for upward in ways:
            rows = np.flatnonzero(useful & (found.upward == upward))
            if name in FEWER and rows.size == 0:
                continue
            assert rows.size > 0, f"{name}: nothing is proposed"
            # Others every time, so that all kinds of them come up.
            index = rows[5 * count % len(rows)]
            count += 1
            yield window, state, take(trials, index), take(found, index)


def number_of_trials(name):
    return NUM_TRIALS // FEWER.get(name, 1)


def after_move(state, proposal):
    """State that a proposal leads to."""
    return state._replace(
        residual=proposal.residual[int(proposal.upward)],
        points=proposal.sources[POINT],
        extended=proposal.sources[EXTENDED],
    )


def way(name, start, end, numbers, trials):
    """Random numbers to try from a state, and what they are forced to be to lead to another."""
    before, after = (start.points, start.extended), (end.points, end.extended)
    if name in KEEPS_NUMBER:
        trials = jax.tree.map(lambda values: values[None], numbers)
    # The tries of shapes are the same both ways, and that of the galaxy itself comes first.
    emptied, filled, _ = changed(before[EXTENDED], after[EXTENDED])
    shapes = numbers.shapes
    for galaxies, slots in ((before[EXTENDED], emptied), (after[EXTENDED], filled)):
        for slot in slots:
            own = np.all(shapes == galaxies[slot, -4:], axis=1)
            others = shapes[~own] if own.any() else shapes[1:]
            shapes = np.concatenate([galaxies[slot, None, -4:], others])
    number = len(trials.uniform)
    trials = trials._replace(shapes=np.broadcast_to(shapes, (number, *shapes.shape)))
    options = UNDO[name](after, before)
    pairs = [(trials, jax.tree.map(lambda value: np.stack([value] * number), o)) for o in options]
    return jax.tree.map(lambda *all: np.concatenate(all), *pairs)


def landings(name, proposals, window, start, end, numbers, trials):
    """Proposals from one state that lead to another; slots have no meaning for pairs."""
    order = by_place if name in EITHER_ORDER else np.asarray
    drawn, forced = way(name, start, end, numbers, trials)
    found = proposals(drawn, window, start, forced)
    near = [
        np.all(np.isclose(order(there), order(here), rtol=1e-5, atol=1e-4), axis=(1, 2))
        for there, here in zip(found.sources, (end.points, end.extended), strict=True)
    ]
    return take(found, np.flatnonzero(near[POINT] & near[EXTENDED] & found.possible))


@pytest.mark.parametrize("name", list(MOVES))
def test_the_way_back_has_the_same_ratio(name, visits):
    assert name in UNDO, f"say in UNDO of {__file__} how the move '{name}' is undone"
    check(name, visits)


@pytest.mark.slow
@pytest.mark.parametrize("name", BRIGHT)
def test_the_way_back_has_the_same_ratio_for_bright_sources(name, bright_visits):
    """Rounding of the residual must not decide where a fit ends."""
    check(name, bright_visits, BRIGHT_ERROR, LEAST_BRIGHT_CASES)


def by_place(sources):
    """Sources (..., slot, column) in the order of their x; slots have no meaning."""
    order = np.argsort(sources[..., 0], axis=-1)
    return np.take_along_axis(sources, order[..., None], axis=-2)


def distinct(ratios, error):
    """Values that differ by more than an error, in rising order."""
    ordered = np.sort(ratios)
    return ordered[np.diff(ordered, prepend=-np.inf) > error]


def check(name, visits, errors=None, least_cases=LEAST_CASES):
    """Undo proposals of a move and compare the two ratios and the two residuals."""
    model, search, _, _ = visits
    proposals = compiled_proposals(name, model, search)
    trials = random_numbers(jax.random.key(8), model.prior, number_of_trials(name), True)
    trials = jax.tree.map(np.asarray, trials)
    error, relative = errors or (FIT_ERROR if name in FEWER else 2e-3, 1e-4)
    cases = list(forward(name, visits, proposals))
    assert len(cases) >= least_cases, f"{name}: proposed in {len(cases)} cases only"
    both_orders = 0
    for window, state, numbers, there in cases:
        after = after_move(state, there)
        back = landings(name, proposals, window, after, state, numbers, trials)
        assert back.log_ratio.size > 0, f"{name}: found no way back"
        log_ratio, lower, upper = there.log_ratio, *there.residual
        if name in KEEPS_NUMBER:
            # What is proposed counts as the upper state, so the two change places.
            log_ratio, lower, upper = -log_ratio, upper, lower
        else:
            assert np.all(back.upward != there.upward)
        expected = np.full_like(back.log_ratio, log_ratio)
        if name in EITHER_ORDER:
            # Each order has a ratio of its own, that is found both ways or not at all.
            forth = landings(name, proposals, window, state, after, numbers, trials)
            scale = 2.0 * (error + relative * abs(float(log_ratio)))
            expected = distinct(np.append(forth.log_ratio, log_ratio), scale)
            found = distinct(back.log_ratio, scale)
            assert max(len(found), len(expected)) <= 2, (name, found, expected)
            if min(len(back.log_ratio), len(forth.log_ratio)) >= ENOUGH_FOR_BOTH_ORDERS:
                assert len(found) == len(expected), (name, found, expected)
                both_orders += len(found) == 2
            nearest = np.abs(back.log_ratio[:, None] - expected[None]).argmin(axis=1)
            if len(found) == len(expected):
                expected = expected[nearest]
            else:
                # One order was hit one way only: the other one must agree.
                close = np.isclose(back.log_ratio, log_ratio, rtol=relative, atol=error)
                assert close.any(), f"{name}: {log_ratio} not in {found}"
                continue
        np.testing.assert_allclose(back.log_ratio, expected, rtol=relative, atol=error)
        for residual, wished in zip(back.residual, (lower, upper), strict=True):
            np.testing.assert_allclose(residual[0], wished, atol=1e-3 * SIGMA)
    if name in EITHER_ORDER:
        assert both_orders > 0, f"{name}: the two orders were never both found both ways"


def test_a_wrong_ratio_is_found(visits, monkeypatch):
    """A source that counts among its own partners, one way only, makes the test fail."""
    right = split_merge.log_partner
    monkeypatch.setattr(
        split_merge,
        "log_partner",
        lambda model, window, sources, second, slot, first: right(
            model, window, sources, second, jnp.full_like(slot, -1), first
        ),
    )
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check("split_merge", visits)


def test_a_ratio_that_is_wrong_in_one_order_is_found(visits, monkeypatch):
    """A pair whose first star is in the first slot counts too much, the other order does not."""
    right = galaxy_to_stars.log_probability
    monkeypatch.setattr(
        galaxy_to_stars,
        "log_probability",
        lambda weights, slot: right(weights, slot) + jnp.where(slot == 0, 0.5, 0.0),
    )
    with pytest.raises(AssertionError):
        check("galaxy_to_stars", visits)
