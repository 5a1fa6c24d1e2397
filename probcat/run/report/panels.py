"""The two panels with images: layers, outlines and tools, as bokeh models."""

from __future__ import annotations

from typing import Any

import numpy as np

FRAME = 440
"""Longer side of a panel in screen pixels before it is fitted to the window."""
LAYERS = ("data", "model", "residual", "owners", "map")
"""Layers of a panel, of which one is visible."""
_LAYER_LABELS = ("Data", "Model", "Residual", "Owners of the light", "Selected object")
"""Labels of the layers."""
_START = ("data", "owners")
"""Layers that the left and the right panel show first."""
_RESIDUAL_RANGE = 5.0
"""End of the residual's colour scale in standard deviations."""


def build_panels(info: dict[str, Any], sources: dict[str, Any]) -> list[Any]:
    """Make two views of the image with common ranges, each with a choice of layers.

    Parameters
    ----------
    info : dict
        Description of the page's data.
    sources : dict of str to bokeh.models.ColumnDataSource
        Sources of the layers and outlines.

    Returns
    -------
    list of bokeh models
        The left and the right panel.
    """
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
        labels=list(_LAYER_LABELS), active=LAYERS.index(start), name=f"{side}_layer"
    )
    choice.js_on_change("active", CustomJS(code=f"probcat.showLayer('{side}', cb_obj.active)"))
    return column(choice, plot, name=f"{side}_panel")


def _draw_layers(plot: Any, side: str, start: str, sources: dict[str, Any]) -> None:
    """Add all layers with their colour bars; only the first one is visible."""
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
    for layer in LAYERS:
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
    """Interpolate a palette to `count` colours."""
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in palette])
    index = np.linspace(0, len(palette) - 1, count)
    channels = [np.interp(index, np.arange(len(palette)), rgb[:, i]) for i in range(3)]
    return [
        "#" + "".join(f"{round(v):02x}" for v in colour) for colour in zip(*channels, strict=True)
    ]


def _draw_outlines(plot: Any, sources: dict[str, Any]) -> None:
    """Add outlines of objects, the selected one, its footprint, and numbers of its neighbours."""
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
        text_color="#103010",
        background_fill_color="#ffffff",
        background_fill_alpha=0.65,
        padding=1,
        text_font_size="11px",
        x_offset=5,
        y_offset=-4,
    )
