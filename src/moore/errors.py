"""The errors that a user can do something about, and others in a few words."""

import traceback
from pathlib import Path


class InputError(ValueError):
    """Bad input: the message says what was given, what was expected and what to do.

    The command line prints the message as one line and exits with status 2.
    """


class TurnError(InputError):
    """A call that is not its session's turn: it does not fit what was called before."""


class WriteError(InputError):
    """The disk refuses; what could not be written is not used, and the call may be repeated."""


def in_short(error: BaseException) -> str:
    """One line on what code of the user's has raised, with the place where it did."""
    told = " ".join(str(error).split())[:200]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{told and ': '}{told}{place}"
