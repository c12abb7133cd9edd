"""Writes a log to a new HDF5 file in D4RL's layout, an .npz archive, or a Minari set."""

import os
from pathlib import Path

from moore.data.log import Log
from moore.errors import InputError

FORMATS = ("d4rl", "minari", "npz", "rows")
_SUFFIXES = {".hdf5": "d4rl", ".h5": "d4rl", ".npz": "npz", ".rows": "rows"}
_MINARI = "minari:"
# What the writers of NumPy, h5py and Minari raise: a full disk, a type that they cannot store.
_UNWRITABLE = (OSError, RuntimeError, ValueError, TypeError, KeyError)


def write_log(out: str | Path, log: Log, format: str | None = None) -> None:
    """Writes a log completely or not at all; the same log gives the same bytes.

    Args:
        out: `path.hdf5` (or .h5), `path.npz` or `minari:ID`; it must not exist yet.
        log: the result of `read_log` with `exact=True` and `infos=True`, or a log of your own.
        format: d4rl, minari or npz; by default the one that the name implies.

    Raises:
        InputError: the name is taken or implies no format, the folder is missing, the log does not
            fit the format, or it cannot be written.

    Examples:
        >>> write_log("minari:hopper/own-v0", read_log("own.hdf5"))  # doctest: +SKIP
    """
    kind, place = check_target(out, format)
    if kind == "rows":
        raise InputError(f"{out}: a folder of rows is written by moore convert, part by part")
    try:
        if kind == "minari":
            from moore.formats.minari_writer import write_minari

            write_minari(place, log)
        else:
            _write_file(Path(place), log, kind)
    except InputError:
        raise
    except _UNWRITABLE as error:
        raise InputError(
            f"{out}: cannot be written ({error}); expected a folder with room for it and arrays of "
            "numbers; see what the disk and the log hold"
        ) from error


def check_target(out: str | Path, format: str | None = None) -> tuple[str, str]:
    """The format and the path or id of a new log; InputError unless it can be created."""
    name = str(out)
    kind = "minari" if name.startswith(_MINARI) else _SUFFIXES.get(Path(name).suffix.lower())
    if format is not None and format not in FORMATS:
        raise InputError(f"format is {format!r}; expected one of {', '.join(FORMATS)}")
    if kind is None and format == "minari":
        kind = format
    if kind is None or format not in (None, kind):
        given = "" if format is None else f" in format {format}"
        raise InputError(
            f"{name!r}{given}: no name for a log; expected path.hdf5 (d4rl), path.npz (npz), "
            "minari:ID (minari) or path.rows (rows)"
        )
    if kind == "minari":
        from moore.formats.minari_writer import minari_folder

        minari_folder(name.removeprefix(_MINARI))
        return kind, name.removeprefix(_MINARI)
    path = Path(name)
    if path.exists():
        raise InputError(f"{name} exists already; choose another name, or delete it first")
    if not path.parent.is_dir():
        raise InputError(f"{name}: no folder {path.parent}; make it, or choose another name")
    return kind, name


def _write_file(path: Path, log: Log, kind: str) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        if kind == "d4rl":
            from moore.formats.d4rl import write_d4rl

            write_d4rl(partial, log)
        else:
            from moore.formats.npz import write_npz_log

            write_npz_log(partial, log)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
