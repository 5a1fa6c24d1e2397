"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file beside its place, flush it to disk, and rename it at the end.

    A process that is killed leaves the old file or the new one, never half of it. If the block
    raises an error, the old file stays and the new one is deleted.

    Parameters
    ----------
    path : path_like
        The file. An existing one is replaced.

    Yields
    ------
    Path
        Name in the same directory that the block must write to, by whatever means: a text, a
        handle (``open(partial, "wb")``) or a library that takes a name.

    Raises
    ------
    FileNotFoundError
        If the block did not write the file.

    Examples
    --------
    >>> with replacing("notes.txt") as partial:
    ...     partial.write_text("whole")
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield partial
        with open(partial, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
