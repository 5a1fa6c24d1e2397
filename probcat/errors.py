"""Errors that a user can act on."""

import difflib
from collections.abc import Iterable, Mapping


class InputError(ValueError):
    """What was given cannot be used: a file, an array, an option or a setting.

    The message is one or two lines: what was found where, and what to do about it.
    The command line prints it without a traceback and exits with status 2.
    """


def check_keys(
    given: Iterable[str],
    known: Iterable[str],
    where: str,
    renamed: Mapping[str, str] | None = None,
) -> None:
    """Refuse a key that nothing reads, and name the keys it may have meant.

    Parameters
    ----------
    given : iterable of str
        The keys that were given.
    known : iterable of str
        The keys that are understood.
    where : str
        What holds them, for the message, such as ``"section [prior]"``.
    renamed : mapping of str to str, optional
        New name of every key that once had another one.

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
