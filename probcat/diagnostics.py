"""Convergence, judged by quantities that do not depend on how sources are labelled."""

from __future__ import annotations

import warnings
from types import ModuleType


def import_arviz() -> ModuleType:
    """Import arviz without the notice that version 0.23 gives once a day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz
