"""Errors that a user can act on."""

import difflib
from collections.abc import Iterable, Mapping


class InputError(ValueError):
    """A file, an array, an option or a setting that was given cannot be used.

    The message has one or two lines: what was found where, and what to do about it.
    The command line prints the message without a traceback and exits with status 2.
    """


def check_keys(
    given: Iterable[str],
    known: Iterable[str],
    where: str,
    renamed: Mapping[str, str] | None = None,
) -> None:
    """Refuse an unknown key, and suggest the known keys that it resembles.

    Parameters
    ----------
    given : iterable of str
        The keys to check.
    known : iterable of str
        The keys that are understood.
    where : str
        Where the keys were found, for the message, such as ``"section [prior]"``.
    renamed : mapping of str to str, optional
        New names of renamed keys, by their former names.

    Raises
    ------
    InputError
        If a given key is not known.
    """
    known = sorted(known)
    for key in given:
        if key not in known and key in (renamed or {}):
            raise InputError(
                f"{key!r} in {where} is now called {(renamed or {})[key]!r}; rename it"
            )
        if key not in known:
            close = difflib.get_close_matches(key, known, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
            raise InputError(f"unknown key {key!r} in {where}; {hint}")
