"""The interactive parts of the page, as bokeh models whose sources the scripts fill."""

from __future__ import annotations

from typing import Any

from probcat.run.report.columns import table_columns
from probcat.run.report.data import MIN_PROB
from probcat.run.report.panels import LAYERS, build_panels

CORNER = 360
"""Side of the corner plot in screen pixels."""


def build_document(run: Any, info: dict[str, Any]) -> Any:
    """Build all models of a page.

    Parameters
    ----------
    run : RunContents
        The run to show.
    info : dict
        Description of the page's data, from `probcat.run.report.data.page_data`.

    Returns
    -------
    bokeh.document.Document
        A document with named roots; when it is ready it calls ``probcat.start`` with all named
        models.
    """
    from bokeh.document import Document
    from bokeh.models import CustomJS

    sources = _sources()
    roots = [
        *build_panels(info, sources),
        *_controls(info),
        _corner(sources),
        *_traces(info, sources),
    ]
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
    """Empty sources, which the scripts fill, by name."""
    from bokeh.models import ColumnDataSource

    extent = ("x", "y", "dw", "dh")
    columns = {
        **{f"{layer}_source": ("image", *extent) for layer in LAYERS},
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


def _controls(info: dict[str, Any]) -> list[Any]:
    """Controls of both panels."""
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
    kind = Select(title="Map of the selected object", options=kinds, width=120, name="kind_choice")
    kind.value = kinds[0] if kinds else ""
    kind.js_on_change("value", CustomJS(code="probcat.showKind(cb_obj.value)"))
    least = Slider(
        title="Smallest probability of objects shown",
        start=0.0,
        end=1.0,
        step=0.05,
        value=MIN_PROB,
        width=230,
        name="least_prob",
    )
    least.js_on_change("value_throttled", CustomJS(code="probcat.filter(cb_obj.value)"))
    wanted = TextInput(title="Go to object", placeholder="id", width=90, name="wanted")
    wanted.js_on_change("value", CustomJS(code="probcat.find(cb_obj.value)"))
    return [image, kind, least, wanted]


def _corner(sources: dict[str, Any]) -> Any:
    """Corner plot in one frame, whose cells have a side of one."""
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    plot = figure(
        width=CORNER,
        height=CORNER,
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
    """Two traces with a choice of quantities."""
    from bokeh.layouts import column
    from bokeh.models import CustomJS, Range1d, Select
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
            x_range=Range1d(0, 1, name=f"{which}_x"),
            y_range=Range1d(0, 1, name=f"{which}_y"),
            tools="pan,box_zoom,wheel_zoom,reset,save",
            name=f"{which}_plot",
        )
        plot.toolbar.logo = None
        lines = {"line_color": "colour", "line_width": 1, "line_alpha": 0.8}
        plot.multi_line("x", "y", source=sources[f"{which}_trace"], **lines)
        made.append(column(choice, plot, name=f"{which}_panel"))
    return made


def _table(run: Any, sources: dict[str, Any]) -> Any:
    """Sortable table of objects, of which one row can be selected."""
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
        reorderable=False,
        name="table",
    )
