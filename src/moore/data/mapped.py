"""Finds the reader for logs whose columns a map names."""

import os
from collections.abc import Callable
from pathlib import Path

from moore.data.live_records import is_live_log
from moore.data.log import Log
from moore.errors import InputError

_TABLES = (".csv", ".tsv", ".parquet", ".pq")


def mapped_reader(source: str) -> Callable[..., Log] | None:
    """The reader `read(source, columns, exact=..., own_reward=...)` of a source, or None."""
    path = Path(os.path.expanduser(source))
    suffix = path.suffix.lower()
    if os.path.isdir(path):  # unlike Path's, for any text
        if (path / "meta" / "info.json").is_file():
            from moore.data.lerobot import read_lerobot

            return read_lerobot
        if is_live_log(path):
            from moore.data.live_log import read_live_log

            return read_live_log
        if not any(name.lower().endswith(_TABLES) for name in _names_in(path)):
            return None
    elif suffix == ".mat":
        from moore.data.matlab import read_matlab

        return read_matlab
    elif suffix in (".hdf5", ".h5"):
        from moore.data.robomimic import is_robomimic, read_robomimic

        return read_robomimic if is_robomimic(path) else None
    elif suffix not in _TABLES:
        return None
    from moore.data.tables import read_tables

    return read_tables


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); see who may") from error
