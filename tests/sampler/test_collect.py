"""Draws become samples once, and survive files."""

import dataclasses
import json

import numpy as np
import pytest

from probcat import InputError
from probcat.sampler.checkpoint import load_arrays, save_arrays
from probcat.sampler.collect import (
    Labels,
    from_arrays,
    select_draws,
    to_arrays,
    to_block,
    to_samples,
)
from probcat.sampler.geometry.layout import Layout, PassPlan, SourceArray
from probcat.sampler.geometry.tiling import Sources
from probcat.sampler.state import COUNTS_SHAPE, MOVE_NAMES, ChainSample
from probcat.samples.record import Growth, SamplingRecord

CHAINS, DRAWS = 2, 3
PLAN = PassPlan(10, 4, 8, 4, ("birth_death_point", "retype"), 1, 1)
LAYOUT = Layout((20, 22), 16, 1.0, 6, 4, (PLAN,), 4, CHAINS)
LABELS = Labels(bands=("r", "i"), images=("r", "i"), terms=(1, 3), sampled=("offset",))


def make_draws(rng):
    """Draws of two bands and two images, with one to five sources in scattered slots."""

    def sources(capacity, columns):
        marks = rng.uniform(0.1, 0.4, (CHAINS, DRAWS, capacity, columns)).astype(np.float32)
        marks[..., 2] *= rng.uniform(size=marks.shape[:-1]) < 0.5
        pixel = rng.integers(16, 36, (CHAINS, DRAWS, capacity, 2)).astype(np.int32)
        return Sources(pixel, marks)

    def values(*shape):
        return rng.uniform(size=(CHAINS, DRAWS, *shape)).astype(np.float32)

    names = {name: values() for name in ChainSample._fields}
    names |= {"points": sources(6, 4), "extended": sources(4, 8), "background": values(4)}
    names |= {"offset": values(2, 2), "moves": values(*COUNTS_SHAPE)}
    return ChainSample(**names)


@pytest.fixture
def draws():
    return make_draws(np.random.default_rng(2))


def test_sources_are_packed_by_name(draws):
    samples, moves = to_block(draws, LAYOUT, 100.0, LABELS)
    active = samples.sources["active"]
    counts = draws.points.active.sum(-1) + draws.extended.active.sum(-1)
    np.testing.assert_array_equal(active.sum(-1), counts)
    assert active.shape[-1] == counts.max()
    # Active slots come first, and points before extended sources.
    assert (np.diff(active.astype(int), axis=-1) <= 0).all()
    one = draws.extended.marks[0, 0][draws.extended.active[0, 0]]
    extended = samples.sources["is_extended"][0, 0]
    found = {name: values[0, 0][extended] for name, values in samples.sources.items()}
    np.testing.assert_allclose(found["flux"], one[:, 2])
    np.testing.assert_allclose(found["flux_i"], one[:, 2] * np.exp(one[:, 3]), rtol=1e-6)
    np.testing.assert_allclose(found["half_light_radius"], one[:, 4])
    np.testing.assert_allclose(found["sersic_n"], one[:, 7])
    assert np.isnan(samples.sources["sersic_n"][active & ~samples.sources["is_extended"]]).all()
    np.testing.assert_array_equal(samples.scalars["background_term2_i"], draws.background[..., 3])
    np.testing.assert_array_equal(samples.scalars["offset_y_i"], draws.offset[..., 1, 1])
    row = MOVE_NAMES.index("retype")
    tried = draws.moves[..., row, :, 1, 0].sum(-1)
    np.testing.assert_array_equal(samples.stats["tried_retype_down"], tried)
    assert "tried_split_merge_up" not in samples.stats
    np.testing.assert_array_equal(moves, draws.moves)


def test_a_block_survives_a_file(draws, tmp_path):
    block = to_block(draws, LAYOUT, 100.0, LABELS)
    save_arrays(tmp_path / "block.npz", to_arrays(block))
    again = from_arrays(load_arrays(tmp_path / "block.npz"))
    for group in ("sources", "scalars", "stats"):
        before, after = (getattr(one.samples, group) for one in (block, again))
        assert before.keys() == after.keys()
        for name, values in before.items():
            np.testing.assert_array_equal(values, after[name])
            assert values.dtype == after[name].dtype
    np.testing.assert_array_equal(block.moves, again.moves)
    joined = to_samples([block, again], {"seed": 3})
    assert joined.num_draws == 2 * DRAWS
    assert joined.attrs == {"seed": 3}


def test_draws_of_the_warmup_are_cut_off(draws):
    assert select_draws(draws, 3, 10) is None
    kept = select_draws(draws, 1, 10)
    np.testing.assert_array_equal(kept.points.marks, draws.points.marks[:, 1:])
    assert select_draws(draws, -4, 2).mu.shape == (CHAINS, 2)


def make_record(**changes):
    record = SamplingRecord(
        num_warmup=50,
        bands=["r", "i"],
        image_shapes=[(20, 22), (30, 31)],
        unit="nJy",
        psf_fwhm=2.5,
        radii=[(12, 20), (15, 25)],
        large_size=np.inf,
        background_model=("level",),
        background_mesh=64.0,
        psf_error_floor=None,
        prior_only=False,
        area=440.0,
        signal_edges=(5.0, 10.0),
        acceptance_by_signal={"retype": {"up": [None, 0.2, 0.1], "down": [0.1, None, 0.3]}},
        prior={"flux_min": 3.0},
        settings={"passes": 8},
        seconds=3.5,
        cpu_seconds=7.0,
        grown=(Growth("point", "window", 60),),
    )
    return dataclasses.replace(record, **changes)


@pytest.mark.parametrize("large_size", [np.inf, 4.8])
def test_a_record_survives_json(large_size):
    record = make_record(large_size=large_size)
    attrs = json.loads(json.dumps(record.to_attrs(), allow_nan=False))
    again = SamplingRecord.from_attrs(attrs | {"seed": 3})
    assert again.to_attrs() == record.to_attrs()
    assert again.large_size == large_size
    assert list(again.grown) == [Growth("point", "window", 60)]
    assert attrs["grown"] == [{"kind": "point", "array": "window", "draw": 60}]
    (note,) = attrs["notes"]
    assert "point sources full after 60 draws" in note
    assert (attrs["band"], attrs["extended_radius"], attrs["large_radius"]) == ("r", 12, 20)
    del attrs["radii"]
    with pytest.raises(InputError, match="no attribute radii"):
        SamplingRecord.from_attrs(attrs)


def test_a_full_array_grows():
    for full, name, size in (
        (SourceArray("point", "catalog"), "point_capacity", 12),
        (SourceArray("extended", "catalog"), "extended_capacity", 8),
    ):
        assert getattr(LAYOUT.grown(full), name) == size == LAYOUT.grown(full).capacity(full.kind)
    (plan,) = LAYOUT.grown(SourceArray("point", "window")).plans
    assert plan == dataclasses.replace(PLAN, point_slots=16)
