"""Reads cells of a table as numbers, flags, times and labels; an error names a wrong cell.

A missing cell becomes NaN, never 0. Arrays are Arrow's. Text from CSV comes as bytes, columns from
Parquet may have any type.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from moore.data.checks import shown
from moore.errors import InputError
from moore.formats.column_map import SECONDS, ColumnMap
from moore.formats.sampling import TimeUnit
from moore.formats.thousands import between_thousands

MISSING = ("", "nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-nan", "-")
_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.I)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_EXACT = 2.0**53  # the first whole number after which float64 skips some


@dataclass(frozen=True)
class Cells:
    """How the cells of one table are written, and how errors name their place."""

    name: str  # of the log
    columns: ColumnMap
    decimal: str
    where: Callable[[int], str]  # of a row of the block

    def numbers(self, cells: pa.Array, column: str) -> np.ndarray:
        """Numbers (b,), or (b, k) for cells with lists, float64; missing cells are NaN."""
        cells = _plain(cells)
        kind = cells.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return self._lists(cells, column)
        if pa.types.is_fixed_size_list(kind):
            return self._lists(cells.cast(pa.list_(kind.value_type)), column)
        if _is_text(kind):
            return self._text_numbers(cells, column)
        if pa.types.is_null(kind):
            return np.full(len(cells), np.nan)
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if not (number or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
            raise InputError(
                f"{self.name}: column {shown(column)} has the type {shown(kind)}; expected numbers;"
                " leave it out of the map"
            )
        values = pc.cast(cells, pa.float64(), safe=False)
        values = values.to_numpy(zero_copy_only=False).astype(np.float64)
        if pa.types.is_integer(kind):
            large = np.flatnonzero(np.abs(values) >= _EXACT)
            self._check_exact(large, [cells[int(i)].as_py() for i in large], values, column)
        return values

    def flags(self, cells: pa.Array, column: str) -> np.ndarray:
        """Flags (b,) float64: 0, 1, or NaN if the cell is missing."""
        values = self.numbers(_single(_plain(cells)), column)
        wrong = ~np.isin(values, (0.0, 1.0)) & ~np.isnan(values)
        if values.ndim != 1 or wrong.any():
            row = int(wrong.reshape(len(values), -1).any(axis=1).argmax())
            self._refuse(row, column, cells[row].as_py(), "a flag: 0, 1, true, false, yes or no")
        return values

    def times(self, cells: pa.Array, column: str) -> tuple[np.ndarray, np.ndarray, TimeUnit]:
        """Times (b,) float64 or int64, (b,) bool whether they are known, and what they count."""
        cells = _single(_plain(cells))
        unit = TimeUnit(SECONDS[self.columns.time_unit])
        if self.columns.time_format is not None and pa.types.is_integer(cells.type):
            cells = pc.cast(pc.cast(cells, pa.string()), pa.large_binary())  # digits of a date
        if _is_text(cells.type):
            if self.columns.time_format is None and self._are_numbers(cells):
                values = self._text_numbers(cells, column)
                return values, np.isfinite(values), unit
            cells = self._moments(self._text(cells), column)
        kind = cells.type
        known = cells.is_valid().to_numpy(zero_copy_only=False)
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            try:
                cells = pc.cast(cells, pa.timestamp("ns", getattr(kind, "tz", None)))
            except pa.ArrowInvalid:
                raise InputError(
                    f"{self.name}: column {shown(column)} holds a date outside 1678 to 2261; "
                    "expected the time of the row"
                ) from None
            return _integers(cells), known, TimeUnit(1e-9, getattr(kind, "tz", None) is not None)
        if pa.types.is_time(kind) or pa.types.is_duration(kind):
            return _integers(cells), known, TimeUnit(SECONDS[kind.unit])
        if pa.types.is_signed_integer(kind):
            return _integers(cells), known, unit
        values = self.numbers(cells, column)
        if values.ndim != 1:
            self._refuse(0, column, cells[0].as_py(), "a time")
        return values, np.isfinite(values), unit

    def is_time(self, cell: pa.Array) -> bool:
        """Whether one cell holds a time."""
        try:
            return bool(self.times(cell, "time")[1][0])
        except InputError:
            return False

    def labels(self, cells: pa.Array) -> tuple[np.ndarray, list[object]]:
        """The number of each cell's label (b,), -1 if it is missing, and the labels."""
        cells = _single(_plain(cells))
        if _is_text(cells.type):
            cells = self._text(cells)
        if pa.types.is_floating(cells.type):
            cells = pc.if_else(pc.is_nan(cells), pa.scalar(None, cells.type), cells)
        coded = pc.dictionary_encode(cells)
        numbers = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return numbers.astype(np.int64), coded.dictionary.to_pylist()

    def words(self, cells: pa.Array) -> list[str | None]:
        """Texts (b,) without blanks around them; None if the cell is missing."""
        return self._text(_plain(cells)).to_pylist()

    def are_text(self, cells: pa.Array) -> np.ndarray:
        """(b,) bool: whether the cell holds text that is no number, flag or missing value."""
        text = self.words(cells)
        return np.array([t is not None and self._value(t) is None for t in text], bool)

    def _text(self, cells: pa.Array) -> pa.Array:
        """The texts without blanks around them; null for a missing value."""
        try:
            text = pc.cast(cells, pa.string())
        except pa.ArrowInvalid:  # not UTF-8
            raw = (None if v is None else v.decode("latin-1") for v in cells.to_pylist())
            text = pa.array(raw, pa.string())
        text = pc.utf8_trim_whitespace(text)
        absent = [*MISSING, *(word.strip().lower() for word in self.columns.missing)]
        gone = pc.is_in(pc.utf8_lower(text), pa.array(absent, pa.string()))
        return pc.if_else(gone, pa.scalar(None, pa.string()), text)

    def _text_numbers(self, cells: pa.Array, column: str) -> np.ndarray:
        values = None if self.columns.missing else self._plain_numbers(cells)
        if values is None:
            cells = self._text(cells)
            values = self._plain_numbers(cells)
        if values is None:  # signs, words, or what is no number
            numbers = [self._number(i, t, column) for i, t in enumerate(cells.to_pylist())]
            values = np.array(numbers, np.float64)
        if self.columns.decimal is None and (
            pair := between_thousands(cells, values, self.decimal)
        ):
            raise InputError(
                f"{self.name}: column {shown(column)} holds {pair[0]} and {pair[1]}, and three "
                f"digits behind each '{self.decimal}', as between thousands; write its numbers "
                f'without it, or, if it is decimal, say so: decimal = "{self.decimal}"'
            )
        large = np.flatnonzero(np.abs(values) >= _EXACT)
        texts = [(i, str(pc.cast(cells[int(i)], pa.string()).as_py()).strip()) for i in large]
        whole = [(i, int(t)) for i, t in texts if len(t) < 40 and _INTEGER.fullmatch(t)]
        self._check_exact([i for i, _ in whole], [v for _, v in whole], values, column)
        return values

    def _plain_numbers(self, cells: pa.Array) -> np.ndarray | None:
        """(b,) float64 if every cell is a plain number or null; else None."""
        try:
            text = pc.cast(cells, pa.string())
            if self.decimal == ",":
                if pc.any(pc.match_substring(text, ".")).as_py():
                    return None
                text = pc.replace_substring(text, ",", ".")
            values = pc.cast(text, pa.float64())
        except pa.ArrowInvalid:
            return None
        return values.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)

    def _number(self, row: int, text: str | None, column: str) -> float:
        if text is None:
            return np.nan
        value = self._value(text)
        if value is None:
            self._refuse(row, column, text, self._expected(text))
        return value

    def _expected(self, text: str) -> str:
        """The expected form of a cell, for the error."""
        if not set(text) - set("+-0123456789.,' eE"):
            if "," in text and "." not in text and self.decimal == ".":
                return 'a number with a decimal point; if its comma is decimal: decimal = ","'
            if "." in text and "," not in text and self.decimal == ",":
                return 'a number with a decimal comma; if its point is decimal: decimal = "."'
            return "a number without signs between its thousands"
        return (
            "a number, a flag or an empty cell; if it stands for a missing value: missing = "
            f"[{shown(repr(text))[:40]}]"
        )

    def _value(self, text: str) -> float | None:
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if self.decimal == ",":
            if "." in text:
                return None
            text = text.replace(",", ".")
        return float(text) if _NUMBER.fullmatch(text) else None

    def _are_numbers(self, cells: pa.Array) -> bool:
        text = self.words(cells.slice(0, 1))
        if text == [None]:
            text = self.words(cells)
        first = next((t for t in text if t is not None), None)
        return first is None or self._value(first) is not None

    def _moments(self, text: pa.Array, column: str) -> pa.Array:
        """Timestamps in UTC, or in local time if the text has no time zone."""
        if self.columns.time_format is None:
            for zone in (None, "UTC"):
                try:
                    return pc.cast(text, pa.timestamp("ns", zone))
                except pa.ArrowInvalid:
                    continue
        zones: set[bool] = set()
        found: list[int | None] = []
        for row, cell in enumerate(text.to_pylist()):
            moment = None if cell is None else self._moment(row, cell, column)
            if moment is None:
                found.append(None)
                continue
            zones.add(moment.tzinfo is not None)
            since = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
            found.append(since // timedelta(microseconds=1))
        if len(zones) > 1:
            raise InputError(
                f"{self.name}: column {shown(column)} holds times with and without a time zone; "
                "expected one kind"
            )
        zone = "UTC" if zones == {True} else None
        return pa.array(found, pa.int64()).cast(pa.timestamp("us", zone))

    def _moment(self, row: int, cell: str, column: str) -> datetime:
        how = self.columns.time_format
        try:
            return datetime.fromisoformat(cell) if how is None else datetime.strptime(cell, how)
        except (ValueError, OverflowError, re.error):
            expected = f"the format {shown(how)}"
            if how is None:
                expected = (
                    "a number of seconds or ISO 8601, such as 2026-01-31T12:00:00; for other text "
                    'say how it is written: time_format = "%d.%m.%Y %H:%M:%S"'
                )
            self._refuse(row, column, cell, expected)

    def _lists(self, cells: pa.Array, column: str) -> np.ndarray:
        lengths = pc.list_value_length(cells).to_numpy(zero_copy_only=False).astype(np.float64)
        width = int(np.nanmax(lengths, initial=0))
        wrong = np.flatnonzero(~np.isnan(lengths) & (lengths != width))
        if width == 0 or len(wrong):
            row = int(wrong[0]) if len(wrong) else 0
            self._refuse(row, column, f"a list of {lengths[row]:g}", f"{width} numbers in each row")
        values = np.full((len(cells), width), np.nan)
        inner = self.numbers(cells.flatten(), column)
        if inner.ndim != 1:
            self._refuse(0, column, "a list of lists", "one list of numbers in each row")
        values[~np.isnan(lengths)] = inner.reshape(-1, width)
        return values

    def _check_exact(self, rows, whole: list, values: np.ndarray, column: str) -> None:
        for row, value in zip(rows, whole, strict=True):
            if value is not None and int(values[row]) != value:
                self._refuse(
                    int(row), column, value, "whole numbers below 2**53, which a float64 holds "
                    "exactly; subtract an offset, or leave the column out"
                )  # fmt: skip

    def _refuse(self, row: int, column: str, cell: object, expected: str) -> NoReturn:
        cell = cell.decode("latin-1") if isinstance(cell, bytes) else cell
        raise InputError(
            f"{self.name}: column {shown(column)} holds {shown(repr(cell))[:60]} in "
            f"{self.where(row)}; expected {expected}"
        )


def _plain(cells: pa.Array) -> pa.Array:
    """The values of an array whose type is a dictionary, run-end encoding or extension."""
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.combine_chunks()
    if isinstance(cells, pa.ExtensionArray):
        cells = cells.storage
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if _is_text(cells.type):  # bytes that are no UTF-8 may be called text
        cells = pc.cast(cells, pa.large_binary())
    return cells


def _single(cells: pa.Array) -> pa.Array:
    """The entries of an array of lists that have one each; else the array."""
    kind = cells.type
    if pa.types.is_fixed_size_list(kind):
        cells = cells.cast(pa.list_(kind.value_type))
    if not (pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type)):
        return cells
    one = cells.null_count == 0 and pc.all(pc.equal(pc.list_value_length(cells), 1)).as_py()
    return cells.flatten() if one else cells


def _is_text(kind: pa.DataType) -> bool:
    return any(
        of(kind)
        for of in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_string_view,
        )
    )


def _integers(cells: pa.Array) -> np.ndarray:
    bits = pa.int32() if cells.type.bit_width == 32 else None
    if pa.types.is_integer(cells.type):
        bits = cells.type
    cells = pc.cast(cells, bits or pa.int64())
    return pc.fill_null(cells, 0).to_numpy(zero_copy_only=False).astype(np.int64)
