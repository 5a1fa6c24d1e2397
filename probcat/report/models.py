"""The interactive parts of the page, as bokeh models; the scripts fill their sources."""

from __future__ import annotations

from typing import Any

import numpy as np

from probcat.report.columns import table_columns

FRAME = 440
_LAYERS = ("data", "model", "residual", "owners", "map")
_LAYER_LABELS = ("Data", "Model", "Residual", "Who owns the light", "Map of the object")
_START = ("data", "owners")
_RESIDUAL_RANGE = 5.0
_MIN_PROB = 0.2


def build_document(run: Any, info: dict[str, Any]) -> Any:
    """Build all models of a page.

    Parameters
    ----------
    run : RunContents
    info : dict
        What `probcat.report.data.page_data` gave.

    Returns
    -------
    bokeh.document.Document
        Its roots are named; when it is ready it calls ``probcat.start`` with all named models.
    """
    from bokeh.document import Document
    from bokeh.models import CustomJS

    sources = _sources()
    roots = [*_panels(info, sources), *_controls(info), _corner(sources), *_traces(info, sources)]
    roots.append(_table(run, sources))
    document = Document()
    named: dict[str, Any] = dict(sources)
    for root in roots:
        document.add_root(root)
        named |= {model.name: model for model in root.references() if model.name}
    code = f"probcat.start({{{', '.join(named)}}});"
    document.js_on_event("document_ready", CustomJS(args=named, code=code))
    return document


def _sources() -> dict[str, Any]:
    """Make the sources that the scripts fill, by name."""
    from bokeh.models import ColumnDataSource

    place = ("x", "y", "dw", "dh")
    columns = {
        **{f"{layer}_source": ("image", *place) for layer in _LAYERS},
        "objects": ("object_id",),
        "markers": ("x", "y", "width", "height", "angle", "prob", "colour"),
        "chosen": ("x", "y", "width", "height", "angle"),
        "footprint": ("x0", "y0", "x1", "y1"),
        "neighbours": ("x", "y", "label"),
        "corner_dots": ("x", "y", "colour"),
        "corner_bars": ("left", "right", "bottom", "top"),
        "corner_lines": ("x0", "y0", "x1", "y1"),
        "corner_text": ("x", "y", "text", "angle", "align"),
        "first_trace": ("x", "y", "colour"),
        "second_trace": ("x", "y", "colour"),
    }
    return {name: ColumnDataSource({key: [] for key in keys}) for name, keys in columns.items()}


def _panels(info: dict[str, Any], sources: dict[str, Any]) -> list[Any]:
    """Two views of the image that share their ranges, each with a choice of layers."""
    from bokeh.models import CrosshairTool, Range1d, Span

    ranges = Range1d(0, 1, name="x_range"), Range1d(0, 1, name="y_range")
    span = {"line_color": "#00a0a0", "line_alpha": 0.5}
    spans = [Span(dimension=which, **span) for which in ("height", "width")]
    made = []
    for side, start in zip(("left", "right"), _START, strict=True):
        crosshair = CrosshairTool(overlay=spans)
        made.append(_panel(side, start, info, sources, ranges, crosshair))
    return made


def _panel(
    side: str,
    start: str,
    info: dict[str, Any],
    sources: dict[str, Any],
    ranges: tuple[Any, Any],
    crosshair: Any,
) -> Any:
    from bokeh.layouts import column
    from bokeh.models import BoxZoomTool, CustomJS, RadioButtonGroup, WheelZoomTool
    from bokeh.plotting import figure

    ny, nx = info["images"][0]["shape"]
    aspect = float(np.clip(nx / ny, 0.6, 1.6))
    width, height = FRAME, round(FRAME / aspect)
    if aspect < 1.0:
        width, height = round(FRAME * aspect), FRAME
    wheel = WheelZoomTool()
    plot = figure(
        x_range=ranges[0],
        y_range=ranges[1],
        frame_width=width,
        frame_height=height,
        tools=["pan", "save", "reset"],
        active_scroll=None,
        x_axis_label="x [px]",
        y_axis_label="y [px]",
        name=f"{side}_plot",
        toolbar_location="above",
    )
    plot.add_tools(wheel, BoxZoomTool(match_aspect=True), crosshair)
    plot.toolbar.active_scroll = wheel
    plot.toolbar.logo = None
    plot.grid.visible = False
    plot.background_fill_color = "#d8d8d8"
    _draw_layers(plot, side, start, sources)
    _draw_outlines(plot, sources)
    plot.js_on_event("tap", CustomJS(code="probcat.click(cb_obj.x, cb_obj.y)"))
    plot.js_on_event("mousemove", CustomJS(code="probcat.point(cb_obj.x, cb_obj.y)"))
    if side == "left":
        for axis in ranges:
            axis.js_on_change("start", CustomJS(code="probcat.moved()"))
            axis.js_on_change("end", CustomJS(code="probcat.moved()"))
    choice = RadioButtonGroup(
        labels=list(_LAYER_LABELS), active=_LAYERS.index(start), name=f"{side}_layer"
    )
    choice.js_on_change("active", CustomJS(code=f"probcat.showLayer('{side}', cb_obj.active)"))
    return column(choice, plot, name=f"{side}_panel")


def _draw_layers(plot: Any, side: str, start: str, sources: dict[str, Any]) -> None:
    """Draw every layer, of which one is visible, and a bar of its colours."""
    from bokeh.models import ColorBar, CustomJSTickFormatter, FixedTicker, LinearColorMapper
    from bokeh.palettes import Greys256, Magma256, RdBu11

    bad = "#c8b88a"
    mappers = {
        "grey": LinearColorMapper(Greys256[::-1], low=0.0, high=1.0, nan_color=bad),
        "residual": LinearColorMapper(
            _blend(RdBu11, 255), low=-_RESIDUAL_RANGE, high=_RESIDUAL_RANGE, nan_color=bad
        ),
        "map": LinearColorMapper(Magma256, low=0.0, high=1.0),
    }
    titles = {"residual": "standard deviations", "map": "share or probability"}
    visible_bar = {"data": "grey", "model": "grey", "owners": None}.get(start, start)
    for layer in _LAYERS:
        name = f"{side}_{layer}"
        options = {"source": sources[f"{layer}_source"], "visible": layer == start, "name": name}
        at = {"x": "x", "y": "y", "dw": "dw", "dh": "dh"}
        if layer == "owners":
            plot.image_rgba(image="image", **at, **options)
        else:
            mapper = mappers.get(layer, mappers["grey"])
            plot.image(image="image", **at, color_mapper=mapper, **options)
    for key, mapper in mappers.items():
        bar = ColorBar(
            color_mapper=mapper,
            width=10,
            title=titles.get(key),
            title_text_font_size="11px",
            visible=key == visible_bar,
            name=f"{side}_{key}_bar",
        )
        if key == "grey":
            bar.formatter = CustomJSTickFormatter(code="return probcat.brightness(tick)")
            bar.ticker = FixedTicker(ticks=[0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
        plot.add_layout(bar, "right")


def _blend(palette: Any, count: int) -> list[str]:
    """Interpolate a palette."""
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in palette])
    place = np.linspace(0, len(palette) - 1, count)
    channels = [np.interp(place, np.arange(len(palette)), rgb[:, i]) for i in range(3)]
    return [
        "#" + "".join(f"{round(v):02x}" for v in colour) for colour in zip(*channels, strict=True)
    ]


def _draw_outlines(plot: Any, sources: dict[str, Any]) -> None:
    """Draw outlines of objects, the chosen one, its footprint, and names of its neighbours."""
    shape = {"x": "x", "y": "y", "width": "width", "height": "height", "angle": "angle"}
    plot.ellipse(
        **shape, source=sources["markers"], fill_color=None, line_color="colour", line_width=1.3
    )
    plot.segment(
        "x0", "y0", "x1", "y1", source=sources["footprint"], line_color="#00c8ff", line_width=1.6
    )
    chosen = {"source": sources["chosen"], "line_color": "#00e000", "line_width": 2.5}
    plot.ellipse(**shape, fill_color=None, **chosen)
    plot.scatter("x", "y", size=26, marker="cross", line_alpha=0.6, **{**chosen, "line_width": 1})
    plot.text(
        "x",
        "y",
        text="label",
        source=sources["neighbours"],
        text_color="#00ff40",
        text_outline_color="black",
        text_font_size="12px",
        text_font_style="bold",
        x_offset=5,
        y_offset=-4,
    )


def _controls(info: dict[str, Any]) -> list[Any]:
    """Choices that both panels follow."""
    from bokeh.models import CustomJS, Select, Slider, TextInput

    image = Select(
        title="Image",
        options=[(str(n), one["label"] or one["name"]) for n, one in enumerate(info["images"])],
        value="0",
        width=120,
        name="image_choice",
        visible=len(info["images"]) > 1,
    )
    image.js_on_change("value", CustomJS(code="probcat.showImage(Number(cb_obj.value))"))
    kinds = list(dict.fromkeys(kind for one in info["images"] for kind in one["kinds"]))
    kind = Select(title="Map", options=kinds, width=120, name="kind_choice")
    kind.value = kinds[0] if kinds else ""
    kind.js_on_change("value", CustomJS(code="probcat.showKind(cb_obj.value)"))
    least = Slider(
        title="Objects that exist with at least",
        start=0.0,
        end=1.0,
        step=0.05,
        value=_MIN_PROB,
        width=230,
        name="least_prob",
    )
    least.js_on_change("value_throttled", CustomJS(code="probcat.filter(cb_obj.value)"))
    wanted = TextInput(title="Go to object", placeholder="id", width=90, name="wanted")
    wanted.js_on_change("value", CustomJS(code="probcat.find(cb_obj.value)"))
    return [image, kind, least, wanted]


def _corner(sources: dict[str, Any]) -> Any:
    """Draw all panels of a corner plot in one frame, whose cells have a side of one."""
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    plot = figure(
        width=400,
        height=400,
        x_range=Range1d(-0.6, 3.0, name="corner_x"),
        y_range=Range1d(-0.6, 3.0, name="corner_y"),
        toolbar_location=None,
        tools=[],
        outline_line_color=None,
        name="corner_plot",
    )
    plot.axis.visible = False
    plot.grid.visible = False
    edges = {"left": "left", "right": "right", "bottom": "bottom", "top": "top"}
    plot.quad(**edges, source=sources["corner_bars"], fill_color="#b0bccb", line_color="#6f8197")
    plot.scatter("x", "y", size=3, source=sources["corner_dots"], color="colour", alpha=0.5)
    plot.segment("x0", "y0", "x1", "y1", source=sources["corner_lines"], line_color="#606060")
    plot.text(
        "x",
        "y",
        text="text",
        angle="angle",
        text_align="align",
        text_baseline="middle",
        text_font_size="11px",
        source=sources["corner_text"],
    )
    return plot


def _traces(info: dict[str, Any], sources: dict[str, Any]) -> list[Any]:
    """Two traces of quantities to be chosen."""
    from bokeh.layouts import column
    from bokeh.models import CustomJS, DataRange1d, Select
    from bokeh.plotting import figure

    names = info["traces"]["names"]
    made = []
    for which, wanted in (("first", "num_sources"), ("second", "log_likelihood")):
        choice = Select(options=names, width=220, name=f"{which}_choice")
        choice.value = wanted if wanted in names else (names[0] if names else "")
        choice.js_on_change("value", CustomJS(code=f"probcat.trace('{which}', cb_obj.value)"))
        plot = figure(
            height=220,
            width=660,
            x_axis_label="draw",
            x_range=DataRange1d(range_padding=0.0),
            tools="pan,box_zoom,wheel_zoom,reset,save",
            name=f"{which}_plot",
        )
        plot.toolbar.logo = None
        lines = {"line_color": "colour", "line_width": 1, "line_alpha": 0.8}
        plot.multi_line("x", "y", source=sources[f"{which}_trace"], **lines)
        made.append(column(choice, plot, name=f"{which}_panel"))
    return made


def _table(run: Any, sources: dict[str, Any]) -> Any:
    """Table of objects that can be sorted, of which one row can be chosen."""
    from bokeh.models import BooleanFilter, CDSView, CustomJS, DataTable

    source = sources["objects"]
    source.selected.js_on_change(
        "indices", CustomJS(code="probcat.select(cb_obj.indices[0] ?? -1)")
    )
    return DataTable(
        source=source,
        columns=table_columns(run.table),
        view=CDSView(filter=BooleanFilter(name="table_filter")),
        height=340,
        sizing_mode="stretch_width",
        selectable=True,
        index_position=None,
        autosize_mode="fit_viewport",
        name="table",
    )
