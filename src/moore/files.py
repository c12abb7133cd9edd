"""Files that are written completely or not at all, and folders that only one process writes to."""

import contextlib
import csv
import errno
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from moore.errors import InputError, WriteError

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
# Somebody else holds a lock: POSIX systems, then Windows.
_HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def whole_path(path: str | Path) -> Path:
    """The absolute path, with `~` expanded; it stays valid if the working folder changes.

    Raises:
        InputError: the path begins with `~`, and the system knows no such home folder; it is not
            whole, and the working folder was removed; it is no text, or none at all.
    """
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise InputError(f"{path!r} is no path; expected a text or a Path.")
    try:
        whole = os.path.abspath(Path(path).expanduser())
        whole.encode()
        return Path(whole)
    except RuntimeError:
        raise InputError(f"{path}: there is no such home folder; write the path in full.") from None
    except FileNotFoundError:
        raise InputError(
            f"{path}: the working folder does not exist any more; change to another one, or write "
            "the path in full."
        ) from None
    except UnicodeEncodeError:
        raise InputError(
            f"{path}: this path holds bytes that are no text in UTF-8, or the language settings "
            "(LC_ALL) know no UTF-8; choose another path."
        ) from None


def short_path(path: Path) -> Path:
    """The path relative to the working folder if it lies below it, else the absolute path."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # an environment, or another program, has removed it
        return path
    return path.relative_to(here) if path.is_relative_to(here) else path


@contextlib.contextmanager
def writing(what: Path | str, then: str = "") -> Iterator[None]:
    """Turns errors of writing into WriteError, in one line.

    Args:
        what: the file or folder that is being written.
        then: what the user should do after the cause is removed.

    Raises:
        WriteError: the disk is full, or the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(f"{what} cannot be written: {trouble(error)}{then}.") from None


def trouble(error: OSError) -> str:
    """Why something cannot be written, and what to do about it."""
    if error.errno in _FULL or "No space left" in str(error):
        return "the disk is full; make room"
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in _FORBIDDEN:
        return f"{reason.lower()}; allow writing there, or choose another place"
    return f"{reason}; see what the disk and the folder hold"


def write_whole(path: Path, text: str, then: str = "") -> None:
    """Writes a text file in one step; if the process is killed, the old file stays.

    Raises:
        InputError: the file cannot be written; the old file stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    with writing(path, then):
        try:
            with open(partial, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


def read_object(path: Path) -> dict:
    """Reads a JSON object from a file.

    Raises:
        InputError: the file does not exist, or it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}).") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: it holds {str(found)[:40]!r}, not a JSON object.")
    return found


def write_table(path: Path, rows: Iterable[Iterable]) -> None:
    """Writes a CSV file in one step; a spreadsheet will not take any text in it for a formula.

    Raises:
        InputError: the file cannot be written.
    """
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    write_whole(path, text.getvalue())


def _harmless(cell: object) -> object:
    """Puts a quote before a text that begins like a formula; numbers stay as they are."""
    if not isinstance(cell, str) or not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def to_disk(path: Path) -> None:
    """Waits until the content of a file, or the list of names of a folder, is on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return  # Windows opens no folders
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise
    finally:
        os.close(handle)


def replace_folder(new: Path, target: Path) -> None:
    """Moves a folder to a path, and replaces the folder that is there, if any.

    Linux exchanges the two in one step. On other systems the old folder has another name for a
    moment, under which `standing` finds it.
    """
    if not target.exists():
        os.replace(new, target)
    elif _exchanged(new, target):
        shutil.rmtree(new, ignore_errors=True)
    else:
        old = _aside(target)
        shutil.rmtree(old, ignore_errors=True)
        os.replace(target, old)
        os.replace(new, target)
    shutil.rmtree(_aside(target), ignore_errors=True)
    to_disk(target.parent)


def standing(target: Path) -> Path:
    """The path of the folder, or the one it was renamed to if a replacement was interrupted."""
    return _aside(target) if not target.exists() and _aside(target).is_dir() else target


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _exchanged(one: Path, other: Path) -> bool:
    """Exchanges two names in one step (Linux's renameat2); False if the system cannot do that."""
    import ctypes

    at_cwd, exchange = -100, 2
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    names = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    return rename(at_cwd, names[0], at_cwd, names[1], exchange) == 0


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks the folder against other processes; the lock ends with this process at the latest.

    If its file server or the system has no such locks, nothing is checked.

    Raises:
        InputError: another process holds the lock, or the folder cannot be written to.
    """
    with writing(folder):
        file = open(folder / ".lock", "w")  # noqa: SIM115 (closed below)
    with file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno in _HELD:
                raise InputError(
                    f"another process is writing to {short_path(folder)}, or this one has it open "
                    "already; close it first."
                ) from None
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    try:
        import fcntl
    except ImportError:  # neither Windows nor POSIX
        fcntl = None  # type: ignore[assignment]

    def _lock(file: IO) -> None:
        """Locks an open file until it is closed; OSError if another process has locked it."""
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def wait_until_unlocked(folder: Path, *, seconds: float) -> bool:
    """Waits until no process holds the folder's lock; False if one still does in the end."""
    end = time.monotonic() + seconds
    while folder.is_dir():
        try:
            with locked(folder):
                return True
        except InputError:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
    return True
