"""Figures show what they should, and leave nothing behind."""

from types import SimpleNamespace

import numpy as np
import pytest

from probcat.catalog.condense import condense
from probcat.errors import InputError
from probcat.pixels.assignment import KINDS, Assignment
from probcat.pixels.blends import find_brightest_blend
from probcat.pixels.model_image import PosteriorModel
from probcat.plots import (
    plot_assignment,
    plot_corner,
    plot_object,
    plot_residual,
    plot_scene,
    plot_trace,
)
from probcat.samples.samples import SHAPE_NAMES, Samples

SHAPE = (30, 40)


@pytest.fixture
def scene():
    """A star that always exists, a galaxy beside it, and a faint star that half the draws hold."""
    rng = np.random.default_rng(0)
    dims = (2, 50, 3)
    sources = {
        "x": np.array([10.0, 13.0, 30.0]) + 0.05 * rng.normal(size=dims),
        "y": np.array([12.0, 12.0, 20.0]) + 0.05 * rng.normal(size=dims),
        "flux": np.array([2000.0, 1500.0, 300.0]) * (1 + 0.02 * rng.normal(size=dims)),
        "active": np.broadcast_to([True, True, False], dims).copy(),
        "is_extended": np.broadcast_to([False, True, False], dims).copy(),
    }
    sources["active"][:, ::2, 2] = True
    shape = zip(SHAPE_NAMES, (2.0, 0.3, 0.0, 1.0), strict=True)
    sources |= {name: np.where(sources["is_extended"], value, np.nan) for name, value in shape}
    scalars = {name: rng.normal(size=dims[:2]) for name in ("log_likelihood", "background")}
    samples = Samples(sources, scalars)
    catalog = condense(samples)
    weight = np.ones(SHAPE, np.float32)
    weight[5, 5] = 0.0
    data = rng.normal(5.0, 1.0, SHAPE).astype(np.float32)
    image = SimpleNamespace(
        shape=SHAPE, weight=weight, clean_data=data, name="sky", band="r", unit="adu"
    )
    return SimpleNamespace(samples=samples, catalog=catalog, image=image, assignment=own(catalog))


def own(catalog):
    """Make maps in which objects 1 and 2 share half of six pixels."""
    size = 11
    stamps = {kind: np.zeros((len(catalog), size, size), np.float32) for kind in KINDS}
    origins = np.round(np.stack([catalog["y"], catalog["x"]], 1)).astype(int) - size // 2
    for row in range(len(catalog)):
        for values in stamps.values():
            values[row, 4:7, 4:7] = 1.0
    for row, columns in ((0, slice(6, 8)), (1, slice(3, 5)))[: len(catalog)]:
        stamps["light"][row, 4:7, columns] = 0.5
        stamps["footprint"][row, 4:7, columns] = 1.0
    blank = {kind: np.zeros(SHAPE, np.float32) for kind in KINDS}
    return Assignment(catalog["object_id"], origins, stamps, blank, SHAPE, "r")


def draw_object(scene, object_id, axes=None):
    model = PosteriorModel(scene.image.clean_data, np.ones(SHAPE), np.zeros(SHAPE))
    parts = (scene.samples, scene.catalog, scene.assignment, scene.image, model)
    return plot_object(object_id, *parts, axes=axes)


def saved(figure, path):
    figure.savefig(path, dpi=40)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 500


def test_figures_are_written_and_pyplot_holds_none(scene, tmp_path):
    import matplotlib.pyplot

    model = PosteriorModel(scene.image.clean_data, np.ones(SHAPE), np.zeros(SHAPE))
    before = matplotlib.pyplot.get_fignums()
    figures = (
        draw_object(scene, 2),
        plot_scene(scene.image, scene.catalog).figure,
        plot_residual(scene.image, model),
        plot_trace(scene.samples),
        plot_corner(scene.samples, scene.catalog, scene.assignment),
        plot_assignment(scene.assignment, scene.image),
    )
    for number, figure in enumerate(figures):
        saved(figure, tmp_path / f"{number}.png")
    assert matplotlib.pyplot.get_fignums() == before


def test_scene_outlines_follow_position_type_and_shape(scene):
    ax = plot_scene(scene.image, scene.catalog, min_prob=0.6)
    outlines = ax.collections[0]
    offsets = outlines.get_offsets()
    assert len(offsets) == 2
    galaxy = int(np.argmax(offsets[:, 0]))
    np.testing.assert_allclose(offsets[galaxy], [13.0, 12.0], atol=0.1)
    width, height = outlines.get_widths()[galaxy], outlines.get_heights()[galaxy]
    assert width * height == pytest.approx(16.0)
    assert height / width == pytest.approx(0.7 / 1.3)
    assert plot_scene(scene.image, scene.catalog, min_prob=0.2, ax=ax) is ax


def test_corner_holds_positions_and_fluxes_of_the_blend(scene):
    assert find_brightest_blend(scene.catalog, scene.assignment) == (1, 2)
    figure = plot_corner(scene.samples, scene.catalog, scene.assignment)
    assert len(figure.axes) == 36
    # Half of the draws hold object 3.
    figure = plot_corner(scene.samples, scene.catalog, object_ids=(1, 3))
    assert "50 draws" in figure.get_suptitle()
    with pytest.raises(InputError, match="no object 9"):
        plot_corner(scene.samples, scene.catalog, object_ids=(9,))


def test_corner_of_too_few_draws_says_so(scene):
    few = scene.samples.select_draws(slice(0, 2))
    figure = plot_corner(few, condense(few), object_ids=(1, 2))
    assert [text.get_text() for text in figure.texts] == ["no object has enough draws"]


def test_mixture_of_colours_is_bright_where_objects_own_light(scene):
    figure = plot_assignment(scene.assignment, scene.image, object_id=2)
    panels = [ax.images[0].get_array() for ax in figure.axes[:3]]
    assert panels[1].shape == (*SHAPE, 3)
    assert panels[1][12, 10].max() > 0
    assert not panels[1][25, 5].any()
    np.testing.assert_array_equal(panels[2], scene.assignment.map(2))


def test_object_is_shown_with_its_map_and_its_draws(scene):
    figure = draw_object(scene, 2)
    data, fit, rest, share, place, flux = figure.axes[:6]
    x, y = scene.catalog["x"][1], scene.catalog["y"][1]
    for ax in (data, fit, rest, share):
        assert ax.get_xlim()[0] < x < ax.get_xlim()[1] < SHAPE[1]
        assert ax.get_ylim()[0] < y < ax.get_ylim()[1]
    np.testing.assert_array_equal(share.images[0].get_array(), scene.assignment.map(2))
    draws = scene.catalog.posterior(scene.samples, 2)
    np.testing.assert_array_equal(place.lines[0].get_xdata(), draws["x"])
    assert sum(bar.get_height() for bar in flux.containers[0]) == len(draws["flux"])
    assert "object 2: exists 1.00, star 0.00" in figure.get_suptitle()
    with pytest.raises(InputError, match="no object 9"):
        draw_object(scene, 9)


def test_figures_are_drawn_on_axes_that_are_given(scene):
    from matplotlib.figure import Figure

    model = PosteriorModel(scene.image.clean_data, np.ones(SHAPE), np.zeros(SHAPE))
    draw = {
        3: (
            lambda axes: plot_residual(scene.image, model, axes=axes),
            lambda axes: plot_assignment(scene.assignment, scene.image, axes=axes),
        ),
        4: (
            lambda axes: plot_trace(scene.samples, ["num_sources", "background"], axes=axes),
            lambda axes: plot_trace(scene.samples, ["log_likelihood"] * 2, axes=list(axes)),
        ),
        6: (lambda axes: draw_object(scene, 1, axes),),
    }
    for count, functions in draw.items():
        for function in functions:
            own = Figure()
            axes = own.subplots(1, count)
            assert function(axes) is own
            assert all(ax.has_data() for ax in axes)
            with pytest.raises(InputError, match=f"needs {count} axes, got 1"):
                function(axes[:1])
    own = Figure(figsize=(9, 9))
    assert plot_corner(scene.samples, scene.catalog, object_ids=(1,), figure=own) is own
    with pytest.raises(InputError, match="no scalar 'flux'"):
        plot_trace(scene.samples, ["flux"])


def test_scene_is_drawn_on_axes_with_a_wcs(scene):
    from astropy.wcs import WCS
    from matplotlib.figure import Figure

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    ax = Figure().add_subplot(projection=wcs)
    assert plot_scene(scene.image, scene.catalog, ax=ax) is ax
    assert ax.get_xlabel() != "x [px]"


def test_empty_catalog_can_be_drawn(scene, tmp_path):
    dark = {**scene.samples.sources, "active": np.zeros((2, 50, 3), bool)}
    samples = Samples(dark, scene.samples.scalars)
    catalog = condense(samples)
    empty = own(catalog)
    assert find_brightest_blend(catalog, empty) == ()
    saved(plot_scene(scene.image, catalog).figure, tmp_path / "scene.png")
    saved(plot_corner(samples, catalog, empty), tmp_path / "corner.png")
    saved(plot_assignment(empty, scene.image), tmp_path / "assignment.png")


def test_image_without_pixels_is_refused(scene):
    scene.image.weight[:] = 0.0
    with pytest.raises(InputError, match="masked"):
        plot_scene(scene.image, scene.catalog)
