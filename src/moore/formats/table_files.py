"""Reads the columns that a map names from one CSV or Parquet file, block by block."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from moore.data.checks import shown
from moore.errors import InputError
from moore.formats.cells import Cells
from moore.formats.column_map import ColumnMap
from moore.formats.csv_file import TableHeader, read_csv, read_header
from moore.formats.parquet_file import parquet_names, read_parquet

PARQUET = (".parquet", ".pq")
_ONE = ("reward", "terminal", "timeout", "time", "episode")


@dataclass(frozen=True)
class Piece:
    """Some rows of a file."""

    word: str  # what a row is called in messages: line or row
    number: Callable[[int], int]  # of the i-th of these rows, counted from 1 as people do
    cells: Cells
    columns: dict[str, pa.Array]


def read_pieces(
    file: Path, name: str, columns: ColumnMap, notes: list[str], units: dict[str, str]
) -> Iterator[Piece]:
    """The file's rows; `notes` and `units` are extended by what its header says."""
    head, first = None, True
    if file.suffix.lower() in PARQUET:
        names = parquet_names(file, name)
        wanted = _wanted(names, columns, name)
        blocks, word, decimal = read_parquet(file, name, wanted), "row", "."
    else:
        head = read_header(file, name, columns)
        wanted = _wanted(head.names, columns, name)
        places = [head.names.index(column) for column in wanted]
        blocks, word = read_csv(file, name, head, places), "line"
        decimal = columns.decimal or head.decimal(places)
        _tell(head, decimal, columns, notes)
    for number, arrays in blocks:
        cells = _cells(name, columns, decimal, word, number)
        piece = Piece(word, number, cells, dict(zip(wanted, arrays, strict=True)))
        yield _without_units(piece, columns, notes, units) if head and first else piece
        first = False


def column_names(file: Path, name: str, columns: ColumnMap) -> list[str]:
    """The names of all columns, in order."""
    if file.suffix.lower() in PARQUET:
        return parquet_names(file, name)
    return read_header(file, name, columns).names


def _wanted(names: list[str], columns: ColumnMap, name: str) -> list[str]:
    """The columns of the map, each once; InputError unless the file has each exactly once."""
    wanted = [*columns.obs, *columns.action, *columns.next_obs]
    wanted += [getattr(columns, role) for role in _ONE if getattr(columns, role)]
    wanted = list(dict.fromkeys(wanted))
    missing = [column for column in wanted if column not in names]
    if missing:
        numbers = all(n.strip(" +-.,0123456789eE") == "" for n in names)
        hint = "; its first line holds numbers: add a line with names" if numbers else ""
        raise InputError(
            f"{name}: no column {shown(', '.join(map(repr, missing)))}; the file has "
            f"{shown(', '.join(map(repr, names)))}{hint}; correct the map or its flags"
        )
    for column in wanted:
        if names.count(column) > 1:
            places = [str(i + 1) for i, other in enumerate(names) if other == column]
            raise InputError(
                f"{name}: {names.count(column)} columns are named {shown(repr(column))} (columns "
                f"{', '.join(places)}); expected one; rename the others"
            )
    return wanted


def _tell(head: TableHeader, decimal: str, columns: ColumnMap, notes: list[str]) -> None:
    found = []
    if decimal == "," and columns.decimal is None:
        found.append('numbers are read with a decimal comma (decimal = "." if they have none)')
    if head.latin:
        found.append("the header is not UTF-8 and is read as Windows-1252")
    notes += [note for note in found if note not in notes]


def _without_units(
    piece: Piece, columns: ColumnMap, notes: list[str], units: dict[str, str]
) -> Piece:
    """The piece without its first row, if that holds units, which means text and no numbers."""
    numeric = [*columns.obs, *columns.action, *columns.next_obs]
    numeric += [columns.reward] if columns.reward else []
    first = {c: piece.columns[c].slice(0, 1) for c in piece.columns}
    text = [c for c in numeric if piece.cells.are_text(first[c])[0]]
    numbers = [c for c in numeric if c not in text and piece.cells.numbers(first[c], c) >= -np.inf]
    if not text or numbers or len(first[text[0]]) == len(piece.columns[text[0]]):
        return piece
    if columns.time is not None and piece.cells.is_time(piece.columns[columns.time].slice(0, 1)):
        return piece
    second = {c: piece.columns[c].slice(1, 1) for c in numeric}
    if any(piece.cells.are_text(second[c])[0] for c in numeric):
        return piece
    for column in numeric:
        word = piece.cells.words(first[column])[0]
        if word and units.setdefault(column, word) != word:
            raise InputError(
                f"{piece.cells.name}: {shown(column)} is in {shown(word)}, in a file before in "
                f"{shown(units[column])}; expected one unit; convert the numbers of one of them"
            )
    told = ", ".join(f"{c} in {units[c]}" for c in numeric if c in units)
    note = f"the line below the header is read as units: {shown(told)}"
    if note not in notes:
        notes.append(note)
    rest = {c: array.slice(1) for c, array in piece.columns.items()}
    number = partial(_next, piece.number)
    cells = _cells(piece.cells.name, columns, piece.cells.decimal, piece.word, number)
    return Piece(piece.word, number, cells, rest)


def _next(number: Callable[[int], int], row: int) -> int:
    return number(row + 1)


def _cells(
    name: str, columns: ColumnMap, decimal: str, word: str, number: Callable[[int], int]
) -> Cells:
    return Cells(name, columns, decimal, lambda row: f"{word} {number(row)}")
