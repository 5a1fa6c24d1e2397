"""The layout stays as it is: rooms, what they import, and pages that name what the code has."""

import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from probcat.model.prior.parameters import PriorParameters
from probcat.run.settings import CatalogSettings, ImageSettings, RunSettings
from probcat.sampler.settings import SamplerSettings

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "probcat"
ROOMS = {
    *("numerics", "files", "psf", "image", "model", "samples"),
    *("sampler", "catalog", "pixels", "metrics", "plots", "run"),
}
MAX_LINES = 350


def test_imports_follow_the_contracts():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_package_holds_rooms_and_nothing_else():
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert entries == ROOMS | {"__init__.py", "errors.py", "py.typed"}


def test_modules_have_a_docstring_and_fit_in_one_sitting():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        docstring = ast.get_docstring(ast.parse(text)) or ""
        if not docstring:
            wrong.append(f"{path}: no docstring")
        if path.name == "__init__.py" and not re.search(r"[Ii]mport", docstring):
            wrong.append(f"{path}: does not say what it may import")
        if len(text.splitlines()) > MAX_LINES:
            wrong.append(f"{path}: {len(text.splitlines())} lines")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        ("image", (ImageSettings,)),
        ("prior", (PriorParameters,)),
        ("sampler", (RunSettings, SamplerSettings)),
        ("catalog", (CatalogSettings,)),
    ],
)
def test_the_page_on_configuration_names_every_key(section, settings):
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    part = page.split(f"\n## [{section}]", 1)[1].split("\n## ")[0]
    named = set(re.findall(r"^\| `(\w+)`", part, flags=re.MULTILINE))
    keys = {field.name for kind in settings for field in fields(kind)}
    assert keys <= named, sorted(keys - named)
