"""Errors that a user can act on."""


class InputError(ValueError):
    """What was given cannot be used: a file, an array, an option or a setting.

    The message is one or two lines: what was found where, and what to do about it.
    The command line prints it without a traceback and exits with status 2.
    """
