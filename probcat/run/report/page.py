"""The page of a run: one HTML file that contains scripts, styles and data."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from probcat.errors import InputError
from probcat.files.atomic import replacing
from probcat.run.files import REPORT

_SCRIPTS = ("data.js", "panels.js", "objects.js", "details.js")
"""Scripts of the page, in this order."""


def write_report(
    directory: str | os.PathLike[str], out: str | os.PathLike[str] | None = None
) -> Path:
    """Write the report of a run: images, maps, objects, chains and settings in one HTML file.

    Parameters
    ----------
    directory : path_like
        Directory of a finished run.
    out : path_like, optional
        File to write, by default ``report.html`` in the directory. An existing file is replaced.

    Returns
    -------
    Path
        The file, which a browser opens from disk without a network.

    Raises
    ------
    InputError
        If bokeh is not installed, the directory holds no finished run, its results do not belong
        to its samples, or the file cannot be written.
    """
    _require_bokeh()
    from probcat.run.report.contents import read_contents

    directory = Path(directory)
    out = directory / REPORT if out is None else Path(out)
    if out.is_dir():
        raise InputError(f"{out}: is a directory; --out must name a file such as {out / REPORT}")
    if not out.parent.is_dir():
        raise InputError(f"{out}: there is no directory {out.parent}")
    text = render_page(read_contents(directory))
    try:
        with replacing(out) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from None
    return out


def _require_bokeh() -> None:
    try:
        import bokeh  # noqa: F401
    except ImportError:
        raise InputError(
            "a report needs bokeh, which is not installed; pip install 'probcat[report]'"
        ) from None


def render_page(run: Any) -> str:
    """Render the page of a run as HTML.

    Parameters
    ----------
    run : RunContents
        The run to show.

    Returns
    -------
    str
    """
    from bokeh.embed import file_html
    from bokeh.resources import INLINE

    from probcat.run.report.data import page_data
    from probcat.run.report.facts import page_texts
    from probcat.run.report.models import build_document
    from probcat.run.report.packing import pack

    info, arrays = page_data(run)
    info["arrays"], packed = pack(arrays)
    variables = {
        **page_texts(run, info),
        "style": _asset("report.css"),
        "script": "\n".join(_asset(name) for name in _SCRIPTS),
        # A closing tag inside a string would end the script element.
        "info": json.dumps(info).replace("<", "\\u003c"),
        "packed": packed,
        "several": len(run.images) > 1,
    }
    return file_html(
        build_document(run, info),
        resources=INLINE,
        title=f"probcat: {run.directory.resolve().name}",
        template=_asset("report.html"),
        template_variables=variables,
    )


def _asset(name: str) -> str:
    return files("probcat.run.report").joinpath(name).read_text(encoding="utf-8")
