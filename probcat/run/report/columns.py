"""Which columns of the catalog the table shows, and how."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

# Errors, quantiles and covariances are shown with the object, not in the table.
_DETAIL = re.compile(r".*_(err|error|q\d\d|cov|corr)$")
# These come first, in this order, as far as there are any; then all others.
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
    "blend_id": "parent",
    "half_light_radius_sky": "r half, sky",
    "position_angle": "pa",
    "rhat": "R-hat",
}


def order_columns(names: list[str]) -> list[str]:
    """Pick and sort the columns of the table."""

    def place(name: str) -> int:
        found = (number for number, like in enumerate(_ORDER) if re.fullmatch(like, name))
        return next(found, len(_ORDER))

    return sorted((name for name in names if not _DETAIL.fullmatch(name)), key=place)


def table_columns(table: Any) -> list[Any]:
    """Make the table's columns.

    Parameters
    ----------
    table : astropy.table.Table
        All its columns but errors and quantiles, and those that are not one value a row.

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
    """Choose decimals by what a column is, or so that its median shows four digits."""
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
    """Give the width of a column in screen pixels; all are stretched alike to fill the table."""
    if name in ("ra", "dec"):
        return 90
    return 50 if name.startswith("prob") or name in ("object_id", "num_members") else 75
