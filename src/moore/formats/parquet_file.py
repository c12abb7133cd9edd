"""Reads a Parquet file in blocks of Arrow columns; only one block is in memory at a time."""

from collections.abc import Callable, Iterator
from functools import partial
from operator import add
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from moore.data.checks import shown
from moore.errors import InputError

_BLOCK_ROWS = 2**16
_BUFFER_BYTES = 2**20  # of a column; without it a whole group of rows would be held
# What Arrow raises of a file that is no Parquet, is cut short, or is damaged.
UNREADABLE = (
    pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError,
    AttributeError, IndexError, RuntimeError,
)  # fmt: skip


def parquet_names(path: Path, name: str) -> list[str]:
    """The names of the columns, in order."""
    try:
        with parquet.ParquetFile(path) as file:
            return list(file.schema_arrow.names)
    except UNREADABLE as error:
        raise _unreadable(name, error) from error


def read_parquet(
    path: Path, name: str, wanted: list[str]
) -> Iterator[tuple[Callable[[int], int], list[pa.Array]]]:
    """Blocks of the wanted columns, each with a function that gives its rows' numbers, from 1."""
    at = 0
    try:
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            for batch in file.iter_batches(_BLOCK_ROWS, columns=wanted, use_threads=False):
                if len(batch):
                    yield partial(add, at + 1), [batch.column(column) for column in wanted]
                at += len(batch)
    except UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name}: cannot be read as Parquet ({shown(error)}); expected a whole file; copy it again"
    )
