"""The parts in which a log of any kind is converted to a folder of rows, one at a time."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from moore.data.dataset import Dataset, from_log, validate
from moore.data.row_file import is_row_folder
from moore.errors import InputError
from moore.formats import d4rl
from moore.formats.column_map import ColumnMap, Columns, make_map
from moore.formats.load import HDF5, load_dataset
from moore.formats.log_files import find_files
from moore.formats.mapped import mapped_reader
from moore.formats.names import split_names
from moore.formats.reward_function import Reward, with_reward
from moore.formats.tables import files_are

# About so many rows of an HDF5 file are held at a time.
SLICE = 2**19


def parts_of_log(
    source: str,
    *,
    download: bool = False,
    columns: Columns | None = None,
    reward: str | Reward | None = None,
) -> Iterator[Dataset]:
    """Checked data sets that together hold all rows of a log, in order.

    Flat HDF5 files come in slices of whole episodes, folders of tables file by file where each file
    is an episode, and other logs in one piece each; several logs that commas join one by one.

    Args:
        source: a source as for `load_dataset`.
        download, columns, reward: as for `load_dataset`.

    Raises:
        InputError: a part cannot be used.
    """
    for name in split_names(source):
        if is_row_folder(name):
            raise InputError(
                f"{name}: is a folder of rows already; give the logs that it was converted from"
            )
        elif Path(name).suffix.lower() in HDF5 and mapped_reader(name) is None:
            yield from _hdf5(name, reward)
        else:
            asked = make_map(name, columns) if _has_columns(name) else columns
            for file in _files(name, asked):
                log = load_dataset(file, download=download, columns=asked, reward=reward)
                yield replace(log, name=name)


def _hdf5(name: str, reward: str | Reward | None) -> Iterator[Dataset]:
    if d4rl.count_rows(name) <= SLICE:
        yield load_dataset(name, reward=reward)
        return
    for log in d4rl.read_slices(name, rows=SLICE):
        log = log if reward is None else with_reward(log, reward, None)
        part = from_log(log)
        validate(part)
        yield part


def _has_columns(name: str) -> bool:
    return not name.startswith(("minari:", "builtin:")) and mapped_reader(name) is not None


def _files(name: str, columns: Columns | None) -> list[str]:
    """The files of a folder or pattern of tables that are read one by one; otherwise the log."""
    is_many = os.path.isdir(os.path.expanduser(name)) or set("*?[") & set(name)
    if not isinstance(columns, ColumnMap) or not is_many:
        return [name]
    reader = mapped_reader(name)
    if reader is None or reader.__name__ != "read_tables" or files_are(columns) != "episodes":
        return [name]
    return [str(file) for file in find_files(name)]
