"""Finds the reader for logs whose columns a map names."""

import os
from collections.abc import Callable
from pathlib import Path

from moore.data.log import Log
from moore.errors import InputError
from moore.formats.column_map import ColumnMap
from moore.formats.live_records import is_live_log

_TABLES = (".csv", ".tsv", ".parquet", ".pq")
# Keys of a map that one reader alone takes; another would read other rows than were asked for.
_ONLY = {
    "along": ("read_matlab", "MATLAB's files"),
    "filter_key": ("read_robomimic", "robomimic's files"),
}


def mapped_reader(source: str) -> Callable[..., Log] | None:
    """The reader `read(source, columns, exact=..., own_reward=...)` of a source, or None."""
    path = Path(os.path.expanduser(source))
    suffix = path.suffix.lower()
    if os.path.isdir(path):  # unlike Path's, for any text
        if (path / "meta" / "info.json").is_file():
            from moore.formats.lerobot import read_lerobot

            return read_lerobot
        if is_live_log(path):
            from moore.formats.live_log import read_live_log

            return read_live_log
        if not any(name.lower().endswith(_TABLES) for name in _names_in(path)):
            return None
    elif suffix == ".mat":
        from moore.formats.matlab import read_matlab

        return read_matlab
    elif suffix in (".hdf5", ".h5"):
        from moore.formats.robomimic import is_robomimic, read_robomimic

        return read_robomimic if is_robomimic(path) else None
    elif suffix not in _TABLES:
        return None
    from moore.formats.tables import read_tables

    return read_tables


def check_keys(source: str, columns: ColumnMap, reader: Callable[..., Log]) -> None:
    """Refuses keys of a map that say which rows to read in another kind of log.

    Raises:
        InputError: there is such a key.
    """
    for key, (name, kind) in _ONLY.items():
        if getattr(columns, key) != getattr(ColumnMap(), key) and reader.__name__ != name:
            raise InputError(
                f"{source}: {key} is given, but only {kind} have what it names; leave it out"
            )


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); see who may") from error
