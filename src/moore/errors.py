"""The errors that a user can do something about."""


class InputError(ValueError):
    """Bad input: the message says what was given, what was expected and what to do.

    The command line prints the message as one line and exits with status 2.
    """


class TurnError(InputError):
    """A call that is not its session's turn: it does not fit what was called before."""


class WriteError(InputError):
    """The disk refuses; what could not be written is not used, and the call may be repeated."""
