"""The errors that a user can do something about, and others in a few words."""

import difflib
import re
import traceback
from collections.abc import Iterable
from pathlib import Path


class InputError(ValueError):
    """Bad input: the message says what was given, what was expected and what to do.

    The command line prints the message as one line and exits with status 2.
    """


class TurnError(InputError):
    """A call that is not its session's turn: it does not fit what was called before."""


class WriteError(InputError):
    """The disk refuses; what could not be written is not used, and the call may be repeated."""


def unknown(what: str, name: str, known: Iterable[str], more: str = "") -> InputError:
    """The error of a name that is not known: it names the nearest one, and lists all.

    Args:
        what: the kind of name, such as "preset".
        name: the one that was given; of online.epochs the last part is compared.
        known: all that could be given.
        more: forms that are no names, to be listed last.
    """
    known = [*known]
    names = [re.split(r"[\[:]", text)[0] for text in known]  # of moore[:ALPHA] without its number
    near = did_you_mean(name.rpartition(".")[2], names)
    hint = f"{near} The" if near else "; the"
    return InputError(f"unknown {what} '{name}'{hint} known ones are {', '.join(known)}{more}.")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The question after the nearest name, with a semicolon before it; empty if none is near."""
    near = difflib.get_close_matches(name, [*known], n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def near_file(path: str | Path) -> str:
    """The same for a file that is absent: the names are those that stand in its folder."""
    path = Path(path)
    try:
        return did_you_mean(path.name, [found.name for found in path.parent.iterdir()])
    except OSError:
        return ""


def near_folder(path: str | Path) -> str:
    """The same for a folder, or what to look at where no name is near."""
    return near_file(path) or "; check its name, and the folder that you are in."


def in_short(error: BaseException) -> str:
    """One line on what code of the user's has raised, with the place where it did."""
    told = " ".join(str(error).split())[:200]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{told and ': '}{told}{place}"
