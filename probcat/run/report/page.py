"""One HTML file of a run, with scripts, styles and data in it."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from probcat.errors import InputError
from probcat.run.files import REPORT

_SCRIPTS = ("data.js", "panels.js", "objects.js", "details.js")


def write_report(
    directory: str | os.PathLike[str], out: str | os.PathLike[str] | None = None
) -> Path:
    """Write the report of a run: images, maps, objects, chains and settings in one HTML file.

    Parameters
    ----------
    directory : path_like
        Of a finished run.
    out : path_like, optional
        The file, by default ``report.html`` in the directory. An existing one is replaced.

    Returns
    -------
    Path
        The file. It opens in a browser from disk and needs no network.

    Raises
    ------
    InputError
        If bokeh is not installed, or the directory holds no finished run or results that do
        not belong to its samples.
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
    partial = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return out


def _require_bokeh() -> None:
    try:
        import bokeh  # noqa: F401
    except ImportError:
        raise InputError(
            "a report needs bokeh, which is not installed: pip install 'probcat[report]'"
        ) from None


def render_page(run: Any) -> str:
    """Render the page of a run as HTML.

    Parameters
    ----------
    run : RunContents

    Returns
    -------
    str
    """
    from bokeh.embed import file_html
    from bokeh.resources import INLINE

    from probcat.run.report.data import page_data
    from probcat.run.report.facts import describe
    from probcat.run.report.models import build_document
    from probcat.run.report.packing import pack

    info, arrays = page_data(run)
    info["arrays"], packed = pack(arrays)
    variables = {
        **describe(run, info),
        "style": _asset("report.css"),
        "script": "\n".join(_asset(name) for name in _SCRIPTS),
        # A closing tag inside a string would end the element that holds it.
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
