"""The notebooks of examples/: the executed form agrees with its source, and they run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SOURCES = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
NOTEBOOKS = [path for path in SOURCES if path.with_suffix(".ipynb").is_file()]
MAX_BYTES = 1_000_000
MAX_PICTURE_BYTES = 150_000


def code_cells(source):
    """Code of the cells of a notebook in percent format, without blank lines at the ends."""
    cells = []
    for cell in re.split(r"^# %%", source.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        kind, _, text = cell.partition("\n")
        if "[markdown]" not in kind:
            # A cell of shell commands is a comment in the source.
            if re.match(r"# [!%]", text):
                text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
            cells.append(text.strip())
    return cells


def executed_cells(source):
    notebook = json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks():
    assert SOURCES


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_executed_notebook_has_the_code_of_its_source(source):
    executed = ["".join(cell["source"]).strip() for cell in executed_cells(source)]
    assert executed == code_cells(source)


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_executed_notebook_was_executed_without_errors_and_is_small(source):
    cells = executed_cells(source)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert "error" not in kinds
    assert kinds & {"display_data", "execute_result"}
    assert source.with_suffix(".ipynb").stat().st_size < MAX_BYTES


def test_readme_lists_every_executed_notebook_with_a_small_picture():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\((\w+)\.ipynb\)", readme))
    assert linked == {path.stem for path in NOTEBOOKS}
    for name in linked:
        picture = EXAMPLES / "figures" / f"{name}.png"
        assert f"(figures/{name}.png)" in readme
        assert picture.stat().st_size < MAX_PICTURE_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_notebook_can_be_executed(source, tmp_path):
    pytest.importorskip("jupytext")
    pytest.importorskip("nbclient")
    (tmp_path / "figures").mkdir()
    for file in (source, EXAMPLES / "run.py"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    # Without real data, as everybody can run it.
    environment = {**os.environ, "PROBCAT_DATA": str(tmp_path)}
    command = [sys.executable, str(tmp_path / "run.py"), source.stem]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / f"{source.stem}.ipynb").is_file()
