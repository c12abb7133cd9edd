"""Files that are whole or not there, and folders that one process at a time writes to."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from moore.errors import InputError


def whole_path(path: str | Path) -> Path:
    """The absolute path, with `~` for the home: it stays where it is if the folder is changed.

    Raises:
        InputError: it begins with `~`, and this system names no such home.
    """
    try:
        return Path(os.path.abspath(Path(path).expanduser()))
    except RuntimeError:
        raise InputError(f"{path}: there is no such home folder; write the path in full.") from None


def shown(path: Path) -> Path:
    """A whole path as a person would write it here: relative, if it lies below this folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def write_whole(path: Path, text: str) -> None:
    """Writes a text file in one piece: a kill leaves what was there before."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else may hold the folder meanwhile; a process that dies lets go of it.

    Where the system or its file server has no such locks, nothing is checked.

    Raises:
        InputError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another process is writing to {shown(folder)}; let it end first."
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
        yield
