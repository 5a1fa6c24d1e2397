"""Columns of the catalog in the table of the page."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

_DETAIL = re.compile(r".*_(err|error|q\d\d|cov|corr)$")
"""Errors, quantiles and covariances, which are shown only for the selected object."""
_ORDER = (
    r"object_id",
    r"ra",
    r"dec",
    r"x",
    r"y",
    r"mag(_.+)?",
    r"flux(_.+)?",
    r"prob_exist",
    r"prob_star",
    r"half_light_radius",
    r"ellipticity_1",
    r"ellipticity_2",
    r"sersic_n",
)
"""Patterns of the columns that come first, in this order."""
_TITLES = {
    "object_id": "id",
    "prob_exist": "exists",
    "prob_star": "star",
    "half_light_radius": "r half",
    "ellipticity_1": "g1",
    "ellipticity_2": "g2",
    "sersic_n": "n",
    "num_members": "draws",
    "alternative_group": "group",
    "num_alternatives": "alternatives",
    "blend_id": "blend",
    "half_light_radius_sky": "r half, sky",
    "position_angle": "pa",
    "rhat": "R-hat",
    "prob_exist_mcse": "exists, MCSE",
    "ess_flux": "ESS of flux",
}
"""Titles of columns with long names."""


def order_columns(names: list[str]) -> list[str]:
    """Select and sort the columns of the table.

    Parameters
    ----------
    names : list of str
        Columns of the catalog.

    Returns
    -------
    list of str
    """

    def rank(name: str) -> int:
        found = (number for number, like in enumerate(_ORDER) if re.fullmatch(like, name))
        return next(found, len(_ORDER))

    return sorted((name for name in names if not _DETAIL.fullmatch(name)), key=rank)


def table_columns(table: Any) -> list[Any]:
    """Make the columns of the page's table.

    Parameters
    ----------
    table : astropy.table.Table
        Catalog; errors, quantiles and columns with several values per row are left out.

    Returns
    -------
    list of bokeh.models.TableColumn
    """
    from bokeh.models import NumberFormatter, StringFormatter, TableColumn

    made = []
    for name in order_columns([n for n in table.colnames if table[n].ndim == 1]):
        unit = str(table[name].unit or "")
        title = _TITLES.get(name, name) + (f" [{unit}]" if unit else "")
        kind = table[name].dtype.kind
        if kind in "f":
            shown = NumberFormatter(
                format=_format(name, np.asarray(table[name])), nan_format="–", text_align="right"
            )
        elif kind in "iu":
            shown = NumberFormatter(format="0", text_align="right")
        else:
            shown = StringFormatter()
        made.append(TableColumn(field=name, title=title, formatter=shown, width=_width(name)))
    return made


def _format(name: str, values: np.ndarray) -> str:
    """Number format by the name of a column, or with four digits of its median."""
    if name in ("ra", "dec"):
        return "0.000000"
    if name.startswith("mag") or name in ("x", "y"):
        return "0.000"
    if name.startswith("prob"):
        return "0.00"
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    digits = 3 - int(np.floor(np.log10(np.median(size)))) if size.size else 2
    decimals = int(np.clip(digits, 0, 4))
    return "0." + "0" * decimals if decimals else "0"


def _width(name: str) -> int:
    """Relative width of a column in screen pixels; columns are stretched to fill the table."""
    if name in ("ra", "dec"):
        return 90
    return 50 if name.startswith("prob") or name in ("object_id", "num_members") else 75
