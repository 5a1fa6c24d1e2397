"""Execute notebooks: read NAME.py, run it in the kernel of this Python, and write NAME.ipynb."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from ipykernel.kernelspec import install
from nbclient import NotebookClient

HERE = Path(__file__).parent
MAX_BYTES = 1_000_000
"""Largest size of an executed notebook."""


def execute(source: Path, timeout: int) -> Path:
    """Execute one notebook and write it beside its source.

    Parameters
    ----------
    source : Path
        Notebook in jupytext's percent format.
    timeout : int
        Largest time in seconds that one cell may take.

    Returns
    -------
    Path
        The executed notebook.
    """
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # random names would change with every execution
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(source.parent)}},
    )
    client.execute()
    tidy(notebook)
    target = source.with_suffix(".ipynb")
    nbformat.write(notebook, target)
    if target.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{target} has {target.stat().st_size} bytes; make its figures smaller")
    return target


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Join the pieces of what a cell printed, and keep only the last state of progress bars.

    Python's warning of `os.fork` is left out: shell commands of a notebook fork beside the threads
    of JAX, and only start another program.
    """
    for cell in notebook.cells:
        outputs = []
        for output in cell.get("outputs", []):
            if "os.fork() was called" in output.get("text", ""):
                continue
            name = output.get("name")
            if name and outputs and outputs[-1].get("name") == name:
                outputs[-1]["text"] += output["text"]
            else:
                outputs.append(output)
        for output in outputs:
            if output["output_type"] == "stream":
                output["text"] = last_state(output["text"])
        if "outputs" in cell:
            cell["outputs"] = outputs


def last_state(text: str) -> str:
    """Return what a terminal shows after carriage returns: of a progress bar, its last state."""
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in text.split("\n"))
    return "\n".join(lines)


def use_this_python(folder: str) -> None:
    """Let kernels and the commands of notebooks use the running Python, whatever is installed."""
    install(prefix=folder, kernel_name="python3")
    paths = [str(Path(folder) / "share" / "jupyter"), os.environ.get("JUPYTER_PATH", "")]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, paths))
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no log lines of the compiler
    # Without ipywidgets, progress bars are plain text, which every viewer shows.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")


def main() -> None:
    """Execute the notebooks that the command line names, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="notebooks, such as 01_quickstart; default: all")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds that a cell may take")
    arguments = parser.parse_args()
    names = [Path(name).stem for name in arguments.names]
    names = names or sorted(path.stem for path in HERE.glob("[0-9][0-9]_*.py"))
    (HERE / "figures").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        use_this_python(folder)
        for name in names:
            start = time.monotonic()
            target = execute(HERE / f"{name}.py", arguments.timeout)
            print(f"{target.name}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
