"""A CSV file in blocks of Arrow columns of bytes: delimiter, header and units are found here.

Every line must be a row; a line with more or fewer cells, or a cell over several lines, is refused.
"""

import codecs
import csv
import io
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from moore.data.checks import shown
from moore.errors import InputError
from moore.formats.column_map import ColumnMap

_HEAD_BYTES = 2**20
_BLOCK_BYTES = 2**22
_ODD_ROW = re.compile(r"Row #([0-9]+): Expected ([0-9]+) columns, got ([0-9]+): (.*)", re.DOTALL)
_DELIMITERS = ",;\t|"
# How files begin that are no text, whatever their names say.
_OTHER_KINDS = {
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a zip archive, or a workbook",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"(\xb5/\xfd": "a zstd archive",
    b"\xd0\xcf\x11\xe0": "an old workbook",
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
}


@dataclass(frozen=True)
class TableHeader:
    """The lines above the rows, and the format of the rows."""

    names: list[str]
    delimiter: str
    encoding: str
    offset: int  # bytes before the first row, in UTF-8 of a UTF-16 file
    lines: int  # lines before it
    rows: list[list[str]]  # the first rows, as text
    latin: bool  # the header is not UTF-8

    def decimal(self, wanted: list[int]) -> str:
        """The decimal sign: a comma if it separates no cells and no number here has a point."""
        if self.delimiter == ",":
            return "."
        cells = [row[i].strip() for row in self.rows for i in wanted if i < len(row)]
        numeric = [cell for cell in cells if cell and not set(cell) - set("+-0123456789.,eE")]
        comma = any(cell.count(",") == 1 for cell in numeric)
        return "," if comma and not any("." in cell for cell in numeric) else "."


class _Lines(io.RawIOBase):
    """A stream that skips blank lines and remembers their places."""

    def __init__(self, stream):
        self._stream = stream
        self._end = b"\n"
        self.count = 0  # lines that are not blank, but for a last one without an end
        self.blank: list[int] = []  # lines that are not blank before each blank one

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        while data.endswith(b"\r") and (more := self._stream.read(1)):
            data += more
        if not data:
            self.count += self._end not in (b"\n", b"\r")
            self._end = b"\n"
            return data
        whole = self._without_blank(data)
        return whole or self.read(size)

    def _without_blank(self, data: bytes) -> bytes:
        begins_line = self._end in (b"\n", b"\r")
        self._end = data[-1:]
        marks = (b"\n\n", b"\n\r", b"\r\r")
        if not (begins_line and data[:1] in b"\r\n") and not any(m in data for m in marks):
            ends = data.count(b"\n")
            self.count += ends + data.count(b"\r") - data.count(b"\r\n")
            return data
        kept = []
        for i, line in enumerate(data.splitlines(keepends=True)):
            if line.strip(b"\r\n") or (i == 0 and not begins_line):
                kept.append(line)
                self.count += line[-1:] in (b"\n", b"\r")
            else:
                self.blank.append(self.count)
        return b"".join(kept)


def read_header(path: Path, name: str, columns: ColumnMap) -> TableHeader:
    """Finds encoding, delimiter and header; InputError if there is no header."""
    encoding = _encoding(path)
    with _open(path, encoding) as stream:
        raw = stream.read(_HEAD_BYTES)
    _check_is_text(raw, name)
    start = len(codecs.BOM_UTF8) if raw.startswith(codecs.BOM_UTF8) else 0
    lines = raw[start:].splitlines(keepends=True)
    skipped = columns.skip_lines
    delimiter = columns.delimiter
    if skipped < len(lines) and lines[skipped][:4].lower() == b"sep=" and lines[skipped][4:5]:
        delimiter = delimiter or chr(lines[skipped][4])
        skipped += 1
    while skipped < len(lines) and not lines[skipped].strip():
        skipped += 1
    if skipped >= len(lines):
        raise InputError(f"{name}: no header; expected a line with the names of the columns")
    if b"\0" in lines[skipped]:
        raise InputError(
            f"{name}: the header holds zero bytes, as UTF-16 without a mark does; expected text; "
            "save it as UTF-8"
        )
    delimiter = delimiter or _delimiter(lines[skipped])
    reader = csv.reader((line.decode("latin-1") for line in lines[skipped:]), delimiter=delimiter)
    try:
        header = next(reader)
        used = skipped + reader.line_num
        rows = [row for row, _ in zip(reader, range(200), strict=False)]
    except (csv.Error, StopIteration) as error:
        raise InputError(
            f"{name}: the header cannot be read ({shown(error)}); expected names of columns with "
            f"{delimiter!r} between them"
        ) from None
    names, latin = _decoded(header)
    return TableHeader(
        names=names,
        delimiter=delimiter,
        encoding=encoding,
        offset=start + sum(map(len, lines[:used])),
        lines=used,
        rows=rows,
        latin=latin,
    )


def _check_is_text(raw: bytes, name: str) -> None:
    kind = next((kind for mark, kind in _OTHER_KINDS.items() if raw.startswith(mark)), None)
    if kind is not None and any(byte < 9 for byte in raw[:256]):  # a column may be named PAR1
        raise InputError(
            f"{name}: this is {kind}, not text; expected a CSV file; unpack it, save the sheet as "
            "CSV, or give it the ending of its kind"
        )


def read_csv(
    path: Path, name: str, head: TableHeader, wanted: list[int]
) -> Iterator[tuple[Callable[[int], int], list[pa.Array]]]:
    """Blocks of the wanted columns, as bytes, each with a function that gives its rows' lines.

    Lines without any value at the end of the file are left out.
    """
    with _open(path, head.encoding) as stream:
        stream.read(head.offset)
        lines = _Lines(stream)
        at = 0
        empty: list[tuple[Callable[[int], int], list[pa.Array]]] = []  # perhaps the end of the file
        try:
            for cells in _blocks(lines, name, head, wanted):
                filled = np.zeros(len(cells[0]), bool)
                for cell in cells:
                    filled |= pc.binary_length(cell).to_numpy(zero_copy_only=False) > 0
                size = int(filled.nonzero()[0][-1]) + 1 if filled.any() else 0
                if size:
                    yield from empty
                    yield partial(_line, head, lines, at), [cell.slice(0, size) for cell in cells]
                    empty = []
                if size < len(filled):
                    rest = [cell.slice(size) for cell in cells]
                    empty.append((partial(_line, head, lines, at + size), rest))
                at += len(filled)
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            if isinstance(error, InputError):
                raise
            if "Empty CSV file" not in str(error):
                raise InputError(
                    f"{name}: cannot be read as CSV ({shown(error)}); expected rows below the "
                    f"header, with {head.delimiter!r} between their cells"
                ) from error
        if at != lines.count:
            raise InputError(
                f"{name}: {lines.count} lines below the header, but {at} rows: a cell goes over "
                "several lines, or a quotation mark is not closed; expected one line a row"
            )


def _blocks(
    lines: _Lines, name: str, head: TableHeader, wanted: list[int]
) -> Iterator[list[pa.Array]]:
    codes = [str(i) for i in range(len(head.names))]
    try:
        reader = arrow_csv.open_csv(
            pa.PythonFile(lines, mode="r"),
            read_options=arrow_csv.ReadOptions(
                column_names=codes, block_size=_BLOCK_BYTES, use_threads=False
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=head.delimiter, ignore_empty_lines=False
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={code: pa.binary() for code in codes},
                include_columns=[codes[i] for i in wanted],
                null_values=[],
                check_utf8=False,
            ),
        )
        for batch in reader:
            if len(batch):
                yield batch.columns
    except pa.ArrowInvalid as error:
        odd = _ODD_ROW.search(str(error))
        if odd is None:
            raise
        row, expected, given, text = odd.groups()
        raise InputError(
            f"{name}: line {_line(head, lines, int(row) - 1)} has {given} cells, the header "
            f"{expected}: {shown(text)[:80]}; expected as many, with {head.delimiter!r} between "
            "them; quote text that contains it"
        ) from None


def _line(head: TableHeader, lines: _Lines, at: int, i: int = 0) -> int:
    """The line of the file, counted from 1, that holds the i-th row from row `at` on."""
    row = at + i
    return head.lines + row + 1 + bisect_right(lines.blank, row)


def _encoding(path: Path) -> str:
    with open(path, "rb") as file:
        mark = file.read(2)
    return "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"


def _open(path: Path, encoding: str) -> io.BufferedIOBase:
    """The file as a stream of bytes; a UTF-16 file is converted to UTF-8 first."""
    if encoding == "utf-8":
        return open(path, "rb")
    return io.BytesIO(path.read_bytes().decode(encoding, errors="replace").encode())


def _delimiter(line: bytes) -> str:
    """The character that separates most names; a comma if there is one column."""
    outside = re.sub(rb'"[^"]*"', b"", line)
    counts = {sign: outside.count(sign.encode()) for sign in _DELIMITERS}
    return max(counts, key=lambda sign: counts[sign]) if any(counts.values()) else ","


def _decoded(header: list[str]) -> tuple[list[str], bool]:
    """The names from their bytes, and whether the bytes were not UTF-8."""
    raw = [cell.encode("latin-1") for cell in header]
    try:
        return [cell.decode("utf-8").strip() for cell in raw], False
    except UnicodeDecodeError:
        return [cell.decode("cp1252", errors="replace").strip() for cell in raw], True
