"""A pair of moves' log ratios are antisymmetric: what leads back undoes the ratio too.

From a state A every move proposes a state B, and from B the same move is made to propose
A again.  Both ways the ratio is written for the same pair of states, so that the two
values agree, however different the code is that they come from.  Ratios that are wrong
both ways alike are not seen here but in `test_exactness.py`.
"""

import sys
from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probcat.model.prior.densities import from_shape
from probcat.sampler import kernel
from probcat.sampler import sweep as passes
from probcat.sampler.moves import MOVES
from probcat.sampler.moves.accept import random_numbers
from probcat.sampler.proposals.choices import choose_uniformly
from probcat.sampler.state import initial_state
from probcat.sampler.window.batching import group_images
from probcat.sampler.window.structures import EXTENDED, FLUX, POINT
from tests.sampler.exactness.harness import EXTENDED_RADIUS, make_layout, make_prior, make_scene

NUM_WINDOWS = 5
NUM_FORWARD = 512
NUM_BACK = 1024
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
FIT_ERROR = 2e-2
KEEPS_NUMBER = {"merge_and_split"}


def replaced(patch, name, function):
    """Put a function in the place of one in every module of moves that uses it."""
    for module in [
        sys.modules[key] for key in sys.modules if key.startswith("probcat.sampler.moves.")
    ]:
        if hasattr(module, name):
            patch.setattr(module, name, function)


def propose(name, model, search, draws, window, state, forced=None):
    """Proposal of a move, undecided; with `forced`, its continuous draws are these.

    All choices that are possible are equally probable here, which changes no ratio and
    lets the way back be found in few trials. Fits start on one coarse grid.
    """
    with pytest.MonkeyPatch.context() as patch:
        replaced(patch, "decide", lambda *arguments: arguments[-1])
        replaced(patch, "choose_weighted", lambda u, weight: choose_uniformly(u, weight > -jnp.inf))
        replaced(patch, "sample_offset", lambda uniform, cell: jnp.zeros(2, jnp.float32))
        replaced(patch, "CELL", 3.0)
        if forced is not None:
            draws = draws._replace(flux=forced.flux)
            replaced(patch, "sample_flux", lambda uniform, from_prior, *_: from_prior)
            replaced(patch, "sample_position", lambda *_: forced.position)
            replaced(patch, "sample_displacement", lambda *_: forced.step)
            replaced(patch, "sample_separation", lambda *_: forced.step)
            replaced(patch, "sample_flux_fraction", lambda *_: forced.share)
            replaced(patch, "sample_fit", lambda _, fit: forced.fitted[: fit.best.shape[0]])
        return MOVES[name](draws, model, search, window, state)


@pytest.fixture(scope="module")
def visits():
    """Model, search, and windows with sources in them, half of the windows without data."""
    layout = make_layout([], 0, num_chains=1)
    generator = np.random.default_rng(5)
    found = []
    for weight in (WEIGHT, 0.0):
        scene = make_scene(layout, make_prior(), weight)
        found += [
            (window, filled(generator, window, state)) for window, state in visited(scene, layout)
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


def filled(generator, window, state):
    """State with a few sources, in the first slots as the kernel has them, and noise."""

    def sources(empty, number):
        place = generator.uniform(window.lower_bound, window.upper_bound, (number, 2))
        flux = np.exp(generator.uniform(np.log(140.0), np.log(600.0), (number, 1)))
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


def forward(name, visits):
    """Proposals to be undone: window, state, draws and proposal, up and down in every window."""
    model, search, windows, states = visits
    draws = random_numbers(jax.random.key(7), model.prior, NUM_FORWARD // FEWER.get(name, 1), True)
    every = jax.vmap(partial(propose, name, model, search), (0, None, None))
    proposals = jax.jit(jax.vmap(every, (None, 0, 0)))(draws, windows, states)
    useful = np.asarray(proposals.possible & jnp.isfinite(proposals.log_ratio))
    ways = (True, True, True) if name in KEEPS_NUMBER else (True, False)
    for count, (number, upward) in enumerate(product(range(len(useful)), ways)):
        found = np.flatnonzero(useful[number] & (proposals.upward[number] == upward))
        if name in FEWER and found.size == 0:
            continue
        assert found.size > 0, f"{name}: nothing is proposed"
        # Other draws every time, so that all kinds of them come up.
        index = found[5 * count % len(found)]
        window, state = take(windows, number), take(states, number)
        yield window, state, take(draws, index), take(proposals, number, index)


def way_back(name, state, draws, proposal, trials):
    """Draws to try from a proposal, and what they are forced to be, tried one with the other."""
    before, after = (state.points, state.extended), proposal.sources
    if name in KEEPS_NUMBER:
        trials = jax.tree.map(lambda values: values[None], draws)
    # The tries of shapes are the same both ways: going down, the source's own comes first.
    emptied, filled, _ = changed(before[EXTENDED], after[EXTENDED])
    shapes = draws.shapes
    for slot in emptied:
        shapes = np.concatenate([before[EXTENDED][slot, None, -4:], shapes[1:]])
    for slot in filled:
        own = np.all(shapes == after[EXTENDED][slot, -4:], axis=1)
        shapes = np.concatenate([shapes[own], shapes[~own]])
    number = len(trials.uniform)
    trials = trials._replace(shapes=np.broadcast_to(shapes, (number, *shapes.shape)))
    options = UNDO[name](before, after)
    pairs = [(trials, jax.tree.map(lambda value: np.stack([value] * number), o)) for o in options]
    return jax.tree.map(lambda *all: np.concatenate(all), *pairs)


@pytest.mark.parametrize("name", list(MOVES))
def test_the_way_back_has_the_same_ratio(name, visits):
    assert name in UNDO, f"say in UNDO of {__file__} how the move '{name}' is undone"
    check(name, visits)


def by_place(sources):
    """Sources (..., slot, column) in the order of their x; slots have no meaning."""
    order = np.argsort(sources[..., 0], axis=-1)
    return np.take_along_axis(sources, order[..., None], axis=-2)


def check(name, visits):
    """Undo proposals of a move and compare the two ratios and the two residuals."""
    model, search, _, _ = visits
    order = by_place if name in EITHER_ORDER else np.asarray
    number = NUM_BACK // FEWER.get(name, 1)
    trials = jax.tree.map(np.asarray, random_numbers(jax.random.key(8), model.prior, number, True))
    back = jax.jit(jax.vmap(partial(propose, name, model, search), (0, None, None, 0)))
    error = FIT_ERROR if name in FEWER else 2e-3
    cases = list(forward(name, visits))
    assert len(cases) >= LEAST_CASES, f"{name}: proposed in {len(cases)} cases only"
    for window, state, draws, there in cases:
        after = state._replace(
            residual=there.residual[int(there.upward)],
            points=there.sources[POINT],
            extended=there.sources[EXTENDED],
        )
        drawn, forced = way_back(name, state, draws, there, trials)
        proposals = jax.tree.map(np.asarray, back(drawn, window, after, forced))
        near = [
            np.all(np.isclose(order(found), order(start), rtol=1e-5, atol=1e-4), axis=(1, 2))
            for found, start in zip(proposals.sources, (state.points, state.extended), strict=True)
        ]
        landed = np.flatnonzero(near[POINT] & near[EXTENDED] & proposals.possible)
        assert landed.size > 0, f"{name}: found no way back"

        log_ratio, lower, upper = there.log_ratio, *there.residual
        if name in KEEPS_NUMBER:
            # What is proposed counts as the upper state, so the two change places.
            log_ratio, lower, upper = -log_ratio, upper, lower
        else:
            assert np.all(proposals.upward[landed] != there.upward)
        # However the way back was found, it is the same.
        found = proposals.log_ratio[landed]
        if name in EITHER_ORDER:
            landed = landed[np.isclose(found, log_ratio, rtol=1e-4, atol=error)]
            assert 0 < landed.size < len(trials.uniform), f"{name}: {log_ratio} not in {found}"
            found = proposals.log_ratio[landed]
        np.testing.assert_allclose(found, np.full_like(found, log_ratio), rtol=1e-4, atol=error)
        for residual, expected in zip(proposals.residual, (lower, upper), strict=True):
            np.testing.assert_allclose(residual[landed[0]], expected, atol=1e-3 * SIGMA)


def test_a_wrong_ratio_is_found(visits, monkeypatch):
    """A source that counts among its own partners, one way only, makes the test fail."""
    # The package's name of the module is its function.
    module = sys.modules["probcat.sampler.moves.split_merge"]
    right = module.log_partner
    monkeypatch.setattr(
        module,
        "log_partner",
        lambda model, window, sources, second, slot, first: right(
            model, window, sources, second, jnp.full_like(slot, -1), first
        ),
    )
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check("split_merge", visits)
